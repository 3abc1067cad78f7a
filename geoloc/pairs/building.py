"""Pairs of photos whose place is known: an overhead chip is cut for each, and all are split by
place. Work that was done stays done: an interrupted build goes on where it was."""

from __future__ import annotations

import hashlib
import json
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

from PIL import Image

from ..area import Area
from ..area.map import read_layers
from ..arrays import U8
from ..errors import ImageryError, OutputError, PhotoError, UsageError
from ..files.whole import whole_file, write_whole
from ..imagery import Source, open_source
from ..imagery.sharing import sharing_reads
from ..models import load_model
from ..photos import Photo, read_photo
from ..photos.likeness import Seen, Signature
from ..photos.reading import read_heading
from ..progress import Progress
from .cutting import CONTEXT, ChipSpec, Water, cut_chip
from .file import write_pairs
from .importing import Faults
from .ledger import KEPT, BuildLedger, Outcome
from .splitting import SplitRule
from .spool import Deal, Spool
from .tagged import LeftOut, Tagged, find_tagged

PAIRS, REPORT, CHIPS = "pairs.csv", "build.json", "overhead"
FAULTS = ("no file", "bad row", "broken photo", "unreadable imagery")
"""Reasons that are nobody's wish; "unreadable imagery" is tried again by the next build."""

_GIVE_UP = 16  # places whose imagery fails one after the other: nobody answers


@dataclass(frozen=True)
class Built:
    """What was made. photos: how many were looked at; outcomes: how many were kept and left out for
    which reason; dropped: kept ones within the buffer of another split; faults: lines on `FAULTS`.
    """

    path: Path
    photos: int
    outcomes: dict[str, int]
    deal: Deal
    faults: Faults
    chip: ChipSpec

    @property
    def failed(self) -> int:
        """Photos left out for a reason that is nobody's wish."""
        return sum(self.outcomes.get(reason, 0) for reason in FAULTS)

    def to_json(self) -> dict[str, Any]:
        """For machines, and ``build.json``."""
        return {
            "path": str(self.path),
            "photos": self.photos,
            "outcomes": self.outcomes,
            "count": self.deal.splits.total(),
            "splits": dict(self.deal.splits),
            "dropped": self.deal.dropped,
            "block_m": self.deal.block_m,
            "chip_px": self.chip.px,
            "chip_gsd": self.chip.gsd,
            "faults": list(self.faults.lines),
            "notes": list(self.deal.notes),
        }


def chip_of(
    area: Area, px: int | None = None, gsd: float | None = None, context: float | None = None
) -> ChipSpec:
    """Size and resolution of the chips: as told, else as the area's model wants them.

    Raises UsageError for a context beside px, and where neither says.
    """
    if px is not None and context is not None:
        raise UsageError("--context counts in patches of the model, --px in pixels: give one")
    if px is not None and gsd is not None:
        return ChipSpec(px, gsd)
    overhead = load_model(area.model).spec.overhead
    if overhead is None:
        raise UsageError(f"model {area.model} has no overhead network: give --px and --gsd")
    chip = ChipSpec.of_model(overhead, CONTEXT if context is None else context)
    return ChipSpec(px or chip.px, gsd or chip.gsd)


def build_pairs(
    source: Path,
    area: Area,
    out: Path,
    chip: ChipSpec,
    *,
    photos: Path | None = None,
    rule: SplitRule | None = None,
    progress: Progress | None = None,
) -> Built:
    """Pairs of the photos of a folder or list, in ``out``: ``pairs.csv``, chips, ``build.json``.

    Left out, and counted by reason: photos without a place or file, broken ones, near-duplicates of
    an earlier one, places without imagery, on water or where nothing is to be seen. ``rule``: by
    default no two chips of two splits overlap. Raises UsageError where no pair is left,
    SpecMismatchError where ``out`` was begun with another imagery or size.
    """
    rule = rule or SplitRule(buffer_m=default_buffer(chip))
    water = Water([shape for shape in read_layers(area.map).water if "Polygon" in shape.geom_type])
    imagery = hashlib.sha256(area.imagery.model_dump_json().encode()).hexdigest()[:16]
    facts = {"imagery": imagery, "px": chip.px, "gsd": chip.gsd, "water": len(water.shapes)}
    total = sum(1 for _ in find_tagged(source, photos))
    with BuildLedger(out, facts) as ledger, Spool() as spool, sharing_reads():
        work = _Build(out, ledger, open_source(area.read_imagery), chip, water)
        for number, found in enumerate(find_tagged(source, photos), 1):
            work.take(found)
            if progress:
                progress(number, total)
        return _finish(work, spool, out, rule, total)


def default_buffer(chip: ChipSpec) -> float:
    """m between places whose chips do not overlap, however they lie."""
    return chip.side_m * 2**0.5


