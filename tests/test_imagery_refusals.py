"""Servers that will not serve for a while, recognised from the line that tells of it."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from geoloc.area import XyzImagery
from geoloc.domain import Grid
from geoloc.errors import ImageryError
from geoloc.imagery import open_source
from geoloc.imagery.refusals import is_refusal, refusal_line

from .tile_server import serve_tiles


def test_lines_are_recognised() -> None:
    assert is_refusal(f"http://a: {refusal_line('HTTP 429', 86400)} (3 of 9 tiles)")
    assert is_refusal(refusal_line("HTTP 509", 900, asked=False))
    assert not is_refusal("http://a: HTTP 500 Internal Server Error (3 of 9 tiles)")


def test_a_server_that_says_no_without_a_time_is_left_alone(tmp_path: Path) -> None:
    """Too many requests, again and again: one tile is tried as often as is allowed, no more."""
    window = Grid("EPSG:32636", 300_000, 5_600_000, 1.0, 300, 300)
    with serve_tiles(lambda *_: np.full((256, 256, 3), 9, np.uint8)) as server:
        server.always = "429"
        source = open_source(
            XyzImagery(
                url=server.url(), tile_cache=tmp_path, rate=1000, retries=1, zoom=17, connections=1
            )  # type: ignore[call-arg]
        )
        for _ in range(3):
            with pytest.raises(ImageryError, match="quota") as caught:
                source.read(window)
            assert is_refusal(str(caught.value)) and "\n" not in str(caught.value)
        assert len(server.requests) == 2
