"""Running a recorded query again: does it give the same answer?"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np

from ..area import Area, polygon_file
from ..arrays import F32
from ..cube import Cube, list_generations
from ..errors import CubeError, GeolocError, ModelError, UsageError
from ..models import Model, is_url, load_model, model_of_digest
from ..names import text_path
from ..photos import Photo, PhotoView, read_photo
from ..progress import Stages, silent
from ..report import QueryResult
from ..report.evidence import evidence
from ..report.outputs import faults_of_outputs, stands_alone
from ..search import fuse
from ..stores import local_path, without_secrets
from ..video import read_frame
from .encode import encode_batches
from .items import QueryItem
from .options import QueryOptions
from .record import read_record, records_of_models
from .run import answer_scene
from .searcher import ModelSearcher, Searcher
from .session import QuerySession, file_digest
from .tandem import Tandem, TandemSearcher, assemble
from .target import Ref, Target, cube_url, seen_by_model, several_models

ROUNDING = 1e-4
"""Relative difference of distances that is put down to rounding: a photo that was encoded and
searched for together with others takes other kernels, which add in another order."""

_NUMBERS = ("vector", "candidates", "summary")
_CUBE = ("area", "model", "model_digest", "metric", "encoding", "classes", "cells")  # never change
_OF_REGION = ("distance", "best_score", "second", "score")  # numbers that may differ by rounding
_LEAST_DISTANCE, _LEAST_SCORE = 1e-9, 1.0  # below these their difference itself counts
_DERIVED = ("candidates", "match", "calibration")  # the first are those of the same places
"""Where numbers beside places and distances are reported; words change with the version."""
_BESIDE = ("explanation", "links")  # of a candidate: words, and what order rounding may change
_LEAST_SHARE, _LEAST_PERCENTILE, _LEAST_RANK, _OF_RANK = 1e-3, 0.1, 2, 0.01
"""Room for places that rounding puts before others: of ranks so many, and so large a share."""
_HUGE = 1e300  # JSON may hold integers that no float can
_LISTED = 3  # numbers that are named one by one
_SHOWN = 120  # characters of a value that a line quotes
_MADE_UP = ("/proc", "/sys", "/dev/fd", "/dev/pts")

Record = Mapping[str, Any]


@dataclass(frozen=True)
class Repetition:
    """What a repetition gave.

    exact: every recorded number is the same, to the last bit; same: the same places in the same
    order, distances and vector within ROUNDING, the evidence (model, cube, grid, imagery) as
    recorded; largest: the largest relative difference of a candidate's distance (None where the
    places differ); differences: one line each, of whatever is not as recorded, versions included.
    """

    exact: bool
    same: bool
    largest: float | None
    differences: tuple[str, ...]

    def lines(self) -> Iterator[str]:
        """For people, the verdict first."""
        if self.exact:
            yield "reproduced exactly: vector, every distance and every candidate to the last bit"
        elif self.same:
            yield (
                "reproduced but for rounding: the same places in the same order; the largest "
                f"relative difference of a distance is {self.largest:.1e}"
            )
        else:
            yield "NOT reproduced"
        yield from (f"  {line}" for line in self.differences)

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "exact": self.exact,
            "same": self.same,
            "largest_difference": self.largest,
            "differences": list(self.differences),
        }


def repeat_query(
    record: str | Path, *, cube: str | Path | None = None, media: str | Path | None = None
) -> Repetition:
    """Ask again what ``query.json`` records, of the same originals, cube generation and model.

    ``cube``: where the cube is now; ``media``: the folder where the originals are now. Nothing
    is written. A record may be a stranger's: no server is asked that it alone names, and files
    that it names are read no further than to see whether they have the recorded SHA-256. The
    files beside the record are compared with its digests first: where one is not what was
    written with it, the answer is not reproduced, whatever the numbers say. Raises
    UsageError for a file that is no record or is damaged, for an original that is missing or
    changed, and for a cube elsewhere that ``cube`` does not name; CubeError and ModelError where
    cube or model, by its digest, cannot be had any more.
    """
    path = Path(record)
    before = read_record(path)
    faults, notes = _of_files(path.parent, before)
    result = _answer(before, cube, None if media is None else Path(media))
    outcome = compare(before, evidence(result))
    if faults:
        numbers = ("the numbers of the record are reproduced",) if outcome.same else ()
        outcome = replace(
            outcome, exact=False, same=False, differences=numbers + outcome.differences
        )
    return replace(outcome, differences=(*faults, *notes, *outcome.differences))


def _of_files(folder: Path, record: Record) -> tuple[tuple[str, ...], tuple[str, ...]]:
    """What is wrong with the files beside a record, and what could not be compared."""
    if record.get("outputs") is None:
        return (), (
            "an older geoloc wrote this record, without digests of its files: they were not "
            "compared",
        )
    if stands_alone(folder, record):
        return (), ("the record has no files beside it: they were not compared",)
    return tuple(faults_of_outputs(folder, record)), ()


def compare(before: Record, after: Record) -> Repetition:
    """Two records of the same question."""
    largest = _largest_difference(before["candidates"], after["candidates"])
    other = list(_other(before, after))
    exact = not other and all(before[key] == after[key] for key in _NUMBERS)
    exact = exact and _said_alone(before) == _said_alone(after)
    exact = exact and before.get("regions") == after.get("regions")
    same = not other and largest is not None and largest <= ROUNDING
    return Repetition(exact, same, largest, (*other, *_remarks(before, after, largest)))


def _other(before: Record, after: Record) -> Iterator[str]:
    """What is not the recorded evidence, by more than rounding; one line each."""
    for name, was, now in _facts(before, after):
        if was != now:
            yield f"{name} is not as recorded: it was {_brief(was)}, is {_brief(now)}"
    for name, was, now in _measures(before, after):
        if not _near(was, now):
            yield f"{name} differs by more than rounding"
    for name, was, now in zip(_names(before), _said_alone(before), _said_alone(after), strict=True):
        largest = _largest_difference(was, now)
        if largest is None or largest > ROUNDING:
            yield f"{name}.candidates are not as recorded: other places, order or distances"
    yield from _retold(before, after)
    if not _same_regions(before.get("regions"), after.get("regions")):
        yield "regions are not as recorded: other places, order, numbers or rules"


def _facts(before: Record, after: Record) -> Iterator[tuple[str, Any, Any]]:
    """What has to be the same to the letter: name, as recorded, as it is now."""
    for name, was, now in _by_model(before, after):
        yield f"{name}model.digest", *(record["model"].get("digest") for record in (was, now))
        for key in _CUBE:
            if key in was["cube"]:
                yield f"{name}cube.{key}", was["cube"][key], now["cube"][key]
    for was, now in zip(_models(before), _models(after), strict=True):
        if "cells_known" in was:
            yield f"{was['name']}.cells_known", was["cells_known"], now["cells_known"]
    for key in ("calibration", "weights", "bank"):
        yield key, *(_tandem_fact(record, key) for record in (before, after))
    yield "grid", before["grid"], after["grid"]
    yield "imagery", before["imagery"], after["imagery"]
    for key in ("cells", "cells_known"):
        yield f"summary.{key}", before["summary"][key], after["summary"][key]


def _measures(before: Record, after: Record) -> Iterator[tuple[str, Any, Any]]:
    """Numbers by name, which may differ by rounding."""
    for name, was, now in _by_model(before, after):
        yield f"{name}vector", was["vector"], now["vector"]
    if _models(before):
        yield "vector", before["vector"], after["vector"]
    parts = [record["summary"]["distance_quantiles"] for record in (before, after)]
    yield "summary.distance_quantiles", *parts


def _retold(before: Record, after: Record) -> Iterator[str]:
    """Percentiles, scores and other numbers of the answer that differ by more than rounding.

    What only one of two versions records is not compared; nor is it for other candidates.
    """
    keys = _DERIVED[_largest_difference(before["candidates"], after["candidates"]) is None :]
    recorded, told = (
        {key: record.get(key) for key in keys} | _candidates_alone(record)
        for record in (before, after)
    )
    far = [one for one in _numbers(recorded, told) if not _as_recorded(*one)]
    for name, was, now in far[:_LISTED]:
        yield f"{name} is not as recorded: it was {_brief(was)}, is {_brief(now)}"
    if len(far) > _LISTED:
        yield f"numbers of the answer that are not as recorded either: {len(far) - _LISTED}"


def _candidates_alone(record: Record) -> dict[str, Any]:
    return {
        name: {"candidates": found}
        for name, found in zip(_names(record), _said_alone(record), strict=True)
    }


def _as_recorded(name: str, was: float, now: float) -> bool:
    room, least = {
        "percentile": (ROUNDING, _LEAST_PERCENTILE),
        "rank": (_OF_RANK, _LEAST_RANK),
    }.get(name.rpartition(".")[2], (ROUNDING, _LEAST_SHARE))
    size = max(abs(was), abs(now))
    return size < _HUGE and abs(was - now) <= max(room * size, least)


def _numbers(was: Any, now: Any, name: str = "") -> Iterator[tuple[str, float, float]]:
    """Each number that both have, by the names that lead to it; as deep as ``now`` is."""
    if _is_number(was) and _is_number(now):
        yield name, was, now
    before = dict(_inside(was))
    for key, one in _inside(now):
        if key in before and key not in _BESIDE:
            yield from _numbers(before[key], one, f"{name}.{key}" if name else key)


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _inside(value: Any) -> Iterable[tuple[str, Any]]:
    """What is in a mapping, by name, or in a list, by number."""
    if isinstance(value, list):
        return ((str(number), one) for number, one in enumerate(value, start=1))
    return value.items() if isinstance(value, Mapping) else ()


def _by_model(before: Record, after: Record) -> Iterator[tuple[str, Record, Record]]:
    """Both records as those of each model, and its name with a point, "" of one alone."""
    names = [f"{name}." for name in _names(before)] or [""]
    yield from zip(names, records_of_models(before), records_of_models(after), strict=True)


def _models(record: Record) -> Sequence[Record]:
    """What a record holds of each of several models; nothing of one alone."""
    models: Sequence[Record] = record.get("tandem", {}).get("models", ())
    return models


def _names(record: Record) -> list[str]:
    """Of several models; none of one alone."""
    return [one["name"] for one in _models(record)]


def _said_alone(record: Record) -> list[list[Any]]:
    """The candidates that each of several models has by itself; none of one alone."""
    return [one["candidates"] for one in _models(record)]


def _tandem_fact(record: Record, key: str) -> Any:
    """The weights, the photos of the bank or another fact of several models; None of one alone."""
    tandem = record.get("tandem")
    if tandem is None:
        return None
    if key == "calibration":
        return tandem[key]
    if key == "weights":
        return [round(one["weight"], 9) for one in tandem["models"]]
    return sorted(photo["sha256"] for photo in tandem["bank"])


def _near(was: Mapping[str, float], now: Mapping[str, float]) -> bool:
    """The same names, and numbers that differ by rounding of the largest."""
    if was.keys() != now.keys():
        return False
    room = ROUNDING * max(map(abs, [*was.values(), *now.values()]), default=0.0)
    return all(abs(was[name] - now[name]) <= room for name in was)


def _brief(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}…"


def _same_regions(was: Any, now: Any) -> bool:
    """Whether they are the same regions at the same places, of numbers that differ by rounding."""
    if not isinstance(was, Mapping) or not isinstance(now, Mapping):
        return bool(was == now)
    own, other = was.get("good_regions"), now["good_regions"]
    rules = [{**regions, "good_regions": None} for regions in (was, now)]
    return (
        rules[0] == rules[1]
        and isinstance(own, list)
        and len(own) == len(other)
        and all(map(_same_region, own, other))
    )


def _same_region(was: Any, now: Mapping[str, Any]) -> bool:
    if not isinstance(was, Mapping) or was.keys() != now.keys():
        return False
    least = _LEAST_SCORE if "best_score" in now else _LEAST_DISTANCE
    return all(
        was[name] == now[name]
        or (
            name in _OF_REGION
            and isinstance(was[name], float)
            and isinstance(now[name], float)
            and _difference(was[name], now[name], least) <= ROUNDING
        )
        for name in now
    )


def _remarks(before: Record, after: Record, largest: float | None) -> Iterator[str]:
    """What else differs: in the last digits, or beside the answer."""
    if largest is None:
        yield "the candidates are different places, or in a different order"
    if differing := [k for k in (*_NUMBERS, "regions") if before.get(k) != after.get(k)]:
        yield f"not the same to the last bit: {', '.join(differing)}"
    built, again = (record["cube"].get("created") for record in (before, after))
    if built != again:
        yield f"the cube of this generation was created {built}, the one there now {again}"
    was, now = before.get("versions", {}), after["versions"]
    for name in sorted({*was, *now}):
        if was.get(name) != now.get(name):
            yield f"{name} was {was.get(name, 'absent')}, is {now.get(name, 'absent')}"


def _largest_difference(before: list[Any], after: list[Any]) -> float | None:
    """Relative difference of distances, or None where the places are not the same.

    Scores of several models may be 0 anywhere.
    """
    places = [[(c["rank"], c["lon"], c["lat"]) for c in places_of] for places_of in (before, after)]
    if places[0] != places[1]:
        return None
    of_distances = "distance" in (before or [{}])[0]
    key, least = ("distance", _LEAST_DISTANCE) if of_distances else ("score", _LEAST_SCORE)
    pairs = zip(before, after, strict=True)
    return max((_difference(a[key], b[key], least) for a, b in pairs), default=0.0)


def _difference(was: float, now: float, least: float) -> float:
    """Relative to the larger number, or to ``least``."""
    return abs(was - now) / max(abs(was), abs(now), least)


def _answer(record: Record, cube: str | Path | None, media: Path | None) -> QueryResult:
    if "tandem" in record:
        return _answer_in_tandem(record, cube, media)
    (moved,), options = parts_moved(record, cube), recorded_options(record)
    target = Target(recorded_cube(record, moved))
    if record["model"].get("digest") not in (None, target.cube.model_digest):
        target = seen_by_model(target, recorded_model(record, target).path)
    session = QuerySession.of(target, options)
    if session.options.scene:
        return answer_scene(ModelSearcher(session, None))
    model = recorded_model(record, session.target)
    return _asked_again(ModelSearcher(session, model), record, media)


def _asked_again(searcher: Searcher, record: Record, media: Path | None) -> QueryResult:
    item = recorded_question(record, searcher.models, media)
    return searcher.answer(item, searcher.search([item])[0])


def _answer_in_tandem(record: Record, cube: str | Path | None, media: Path | None) -> QueryResult:
    parts, moved = records_of_models(record), parts_moved(record, cube)
    targets = [Target(recorded_cube(*one)) for one in zip(parts, moved, strict=True)]
    models = [recorded_model(*one) for one in zip(parts, targets, strict=True)]
    seen = [
        seen_by_model(target, model.path) for target, model in zip(targets, models, strict=True)
    ]
    options, bank = recorded_options(record), recorded_bank(record, media)
    searcher = TandemSearcher(recorded_tandem(record, seen, models, bank, options))
    return answer_scene(searcher) if options.scene else _asked_again(searcher, record, media)


def recorded_bank(record: Record, media: Path | None = None) -> list[Path]:
    """The photos that several models were calibrated by, certainly unchanged; see `reread`."""
    bank = record["tandem"]["bank"] if "tandem" in record else ()
    return [_original({"file": Path(one["path"]).name, **one}, media) for one in bank]


def recorded_tandem(
    record: Record,
    targets: Sequence[Target],
    models: Sequence[Model],
    bank: Sequence[Path],
    options: QueryOptions,
    progress: Stages = silent,
) -> Tandem:
    """The recorded models with their names, weights and names of the scene, asked of these
    cubes."""
    told = record["tandem"]["models"]
    weights, names = [one["weight"] for one in told], [one["name"] for one in told]
    scenes = [one["scene"] for one in told] if options.scene else None
    options = options.model_copy(update={"generation": None})
    return assemble(
        targets, models, bank, weights, options, names=names, scenes=scenes, progress=progress
    )


def parts_moved(record: Record, cube: str | Path | None) -> list[Ref | None]:
    """Where the cube of a record is now, or those of several models: those of an area file, each
    by the digest of the model that made it, in whichever order the file names them."""
    parts = records_of_models(record)
    area = None if cube is None else several_models(cube)
    if cube is None or (area is None and len(parts) == 1):
        return [cube] * len(parts)
    if area is None or len(area.parts) < len(parts):
        raise UsageError(
            f"the record is of {len(parts)} models, each with a cube: give --cube the area file "
            "that names them all"
        )
    left = [(part, _made_by(part.cube)) for part in area.parts]
    return [_taken(left, one["cube"], cube) for one in parts]


def _made_by(cube: str) -> str | CubeError:
    """The digest of the model that made a cube, or why it cannot be opened: none may ask for it."""
    try:
        return Cube.open(cube).model_digest
    except CubeError as error:
        return error


def _taken(left: list[tuple[Area, str | CubeError]], cube: Record, area: str | Path) -> Area:
    """The first area that is left with a cube of the recorded one's model; it is left no more.

    Raises UsageError where there is none, CubeError where one that cannot be opened may be it.
    """
    digest = str(cube.get("model_digest"))
    for place in left:
        if place[1] == digest:
            left.remove(place)
            return place[0]
    for _, made_by in left:
        if isinstance(made_by, CubeError):
            raise made_by
    raise UsageError(
        f"{area} names no cube of model {cube.get('model')} ({digest[:12]}), which the record "
        "has: give the area file of the recorded models"
    )


def recorded_question(
    record: Record, models: Sequence[Model], media: Path | None = None, name: str = ""
) -> QueryItem:
    """What was asked with: the photos as they were looked at, certainly unchanged, encoded anew;
    the vectors of several models one behind the other.

    ``name``: of its folder. Raises UsageError where an original is missing or changed, PhotoError
    where it cannot be decoded.
    """
    photos, vector = _encode(record, models, media)
    return QueryItem(record["title"], name, tuple(photos), vector)


def cube_named(record: Record, moved: Ref | None) -> Ref:
    """Where the record's cube is. Raises UsageError where that is elsewhere and not confirmed."""
    url = str(record["cube"]["cube"])
    if moved is None and local_path(url) is None:
        raise UsageError(
            f"the record names the cube {without_secrets(url)[:200]}, which is not on this "
            "disk, and a record may come from anyone: if you know it, name it with --cube"
        )
    return url if moved is None else moved


