"""How runs are named, what is shown of addresses, and what is tried again."""

from __future__ import annotations

import pytest
from prefect.states import Failed

from flows.running import brief, reason_of, shown, stage
from geoloc.errors import (
    ClusterError,
    CubeError,
    ImageryError,
    PhotoError,
    SpecMismatchError,
    UnavailableError,
    UsageError,
)


@pytest.mark.parametrize(
    ("address", "harmless"),
    [
        ("https://us:PASSWD@host:8443/a/b.jpg?sig=SECRET#x", "host:8443/a/b.jpg"),
        ("https://host/@user/b.jpg", "host/@user/b.jpg"),
        ("http://us:PASS/WD@host/b.jpg", "host/b.jpg"),
        ("http://us:PASS?WD@host/b.jpg", "host/b.jpg"),
        ("http://us:PASSWD@[bad/b.jpg?sig=SECRET", "[bad/b.jpg"),
        ("http://[bad/b.jpg?mail=a@b&sig=SECRET", "b"),
        ("http://127.0.0.1:bad/b.jpg", "127.0.0.1:bad/b.jpg"),
    ],
)
def test_addresses_are_shown_without_what_may_be_secret(address: str, harmless: str) -> None:
    assert shown(address) == harmless


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("http://[bad/no.jpg", "no.jpg"),
        (["https://us:PASSWD@host/b.jpg?sig=SECRET", "/a.jpg"], "b.jpg +1"),
        ("s3://bucket/kyiv/cube.zarr", "kyiv"),
        ("/srv/kyiv/area.yaml", "kyiv"),
        ("/srv/a.jpg", "a.jpg"),
    ],
)
def test_runs_are_named_by_the_last_part(value: object, name: str) -> None:
    assert brief(value) == name


@pytest.mark.parametrize(
    ("kind", "again"),
    [
        (ClusterError, True),
        (UnavailableError, True),
        (ConnectionError, True),
        (TimeoutError, True),
        (CubeError, False),
        (SpecMismatchError, False),
        (ImageryError, False),
        (PhotoError, False),
        (UsageError, False),
    ],
)
def test_only_what_time_may_mend_is_tried_again(kind: type[Exception], again: bool) -> None:
    task = stage("work")(lambda: None)
    assert task.retries == 2  # type: ignore[attr-defined]
    assert task.retry_condition_fn(task, None, Failed(data=kind("x"))) is again  # type: ignore[attr-defined]


@pytest.mark.parametrize(
    ("message", "reason"),
    [
        ("Flow run encountered an exception: PhotoError: a.jpg: no photo", "a.jpg: no photo"),
        ("Flow run encountered an exception: two\nlines: and a colon", "two lines: and a colon"),
        ("Validation of flow parameters failed", "Validation of flow parameters failed"),
    ],
)
def test_the_reason_of_a_failure_is_the_error_alone(message: str, reason: str) -> None:
    assert reason_of(message) == reason
