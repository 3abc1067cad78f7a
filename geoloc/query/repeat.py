"""Running a recorded query again: does it give the same answer?"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from ..report import QueryResult
from ..report.evidence import evidence
from ..report.outputs import faults_of_outputs, stands_alone
from .comparison import Repetition, compare
from .record import Record, read_record, records_of_models
from .recorded import (
    parts_moved,
    recorded_bank,
    recorded_cube,
    recorded_model,
    recorded_options,
    recorded_question,
    recorded_tandem,
)
from .run import answer_scene
from .searcher import ModelSearcher, Searcher
from .session import QuerySession
from .tandem import TandemSearcher
from .target import Target, seen_by_model


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
