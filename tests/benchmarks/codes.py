"""What int8 costs: one ``scale`` and ``offset`` for all features, beside a pair for each.

    python -m tests.benchmarks.codes train --out TRAINED.npy
    python -m tests.benchmarks.codes worlds --seeds 12-19 --trained TRAINED.npy --work DIR
    python -m tests.benchmarks.codes area AREA.yaml --photos FOLDER --work DIR

``train``: overhead vectors of parts of the worlds that the shipped model was trained on; prints
their range. ``worlds``: where the true cells of photos rank in worlds that it was not trained
on, by float32 vectors and by each code; changes are from a code per feature that is chosen from
the cube itself, with bootstrap 95 % intervals over worlds. ``area``: the errors alone, for any
area. Vectors are encoded once and kept in ``DIR``; ``--trained`` adds the codes whose range
comes from training.
"""

from __future__ import annotations

import argparse
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from scipy.stats import rankdata

from geoloc.area import load_area
from geoloc.domain.grid import Grid
from geoloc.encoders import OverheadEncoder, open_ground, open_overhead
from geoloc.evaluation import place, read_truth
from geoloc.imagery import open_source
from geoloc.models import load_model
from geoloc.models.model import SHIPPED
from geoloc.photos import read_photo
from geoloc.query.truth import true_point
from geoloc.sandbox.catalog import write_world
from geoloc.sandbox.overhead import ACQUISITIONS, render_overhead
from geoloc.sandbox.photos import write_photos
from geoloc.sandbox.recipe import KM, TRAIN_SEEDS
from geoloc.sandbox.world import World

F32 = NDArray[np.float32]
F64 = NDArray[np.float64]
LIMIT = 127
WINDOWS, SIDE = 64, 4  # small windows that a code is calibrated on, and the cells of their sides
BITS = 5  # of a scale that float32 decodes exactly: at most 1/16 larger than need be
LEAST_SPAN = 0.05  # of the widest feature's, for a feature that is constant in a sample
PHOTO_PX = (256, 192)  # of the worlds' photos: as many as the sandbox model learns from
STEP, NATIVE, PART = 10.0, 0.5, 60  # m between cells, m per px that is rendered, cells of a side
OWN = "per feature, own cube"


@dataclass(frozen=True)
class Vectors:
    """One area: features ``(y, x, feature)``, photos ``(photo, feature)``, and the true cells
    ``(photo, 2)`` or none."""

    features: F32
    photos: F32
    cells: NDArray[np.int64]

    @property
    def rows(self) -> F32:
        """The vectors that are there, ``(cell, feature)``."""
        return self.features[self.there]

    @property
    def there(self) -> NDArray[np.bool_]:
        """Bool ``(y, x)``: which cells have a vector."""
        return np.asarray(np.isfinite(self.features).all(axis=-1))

    def windows(self, seed: int) -> F32:
        """Vectors of `WINDOWS` small windows drawn at random."""
        rng = np.random.default_rng(seed)
        whole = self.there
        parts: list[F32] = []
        while len(parts) < WINDOWS:
            y, x = (int(rng.integers(0, side - SIDE + 1)) for side in whole.shape)
            at = slice(y, y + SIDE), slice(x, x + SIDE)
            if whole[at].all():
                parts.append(self.features[at].reshape(-1, self.features.shape[-1]))
        return np.concatenate(parts)


@dataclass(frozen=True)
class Code:
    """``value = code * scale + offset``; both ``(feature,)`` or numbers."""

    scale: F64
    offset: F64

    @classmethod
    def each(cls, sample: F32, headroom: float) -> Code:
        """A range for each feature, wider than the sample's by ``headroom`` on each side."""
        low, high = sample.min(0).astype(np.float64), sample.max(0).astype(np.float64)
        span = np.maximum(high - low, LEAST_SPAN * (high - low).max())
        return cls(span * (1 + 2 * headroom) / (2 * LIMIT), (low + high) / 2)

    @classmethod
    def one(cls, sample: F32, headroom: float, tail: float = 0.0, centred: bool = False) -> Code:
        """One range for all features; ``tail``: share of values that may lie beyond each end.

        ``centred``: symmetric around 0, which the offset then is.
        """
        low, high = np.quantile(sample.astype(np.float64), (tail, 1 - tail))
        if centred:
            high = max(-low, high)
            low = -high
        scale = (high - low) * (1 + 2 * headroom) / (2 * LIMIT)
        return cls(np.asarray(scale), np.asarray((low + high) / 2))

    def exact(self) -> Code:
        """The scale rounded up to `BITS` significant bits, the offset to a whole number of scales:
        then float32 holds every value exactly, and all readers decode the same."""
        mantissa, exponent = np.frexp(self.scale)
        scale = np.ldexp(np.ceil(mantissa * 2**BITS) / 2**BITS, exponent)
        return Code(scale, np.rint(self.offset / scale) * scale)

    def stored(self, values: F32) -> tuple[F32, float]:
        """What is read back, and the share of values that were clipped."""
        steps = np.rint((values - self.offset) / self.scale)
        clipped = float((np.abs(steps[np.isfinite(steps)]) > LIMIT).mean())
        read = np.clip(steps, -LIMIT, LIMIT) * self.scale + self.offset
        return read.astype(np.float32), clipped


