"""The commands that make models of models: thin calls, one line for what cannot be."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from typer.testing import CliRunner

from geoloc.cli import app
from geoloc.errors import GeolocError, UsageError
from tests.encoder_models import tiny_model


@pytest.fixture(autouse=True)
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOLOC_MODELS", str(tmp_path / "models"))
    tiny_model(tmp_path / "models" / "tiny")


def refused(*words: str) -> GeolocError:
    """The error of a command, which is one line."""
    result = CliRunner().invoke(app, words)
    assert isinstance(result.exception, GeolocError), result.output
    assert "\n" not in str(result.exception)
    return result.exception


def test_what_is_no_published_network_is_invalid_usage(tmp_path: Path) -> None:
    assert "places365-alexnet" in str(refused("models", "fetch", "places365-vgg16"))
    error = refused("models", "fetch", "http://127.0.0.1:9/m", "--mirror", "http://127.0.0.1:9")
    assert isinstance(error, UsageError) and "--mirror" in str(error)
    error = refused("models", "fetch", "places365-resnet18", "--mirror", str(tmp_path / "none"))
    assert error.exit_code == 1 and "does not exist" in str(error)


def test_nothing_is_learnt_of_nothing(tmp_path: Path) -> None:
    (tmp_path / "labels" / "blue roof").mkdir(parents=True)
    out = str(tmp_path / "out")
    error = refused("models", "extend", "tiny", "--labels", str(tmp_path / "labels"), "--out", out)
    assert error.exit_code == 2 and "at least 20" in str(error)
    error = refused("models", "adapt", "tiny", "--out", out)
    assert error.exit_code == 2 and "geoloc confirm" in str(error)
    error = refused("confirm", str(tmp_path / "query.json"), "--at", "50,30")
    assert error.exit_code == 2
    assert not (tmp_path / "out").exists()


def test_a_tandem_takes_photos_or_a_truth_file(tmp_path: Path) -> None:
    for words in ([], ["a.jpg"], ["a.jpg", "--truth", "t.csv", "--out", "x"], ["--out", "x"]):
        error = refused("tandem", *words, "--cube", "a", "--cube", "b")
        assert error.exit_code == 2 and "--truth CSV" in str(error)
    error = refused("tandem", "--truth", str(tmp_path / "t.csv"), "--cube", "a", "--cube", "b",
                    "--weight", "1")  # fmt: skip
    assert "2 models" in str(error)


def test_the_file_of_confirmed_photos_is_said(tmp_path: Path) -> None:
    result = CliRunner().invoke(app, ["confirm", "--help"])
    assert result.exit_code == 0 and "SHA-256" in result.output
    result = CliRunner().invoke(app, ["models", "list", "--json"])
    names = [one["installed_as"] for one in json.loads(result.output)["models"]]
    assert "tiny" in names and not (tmp_path / "models" / "confirmed.jsonl").exists()
