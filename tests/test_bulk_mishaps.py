"""What nobody foresaw: it costs one file, is told in a line, and its details are kept."""

from __future__ import annotations

import errno
import json
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from typer.testing import CliRunner

from geoloc.bulk import media as media_module
from geoloc.bulk import mishaps, run_bulk
from geoloc.bulk import reading as reading_module
from geoloc.bulk import search as search_module
from geoloc.bulk.mishaps import contained, ends_the_run
from geoloc.cli import app
from geoloc.errors import CubeError, GeolocError, OutputError, PhotoError, UsageError
from tests.bulk_place import Place
from tests.media import save


def folder_of(tmp_path: Path) -> Path:
    for seed in range(4):
        save(tmp_path / "in" / f"{seed}.jpg", seed)
    return tmp_path / "in"


def failing(error: BaseException, name: str, real: Any) -> Any:
    """``real``, but for the file ``name``, where a decoder raises."""

    def decode(medium: Any, *rest: Any) -> Iterator[Any]:
        if medium.name == name:
            raise error
        yield from real(medium, *rest)

    return decode


@pytest.mark.parametrize(
    "error", [TypeError("'list' object\nis unhashable"), RecursionError(), MemoryError(),
              ZeroDivisionError("division by zero"), OSError(errno.EIO, "Input/output error"),
              AssertionError(), UnicodeDecodeError("utf-8", b"\xff", 0, 1, "bad")],
)  # fmt: skip
def test_an_error_of_a_decoder_costs_one_file(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    folder, out = folder_of(tmp_path), tmp_path / "out"
    real = reading_module._decode
    monkeypatch.setattr(reading_module, "_decode", failing(error, "1.jpg", real))
    monkeypatch.setattr(search_module, "write_report", _record_alone)
    report = run_bulk(place.cube, folder, out, top=1)
    assert (report.answered, report.unanswered, list(report.failures)) == (3, 0, ["1.jpg"])
    reason = report.failures["1.jpg"]
    assert "\n" not in reason
    if isinstance(error, OSError):
        assert reason == "cannot be read or written: Input/output error"
    else:
        assert type(error).__name__ in reason
        details = (out / mishaps.DETAILS).read_text()
        assert "Traceback" in details
        assert "1.jpg" in details
    monkeypatch.setattr(reading_module, "_decode", real)  # mended: it is tried again
    again = run_bulk(place.cube, folder, out, top=1)
    assert (again.failures, again.answered, again.kept) == ({}, 1, 3)


def _record_alone(result: Any, out: Path, *_: Any, **__: Any) -> Path:
    from geoloc.report.evidence import write_evidence

    out.mkdir(parents=True, exist_ok=True)
    write_evidence(result, out / "query.json")
    return out


@pytest.mark.parametrize(
    "error", [KeyboardInterrupt(), SystemExit(3), CubeError("chunk 0.0 is missing"),
              OSError(errno.ENOSPC, "No space left on device"), OSError(errno.EMFILE, "too many")],
)  # fmt: skip
def test_what_concerns_all_files_ends_the_run(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, error: BaseException
) -> None:
    real = reading_module._decode
    monkeypatch.setattr(reading_module, "_decode", failing(error, "1.jpg", real))
    with pytest.raises(type(error)):
        run_bulk(place.cube, folder_of(tmp_path), tmp_path / "out", top=1)


def test_a_full_disk_ends_the_answers(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real, calls = search_module.write_report, []

    def write(*args: Any, **options: Any) -> Path:
        calls.append(args[1].name)
        if args[1].name == "1":
            try:
                raise OSError(errno.ENOSPC, "No space left on device")
            except OSError as error:
                raise OutputError("cannot write: No space left on device") from error
        return real(*args, **options)

    monkeypatch.setattr(search_module, "write_report", write)
    with pytest.raises(OutputError, match="No space left"):
        run_bulk(place.cube, folder_of(tmp_path), tmp_path / "out", top=1)
    monkeypatch.setattr(search_module, "write_report", real)
    report = run_bulk(place.cube, tmp_path / "in", tmp_path / "out", top=1)
    assert (report.kept + report.answered, report.kept >= 1, report.failures) == (4, True, {})


def test_an_answer_that_fails_in_any_way_costs_itself(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def write(*args: Any, **options: Any) -> Path:
        if args[1].name == "2":
            raise KeyError("nothing")
        return _record_alone(*args, **options)

    monkeypatch.setattr(search_module, "write_report", write)
    folder, out = folder_of(tmp_path), tmp_path / "out"
    args = ["bulk", str(place.cube), str(folder), "--out", str(out), "--json"]
    done = CliRunner().invoke(app, args)
    told = json.loads(done.stdout.splitlines()[0])
    assert (told["answered"], told["unanswered"]) == (3, 1)
    assert "KeyError" in told["failures"]["items/2"]
    assert isinstance(done.exception, GeolocError)
    assert done.exit_code == 1
    assert "Traceback" in (out / mishaps.DETAILS).read_text()


def test_a_file_that_cannot_be_looked_at_costs_itself(
    place: Place, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    real = media_module.kind_of

    def look(path: Path) -> Any:
        if path.name == "3.jpg":
            raise IndexError("index out of range")
        return real(path)

    monkeypatch.setattr(media_module, "kind_of", look)
    report = run_bulk(place.cube, folder_of(tmp_path), tmp_path / "out", top=1)
    assert (report.answered, list(report.failures)) == (3, ["3.jpg"])
    assert "IndexError" in report.failures["3.jpg"]
    assert "IndexError" in (tmp_path / "out" / mishaps.DETAILS).read_text()


def test_no_details_are_kept_where_all_is_foreseen(place: Place, tmp_path: Path) -> None:
    (folder_of(tmp_path) / "4.jpg").write_text("no photo")
    assert list(run_bulk(place.cube, tmp_path / "in", tmp_path / "out", top=1).failures)
    assert not (tmp_path / "out" / mishaps.DETAILS).exists()


def test_reasons_are_one_line_and_what_is_of_the_run_goes_on(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    # what a test logs travels to the process that reports it, and half a character cannot
    monkeypatch.setattr(mishaps._LOG, "disabled", True)
    told: list[str] = []
    for error in (PhotoError("is  bad\nindeed"), UsageError("wrong"), ValueError("\ud800" * 900)):
        with contained("x", told.append):
            raise error
    assert told[:2] == ["is bad indeed", "wrong"]
    assert len(told[2]) < 1300
    assert told[2].isascii()
    inner = OSError(errno.EDQUOT, "quota")
    outer = OutputError("x")
    outer.__cause__ = inner
    assert ends_the_run(outer)
    assert not ends_the_run(OutputError("x"))


def test_a_disk_without_room_is_of_the_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(mishaps.shutil, "disk_usage", lambda _: usage._replace(free=100))
    assert ends_the_run(ValueError("short write"), tmp_path)
    assert not ends_the_run(ValueError("short write"))