def encode(area_file: Path, photos: Sequence[Path], model: str | None) -> tuple[F32, F32]:
    """Features ``(y, x, feature)`` of an area, and vectors of photos, as the builder has them."""
    area = load_area(area_file)
    opened = load_model(model or area.model)
    encoder = open_overhead(opened, area.step)
    window = encoder.window(area.grid)
    image = open_source(area.imagery).read(window)
    features = encoder.encode(image.values, image.coords["valid"].values, window, area.grid)
    return features, open_ground(opened).encode([read_photo(path).pixels for path in photos])


def kept(path: Path, make: Callable[[], Vectors]) -> Vectors:
    """Vectors that are made once."""
    if not path.exists():
        path.parent.mkdir(parents=True, exist_ok=True)
        np.savez(path, **vars(make()))
    with np.load(path) as stored:
        return Vectors(**stored)


def world(seed: int, km: float, photos: int, work: Path, model: str | None) -> Vectors:
    """An unseen world's vectors and the cells where its photos were taken."""

    def make() -> Vectors:
        folder = work / f"world-{seed}"
        area, table = folder / "area.yaml", folder / "photos" / "truth.csv"
        if not area.exists():  # written last
            write_world(folder, seed, km)
        if not table.exists():
            write_photos(World(seed, km), table.parent, photos, seed, PHOTO_PX)
        truths = read_truth(table)
        features, vectors = encode(area, [table.parent / truth.file for truth in truths], model)
        grid = load_area(area).grid
        points = [true_point(grid, truth.lat, truth.lon) for truth in truths]
        cells = [grid.index(*point) for point in points if point]
        return Vectors(features, vectors, np.array(cells, np.int64))

    return kept(work / f"world-{seed}.npz", make)


def write_trained(parts: int, out: Path) -> None:
    """Vectors ``(n, feature)`` of random parts of the training worlds, flights in turn."""
    encoder = open_overhead(load_model(SHIPPED), STEP)
    vectors = np.concatenate([
        _part(encoder, World(seed, KM), np.random.default_rng([seed, part]), seed + part)
        for part in range(parts) for seed in TRAIN_SEEDS
    ])  # fmt: skip
    np.save(out, vectors)
    for tail in (0.0, 1e-4, 1e-3):
        low, high = np.quantile(vectors, (tail, 1 - tail))
        print(f"{len(vectors)} vectors, all but {tail:g} of each end: {low:.3f} to {high:.3f}")


