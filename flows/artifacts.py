"""What people see of a run in the Prefect UI: pictures, tables, progress, links.

The UI takes descriptions, cells and pages for Markdown with HTML in it. So all artifacts are made
here, and `text` goes over every word from outside: names of files, areas, classes, messages.
"""

from __future__ import annotations

import base64
import html
import io
import os
import re
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, cast
from urllib.parse import quote
from uuid import UUID

from PIL import Image
from prefect.artifacts import (
    create_link_artifact,
    create_markdown_artifact,
    create_progress_artifact,
    create_table_artifact,
    update_progress_artifact,
)

from geoloc.bulk import BulkReport
from geoloc.evaluation.bootstrap import Figure
from geoloc.evaluation.tables import figure_text
from geoloc.jobs.report import BuildReport
from geoloc.jobs.verify import Verification
from geoloc.query import Evaluation
from geoloc.query.tandem import TandemEvaluation
from geoloc.report import QueryResult
from geoloc.report.formatting import degrees, measured
from geoloc.report.links import web_maps
from geoloc.scenes import display_name

_SHOWN_ANSWERS = 10  # of a run with many photos; all of them are in the output folder
_SHOWN_CANDIDATES = 10
_PICTURE_PIXELS = 640
_MAPS = {"OpenStreetMap": "OSM", "Google Maps": "Google", "Street View": "Street View"}
"""Their short names: a row has to fit into Prefect's page."""
_PROGRESS_SECONDS = 2.0  # between two reports to the server

Cells = dict[str, str | int | float]


def progress(title: str, key: str = "progress") -> Callable[[float, int], None]:
    """A progress bar of the run: tell it how much of how much is done."""
    artifact = cast(UUID, create_progress_artifact(0.0, key=key, description=text(title)))
    last = 0.0

    def advance(done: float, total: int) -> None:
        nonlocal last
        now = time.monotonic()
        if done >= total or now - last >= _PROGRESS_SECONDS:
            last = now
            update_progress_artifact(artifact, progress=100.0 * done / max(total, 1))

    return advance


def show_answers(answers: Sequence[QueryResult], key: str) -> None:
    """Each answer's heatmap and candidates, and where the report of the first is."""
    sections = [answer_markdown(result, _folder(result)) for result in answers[:_SHOWN_ANSWERS]]
    if len(answers) > _SHOWN_ANSWERS:
        folder = _folder(answers[0]).parent
        sections.append(f"*{len(answers) - _SHOWN_ANSWERS} more in {text(str(folder))}*")
    if answers:
        titles = ", ".join(result.title for result in answers[:3])
        about = text(f"Places: {titles}")
        create_markdown_artifact("\n\n".join(sections), key=key, description=about)
        show_page(_folder(answers[0]) / "report.html", f"{key}-report")


def _folder(result: QueryResult) -> Path:
    assert result.folder is not None, "the flows write every answer"
    return result.folder


def show_page(page: Path, key: str) -> None:
    """Where a result file is: a link where it is served, else its path, to be copied.

    Browsers do not follow links from a page of the web to a file on a disk.
    """
    if url := address(page):
        create_link_artifact(url, link_text=plain_path(page), key=key)
    else:
        create_markdown_artifact(where(page), key=key)


def where(page: Path) -> str:
    """Markdown: the path of a result file, and a link to it where it is served."""
    path, url = f"`{plain_path(page)}`", address(page)
    return f"[{text(page.name)}]({url}): {path}" if url else f"{text(page.name)}: {path}"


def answer_markdown(result: QueryResult, folder: Path) -> str:
    """One answer: where to look first, its heatmap, its best candidates with links to maps."""
    lines = [
        f"## {text(result.title)} in {text(str(result.cube.get('name', '')))}",
        "*Where to look first, not a verdict.* " + text(" ".join(_notes(result))),
        _picture(result, folder),
        "\n".join(_candidate_table(result)),
        where(folder / "report.html"),
    ]
    return "\n\n".join(lines)


def _picture(result: QueryResult, folder: Path) -> str:
    """The map of an answer: of points that of its regions."""
    if result.of_points:
        return f"![regions, the darker the more plausible]({thumbnail(folder / 'map.png')})"
    return f"![heatmap, magenta is most plausible]({thumbnail(folder / 'heatmap.png')})"


def _candidate_table(result: QueryResult) -> Iterator[str]:
    """Lines of the best candidates; of several models with what each says alone."""
    parts = () if result.tandem is None else result.tandem.models
    own = "".join(f" {text(part.name)} alone, best % |" for part in parts)
    yield (
        f"| rank | {result.measure} | best % of {result.searched_places} |{own} from above "
        "| lat, lon | maps |"
    )
    yield f"|---:|---:|---:|{'---:|' * len(parts)}---|---|---|"
    for found in result.candidates[:_SHOWN_CANDIDATES]:
        links = web_maps(found.lon, found.lat)
        scenes = ", ".join(display_name(name) for name, _ in result.places.get(found.rank, ()))
        maps = " · ".join(f"[{short}]({links[name]})" for name, short in _MAPS.items())
        said = (part.said.get(found.rank) for part in parts)
        shares = "".join(f" {one.percentile:.2f} |" if one else " not known |" for one in said)
        yield (
            f"| {found.rank} | {measured(result, found)} | {found.percentile:.2f} "
            f"|{shares} {text(scenes)} | {degrees(found.lon, found.lat)} | {maps} |"
        )


def _notes(result: QueryResult) -> list[str]:
    """What the reader has to know, a poor match first."""
    return [*filter(None, [result.match_words]), *result.notes]


