"""The options of queries: where each shows, what is refused, and how an option is added."""

from __future__ import annotations

import datetime as dt
import json
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import pytest
from pydantic import Field, ValidationError

from geoloc.errors import UsageError
from geoloc.query import open_target, repeat_query, search_scene
from geoloc.query.options import Option, QueryOptions, Use
from geoloc.query.record import read_record
from geoloc.query.session import QuerySession
from geoloc.search import RADIUS
from tests.cubes import write_cube

CLASSES = ("abbey", "airfield", "alley", "beach", "bridge")
POLYGON = {"type": "Polygon", "coordinates": [[[0, 50], [60, 50], [60, 52], [0, 52], [0, 50]]]}


class Tilted(QueryOptions):
    """With an option that nobody has: it is added by this field alone."""

    tilt: Annotated[
        float,
        Field(ge=0, le=9, description="How steep it may be."),
        Option((Use.QUERY, Use.SCENE), served=True, recorded=True, shared=True),
    ] = 0.0


@pytest.fixture
def cube(tmp_path: Path) -> Path:
    features = np.random.default_rng(3).normal(0, 2, (15, 22, 5)).astype(np.float32)
    write_cube(tmp_path / "cube.zarr", features, classes=CLASSES)
    return tmp_path / "cube.zarr"


def test_every_option_says_what_it_does_and_where_it_shows() -> None:
    for name, (info, option) in QueryOptions.options().items():
        assert (info.description or "").endswith("."), name
        assert option.uses or option.recorded, name
        assert option.recorded or not option.shared, name


def test_the_usual_radius_is_that_of_candidates() -> None:
    assert QueryOptions().radius == RADIUS


def test_keywords_and_a_model_are_the_same_options() -> None:
    day = dt.date(2024, 6, 30)
    told = QueryOptions.of(Use.QUERY, top=3, weights={"indoor": 2}, within="a.geojson", epoch=day)
    assert told == QueryOptions(
        top=3, weights={"indoor": 2.0}, within=Path("a.geojson"), generation=day
    )
    assert QueryOptions.of(Use.QUERY, generation="g0001").generation == "g0001"
    assert QueryOptions.of(Use.QUERY, told, top=4) == told.model_copy(update={"top": 4})
    usual: dict[str, Any] = dict.fromkeys(("top", "radius", "weights", "sensitive", "crops"))
    assert QueryOptions.of(Use.QUERY, **usual) == QueryOptions()


@pytest.mark.parametrize(
    ("use", "keywords", "words"),
    [
        (Use.QUERY, {"tpo": 3}, "unknown option 'tpo' of query: did you mean 'top'"),
        (Use.QUERY, {"xyzzy": None}, "unknown option 'xyzzy' of query: the options are top, wit"),
        (Use.SCENE, {"fuse": True}, "unknown option 'fuse' of scene"),
        (Use.SCENE, {"feedback": True}, "unknown option 'feedback' of scene"),
        (Use.BULK, {"truth": "1,2"}, "unknown option 'truth' of bulk"),
        (Use.QUERY, {"within_sha256": "0"}, "unknown option 'within_sha256'"),
        (Use.SCENE, {"scene": "beach"}, "unknown option 'scene'"),
        (Use.QUERY, {"top": 0}, "top: Input should be greater than or equal to 1"),
        (Use.QUERY, {"top": 1 << 31}, "top: Input should be less than"),
        (Use.QUERY, {"radius": -1}, "radius: "),
        (Use.QUERY, {"radius": float("inf")}, "radius: Input should be a finite number"),
        (Use.QUERY, {"generation": ""}, "name a generation"),
        (Use.BULK, {"regions": 0}, "regions: Input should be greater than 0"),
        (Use.BULK, {"regions": float("nan")}, "regions: Input should be a finite number"),
        (Use.SCENE, {"ranking": "best"}, "ranking: Input should be 'minimum', 'quantile', 'c"),
        (Use.QUERY, {"border": "a.geojson"}, "unknown option 'border'"),
        (Use.QUERY, {"radius": 1e300}, "radius: Input should be less than 100000000"),
        (Use.QUERY, {"weights": {"indoor": "much"}}, r"weights\.indoor: "),
        (Use.QUERY, {"within": "a\0b"}, "within: a path must not contain a NUL character"),
        (Use.QUERY, {"crops": [(1, 2, 3)]}, r"crops\.0"),
        (Use.QUERY, {"cluster": "moon"}, "--cluster moon: say auto, inline"),
    ],
)
def test_what_is_not_valid_is_refused_in_one_line(
    use: Use, keywords: dict[str, Any], words: str
) -> None:
    with pytest.raises(UsageError, match=words) as refused:
        QueryOptions.of(use, **keywords)
    assert "\n" not in str(refused.value)


