"""A cube as scientists expect it: an xarray Dataset of decoded features, with names and CRS."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import rioxarray  # noqa: F401 registers .rio
import xarray as xr
from xarray.backends import BackendArray
from xarray.core.indexing import (
    ExplicitIndexer,
    IndexingSupport,
    LazilyIndexedArray,
    explicit_indexing_adapter,
)

from ..arrays import F32
from ..domain import Domain, Grid
from .reader import Cube

_CHUNK = 2  # chunks of a cube along each side of one of dask: fewer tasks


def open_cube(url: str | Path, generation: str | None = None) -> xr.Dataset:
    """A cube's ``features`` as float32 ``(y, x, feature)``, NaN where missing, read lazily.

    Of a cube of points they are ``(point, feature)``, with coordinates ``x`` and ``y``.

    ``feature`` is an index of scene names (``ds.features.sel(feature="highway")``), the CRS is
    rioxarray's (``ds.features.rio.crs``, of grids ``ds.rio.crs`` too), chunks are dask's. What is
    computed is checked as by `Cube`: a block that is damaged raises CubeError, one that is not
    done is missing. Readers of plain Zarr open the same with ``xarray.open_zarr(url,
    group="g0001")``, unchecked.

    ``generation``: its name, by default the current one. Raises CubeError.
    """
    cube = Cube.open(url, generation)
    space, domain = cube.features, cube.domain
    lazy = LazilyIndexedArray(_Features(cube))
    dataset = xr.Dataset({"features": ((*domain.dims, "feature"), lazy)}, attrs=_facts(cube))
    # before there is a dimension "name", which rioxarray takes for what points' features are called
    dataset = dataset.assign_coords(_coordinates(domain)).rio.write_crs(domain.crs)
    named = "feature" if space.readout is None else "name"
    if space.readout is not None:
        dataset["readout"] = (("name", "feature"), space.readout)
    dataset = dataset.assign_coords({named: list(space.names)})
    side = _CHUNK * cube.spec.block_size
    chunked: xr.Dataset = dataset.chunk({**dict.fromkeys(domain.dims, side), "feature": -1})
    return chunked


def _coordinates(domain: Domain) -> dict[str, Any]:
    if isinstance(domain, Grid):
        return {"y": domain.y, "x": domain.x}
    x, y = domain.centres(np.arange(domain.size)).T
    return {"y": (domain.dims, y), "x": (domain.dims, x)}


def _facts(cube: Cube) -> dict[str, Any]:
    dates = {key: cube.attrs.get(key) for key in ("imagery_first", "imagery_last")}
    facts = {"area": cube.attrs["area"], "model": cube.model_name, "generation": cube.generation}
    return {**facts, **{key: date for key, date in dates.items() if date}}


class _Features(BackendArray):
    """Reads and decodes what is asked of it."""

    def __init__(self, cube: Cube) -> None:
        self._cube = cube
        self.shape = (*cube.domain.shape, cube.features.dim)
        self.dtype = np.dtype(np.float32)

    def __getitem__(self, key: ExplicitIndexer) -> F32:
        return np.asarray(
            explicit_indexing_adapter(key, self.shape, IndexingSupport.BASIC, self._read)
        )

    def _read(self, key: tuple[int | slice, ...]) -> F32:
        *cells, features = key
        slices = [k if isinstance(k, slice) else slice(k, k + 1) for k in cells]
        values = self._cube.features.decode(self._cube.read(*slices))
        kept = (slice(None) if isinstance(k, slice) else 0 for k in cells)
        return np.asarray(values[(*kept, features)])
