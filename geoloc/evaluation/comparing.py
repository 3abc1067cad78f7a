"""Two evaluations of the same photos: paired differences, with their intervals."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from ..arrays import F64
from ..errors import UsageError
from .bootstrap import Figure, class_mean, mean_figure
from .files import EVALUATION, FORMAT
from .ranks import ON_A_MAP, STUDY, Ranks

_MEANS = {metric.name: metric for metric in (*STUDY, *ON_A_MAP) if not metric.median}
_KINDS = {"cube": ON_A_MAP, "pairs": (*STUDY, *ON_A_MAP)}


@dataclass(frozen=True)
class Comparison:
    """Figures of A and of B on the photos that both have, and of B minus A (paired).

    ``feedback``: whether the photos of A, and those of B, asked with it.
    """

    a: str
    b: str
    photos: int
    only: tuple[int, int]
    figures: Mapping[str, tuple[float, float, Figure]]
    feedback: tuple[bool, bool] = (False, False)

    def to_json(self) -> dict[str, Any]:
        """For machines."""
        return {
            "a": self.a,
            "b": self.b,
            "photos": self.photos,
            "only_a": self.only[0],
            "only_b": self.only[1],
            "feedback_a": self.feedback[0],
            "feedback_b": self.feedback[1],
            "differences": {
                name: {"a": round(a, 4), "b": round(b, 4), "difference": difference.to_json()}
                for name, (a, b, difference) in self.figures.items()
            },
        }


def compare(a: str | Path, b: str | Path, *, seed: int = 0) -> Comparison:
    """Compare two stored evaluations, files or the folders that hold them.

    Raises UsageError where one cannot be read, they are of different kinds, or share no photo.
    """
    first, second = _read(Path(a)), _read(Path(b))
    if first["kind"] != second["kind"]:
        raise UsageError(
            f"{a} is of {first['kind']} and {b} of {second['kind']}: compare two of one kind"
        )
    one, other = _by_photo(first), _by_photo(second)
    both = [photo for photo in one if photo in other]
    if not both:
        raise UsageError(f"{a} and {b} have no photo in common: evaluate the same photos")
    groups = [one[photo]["group"] for photo in both]
    kind = first["kind"]
    a_values, b_values = (_values(kind, [items[photo] for photo in both]) for items in (one, other))

    def average(values: F64) -> Figure:
        return _average(kind, values, groups, seed)

    figures = {
        name: (average(own).value, average(b_values[name]).value, average(b_values[name] - own))
        for name, own in a_values.items()
    }
    only = (len(one) - len(both), len(other) - len(both))
    feedback = first.get("feedback") is True, second.get("feedback") is True
    return Comparison(str(a), str(b), len(both), only, figures, feedback)


def _average(kind: str, values: F64, groups: Sequence[Any], seed: int) -> Figure:
    """As the evaluation itself averages: of class folders over classes, else over photos."""
    if kind != "classes":
        return mean_figure(values, groups, seed=seed)
    own = np.array(groups, dtype=str)
    return class_mean([values[own == name] for name in np.unique(own)], seed=seed)


def _values(kind: str, items: Sequence[Mapping[str, Any]]) -> dict[str, F64]:
    """Values ``(photo,)`` of each figure that is a mean."""
    if kind == "classes":
        return {
            name: np.array([item[key] for item in items], np.float64)
            for name, key in (("map", "ap"), ("top1pct", "top1pct"))
        }
    ranks = Ranks.of([item["rank"] for item in items], [item["cells"] for item in items])
    return {m.name: m.values(ranks) for m in _KINDS[kind] if m.name in _MEANS}


def _by_photo(evaluation: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    return {item["photo"]: item for item in evaluation["items"]}


def _read(path: Path) -> dict[str, Any]:
    file = path / EVALUATION if path.is_dir() else path
    try:
        evaluation = json.loads(file.read_text(encoding="utf-8"))
        if evaluation["format"] != FORMAT or evaluation["kind"] not in ("cube", "pairs", "classes"):
            raise ValueError("another format")
        for item in evaluation["items"]:
            _ = item["photo"], item["group"]
        _values(evaluation["kind"], evaluation["items"])
    except OSError as error:
        raise UsageError(
            f"{file} cannot be read ({error.strerror}): name what 'geoloc evaluate --out' wrote"
        ) from None
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise UsageError(
            f"{file} is not an evaluation ({type(error).__name__}): name what "
            "'geoloc evaluate --out' wrote"
        ) from None
    return dict(evaluation)
