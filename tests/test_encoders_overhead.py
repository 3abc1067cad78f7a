"""Patch and dense encoding of windows: alignment, blocks, missing data, refusals."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from numpy.typing import NDArray

from geoloc.domain import Grid
from geoloc.encoders import overhead
from geoloc.encoders.lattice import Reading
from geoloc.encoders.overhead import OverheadEncoder, open_overhead, open_patches
from geoloc.errors import GeolocError, ModelError, UsageError
from geoloc.models.load import load_model
from geoloc.models.model import Model
from geoloc.pulse import listening

from .encoder_models import dense_section, imagery, tiny_model

CELLS = Grid("EPSG:32636", 300_000.0, 5_598_000.0, 10.0, 4, 6)


class World:
    """Pixels of a wide area at one GSD, from which any aligned window is cut."""

    def __init__(self, encoder: OverheadEncoder, cells: Grid, margin: int = 16) -> None:
        self.grid = encoder.window(cells).pad(margin)
        self.pixels = imagery(*self.grid.shape)
        self.valid = np.ones(self.grid.shape, dtype=np.bool_)

    def read(self, window: Grid) -> tuple[NDArray[np.uint8], NDArray[np.bool_]]:
        row = round((self.grid.top - window.top) / self.grid.step)
        col = round((window.left - self.grid.left) / self.grid.step)
        part = slice(row, row + window.ny), slice(col, col + window.nx)
        return self.pixels[:, *part], self.valid[part]

    def encode(self, encoder: OverheadEncoder, cells: Grid) -> NDArray[np.float32]:
        window = encoder.window(cells)
        return encoder.encode(*self.read(window), window, cells)


def opened(path: Path, method: str, **overhead: Any) -> OverheadEncoder:
    return open_overhead(tiny_model(path, **overhead), 10.0, method, "cpu", precision="float32")


@pytest.mark.parametrize("gsd", [(0.5, 2.0), (0.9, 0.9)], ids=["exact", "nearest"])
def test_patch_encodes_the_pixels_around_each_cell(
    tmp_path: Path, gsd: tuple[float, float]
) -> None:
    encoder = opened(tmp_path, "patch", gsd=gsd, preferred_gsd=gsd[0])
    world = World(encoder, CELLS)
    found = world.encode(encoder, CELLS)
    patches = open_patches(encoder.model, 10.0, "cpu", gsd=encoder.gsd, precision="float32")
    for row, col in ((0, 0), (3, 5), (1, 4)):
        x, y = CELLS.center(row, col)
        top = round((world.grid.top - y) / encoder.gsd - 32 + 1e-6)
        left = round((x - world.grid.left) / encoder.gsd - 32 + 1e-6)
        patch = world.pixels[None, :, top : top + 64, left : left + 64]
        np.testing.assert_allclose(
            found[row, col], patches.encode_patches(patch)[0], rtol=1e-3, atol=1e-4
        )


@pytest.mark.parametrize(
    "settings",
    [
        dense_section(halo_px=320),
        {**dense_section(), "gsd": (0.9, 1.1)},
        {"gsd": (1.0, 1.0)},
        {"gsd": (0.9, 1.1), "preferred_gsd": 0.9},
        {"gsd": (0.93, 0.95), "preferred_gsd": 0.94},
    ],
    ids=["dense exact", "dense interpolated", "patch", "patch exact", "patch nearest"],
)
def test_a_cell_does_not_depend_on_its_block(tmp_path: Path, settings: dict[str, Any]) -> None:
    method = "dense" if "dense" in settings else "patch"
    encoder = opened(tmp_path, method, **settings)
    world = World(encoder, CELLS)
    whole = world.encode(encoder, CELLS)
    assert np.isfinite(whole).all() and whole.std(axis=(0, 1)).min() > 0
    for rows, cols in ((slice(1, 3), slice(2, 6)), (slice(3, 4), slice(0, 1))):
        part = world.encode(encoder, CELLS.window(rows, cols))
        np.testing.assert_allclose(part, whole[rows, cols], rtol=1e-3, atol=1e-4)


def test_tiles_inside_a_block_change_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = opened(tmp_path, "dense", **dense_section())
    world = World(encoder, CELLS)
    whole = world.encode(encoder, CELLS)
    monkeypatch.setattr(overhead, "TILE_PX", 2 * 304 + 32 + 16)
    tiled = opened(tmp_path, "dense", **dense_section())
    np.testing.assert_allclose(world.encode(tiled, CELLS), whole, rtol=1e-3, atol=1e-4)


@pytest.mark.parametrize(
    ("arch", "halo"), [("shufflenet_v2_x0_5", 304), ("mobilenet_v3_small", 128)]
)
def test_the_default_halo_covers_what_a_trunk_can_see_if_it_may(
    tmp_path: Path, arch: str, halo: int
) -> None:
    encoder = opened(tmp_path, "dense", **dense_section(), arch=arch)
    assert encoder.describe()["halo_px"] == halo
    wide = {**dense_section(), "arch": arch, "patch_px": 32 + 2 * 160}
    assert opened(tmp_path, "dense", **wide).describe()["halo_px"] == max(halo, 160)


@pytest.mark.parametrize("arch", ["shufflenet_v2_x0_5", "mobilenet_v3_small"])
def test_dense_is_the_patch_function_of_a_dense_native_model(tmp_path: Path, arch: str) -> None:
    """With as much context as the receptive field, the two agree to rounding."""
    halo = {"shufflenet_v2_x0_5": 304, "mobilenet_v3_small": 448}[arch]
    settings = {**dense_section(halo_px=halo), "arch": arch, "patch_px": 32 + 2 * halo}
    dense = opened(tmp_path, "dense", **settings)
    cells = CELLS.window(slice(0, 2), slice(0, 2))
    world = World(dense, cells)
    patch = open_patches(dense.model, 10.0, "cpu", gsd=dense.gsd, precision="float32")
    np.testing.assert_allclose(
        world.encode(dense, cells), world.encode(patch, cells), rtol=1e-3, atol=1e-4
    )


def test_dense_on_a_lattice_of_several_strides(tmp_path: Path) -> None:
    model = tiny_model(tmp_path, **dense_section(stride=8))
    fine = open_overhead(model, 8.0, "dense", "cpu", gsd=1.0, precision="float32")
    coarse = open_overhead(model, 16.0, "dense", "cpu", gsd=1.0, precision="float32")
    cells = Grid("EPSG:32636", 300_000.0, 5_598_000.0, 8.0, 5, 7)
    every_second = Grid("EPSG:32636", 299_996.0, 5_598_004.0, 16.0, 3, 4)
    world = World(fine, cells)
    np.testing.assert_allclose(
        world.encode(coarse, every_second),
        world.encode(fine, cells)[::2, ::2],
        rtol=1e-3,
        atol=1e-4,
    )


@pytest.mark.parametrize("settings", [{}, dense_section()], ids=["patch", "dense"])
def test_missing_imagery_gives_missing_cells(tmp_path: Path, settings: dict[str, Any]) -> None:
    encoder = opened(tmp_path, "dense" if settings else "patch", **settings)
    world = World(encoder, CELLS)
    whole = world.encode(encoder, CELLS)
    half = round((world.grid.top - CELLS.center(1, 0)[1]) / encoder.gsd)
    world.valid[: half + 1] = False  # down to just below the centres of row 1
    found = world.encode(encoder, CELLS)
    missing = np.isnan(found)
    assert missing[:2].all() and not missing[3].any()
    assert (missing.any(-1) == missing.all(-1)).all()
    world.valid[:] = False
    assert np.isnan(world.encode(encoder, CELLS)).all()
    assert np.isfinite(whole).all()


def test_what_lies_under_missing_pixels_does_not_matter(tmp_path: Path) -> None:
    encoder = opened(tmp_path, "patch")
    world = World(encoder, CELLS)
    world.valid[:, :30] = False
    before = world.encode(encoder, CELLS)
    world.pixels = world.pixels.copy()
    world.pixels[:, :, :30] = 255
    np.testing.assert_array_equal(world.encode(encoder, CELLS), before)


def test_the_fastest_supported_method_is_the_default(tmp_path: Path) -> None:
    assert opened(tmp_path / "p", "patch").method == "patch"
    model = tiny_model(tmp_path / "d", **dense_section())
    encoder = open_overhead(model, 10.0, device="cpu")
    assert encoder.method == "dense"
    about = encoder.describe()
    assert (about["gsd"], about["stride"], about["lattice_m"]) == (0.625, 16, 10.0)
    assert about["interpolation"] is None


@pytest.mark.parametrize(
    ("settings", "step", "method", "options", "word"),
    [
        ({}, 10, "dense", {}, "is a different function"),
        ({}, 10, "fast", {}, "dense or patch"),
        ({}, 10, "patch", {"gsd": 9.0}, "range"),
        ({}, 10, "patch", {"device": "abacus"}, "abacus"),
        ({**dense_section(), "gsd": (1.0, 1.0)}, 2, "dense", {}, "step of 8 m"),
        ({**dense_section(), "arch": "vit_b_16"}, 10, "dense", {}, "trunk"),
    ],
)
def test_refusals_give_the_reason(
    tmp_path: Path, settings: dict[str, Any], step: float, method: str,
    options: dict[str, Any], word: str,
) -> None:  # fmt: skip
    arch = settings.get("arch")
    model = tiny_model(tmp_path, **{**settings, "arch": "shufflenet_v2_x0_5"})
    if arch:
        section = model.spec.overhead.model_copy(update={"arch": arch})  # type: ignore[union-attr]
        model = Model(model.path, model.spec.model_copy(update={"overhead": section}))
    with pytest.raises(GeolocError, match=word) as refused:
        open_overhead(model, step, method, **options)
    assert "\n" not in str(refused.value)


def test_a_model_without_overhead_network_is_refused(tmp_path: Path) -> None:
    model = tiny_model(tmp_path)
    bare = Model(model.path, model.spec.model_copy(update={"overhead": None}))
    with pytest.raises(ModelError, match="no overhead network"):
        open_overhead(bare, 10.0)


def test_pixels_of_another_window_are_refused(tmp_path: Path) -> None:
    encoder = opened(tmp_path, "patch")
    window = encoder.window(CELLS)
    valid = np.ones(window.shape, dtype=np.bool_)
    shifted = Grid(window.crs, window.left + 0.5, window.top, window.step, window.ny, window.nx)
    with pytest.raises(UsageError, match="window"):
        encoder.encode(imagery(*window.shape), valid, shifted, CELLS)


def test_bfloat16_stays_close(tmp_path: Path) -> None:
    exact = opened(tmp_path, "dense", **dense_section())
    rough = open_overhead(load_model(tmp_path), 10.0, "dense", "cpu", precision="bfloat16")
    assert rough.describe()["precision"] == "bfloat16"
    world = World(exact, CELLS)
    a, b = world.encode(rough, CELLS), world.encode(exact, CELLS)
    assert np.linalg.norm(a - b) < 0.05 * np.linalg.norm(b)


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device")
def test_cuda_agrees_with_the_cpu(tmp_path: Path) -> None:
    cpu = opened(tmp_path, "dense", **dense_section())
    gpu = open_overhead(cpu.model, 10.0, "dense", "cuda", precision="float32")
    world = World(cpu, CELLS)
    np.testing.assert_allclose(
        world.encode(gpu, CELLS), world.encode(cpu, CELLS), rtol=1e-2, atol=1e-3
    )


@pytest.mark.parametrize(
    ("method", "how"),
    [
        ("patch", {}),
        ("patch", {"gsd": (0.9, 0.9), "preferred_gsd": 0.9}),
        ("dense", dense_section()),
        ("dense", {**dense_section(), "gsd": (0.9, 1.1), "preferred_gsd": 1.0}),
    ],
)
def test_what_it_says_of_itself_tells_which_pixels_it_reads(
    tmp_path: Path, method: str, how: dict[str, Any]
) -> None:
    encoder = opened(tmp_path, method, **how)
    reading = Reading.of_encoding(json.loads(json.dumps(encoder.describe())), 10.0)
    assert reading is not None
    for cells in (CELLS, CELLS.window(slice(2, 3), slice(1, 6))):
        assert reading.window(cells) == encoder.window(cells)


@pytest.mark.parametrize("method", ["patch", "dense"])
def test_how_far_it_has_come_is_told(
    tmp_path: Path, method: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(overhead, "_BATCH_PX", {"cpu": 5 * 64 * 64})
    monkeypatch.setattr(overhead, "TILE_PX", 200)
    encoder = opened(tmp_path, method, **dense_section())
    cells = Grid(CELLS.crs, CELLS.left, CELLS.top, 10.0, 8, 6)
    told: list[float] = []
    with listening(told.append):
        World(encoder, cells).encode(encoder, cells)
    assert len(told) > 3
    assert told == sorted(told)
    assert told[-1] == 1
