"""What the reader of an answer of several models has to know, in sentences.

Those that are written here alone are functions of plain values: whoever reads a record can tell
them from any other text.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from ...candidates import Candidate
from ...cube import Cube
from ...report import QueryResult
from ...scenes import display_name
from ..session import imagery_near
from .members import Tandem

_LEAST_OF_SCENES = 1e-3  # of the logarithm: a tenth of a percent of the probability


def notes_of(
    tandem: Tandem, alone: Sequence[QueryResult], candidates: Sequence[Candidate]
) -> Iterator[str]:
    """How the scores came about, what limits each model, and where they differ in what they saw."""
    names = [member.name for member in tandem.members]
    yield _calibrated(tandem, alone[0])
    if tandem.failures:
        yield unread(len(tandem.failures))
    yield first_named(names[0])
    yield from _asked_differently(tandem)
    days = {name: days_of(one.cube) for name, one in zip(names, alone, strict=True)}
    if len(set(days.values())) > 1:
        yield other_days(days)
    elif changed := _changed(tandem, candidates):
        more = f" and {len(changed) - 1} more" if len(changed) > 1 else ""
        yield (
            "The models' cubes were built from different imagery, or versions of it, at these "
            f"places ({changed[0]}{more}): 'geoloc cube update' brings the older cube up to date."
        )
    common = set.intersection(*(set(one.notes) for one in alone))
    yield from (note for note in alone[0].notes if note in common)
    for name, one in zip(names, alone, strict=True):
        if one.known > 1 and not deviation_of(one):
            yield undecided(name)
        yield from (f"{of_model(name)}{note}" for note in one.notes if note not in common)
        if one.match_words:
            yield f"{of_model(name, alone=True)}{one.match_words}"


def _calibrated(tandem: Tandem, alone: QueryResult) -> str:
    """What the scores compare with."""
    if not alone.photos:
        return SCENES_CALIBRATED
    bank = {one["sha256"] for one in tandem.photos}
    return calibrated_by(tandem.bank, itself=any(p.sha256 in bank for p in alone.photos))


def deviation_of(alone: QueryResult) -> float:
    """Of what a model finds at all places alone; 0 where it tells none from another.

    Probabilities of a scene that are alike but for rounding would be scored by that.
    """
    deviation = alone.survey.deviation
    return deviation if alone.photos or deviation >= _LEAST_OF_SCENES else 0.0


def _asked_differently(tandem: Tandem) -> Iterator[str]:
    """What each model was asked for, where they call the scene by different names."""
    scenes = {member.name: member.session.options.scene for member in tandem.members}
    if len(set(scenes.values())) > 1:
        yield from (f"{of_model(name)}{asked_for(str(own))}" for name, own in scenes.items())


SCENES_CALIBRATED = (
    "Each model's score says how much likelier the scene is to it at a place than at its other "
    "places, by the logarithm; a bank of unrelated photos does not count."
)
"""What scores of a scene compare with."""


def asked_for(scene: str) -> str:
    """What a model was asked for by its own name; see `of_model`."""
    return f"asked for {display_name(scene)}."


def not_asked(model: str, why: str = "") -> str:
    """That a model has no part in an answer; ``why``: how it does not know the scene."""
    start = f"Model {model} has no part in this answer, as it does not know what is asked for"
    return f"{start}: {why}" if why else f"{start}."


def calibrated_by(photos: int, *, itself: bool = False) -> str:
    """What scores compare with; ``photos``: of the bank, ``itself``: the one that was asked about
    is among them."""
    if not photos:
        return (
            "Each model's score says how much nearer a place is to the photo than its other places "
            "are; no bank of unrelated photos was given (bank: in the area file) to compare with."
        )
    words = (
        "Each model's score says how much nearer a place is to this photo than to "
        f"{photos} unrelated ones."
    )
    if itself:
        words += " The photo itself is among them, which makes its places look worse: take it out."
    return words


def unread(photos: int) -> str:
    """How many photos of the bank count for nothing."""
    if photos == 1:
        return "One photo of the bank could not be read and does not count."
    return f"{photos} photos of the bank could not be read and do not count."


def first_named(model: str) -> str:
    """Whose words are shown where there is one for all models."""
    return f"Scenes, and what photo and place show, are those of model {model}, named first."


def other_days(days: Mapping[str, str]) -> str:
    """The days of imagery by model, where they differ; see `days_of`."""
    told = "; ".join(f"{model} {when or 'of unknown days'}" for model, when in days.items())
    return f"The models' cubes show imagery of different days: {told}. Update the older cube."


def undecided(model: str) -> str:
    """That a model has one distance for all places."""
    return f"Model {model} tells no place from another: to it all are equally far."


def of_model(model: str, *, alone: bool = False) -> str:
    """How a note begins that is of one model; ``alone``: of the answer that it gives by itself."""
    return f"Model {model}{' alone' * alone}: "


def days_of(cube: Mapping[str, Any]) -> str:
    """First and last day of a cube's imagery, as far as it is known."""
    days = [str(cube.get(key) or "")[:10] for key in ("imagery_first", "imagery_last")]
    return " to ".join(dict.fromkeys(filter(None, days)))


def _changed(tandem: Tandem, candidates: Sequence[Candidate]) -> list[str]:
    """Images of which a cube has another version than the first one near the places; all of the
    first one's where both have none in common.

    Images at the edge alone may be read by one model and not by another, and say nothing.
    """
    first, *others = (_versions(candidates, member.cube) for member in tandem.members)
    changed = set[str]()
    for other in others:
        both = first.keys() & other.keys()
        pairs = {name: {first[name], other[name]} - {None} for name in both}
        changed |= {name for name, versions in pairs.items() if len(versions) > 1}
        changed |= first.keys() if first and other and not both else set()
    return sorted(changed)


def _versions(candidates: Sequence[Candidate], cube: Cube) -> dict[str, Any]:
    return {one["id"]: one.get("version") for one in imagery_near(candidates, cube)}