def _part(encoder: OverheadEncoder, world: World, rng: np.random.Generator, flight: int) -> F32:
    """Vectors of one part, far enough inside the world for its whole window to be there."""
    left, bottom, right, top = world.bounds
    reach = max(encoder.window(Grid(world.crs, left, top, STEP, 1, 1)).shape) * encoder.gsd
    spare = min(right - left, top - bottom) - 2 * reach - PART * STEP
    x, y = (reach + STEP * int(rng.integers(int(spare // STEP))) for _ in range(2))
    cells = Grid(world.crs, left + x, top - y, STEP, PART, PART)
    window, finer = encoder.window(cells), round(encoder.gsd / NATIVE)
    fine = Grid(
        window.crs, window.left, window.top, NATIVE, window.ny * finer, window.nx * finer
    )  # fmt: skip
    native = render_overhead(world, fine, ACQUISITIONS[flight % len(ACQUISITIONS)])
    small = Image.fromarray(native).resize((window.nx, window.ny), Image.Resampling.BOX)
    pixels = np.ascontiguousarray(np.asarray(small).transpose(2, 0, 1))
    vectors = encoder.encode(pixels, np.ones(window.shape, np.bool_), window, cells)
    return vectors.reshape(-1, encoder.dim)


def codes(
    own: Vectors, other: Vectors, trained: F32 | None, seed: int
) -> Iterator[tuple[str, Code]]:
    """The codes that are compared: from the area's own vectors, small windows of ``other`` (as of
    the first area that a model is used on), and from training."""
    windows = other.windows(seed)
    yield OWN, Code.each(own.rows, 0.25)
    yield "per feature, 64 windows", Code.each(windows, 0.25)
    for headroom in (0.0, 0.1, 0.25):
        yield f"scalar, 64 windows +{headroom:.0%}", Code.one(windows, headroom)
    if trained is not None:
        yield "per feature, training +25%", Code.each(trained, 0.25)
        for headroom in (0.0, 0.1, 0.25):
            yield f"scalar, training +{headroom:.0%}", Code.one(trained, headroom)
        yield "scalar, training 0.1 % tails", Code.one(trained, 0.0, 1e-3)
        yield "scalar, training +10%, offset 0", Code.one(trained, 0.1, centred=True)
        yield "scalar, training +10%, exact", Code.one(trained, 0.1).exact()


@dataclass(frozen=True)
class Figures:
    """One code on one area: relative error (of the spread around the mean), mean Spearman and
    overlap of the best 1 % over photos, clipped share, percentile per photo ``(photo,)``."""

    error: float
    spearman: float
    overlap: float
    clipped: float
    percentiles: F64


def measure(vectors: Vectors, code: Code) -> Figures:
    """Compare what a code reads back with the float32 vectors."""
    read, clipped = code.stored(vectors.features)
    exact = vectors.rows.astype(np.float64)
    there = vectors.there
    spread = np.sqrt(((exact - exact.mean(0)) ** 2).mean())
    error = np.sqrt(((read[there] - exact) ** 2).mean()) / spread
    agreement = [_agreement(exact, read[there], photo) for photo in vectors.photos]
    spearman, overlap = np.mean(agreement, axis=0)
    return Figures(float(error), spearman, overlap, clipped, percentiles(vectors, read))


def percentiles(vectors: Vectors, features: F32) -> F64:
    """Of the true cell, per photo, by these features."""
    found = []
    for photo, cell in zip(vectors.photos, vectors.cells, strict=False):
        heatmap = np.sqrt(((features.astype(np.float64) - photo) ** 2).mean(-1))
        placement = place("", heatmap, (int(cell[0]), int(cell[1])))
        found.append(np.nan if placement is None else placement.percentile)
    return np.array(found)


def _agreement(exact: F64, read: F32, photo: F32) -> tuple[float, float]:
    a, b = (np.linalg.norm(rows - photo, axis=1) for rows in (exact, read))
    best = max(1, len(a) // 100)
    same = np.intersect1d(np.argpartition(a, best - 1)[:best], np.argpartition(b, best - 1)[:best])
    return float(np.corrcoef(rankdata(a), rankdata(b))[0, 1]), len(same) / best


def interval(worlds: Sequence[F64], figure: Callable[[F64], float]) -> tuple[float, float]:
    """Bootstrap 95 % interval over worlds of a figure of all their photos ``(photo, ...)``."""
    rng = np.random.default_rng(0)
    drawn = rng.integers(0, len(worlds), (4000, len(worlds)))
    values = [figure(np.concatenate([worlds[n] for n in row])) for row in drawn]
    low, high = np.percentile(values, (2.5, 97.5))
    return float(low), float(high)


def show(tables: Sequence[dict[str, Figures]]) -> None:
    """One line a code; ``tables``: the codes of each area."""
    print(f"{'code':<32} error  Spearman  top 1 %  clipped")
    for name in tables[0]:
        rows = [table[name] for table in tables]
        error, spearman, overlap = (
            np.mean([getattr(row, key) for row in rows]) for key in ("error", "spearman", "overlap")
        )
        clipped, worst = (f([row.clipped for row in rows]) for f in (np.mean, np.max))
        print(f"{name:<32} {error:.4f} {spearman:.5f}   {overlap:.3f}    "
              f"{clipped:.2e} (at most {worst:.2e})")  # fmt: skip


def show_percentiles(exact: Sequence[F64], tables: Sequence[dict[str, Figures]]) -> None:
    """Percentiles of true cells by each code, and how far they are from those of `OWN`."""
    columns = {"float32": list(exact)}
    columns |= {name: [table[name].percentiles for table in tables] for name in tables[0]}
    print(f"\n{'percentile of the true cell':<32} median [95 %]          mean    mean change [95 %]"
          "            median change [95 %]       largest")  # fmt: skip
    for name, worlds in columns.items():
        pairs = [np.stack([new, old], 1) for new, old in zip(worlds, columns[OWN], strict=True)]
        everything = np.concatenate(pairs)
        middle, mean = np.median(everything[:, 0]), everything[:, 0].mean()
        low, high = interval(pairs, lambda p: float(np.median(p[:, 0])))
        parts = [f"{name:<32} {middle:.3f} [{low:.2f}, {high:.2f}]", f"{mean:.3f}"]
        for figure in (_mean_change, _median_change):
            low, high = interval(pairs, figure)
            parts.append(f"{figure(everything):+.4f} [{low:+.4f}, {high:+.4f}]")
        print(*parts, f"{np.abs(everything[:, 0] - everything[:, 1]).max():.3f}", sep="    ")


def _mean_change(pairs: F64) -> float:
    return float((pairs[:, 0] - pairs[:, 1]).mean())


def _median_change(pairs: F64) -> float:
    return float(np.median(pairs[:, 0]) - np.median(pairs[:, 1]))


def show_elsewhere(areas: Sequence[Vectors]) -> None:
    """How much a scalar range from small windows of one area clips in all the others."""
    print("\nscalar range of 64 windows of one area, clipped in the others: mean, at most")
    for headroom in (0.0, 0.1, 0.25, 0.5, 1.0):
        made = [Code.one(area.windows(seed), headroom) for seed, area in enumerate(areas)]
        clipped = [
            code.stored(area.rows)[1]
            for i, code in enumerate(made) for j, area in enumerate(areas) if i != j
        ]  # fmt: skip
        scale = np.mean([code.scale for code in made])
        print(f"+{headroom:<4.0%}  {np.mean(clipped):.2e}  {np.max(clipped):.2e}   "
              f"scale {scale:.4f}")  # fmt: skip


def compare_worlds(seeds: Sequence[int], km: float, photos: int, work: Path, model: str | None,
                   trained: F32 | None) -> None:  # fmt: skip
    """All tables for unseen worlds."""
    areas = [world(seed, km, photos, work, model) for seed in seeds]
    others = areas[1:] + areas[:1]
    tables = [
        {name: measure(own, code) for name, code in codes(own, other, trained, seed)}
        for seed, own, other in zip(seeds, areas, others, strict=True)
    ]
    print(f"{len(areas)} worlds, {sum(len(area.cells) for area in areas)} photos")
    show(tables)
    show_percentiles([percentiles(area, area.features) for area in areas], tables)
    show_elsewhere(areas)


def compare_area(file: Path, photos: Path, work: Path, trained: F32 | None) -> None:
    """The errors of all codes on one area, calibrated on windows of its own."""

    def make() -> Vectors:
        files = sorted(path for path in photos.rglob("*") if path.suffix in (".jpg", ".png"))
        features, vectors = encode(file, files[:: max(1, len(files) // 100)], None)
        return Vectors(features, vectors, np.empty((0, 2), np.int64))

    area = kept(work / f"{file.stem}.npz", make)
    print(f"{len(area.rows)} cells, {len(area.photos)} photos")
    show([{name: measure(area, code) for name, code in codes(area, area, trained, 0)}])


def _seeds(text: str) -> list[int]:
    first, _, last = text.partition("-")
    return list(range(int(first), int(last or first) + 1))


def main() -> None:
    """The two commands."""
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks.codes")
    commands = parser.add_subparsers(dest="command", required=True)
    training = commands.add_parser("train", help="overhead vectors of the training worlds")
    training.add_argument("--parts", type=int, default=2, help="parts of each world")
    training.add_argument("--out", type=Path, required=True, help=".npy")
    worlds = commands.add_parser("worlds", help="percentiles of true cells on unseen worlds")
    worlds.add_argument("--seeds", type=_seeds, default=_seeds("12-19"), help="as 12-19")
    worlds.add_argument("--km", type=float, default=1.0)
    worlds.add_argument("--photos", type=int, default=34, help="photos per world")
    worlds.add_argument("--model", help="default: that of the worlds' area files")
    area = commands.add_parser("area", help="errors of an area's vectors")
    area.add_argument("file", type=Path, metavar="AREA.yaml")
    area.add_argument("--photos", type=Path, required=True, help="a folder of photos to rank by")
    for command in (worlds, area):
        command.add_argument("--work", type=Path, default=Path("work"), help="what is kept")
        command.add_argument("--trained", type=Path, help="vectors of training areas, .npy")
    chosen = parser.parse_args()
    if chosen.command == "train":
        write_trained(chosen.parts, chosen.out)
        return
    trained = None if chosen.trained is None else np.load(chosen.trained)
    if chosen.command == "area":
        compare_area(chosen.file, chosen.photos, chosen.work, trained)
    else:
        compare_worlds(chosen.seeds, chosen.km, chosen.photos, chosen.work, chosen.model, trained)


if __name__ == "__main__":
    main()
