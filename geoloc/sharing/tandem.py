"""What each of several models said, read back from their answer, for its copy."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from ..names import unique_names
from ..query.session import unmeasured
from ..query.tandem.notes import (
    SCENES_CALIBRATED,
    asked_for,
    calibrated_by,
    days_of,
    first_named,
    of_model,
    other_days,
    undecided,
    unread,
)
from ..report.tandem import Said, TandemModel, TandemPart
from ..scenes import display_name
from .scrub import Scrub, scene_name, texts, word

if TYPE_CHECKING:
    from ..report.tandem import Alone

Record = Mapping[str, Any]

_COUNT = re.compile(r"\d{1,9}")
_SHARE = r"<?[\d.]{1,9}\u202f%"
_WEAK = re.compile(
    rf"This photo may not be from here: (?:{_SHARE} of photos match their own place better than it "
    rf"matches any here|even the best place is only {_SHARE} closer to it than an ordinary one"
    rf"(?:, and {_SHARE} of random vectors do as well)?)\."
)
"""What a model's own answer says of a photo that hardly matches; see `geoloc.report.match`."""

_NONE_HERE = re.compile(
    rf"There may be no (?P<scene>.+) here: at the best place its probability is only {_SHARE}"
    rf"(?:, that of (?P<likelier>.+) is {_SHARE})?\."
)
"""The same of a scene that is hardly found."""


def parts_of(record: Record) -> list[dict[str, Any]]:
    """The record as that of each of several models, with the answer that this gives alone."""
    return [_part(record, one) for one in record["tandem"]["models"]]


def _part(record: Record, model: Record) -> dict[str, Any]:
    own = {key: model.get(key) for key in ("model", "cube", "vector", "candidates", "truth")}
    figures = {key: model.get(key) for key in ("cells_known", "heatmap_sha256")}
    kept = {key: record[key] for key in ("photos", "imagery", "title")}
    kept["parameters"] = {**record["parameters"], "scene": model.get("scene")}
    return {**kept, **own, "summary": {**record["summary"], **figures}}


def shared_tandem(record: Record, alone: Sequence[Alone], scrub: Scrub) -> TandemPart:
    """What they say together; ``alone``: the copy of what each says alone."""
    told, names = record["tandem"], shared_names(record)
    models = tuple(
        TandemModel(name, float(one["weight"]), own, dict(_said(record, one["name"])))
        for name, one, own in zip(names, told["models"], alone, strict=True)
    )
    return TandemPart(models, tuple(scrub.bank(told["bank"])))


def shared_names(record: Record) -> list[str]:
    """The models' names in the copy: their own, where these are terms of the field."""
    every = enumerate(record["tandem"]["models"], start=1)
    return [*unique_names(word(one["name"]) or f"model {number}" for number, one in every)]


def _said(record: Record, name: str) -> Iterator[tuple[int, Said]]:
    """What a model says of the candidates that it knows, by their rank."""
    for candidate in record["candidates"]:
        if own := candidate["models"].get(name):
            percentile, distance, score = (
                float(own[key]) for key in ("percentile", "distance", "score")
            )
            yield int(candidate["rank"]), Said(int(own["rank"]), percentile, distance, score)


def shared_notes(record: Record, scrub: Scrub) -> Iterator[str]:
    """The notes that are known sentences on several models, with their names in the copy."""
    known = dict(_sentences(record))
    for line in texts(record.get("notes")):
        if line in known:
            yield known[line]
        elif line == unread(1) or ((found := _COUNT.match(line)) and line == unread(int(found[0]))):
            yield line
        else:
            for one, new in zip(record["tandem"]["models"], shared_names(record), strict=True):
                yield from _note_of(line, one, new, record, scrub)


def _sentences(record: Record) -> Iterator[tuple[str, str]]:
    """Sentences as the record may have them, and as the copy does."""
    models, bank = record["tandem"]["models"], len(record["tandem"]["bank"])
    calibrated = (calibrated_by(bank), calibrated_by(bank, itself=True), SCENES_CALIBRATED)
    yield from ((line, line) for line in calibrated)
    names = [(one["name"], new) for one, new in zip(models, shared_names(record), strict=True)]
    yield first_named(names[0][0]), first_named(names[0][1])
    yield from ((undecided(old), undecided(new)) for old, new in names)
    days = [days_of(one["cube"]) for one in models]
    old, new = (dict(zip(every, days, strict=True)) for every in zip(*names, strict=True))
    if all(re.fullmatch(r"[\d-]{0,10}(?: to [\d-]{10})?", when) for when in days):
        yield other_days(old), other_days(new)


def _note_of(line: str, one: Record, new: str, record: Record, scrub: Scrub) -> Iterator[str]:
    """A known sentence that one model limits its answer by; ``new``: its name in the copy."""
    old = one["name"]
    if (alone := line.removeprefix(of_model(old, alone=True))) != line:
        yield from (of_model(new, alone=True) + words for words in _weak(alone, one))
    elif (scene := one.get("scene")) and line == of_model(old) + asked_for(scene):
        yield of_model(new) + asked_for(scene_name(scene))
    elif line == of_model(old) + unmeasured(str(one["model"].get("name"))):
        yield of_model(new) + unmeasured(new)
    elif (rest := line.removeprefix(of_model(old))) != line:
        yield from (of_model(new) + one for one in scrub.notes([rest], record["photos"]))


def _weak(line: str, model: Record) -> Iterator[str]:
    """The sentence that what was asked for is hardly found by a model, if it is one."""
    found, scene = _NONE_HERE.fullmatch(line), model.get("scene")
    if _WEAK.fullmatch(line):
        yield line
    elif found and scene and found["scene"] == display_name(scene):
        known = {None, *(display_name(name) for name in model["vector"] if word(name))}
        start, end = found.span("scene")
        if found["likelier"] in known:
            yield f"{line[:start]}{display_name(scene_name(scene))}{line[end:]}"
