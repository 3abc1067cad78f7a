"""Files that are whole or not there, whoever fails, is killed, or writes at once."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from pathlib import Path

import pytest

from geoloc.files.whole import file_sha256, is_remains, whole_file, write_whole
from geoloc.pairs import Pair, write_pairs


def test_what_cannot_be_finished_leaves_the_file_before(tmp_path: Path) -> None:
    write_whole(tmp_path / "a.csv", "старе")
    with pytest.raises(KeyboardInterrupt), whole_file(tmp_path / "a.csv") as part:
        part.write_text("half")
        raise KeyboardInterrupt
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == {
        "a.csv": "старе".encode()
    }
    write_whole(tmp_path / "a.csv", b"new")
    assert file_sha256(tmp_path / "a.csv") == hashlib.sha256(b"new").hexdigest()


@pytest.mark.parametrize("alone", [False, True])
def test_the_name_beside_is_known_and_hidden_and_ends_alike(tmp_path: Path, alone: bool) -> None:
    for name in ("a.csv", "a.b.npy", "noending"):
        with whole_file(tmp_path / name, alone=alone) as part:
            part.write_text("x")
            assert is_remains(part.name)
            assert part.name.startswith(".")
            assert part.suffix == (Path(name).suffix or ".part")
        assert not is_remains(name)
    assert not is_remains("part.csv")
    assert not is_remains(".hidden")


def test_two_who_write_one_file_at_once_do_not_mix(tmp_path: Path) -> None:
    path = tmp_path / "a.txt"
    code = (
        "import sys, pathlib\n"
        "from geoloc.files.whole import whole_file\n"
        "with whole_file(pathlib.Path(sys.argv[1])) as part:\n"
        "    part.write_text('theirs' * 9)\n"
        "    print('begun', flush=True)\n"
        "    sys.stdin.readline()\n"
    )
    command = [sys.executable, "-c", code, str(path)]
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE}
    with subprocess.Popen(command, **pipes, text=True) as other:  # type: ignore[call-overload]
        assert other.stdout.readline() == "begun\n"
        write_whole(path, "mine")
        assert path.read_text() == "mine"
        other.communicate("go\n")
    assert path.read_text() == "theirs" * 9


def test_pairs_that_cannot_be_written_leave_those_before(tmp_path: Path) -> None:
    pair = Pair(photo=tmp_path / "a.jpg", overhead=tmp_path / "a.png", lonlat=None)
    before = write_pairs([pair], tmp_path / "pairs.csv").read_bytes()

    def torn() -> object:
        yield pair
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        write_pairs(torn(), tmp_path / "pairs.csv")  # type: ignore[arg-type]
    assert (tmp_path / "pairs.csv").read_bytes() == before
    assert len(list(tmp_path.iterdir())) == 1
