"""The card of a trained model: what it is, what it was trained on, how well it does."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from .frozen import POOLED
from .preparing import Training
from .retrieval import Retrieval

CARD = "card.md"


def card_text(training: Training, figures: Retrieval | None) -> str:
    """Markdown, for people."""
    spec, teacher = training.spec, training.teacher
    low, best, high = spec.gsd
    counts = {name: len(data.chips) for name, data in training.splits.items()}
    held_out = str(figures) if figures else "not measured: its pairs have no split test"
    rows = "\n".join(f"| {name} | {count:,} |" for name, count in counts.items())
    return f"""# {spec.name}

Predicts from overhead imagery the vectors that the photo network of `{teacher.name}` gives
photos of the same place. It ranks places; it never proves one.

## What it takes
- Imagery: RGB, {low:g} to {high:g} m per pixel, best {best:g} m, as stated by whoever trained it.
  A place is {spec.patch_px} pixels wide: {spec.patch_px * best:,.0f} m.
- {_method(spec.arch, spec.method, spec.pool_px)}
- Photos: as `{teacher.name}` takes them; {len(teacher.classes):,} named classes.

## Figures
On pairs that were held out: {held_out}.
Figures of pairs like those of its training say little about other regions, cameras or imagery:
measure it on your own with `geoloc evaluate`.

## How it was made
`geoloc train`, recipe {spec.recipe or "of its own"}; teacher `{teacher.name}`
({teacher.digest[:12]}); initial weights: {_initial(spec)}.

| split | overhead images |
|---|---|
{rows}

| field | value |
|---|---|
{_table(spec.told())}
"""


def _method(arch: str, method: str, pool_px: int) -> str:
    if method == "dense" and arch != POOLED:
        return f"Trained dense-native: the central {pool_px} px are pooled, the rest is context."
    return "Trained on patches without context: method dense is refused."


def _initial(spec: Any) -> str:
    if spec.init:
        return f"`{spec.init.rsplit('/', 1)[-1]}`"
    return "ImageNet (Apache-2.0)" if "lite0" in spec.arch else "random"


def _table(told: Mapping[str, Any]) -> str:
    flat: dict[str, Any] = {}
    for key, value in told.items():
        nested = value.items() if isinstance(value, dict) else [("", value)]
        flat |= {f"{key}.{name}".rstrip("."): part for name, part in nested}
    return "\n".join(f"| {key} | {value} |" for key, value in flat.items())