def recorded_cube(record: Record, moved: Ref | None) -> Cube:
    """The recorded generation, whichever is the current one."""
    named, generation = cube_named(record, moved), record["cube"]["generation"]
    url = str(named) if moved is None else cube_url(named)
    names = [one.name for one in list_generations(url)]
    if names and generation not in names:
        raise CubeError(
            f"cube {url} no longer has generation {generation}, which gave this answer: it was "
            f"pruned, and the answer cannot be repeated (still there: {', '.join(names)})"
        )
    return Cube.open(url, generation)


def recorded_options(record: Record) -> QueryOptions:
    """The recorded options, the polygons certainly unchanged. Raises UsageError."""
    options = QueryOptions.of_record(record["parameters"])
    files = {"within": options.within_sha256, "border": options.border_sha256}
    named = {key: getattr(options, key) for key in files if getattr(options, key) is not None}
    paths = {key: Path(text_path(str(path))) for key, path in named.items()}
    for key, path in paths.items():
        _require_stored(polygon_file(path))
        if file_digest(polygon_file(path)) != files[key]:
            raise UsageError(f"polygon {path} has changed since: restore it")
    return options.model_copy(update=paths)


def recorded_model(record: Record, target: Target) -> Model:
    """The model of the recorded digest: where it was, where the cube names it, or any installed.

    Raises ModelError where there is none, SpecMismatchError where it did not make the cube.
    """
    facts = record["model"]
    digest = str(facts.get("digest"))
    for name in filter(None, (facts.get("path"), target.cube.model_name)):
        if is_url(name):  # a record may be a stranger's: nothing is fetched for it
            continue
        with suppress(ModelError):
            if (model := load_model(name)).digest == digest:
                break
    else:
        stored = model_of_digest(digest)
        if stored is None:
            raise ModelError(
                f"model {facts['name']} ({digest[:12]}), which gave this answer, is not at "
                f"{facts.get('path')} and not installed; the cube there now is of model "
                f"{target.cube.model_name} ({target.cube.model_digest[:12]}): "
                "'geoloc models import' the recorded one"
            )
        model = stored
    if not model.serves(target.cube.model_digest):
        target.cube.require_model(model.name, model.digest)
    return model


