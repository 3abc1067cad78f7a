"""Two records of the same question: do they give the same answer?"""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from .record import Record, records_of_models

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
