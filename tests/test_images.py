"""The images of deploy/, built and run: minutes and 30 GB of disk, so for who asks for it alone."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from tests.benchmarks.build_images import Pieces, Workshop, base_name, env_file, missing
from tests.service import ROOT

WANTED = "GEOLOC_TEST_IMAGES"


@pytest.mark.slow
@pytest.mark.timeout(5400)
def test_images_are_built_and_their_pieces_answer() -> None:
    if os.environ.get(WANTED) != "1":
        pytest.skip(f"takes minutes and 30 GB: set {WANTED}=1")
    if reason := missing():
        pytest.skip(reason)
    done = subprocess.run(
        [sys.executable, "-m", "tests.benchmarks.build_images"], cwd=ROOT, check=False
    )
    assert done.returncode == 0


@pytest.fixture
def pieces() -> Pieces:
    about = {"User": "10001:10001", "Env": ["PATH=/bin"], "WorkingDir": "/app", "Entrypoint": []}
    return Pieces(Workshop(ROOT / "nowhere"), ROOT / "nowhere/root", about, env_file())


def test_the_base_image_is_the_dockerfiles() -> None:
    assert base_name().startswith("python:3.11.")
    assert base_name().endswith("-slim-bookworm")


def test_values_of_compose_are_filled_in_as_compose_does(pieces: Pieces) -> None:
    password = pieces.settings["POSTGRES_PASSWORD"]
    assert len(password) > 30
    assert pieces.filled("p:${POSTGRES_PASSWORD}@postgres") == f"p:{password}@postgres"
    assert pieces.filled("${S3_SECRET_KEY:?set it}") == pieces.settings["S3_SECRET_KEY"]
    assert pieces.filled("${NEVER_SET:-2g} ${BIND:-0.0.0.0} $HOME") == "2g 127.0.0.1 $HOME"
    with pytest.raises(AssertionError, match="NEVER_SET is not set"):
        pieces.filled("${NEVER_SET:?set it}")