def _encode(record: Record, models: Sequence[Model], media: Path | None) -> tuple[list[Photo], F32]:
    """The photos as they were looked at, together as before, and their vector or its mean."""
    photos = [reread(recorded, media) for recorded in record["photos"]]
    batches = list(encode_batches(photos, models))
    kept = [photo for batch, _ in batches for photo in batch]
    vectors = np.concatenate([vectors for _, vectors in batches])
    return kept, vectors[0] if len(vectors) == 1 else fuse(vectors)


def reread(recorded: Record, media: Path | None = None) -> Photo:
    """A recorded photo, frame, crop, from its unchanged original.

    Raises UsageError where that is missing or changed, PhotoError where it cannot be decoded.
    """
    path, frame, crop = _original(recorded, media), recorded.get("frame"), recorded.get("crop")
    photo = _frame_photo(path, recorded, float(frame["time"])) if frame else read_photo(path)
    part = None if crop is None else (crop[0], crop[1], crop[2], crop[3])
    return PhotoView(part, float(recorded.get("rotate") or 0.0)).of(photo)


def _frame_photo(path: Path, recorded: Record, time: float) -> Photo:
    frame = read_frame(path, time)
    if frame.sha256 != recorded["frame"]["sha256"]:
        raise GeolocError(
            f"{path} at {time:.3f} s decodes to different pixels than recorded: "
            "repeat with the recorded version of av"
        )
    return replace(frame.photo(path, recorded["sha256"]), origin={"frame": recorded["frame"]})


