"""Pairs files: what is read, what is refused, and how class folders become pairs."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import geopandas
import pytest
from typer.testing import CliRunner

from geoloc.cli import app
from geoloc.errors import UsageError
from geoloc.pairs import Pair, pair_classes, read_class_mapping, read_pairs, write_pairs


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name in ("a.jpg", "b.jpg", "chip.png"):
        (tmp_path / name).write_bytes(b"image")
    return tmp_path


def write(folder: Path, text: str) -> Path:
    path = folder / "pairs.csv"
    path.write_text(text, encoding="utf-8")
    return path


def test_chips_and_places_may_be_mixed(folder: Path) -> None:
    path = write(
        folder,
        "photo,overhead,lon,lat,split,group\na.jpg,chip.png,,,valid,Farm\nb.jpg,,30.5,50.25,,\n",
    )
    first, second = read_pairs(path)
    assert first == Pair(folder / "a.jpg", folder / "chip.png", None, "valid", "Farm")
    assert second == Pair(folder / "b.jpg", None, (30.5, 50.25), "train", "")


def test_columns_may_have_other_names_and_a_chip_its_place(folder: Path) -> None:
    head = "Ground;Aerial;Latitude;Longitude;Subset;Azimuth;Taken"
    path = write(folder, f"{head}\na.jpg;chip.png;50.25;30.5;val;-90;2024-02-01\n")
    assert read_pairs(path) == (
        Pair(
            folder / "a.jpg", folder / "chip.png", (30.5, 50.25), "valid", "", 270.0, "2024-02-01"
        ),
    )


def test_parquet_and_geoparquet_are_tables_too(folder: Path) -> None:
    frame = geopandas.GeoDataFrame(
        {"photo": ["a.jpg", "b.jpg"], "split": ["test", None]},
        geometry=geopandas.points_from_xy([30.5, -0.125], [50.25, 51.0]),
        crs=4326,
    )
    frame.to_parquet(folder / "pairs.parquet")
    assert read_pairs(folder / "pairs.parquet") == (
        Pair(folder / "a.jpg", None, (30.5, 50.25), "test"),
        Pair(folder / "b.jpg", None, (-0.125, 51.0)),
    )


def test_what_is_written_is_read_again(folder: Path) -> None:
    pairs = (
        Pair(folder / "a.jpg", folder / "chip.png", None, "test", "x, y"),
        Pair(folder / "b.jpg", None, (-0.125, 51.0)),
        Pair(folder / "b.jpg", folder / "chip.png", (-0.1, 51.0), heading=12.5, date="2024-01-02"),
    )
    assert read_pairs(write_pairs(pairs, folder / "out.csv")) == pairs
    assert str(folder) not in (folder / "out.csv").read_text()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("photo,chip\na.jpg,chip.png\n", "unknown column 'chip'"),
        ("photo,lon\na.jpg,3\n", "needs the column photo"),
        ("photo,overhead\n", "has no pairs"),
        ("photo,overhead\nmissing.jpg,chip.png\n", "pairs.csv:2: missing.jpg does not exist"),
        ("photo,overhead,split\na.jpg,chip.png,dev\n", "unknown split 'dev'"),
        ("photo,overhead\na.jpg,\n", "give overhead, or lon and lat, or both"),
        ("photo,overhead\na.jpg,chip.png,1\n", "3 values for 2 columns"),
        ("photo,overhead,heading\na.jpg,chip.png,north\n", "heading 'north' is not degrees"),
        ("photo,lon,lat\na.jpg,30,\n", "are not degrees"),
        ("photo,lon,lat\na.jpg,364500,5577500\n", "are not degrees"),
        ("photo,lon,lat\na.jpg,nan,50\n", "are not degrees"),
        ("photo,overhead\n,chip.png\n", "photo is empty"),
        ("photo,lon,lat,lon\na.jpg,30,50,31\n", "has the column 'lon' twice"),
    ],
)
def test_bad_files_are_refused_in_one_line(folder: Path, text: str, message: str) -> None:
    with pytest.raises(UsageError, match=message) as caught:
        read_pairs(write(folder, text))
    assert "\n" not in str(caught.value)


def test_missing_and_binary_files_are_usage_errors(folder: Path) -> None:
    (folder / "binary.csv").write_bytes(b"\xff\xfe\x00")
    for name in ("nowhere.csv", "binary.csv"):
        with pytest.raises(UsageError, match=name):
            read_pairs(folder / name)


@pytest.fixture
def classes(tmp_path: Path) -> Path:
    sizes = {
        "ground/corn": 10,
        "ground/yard": 20,
        "over/Farm": 30,
        "over/Sparse": 5,
        "over/Dense": 10,
    }
    for name, size in sizes.items():
        (tmp_path / name).mkdir(parents=True)
        for i in range(size):
            (tmp_path / name / f"{i}.jpg").touch()
        (tmp_path / name / "notes.txt").touch()
    (tmp_path / "map.csv").write_text(
        "overhead_class,ground_classes,strength\nFarm,corn,ok\nSparse,yard|corn,weak\n"
        "Dense,yard,weak\n"
    )
    return tmp_path


def test_class_pairs_hold_out_files_of_both_sides(classes: Path) -> None:
    pairs = pair_classes(classes / "map.csv", classes / "ground", classes / "over", seed=3)
    for side in ("photo", "overhead"):
        splits: dict[Path, set[str]] = {}
        for pair in pairs:
            splits.setdefault(getattr(pair, side), set()).add(pair.split)
        assert all(len(found) == 1 for found in splits.values())
        per_class = Counter(path.parent.name for path, found in splits.items() if found == {"test"})
        total = Counter(path.parent.name for path in splits)
        assert {name: total[name] // 5 for name in total} == dict(per_class)
    assert {pair.photo.parent.name for pair in pairs if pair.group == "Sparse"} == {"yard", "corn"}
    assert len({pair.photo for pair in pairs}) == 30
    assert len({pair.overhead for pair in pairs}) == 45


def test_class_pairs_follow_their_seed(classes: Path) -> None:
    folders = classes / "map.csv", classes / "ground", classes / "over"
    assert pair_classes(*folders, seed=1) == pair_classes(*folders, seed=1)
    assert pair_classes(*folders, seed=1) != pair_classes(*folders, seed=2)


def test_a_class_without_a_folder_is_named(classes: Path) -> None:
    (classes / "map.csv").write_text("overhead_class,ground_classes\nFarm,wheat\n")
    with pytest.raises(UsageError, match="wheat"):
        pair_classes(classes / "map.csv", classes / "ground", classes / "over")
    (classes / "map.csv").write_text("from,to\nFarm,wheat\n")
    with pytest.raises(UsageError, match="overhead_class"):
        pair_classes(classes / "map.csv", classes / "ground", classes / "over")


@pytest.mark.parametrize("words", [("pairs", "classes"), ("pairs",)])
def test_the_command_has_a_name_and_is_the_group_s_own_too(
    classes: Path, words: tuple[str, ...]
) -> None:
    out = classes / "out.csv"
    folders = ["--ground", str(classes / "ground"), "--overhead", str(classes / "over")]
    done = CliRunner().invoke(app, [*words, *folders, "--out", str(out), str(classes / "map.csv")])
    assert done.exit_code == 0, done.output
    assert {pair.group for pair in read_pairs(out)} == {"Farm", "Sparse", "Dense"}


def test_an_unknown_command_of_pairs_is_invalid_usage() -> None:
    done = CliRunner().invoke(app, ["pairs", "chek", "pairs.csv"])
    assert done.exit_code == 2
    assert "chek" in done.output


@pytest.mark.parametrize(
    "text",
    [
        "\ufeffoverhead_class;ground_classes\r\nFarm land;corn field | hay field\r\n",
        "ground_classes\tOverhead_Class\ncorn field|hay field\tFarm land\n",
        "overhead_class , ground_classes\n Farm land , corn field,\nFarm land,hay field\n",
    ],
)
def test_class_mappings_come_from_any_spreadsheet(folder: Path, text: str) -> None:
    path = folder / "classes.csv"
    path.write_bytes(text.encode())
    assert read_class_mapping(path) == {"Farm land": ("corn field", "hay field")}


def test_a_class_mapping_is_refused_in_one_line(folder: Path) -> None:
    for content, words in (
        (b"overhead_class,ground_classes\nPort,harbor,more\n", r"classes.csv:2: has 3 values"),
        ("overhead_class,ground_classes\nÉté,x\n".encode("latin-1"), "not in UTF-8"),
        (b"a,b\n1,2\n", "needs the columns"),
        (b"", "is empty"),
    ):
        path = folder / "classes.csv"
        path.write_bytes(content)
        with pytest.raises(UsageError, match=words) as caught:
            read_class_mapping(path)
        assert "\n" not in str(caught.value)
