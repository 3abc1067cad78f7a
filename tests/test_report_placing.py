"""A folder's answer is the old or the new one, whenever the process is killed."""

from __future__ import annotations

import fcntl
import json
import os
from pathlib import Path

import pytest

from geoloc.report import placing, write_report
from geoloc.report.outputs import RECORD, faults_of_outputs
from geoloc.report.placing import PART, place, settle_all
from tests.dying import die
from tests.report_sample import sample

OLD = {"query.json": json.dumps({"outputs": {"a.tif": "", "gone.png": ""}}), "a.tif": "old",
       "gone.png": "old"}  # fmt: skip
NEW = {"query.json": "{}", "a.tif": "new", "b.png": "new"}
OTHERS = {"notes.txt": "mine", "photo.jpg": "preview"}


def write(folder: Path, files: dict[str, str]) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text)


def read(folder: Path) -> dict[str, str]:
    return {p.name: p.read_text() for p in folder.iterdir() if p.is_file()}


@pytest.fixture
def out(tmp_path: Path) -> Path:
    """An answer, a new one for its place, and things of a user, a folder among them."""
    folder = tmp_path / "answers" / "street"
    write(folder, OLD | OTHERS)
    write(folder / "my folder", {"x": "mine"})
    write(folder / PART, NEW)
    return folder


def test_the_new_answer_is_there_with_what_is_not_of_the_old(out: Path) -> None:
    out.chmod(0o750)
    assert place(out / PART, out)
    assert read(out) == NEW | OTHERS
    assert read(out / "my folder") == {"x": "mine"}
    assert out.stat().st_mode & 0o777 == 0o750
    assert [path.name for path in out.parent.iterdir()] == ["street"]


@pytest.mark.parametrize(
    "change",
    [r"rename .*geoloc-part .*geoloc-new", r"link .*notes", r"rename .*my folder", r"rmdir|remove"],
)
def test_whenever_it_is_killed(out: Path, change: str) -> None:
    die(
        "from pathlib import Path; from geoloc.report.placing import place\n"
        f"out = Path({str(out)!r}); place(out / {PART!r}, out)",
        change,
    )
    assert read(out) in (OLD | OTHERS, NEW | OTHERS)
    assert (read(out) == NEW | OTHERS) == change.startswith(("rename .*my", "rm"))
    settle_all(out.parent)
    assert [path.name for path in out.parent.iterdir()] == ["street"]
    assert read(out) in (OLD | OTHERS, NEW | OTHERS)
    assert read(out / "my folder") == {"x": "mine"}
    write(out / PART, NEW)
    assert place(out / PART, out)
    assert read(out) == NEW | OTHERS


@pytest.mark.parametrize(
    ("change", "title"),
    [
        (r"open .*report\.html", "old"),
        (r"rename .*geoloc-new", "old"),
        (r"remove (\w|\.)+$", "new"),
    ],
)
def test_a_report_killed_as_it_is_written_anew(tmp_path: Path, change: str, title: str) -> None:
    """While it is written, as it is put beside, and as the old one is removed."""
    out = tmp_path / "a"
    write_report(sample(title="old"), out)
    die(
        "from pathlib import Path; from geoloc.report import write_report\n"
        "from tests.report_sample import sample\n"
        f"write_report(sample(title='new'), Path({str(out)!r}))",
        change,
    )
    record = json.loads((out / RECORD).read_text())
    assert record["title"] == title
    assert list(faults_of_outputs(out, record)) == []
    write_report(sample(title="third"), out)
    assert json.loads((out / RECORD).read_text())["title"] == "third"
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert not (out / PART).exists()


def test_an_interruption_leaves_nothing_beside(out: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_: object) -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(placing, "swap", interrupted)
    with pytest.raises(KeyboardInterrupt):
        place(out / PART, out)
    assert read(out) == OLD | OTHERS
    assert [path.name for path in out.parent.iterdir()] == ["street"]


def test_where_it_cannot_be_done_nothing_has_changed(
    out: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(placing, "swap", lambda *_: False)
    assert not place(out / PART, out)
    assert read(out) == OLD | OTHERS
    assert read(out / PART) == NEW
    assert [path.name for path in out.parent.iterdir()] == ["street"]


def test_a_folder_where_a_file_belongs_is_not_ours_to_remove(out: Path) -> None:
    (out / "a.tif").unlink()
    write(out / "a.tif", {"x": "mine"})
    with pytest.raises(IsADirectoryError, match=r"a\.tif"):
        place(out / PART, out)
    assert read(out / "a.tif") == {"x": "mine"}
    assert read(out / PART) == NEW


def test_a_link_to_a_folder_stays_a_link(out: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(out)
    assert place(link / PART, link)
    assert link.is_symlink()
    assert read(out) == NEW | OTHERS


def test_a_folder_that_is_being_written_is_left_alone(out: Path) -> None:
    aside = out.with_name(".street.geoloc-new")
    write(aside, NEW)
    handle = os.open(out, os.O_RDONLY)
    try:
        fcntl.flock(handle, fcntl.LOCK_EX)
        settle_all(out.parent)
        assert aside.exists() and (out / PART).exists()
    finally:
        os.close(handle)
    settle_all(out.parent)
    assert not aside.exists() and not (out / PART).exists()
    assert read(out) == OLD | OTHERS
    (out / RECORD).unlink()
    (out / PART).mkdir()
    settle_all(out.parent)
    assert (out / PART).exists()  # it is of the answer that is not there yet