def _original(recorded: Record, media: Path | None) -> Path:
    """The original file, certainly unchanged."""
    paths = [path for path in _places(recorded, media) if path.is_file()]
    if not paths:
        raise UsageError(_missing(recorded, media))
    for path in paths:
        _require_stored(path)
        if file_digest(path) == recorded["sha256"]:
            return path
    raise UsageError(f"{paths[0]} has changed since: its SHA-256 is not {recorded['sha256']}")


def _require_stored(path: Path) -> None:
    """Raise UsageError for what the system makes up as it is read, which may have no end."""
    made_up = any(path.resolve().is_relative_to(folder) for folder in _MADE_UP)
    if made_up or (path.exists() and not path.is_file()):
        raise UsageError(f"{path} is not a regular file: neither an original nor a polygon")


def _places(photo: Record, media: Path | None) -> list[Path]:
    """Where the original may be. Raises UsageError where ``media`` is no folder."""
    if media is None:
        return [
            Path(text_path(photo["path"])),
            Path(photo["path"]),
        ]  # records had paths as they are
    if not media.is_dir():
        raise UsageError(f"--media {media} is not a folder: give the one that holds the originals")
    name = text_path(photo["file"])  # compared, not searched for: it may hold * or [1]
    return sorted(path for path in media.rglob("*") if path.name in (name, photo["file"]))


def _missing(recorded: Record, media: Path | None) -> str:
    if media is None:
        return f"{recorded['path']} is no longer there: give its folder with --media"
    return f"{recorded['file']} is not below --media {media}: give the folder that holds it"
