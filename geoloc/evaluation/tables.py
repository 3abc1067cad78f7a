"""Evaluations as Markdown."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from .bootstrap import Figure

CHANCE = "chance"
_TITLES = {
    "all": "What ranked the places",
    "scene": "By scene",
    "stratum": "By stratum",
    "regions": "The true regions, by what regions are ranked by",
    "regions_scene": "The true regions, by scene",
    "regions_stratum": "The true regions, by stratum",
    "fused": "By how many photos of a place are averaged",
    "regions_fused": "The true regions, by how many photos of a place are averaged",
}


def markdown(
    title: str,
    tables: Mapping[str, Mapping[str, Mapping[str, Figure]]],
    facts: Mapping[str, Any],
    plots: Sequence[str] = (),
) -> str:
    """A page with a table for each kind of row; figures with their 95 % intervals."""
    lines = [f"# {_cell(title)}", "", *_facts(facts), ""]
    for name, rows in tables.items():
        lines += [f"## {title_of(name)}", "", *table(rows), ""]
    lines += [f"![{_cell(plot)}]({plot})" for plot in plots]
    left_out = [*facts.get("skipped", ()), *facts.get("failures", {}).values()]
    if left_out:
        lines += ["", "## Left out", "", *(f"- {_cell(line)}" for line in left_out)]
    return "\n".join(lines).rstrip() + "\n"


def title_of(table: str) -> str:
    """The heading of a table, for people."""
    return _TITLES.get(table, f"by {table}")


def _facts(facts: Mapping[str, Any]) -> Iterator[str]:
    yield f"Model {_cell(str(facts.get('model', '')))} `{str(facts.get('digest', ''))[:12]}`. "
    counts = {"photos": len(facts.get("photos", ())), "pairs": facts.get("n_pairs"),
              "places": facts.get("places") or facts.get("n_places"),
              "photos of classes": facts.get("n_ground"),
              "overhead images": facts.get("n_overhead")}  # fmt: skip
    words = ", ".join(f"{count:,} {name}" for name, count in counts.items() if count)
    yield f"{words}. In brackets: 95 % intervals (bootstrap, seed {facts.get('seed', 0)})."
    if facts.get("feedback"):
        yield "Photos asked twice (feedback), the second time with what they found."


def table(rows: Mapping[str, Mapping[str, Figure]]) -> list[str]:
    """Rows of figures, and a last one of what chance gives, where that is known."""
    columns = list(dict.fromkeys(name for figures in rows.values() for name in figures))
    lines = [
        "| | " + " | ".join(column.replace("_", " ") for column in columns) + " |",
        "|---|" + "---:|" * len(columns),
    ]
    for name, figures in rows.items():
        cells = [figure_text(figures[column]) if column in figures else "" for column in columns]
        lines.append(f"| {_cell(name.replace('_', ' '))} | " + " | ".join(cells) + " |")
    first = next(iter(rows.values()), {})
    chances = {column: first[column].chance for column in columns if column in first}
    if any(chance is not None for chance in chances.values()):
        cells = ["" if c is None else number(c) for c in map(chances.get, columns)]
        lines.append(f"| {CHANCE} | " + " | ".join(cells) + " |")
    return lines


def figure_text(figure: Figure) -> str:
    """Such as ``0.53 [0.51, 0.55]``."""
    if math.isnan(figure.low):
        return number(figure.value)
    return f"{number(figure.value)} [{number(figure.low)}, {number(figure.high)}]"


def number(value: float) -> str:
    """Three digits that matter; whole numbers from 100 up."""
    if math.isnan(value):
        return "-"
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


def _cell(text: str) -> str:
    """One line without what Markdown would take as markup."""
    plain = "".join(c if c.isprintable() else " " for c in text)
    return plain.replace("|", "\\|").replace("<", "&lt;").replace("*", "\\*").replace("`", "'")
