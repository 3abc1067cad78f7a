"""Down to the cell in a folder of answers: each photo is asked again around its own place."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from ..errors import GeolocError, UsageError
from ..progress import Stages, silent
from ..query.record import read_record
from ..query.zoom import ZoomOptions, zoom_answer
from ..report import QueryResult
from ..report.outputs import RECORD
from .answers import answer_folders, run_of


@dataclass(frozen=True)
class Zoomed:
    """The new answers, and the error of each answer that could not be asked again, by name."""

    results: list[QueryResult]
    failures: dict[str, GeolocError]

    @property
    def out(self) -> Path | None:
        """The folder of the new answers; None without any."""
        folders = [result.folder for result in self.results if result.folder]
        return folders[0].parent if folders else None

    def raise_if_failed(self) -> None:
        """Raise the error of the only answer, or GeolocError that says how many failed, and why."""
        if not self.failures:
            return
        asked = len(self.results) + len(self.failures)
        if asked == 1:
            raise next(iter(self.failures.values()))
        raise GeolocError(
            f"{len(self.failures)} of {asked} answers could not be asked again: "
            + "; ".join(f"{name}: {error}" for name, error in self.failures.items())
        )


def zoom_answers(
    answers: str | Path,
    rank: int,
    options: ZoomOptions,
    photo: str | None = None,
    progress: Stages = silent,
) -> Zoomed:
    """Ask an answer again around its place of a rank, or each one of a folder of answers.

    ``answers``: an answer's folder or record, or a folder of answers, as of a query or a bulk
    run; ``photo``: of them that photo's alone. Answers of a bulk run go to ``zoom`` in its folder,
    if nothing else is said, and hide their photos as its pages do. See `geoloc.query.zoom_answer`.

    Raises UsageError where there is no answer, or none of that photo.
    """
    results: list[QueryResult] = []
    failures: dict[str, GeolocError] = {}
    for folder in _asked(Path(answers), photo):
        try:
            results.append(zoom_answer(folder, rank, _placed(folder, options), progress))
        except GeolocError as error:
            failures[folder.name] = error
    return Zoomed(results, failures)


def _asked(named: Path, photo: str | None) -> list[Path]:
    """The folders of the answers that are named, of one photo alone where that is given."""
    if named.suffix == ".json" and named.name != RECORD:  # a record under another name
        return [named]
    folders = answer_folders([named])
    if photo is None:
        return folders
    found = [
        folder
        for folder in folders
        if photo == folder.name
        or photo in [one["file"] for one in read_record(folder / RECORD)["photos"]]
    ]
    if not found:
        raise UsageError(f"--photo {photo}: {named} has no answer to a photo of that name")
    return found


def _placed(folder: Path, options: ZoomOptions) -> ZoomOptions:
    """Of an answer of a bulk run: beside its folders, the pictures hidden as there."""
    run = run_of(folder)
    if run is None:
        return options
    return replace(options, out=options.out or run / "zoom", usually_hidden=True)