def _finish(work: _Build, spool: Spool, out: Path, rule: SplitRule, total: int) -> Built:
    for pair in work.ledger.pairs():
        spool.add(pair, None)
    outcomes = work.outcomes()
    if not spool.count:
        why = ", ".join(f"{count} {reason}" for reason, count in outcomes.items()) or "no photos"
        first = f"; the first: {work.faults.lines[0]}" if work.faults.lines else ""
        raise UsageError(f"no pair is left of {total} photos: {why}{first}")
    pairs, deal = spool.dealt("place", rule)
    path = write_pairs(pairs, out / PAIRS)
    built = Built(path, total, outcomes, deal, work.faults, work.chip)
    try:
        write_whole(out / REPORT, json.dumps(built.to_json(), indent=1) + "\n")
    except OSError as error:
        raise OutputError(f"{out / REPORT}: cannot be written ({error.strerror})") from None
    return built


@dataclass
class _Build:
    """A build while it goes on."""

    out: Path
    ledger: BuildLedger
    source: Source
    chip: ChipSpec
    water: Water
    seen: Seen = field(default_factory=Seen)
    names: list[str] = field(default_factory=list)
    left: dict[str, int] = field(default_factory=dict)
    faults: Faults = field(default_factory=Faults)
    taken: set[int] = field(default_factory=set)
    failed_in_a_row: int = 0

    def take(self, found: Tagged | LeftOut) -> None:
        """Cut one photo's chip, or say why not."""
        if isinstance(found, LeftOut):
            self._leave(found.reason, found.line)
            return
        try:
            stamp = _stamp(found)
        except OSError as error:
            self._leave("no file", f"{found.photo} cannot be read: {error.strerror}")
            return
        name = str(found.photo.absolute())
        if hash(name) in self.taken:
            self._leave("duplicate", f"{found.photo} is listed twice")
            return
        self.taken.add(hash(name))
        outcome = self.ledger.settled(name, stamp)
        if outcome is None or not self._is_there(outcome):
            outcome = self._settle(name, stamp, found)
        if outcome is not None:
            self._remember(name, outcome)

    def outcomes(self) -> dict[str, int]:
        """How many photos had which outcome, the most first."""
        told = self.ledger.counts()
        for reason, count in self.left.items():
            told[reason] = told.get(reason, 0) + count
        return dict(sorted(told.items(), key=lambda one: (-one[1], one[0])))

    def _leave(self, reason: str, line: str) -> None:
        self.left[reason] = self.left.get(reason, 0) + 1
        if reason in FAULTS:
            self.faults.add(line)

    def _is_there(self, outcome: Outcome) -> bool:
        return outcome.outcome != KEPT or (self.out / outcome.chip).is_file()

    def _settle(self, name: str, stamp: str, found: Tagged) -> Outcome | None:
        try:
            outcome = self._outcome(found)
            self.failed_in_a_row = 0
        except ImageryError as error:
            self.failed_in_a_row += 1
            if self.failed_in_a_row >= _GIVE_UP:
                raise
            self._leave("unreadable imagery", f"{found.photo}: {error}")
            return None
        self.ledger.put(name, stamp, outcome)
        return outcome

    def _remember(self, name: str, outcome: Outcome) -> None:
        if outcome.signature is not None:
            self.seen.add(len(self.names), outcome.signature)
            self.names.append(name)
        if outcome.outcome in FAULTS:
            self.faults.add(outcome.line)

    def _outcome(self, found: Tagged) -> Outcome:
        try:
            photo = read_photo(found.photo)
        except (PhotoError, UsageError) as error:
            return Outcome("broken photo", str(error))
        told = _told(found, photo)
        if told.lonlat is None:
            return replace(told, outcome="no place")
        signature = Signature.of(photo.pixels)
        if (same := self.seen.find(signature)) is not None:
            return replace(told, outcome="near-duplicate", line=f"as {self.names[same]}")
        cut = cut_chip(self.source, self.chip.window(told.lonlat), self.water)
        if cut.fault is not None:
            return replace(told, outcome=cut.fault)
        file = f"{CHIPS}/{photo.sha256[:20]}.png"
        self._save(file, cut.pixels)
        return replace(told, outcome=KEPT, chip=file, signature=signature)

    def _save(self, file: str, pixels: U8) -> None:
        path = self.out / file
        try:
            path.parent.mkdir(exist_ok=True)
            with whole_file(path, alone=True) as part:
                Image.fromarray(pixels).save(part, "PNG")
        except OSError as error:
            raise OutputError(f"{path}: cannot be written ({error.strerror})") from None


def _told(found: Tagged, photo: Photo) -> Outcome:
    """Place, heading and date of a photo: of the list, else of the file."""
    gps = photo.exif.get("gps")
    return Outcome(
        "",
        "",
        found.lonlat or (None if gps is None else (gps["lon"], gps["lat"])),
        found.heading if found.heading is not None else read_heading(found.photo),
        found.date or str(photo.exif.get("time", "")),
    )


def _stamp(found: Tagged) -> str:
    """Changes when the file does, or what the list says of it. Raises OSError."""
    facts = found.photo.stat()
    return f"{facts.st_size} {facts.st_mtime_ns} {found.lonlat} {found.heading} {found.date}"