def thumbnail(picture: Path) -> str:
    """A picture file as a small ``data:`` address that needs no file server."""
    with Image.open(picture) as image:
        small = image.convert("RGB")
    small.thumbnail((_PICTURE_PIXELS, _PICTURE_PIXELS), Image.Resampling.LANCZOS)
    buffer = io.BytesIO()
    small.save(buffer, "WEBP", quality=80)
    return "data:image/webp;base64," + base64.b64encode(buffer.getvalue()).decode()


def address(path: Path) -> str | None:
    """Where a browser finds a result file; None where it is served nowhere.

    ``GEOLOC_RESULTS_URL`` serves the folder ``GEOLOC_RESULTS`` where both are set.
    """
    root, url = os.environ.get("GEOLOC_RESULTS"), os.environ.get("GEOLOC_RESULTS_URL")
    if root and url and path.is_relative_to(root):
        return f"{url.rstrip('/')}/{quote(path.relative_to(root).as_posix())}"
    return None


def show_failures(failures: Mapping[str, str], key: str = "failures") -> None:
    """What could not be done, and why; nothing where all went well."""
    if failures:
        rows = [{"what": what, "why": why} for what, why in failures.items()]
        show_table(rows, key, f"{len(rows)} failed")


def show_build(name: str, report: BuildReport) -> None:
    """A build's figures as a table, its errors as another."""
    stages = {f"{stage} (s, all workers)": f"{s:.1f}" for stage, s in report.stage_seconds.items()}
    figures: Cells = {
        "cube": report.url,
        "generation": report.generation,
        report.unit: report.cells,
        "blocks built": report.blocks_done,
        "blocks already there": report.blocks_reused,
        "blocks taken over": report.blocks_copied,
        "blocks incomplete": report.blocks_broken + report.blocks_failed,
        "blocks outside": report.blocks_outside,
        f"{report.unit} without imagery": report.missing_cells,
        "elapsed (s)": round(report.seconds, 1),
        f"{report.unit} per second": round(report.cells_per_second),
        "where": report.cluster or "nothing to do",
        "notes": "; ".join(report.notes),
        **stages,
    }
    show_figures(figures, "build", f"Cube of {name}")
    show_failures({error: f"{n} blocks" for error, n in report.errors.items()}, "build-errors")


def show_bulk(report: BulkReport) -> None:
    """A folder's figures, its page, its failures."""
    figures = (
        "files", "pictures", "duplicates", "answered", "kept", "unanswered", "clusters", "ignored",
    )  # fmt: skip
    show_figures({name: getattr(report, name) for name in figures}, "folder", str(report.out))
    show_page(report.index, "folder-index")
    show_failures(report.failures)


def show_verification(name: str, found: Verification) -> None:
    """A cube's error beside the network's own 2 px jitter."""
    rows = [
        {
            "": what,
            "relative error": round(figures.relative_error, 4),
            "Spearman": round(figures.spearman, 4),
            found.unit: figures.cells,
        }
        for what, figures in (("cube", found.error), ("2 px jitter", found.jitter))
    ]
    show_table(rows, "verification", f"{found.unit.capitalize()} of {name} recomputed")


def show_evaluation(found: Evaluation) -> None:
    """How high the true places rank, summed up and for each photo."""
    show_figures(dict(found.summary.as_dict()), "evaluation", str(found.summary))
    rows = [score.to_json() for score in found.scores]
    show_table(rows, "evaluation-photos", "Percentile: chance is 50")
    if regions := found.tables().get("regions"):
        _show_methods(regions, "evaluation-regions", "True regions, by what regions are ranked by")
    show_failures(found.failures)


def show_evaluation_of_models(found: TandemEvaluation) -> None:
    """How high the true places rank by each model and by all, and what is gained."""
    title = f"Percentiles of {found.photos} photos: chance is 50"
    _show_methods(found.methods, "evaluation", title)
    for ranking, of_regions in found.regions.items():
        title = f"True regions of {of_regions.photos} photos by {ranking}"
        _show_methods(of_regions.methods, f"evaluation-regions-{ranking}", title)
    gained = {f"{name}: mean percentile": figure_text(one) for name, one in found.gains.items()}
    show_figures(gained, "evaluation-gains", f"Gained over {found.better} alone")
    if found.skipped:
        lines = [{"left out": line} for line in found.skipped]
        show_table(lines, "evaluation-left-out", f"{len(lines)} photos were not ranked everywhere")
    show_failures(found.failures)


def _show_methods(methods: Mapping[str, Mapping[str, Figure]], key: str, description: str) -> None:
    rows = [
        {"ranked by": name, **{key: figure_text(one) for key, one in figures.items()}}
        for name, figures in methods.items()
    ]
    show_table(rows, key, description)


def show_figures(figures: Mapping[str, str | int | float], key: str, description: str) -> None:
    """Names and values, one a row."""
    rows = [{"figure": name, "value": str(value)} for name, value in figures.items()]
    show_table(rows, key, description)


def show_table(rows: Sequence[Mapping[str, Any]], key: str, description: str) -> None:
    """A table; the first row's keys are its head."""
    harmless = [
        {name: text(cell) if isinstance(cell, str) else cell for name, cell in row.items()}
        for row in rows
    ]
    create_table_artifact(harmless, key=key, description=text(description))


def text(words: str) -> str:
    """Words that came from outside, harmless in Markdown and in HTML."""
    plain = html.escape(" ".join(words.split()), quote=False)
    return "".join(f"\\{c}" if c in "\\`*_[]|#!" else c for c in plain)


def plain_path(path: Path) -> str:
    """A path, harmless as the text of a link or as code, where a backslash stays a backslash."""
    return re.sub(r"[][<>&`\\\t\r\n]", lambda found: quote(found[0]), str(path))
