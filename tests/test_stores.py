"""Stores: secrets in URLs are found and hidden, and faults are told as what they are."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from zarr.codecs import BloscCodec, ZstdCodec

from geoloc.stores import reason_of, secret_in, without_secrets

SECRETS = [
    "key", "apikey", "api_key", "apiKey", "APIKey", "APIKEY", "api%5Fkey", "subscription-key",
    "access_token", "accessToken", "accesstoken", "AWSAccessKeyId", "awsaccesskeyid",
    "Key-Pair-Id", "client_secret", "clientsecret", "sig", "signature", "X-Amz-Signature",
    "X-Goog-Signature", "x-amz-security-token", "password", "passwd", "pwd", "credential",
    "credentials", "hmac", "auth", "authkey", "oauth_token", "authorization", "jwt", "key1",
]  # fmt: skip
INNOCENT = [
    "design", "keyword", "keywords", "sigma", "monkey", "tokens", "turkey", "assign", "insight",
    "tokenize", "authuser", "author", "compass", "passes", "hockey", "signal", "secretary",
]  # fmt: skip
PIECES = [
    "https://", "file://", "h", "/", "?", "&", "#", ";", "=", "(", ")", "[", "]", "'", '"', "<",
    ">", ":", ",", ".", "${K}", "{q}", "key", "token", "sig", "jwt", "x", "1", "S", " ",
    "&amp;", "%20", "authorization=Bearer ", "&token=S", "?key=S", "#sig=S",
]  # fmt: skip


@pytest.mark.parametrize(
    ("text", "found", "shown"),
    [
        ("https://h/a.tif", None, "https://h/a.tif"),
        ("https://h/a.tif?file=1&x=2", None, "https://h/a.tif?file=1&x=2"),
        ("https://u:S3CRET@h/a.tif", "user:password", "https://h/a.tif"),
        ("https://S3CRET@h/a.tif", "user:password", "https://h/a.tif"),
        ("https://u:${P}@h/a.tif", None, "https://u:${P}@h/a.tif"),
        ("https://${U}:${P}@h/a.tif", None, "https://${U}:${P}@h/a.tif"),
        ("https://h/v1?subscription-key=S3CRET", "subscription-key=", "https://h/v1"),
        ("https://h/v1?key=${KEY}&x=2", None, "https://h/v1?key=${KEY}&x=2"),
        ("https://h/t?quadkey={q}", None, "https://h/t?quadkey={q}"),
        ("https://h/a?x=1&sig=S3CRET&y=2", "sig=", "https://h/a?x=1&y=2"),
        ("https://h/a?sig=S3CRET&se=2024-01-01T00:00:00Z&x=1", "sig=", "https://h/a?x=1"),
        ("https://h/a?expires=3&sv=1", None, "https://h/a?expires=3&sv=1"),
        (
            "https://b/a.tif?X-Amz-Date=1&X-Amz-Credential=S3CRET&X-Amz-Signature=S3CRET",
            "X-Amz-Credential=",
            "https://b/a.tif",
        ),
        ("'/vsicurl/http://h/a.tif?sig=S3CRET': 404", "sig=", "'/vsicurl/http://h/a.tif': 404"),
        ("http://h/a.tif?sig=S3CRET: refused", "sig=", "http://h/a.tif: refused"),
        ("url: /v1?token=S3CRET (Caused by x)", "token=", "url: /v1 (Caused by x)"),
        ("https://h/w?s=E(3,4)&apikey=S3CRET", "apikey=", "https://h/w?s=E(3,4)"),
        ("https://h/w?bbox=[1,2]&token=S3CRET", "token=", "https://h/w?bbox=[1,2]"),
        ('https://h/a?x=a\'b&y="c"&sig=S3CRET', "sig=", 'https://h/a?x=a\'b&y="c"'),
        ("https://h/a?x=http://g/&t=1:30&sig=S3CRET", "sig=", "https://h/a?x=http://g/&t=1:30"),
        ("https://h/a?x= 'y&token=''S3CRET", "token=", "https://h/a?x= 'y&"),
        ("https://h/a?x=1;token=S3CRET", "token=", "https://h/a?x=1;"),
        ("(see https://h/w?s=E(3,4)&key=S3CRET), then", "key=", "(see https://h/w?s=E(3,4)), then"),
        ("['https://h/a?key=S3CRET', 'b']", "key=", "['https://h/a', 'b']"),
        ("[https://h/a?key=S3CRET]", "key=", "[https://h/a]"),
        ('{"href":"https://h/a?key=S3CRET","b":1}', "key=", '{"href":"https://h/a","b":1}'),
        ("https://h/a#token=S3CRET", "token=", "https://h/a"),
        ("https://h/a?x=1#y=2&token=S3CRET", "token=", "https://h/a?x=1#y=2"),
        ("https://h/a?authorization=S3CRET", "authorization=", "https://h/a"),
        ("https://h/a?Authorization=Bearer S3CRET", "Authorization=", "https://h/a"),
        ("https://h/a?jwt=S3CRET", "jwt=", "https://h/a"),
        ("https://h/a?key=${K}S3CRET", "key=", "https://h/a"),
        ("https://h/a?key=${A}-${B}", None, "https://h/a?key=${A}-${B}"),
        ("see 'https://h/a?key=${K}': 404", None, "see 'https://h/a?key=${K}': 404"),
        ("file:///d/t?key=1.tif", None, "file:///d/t?key=1.tif"),
        ("https://h/t?u=file:///d&key=S3CRET", "key=", "https://h/t?u=file:///d"),
        ("file:///d/t?x,https://h/a?key=S3CRET", "key=", "file:///d/t?x,https://h/a"),
    ],
)
def test_secrets_of_urls(text: str, found: str | None, shown: str) -> None:
    assert secret_in(text) == found
    assert without_secrets(text) == shown
    assert "S3CRET" not in f"{secret_in(text)}{without_secrets(text)}"


@pytest.mark.parametrize("name", SECRETS)
def test_names_of_secrets(name: str) -> None:
    assert secret_in(f"https://h/a?x=1&{name}=S3CRET") == f"{name}="


@pytest.mark.parametrize("name", INNOCENT)
def test_names_that_only_sound_like_secrets(name: str) -> None:
    url = f"https://h/a?{name}=flat&sv=2"
    assert secret_in(url) is None
    assert without_secrets(url) == url


@given(st.lists(st.sampled_from(PIECES), max_size=16).map("".join))
def test_nothing_is_left_to_find_in_what_is_shown(tail: str) -> None:
    for text in (f"https://u:p@h/a?{tail}", f"cannot read 'https://h/a{tail}': 404", tail):
        assert secret_in(without_secrets(text)) is None


def fault_of(work: Callable[[], object]) -> Exception:
    with pytest.raises(RuntimeError) as caught:
        work()
    return caught.value


@pytest.mark.parametrize("codec", [ZstdCodec(checksum=True), BloscCodec()])
def test_bytes_that_no_codec_can_decode_are_damaged(
    tmp_path: Path, codec: ZstdCodec | BloscCodec
) -> None:
    values = np.arange(64, dtype="i1")
    array = zarr.create_array(tmp_path, data=values, chunks=(64,), compressors=codec)
    (tmp_path / "c/0").write_bytes(b"wrong" * 9)
    reason = reason_of(fault_of(lambda: array[:]))
    assert reason.startswith("a part of it is damaged (") and "restore it" in reason


def shut_down() -> None:
    pool = ThreadPoolExecutor(1)
    pool.shutdown()
    pool.submit(print)


def without_end() -> None:
    without_end()


def not_done() -> None:
    raise NotImplementedError("zstd on this machine")


def no_thread() -> None:
    raise RuntimeError("can't start new thread")


@pytest.mark.parametrize("work", [shut_down, without_end, not_done, no_thread])
def test_what_is_no_codecs_fault_advises_no_deletion(work: Callable[[], object]) -> None:
    error = fault_of(work)
    assert reason_of(error) == str(error)
