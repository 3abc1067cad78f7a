"""Stores: secrets in URLs are found and hidden."""

from __future__ import annotations

import pytest

from geoloc.stores import secret_in, without_secrets


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
    ],
)
def test_secrets_of_urls(text: str, found: str | None, shown: str) -> None:
    assert secret_in(text) == found
    assert without_secrets(text) == shown
    assert "S3CRET" not in f"{secret_in(text)}{without_secrets(text)}"