def test_options_of_another_use_are_not_passed_over() -> None:
    with pytest.raises(UsageError, match="unknown option 'fuse' of bulk"):
        QueryOptions.of(Use.BULK, QueryOptions(fuse=True))


def test_a_record_keeps_what_the_answer_depends_on() -> None:
    options = QueryOptions(
        top=3, radius=20, weights={"indoor": 0.5}, within=Path("/a/é\udcff.geojson"), fuse=True,
        within_sha256="0" * 64, scene="beach", generation=dt.date(2024, 6, 30), cluster="local",
        sensitive=True, truth="1,2", crops=((1, 2, 3, 4),), check_digests=True,
        regions=500, ranking="corrected", places_above=5, feedback=True,
    )  # fmt: skip
    record = json.loads(json.dumps(options.record(), allow_nan=False))
    assert list(record) == [
        "top", "within", "within_sha256", "radius", "regions", "ranking", "border",
        "border_sha256", "weights", "feedback", "scene", "epoch",
    ]  # fmt: skip
    assert record["within"] == "/a/é\\udcff.geojson" and record["epoch"] == "2024-06-30"
    again = QueryOptions.of_record(record)
    assert again.record() == {**record, "within": again.record()["within"]}
    assert (again.fuse, again.truth, again.crops) == (False, None, ())
    assert (again.regions, again.ranking, again.places_above) == (500, "corrected", 100_000)
    assert again.feedback


def test_a_record_asks_for_nothing_that_it_does_not_keep() -> None:
    told = {"top": 2, "model": "/etc", "fetch_imagery": True, "cluster": "tcp://x:1", "new": 1}
    assert QueryOptions.of_record(told) == QueryOptions(top=2)
    assert QueryOptions.of_record({"weights": None}) == QueryOptions(weights={})


@pytest.mark.parametrize(
    "told",
    [
        {"top": "3"}, {"top": 0}, {"top": None}, {"top": True}, {"top": 1 << 40}, {"radius": -1},
        {"radius": float("nan")}, {"radius": None}, {"within": 3}, {"within": "a\0"},
        {"within_sha256": 5}, {"weights": {"a": float("inf")}}, {"weights": "a"}, {"scene": 1},
        {"epoch": 4},
    ],
    ids=str,
)  # fmt: skip
def test_a_record_that_is_not_as_it_was_written_is_refused(told: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        QueryOptions.of_record(told)


def test_a_session_knows_the_polygon_s_digest_and_the_class_s_exact_name(
    cube: Path, tmp_path: Path
) -> None:
    (tmp_path / "p.geojson").write_text(json.dumps(POLYGON))
    options = QueryOptions(within=tmp_path / "p.geojson", scene="Beach")
    session = QuerySession.of(open_target(cube), options)
    assert session.parameters["scene"] == "beach"
    assert len(session.parameters["within_sha256"]) == 64 and session.polygon is not None


def test_an_option_is_added_by_its_field_alone(
    cube: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Keyword, session, record and repetition; see also test_cli_options, test_flows_parameters."""
    for module in ("run", "record", "recorded"):
        monkeypatch.setattr(f"geoloc.query.{module}.QueryOptions", Tilted)
    with pytest.raises(UsageError, match="tilt: Input should be less than or equal to 9"):
        search_scene(cube, "beach", tmp_path / "out", tilt=10)
    search_scene(cube, "beach", tmp_path / "out", top=2, tilt=2.5)
    path = tmp_path / "out" / "beach" / "query.json"
    record = read_record(path)
    assert record["parameters"]["tilt"] == 2.5 and "tilt" in Tilted.shared()

    asked: list[Any] = []
    real = QuerySession.of
    monkeypatch.setattr(QuerySession, "of", lambda *a, **k: asked.append(a[1]) or real(*a, **k))
    assert repeat_query(path).exact
    assert asked[0].tilt == 2.5 and asked[0].top == 2

    record["parameters"]["tilt"] = "steep"
    path.write_text(json.dumps(record))
    with pytest.raises(UsageError, match=r"is damaged \(parameters\.tilt: "):
        repeat_query(path)
