"""The pictures of a page: from the overview, sharper around candidates, of bounded size."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from geoloc.domain import Grid
from geoloc.errors import ImageryError
from geoloc.jobs.overview import Mosaic, Overview
from geoloc.report import views as views_module
from geoloc.report.html import write_page
from geoloc.report.views import render_views
from tests.conftest import OfflinePage
from tests.report_sample import GRID, FlatImagery, candidate, sample


@dataclass(frozen=True, eq=False)
class Watched(FlatImagery):
    """Remembers what is read."""

    windows: list[Grid] = field(default_factory=list)

    def read(self, window: Grid) -> Any:
        self.windows.append(window)
        return super().read(window)


@dataclass(frozen=True, eq=False)
class Gone(FlatImagery):
    def read(self, window: Grid) -> Any:  # noqa: ARG002
        raise ImageryError("the disk is not there")


@pytest.fixture(autouse=True)
def nothing_seen_before() -> None:
    views_module._base.cache_clear()
    views_module._part.cache_clear()


def overview() -> Overview:
    """Of the sample's grid, 1 m a pixel; its pixels tell where they lie."""
    step = 1.0
    n = round(GRID.step / step)
    lattice = Grid(GRID.crs, GRID.left, GRID.top, step, GRID.ny * n, GRID.nx * n)
    mosaic = Mosaic(GRID, lattice)
    y, x = np.mgrid[0 : lattice.ny, 0 : lattice.nx]
    mosaic.pixels[:] = np.stack([x * 255 // lattice.nx, y * 255 // lattice.ny, x % 7], axis=-1)
    mosaic.dates = {"2024-05-06"}
    return mosaic.pictures()


def test_the_area_is_not_read_where_there_is_an_overview() -> None:
    source, kept = Watched(), overview()
    views = render_views(sample(), source, kept)
    assert max(window.ny * window.step for window in source.windows) < 500  # m
    assert views.base[0].bounds == GRID.bounds
    assert views.base[0].dates == ("2024-05-06",)
    assert views.base[0].uri.startswith("data:image/jpeg;base64,")
    assert set(views.chips) == {1, 2, 3}
    assert views.notes == ()


def test_without_one_the_area_is_read_as_before() -> None:
    source = Watched()
    views = render_views(sample(), source)
    assert source.windows[0].nx * source.windows[0].step >= 1400
    left, _, right, top = views.base[0].bounds
    assert (left, top) == (GRID.left, GRID.top)
    assert right >= GRID.bounds[2]


def test_around_each_candidate_it_is_as_sharp_as_the_imagery() -> None:
    result = sample()
    views = render_views(result, Watched(), overview())
    sharp = [p for p in views.base[1:] if (p.bounds[2] - p.bounds[0]) / p.width <= 0.5]
    assert len(views.base) == 1 + len(sharp)
    for c in result.candidates:
        around = [p for p in sharp if _holds(p.bounds, c.x, c.y)]
        assert around, c.rank
        reach = [(c.x - 60, c.y), (c.x + 60, c.y), (c.x, c.y - 60), (c.x, c.y + 60)]
        assert all(any(_holds(p.bounds, *at) for p in sharp) for at in reach), c.rank
    assert len({p.bounds for p in sharp}) == len(sharp)


def _holds(bounds: tuple[float, float, float, float], x: float, y: float) -> bool:
    return bounds[0] <= x <= bounds[2] and bounds[1] <= y <= bounds[3]


def test_many_candidates_do_not_make_a_page_large() -> None:
    many = tuple(candidate(k + 1, 2 + 4 * k, 3 + 6 * k) for k in range(20))
    source = Watched()
    views = render_views(sample(candidates=many), source, overview())
    assert len(views.base) <= 1 + 12
    best = views.base[1].bounds
    assert abs(best[0] - many[0].x) < 500  # the best candidates first
    assert sum(len(p.uri) for p in views.base) < 4_000_000


def test_a_page_of_many_stays_small() -> None:
    source = Watched()
    views = render_views(sample(), source, overview(), sharp=False)
    assert len(views.base) == 1
    assert len(source.windows) == 3  # chips


def test_of_thousands_only_the_best_are_shown_from_above(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(views_module, "MOST_CHIPS", 4)
    many = tuple(candidate(k + 1, 2 + 4 * k, 3 + 6 * k) for k in range(20))
    source = Watched()
    views = render_views(sample(candidates=many), source, overview(), sharp=False)
    assert sorted(views.chips) == [1, 2, 3, 4] and len(source.windows) == 4
    assert views.notes == ("The best 4 candidates are shown from above, the others not.",)
    assert render_views(sample(candidates=many[:4]), source, overview()).notes == ()


def test_coarse_imagery_gets_no_sharp_tiles() -> None:
    assert len(render_views(sample(), Watched(gsd=2.0), overview()).base) == 1


@pytest.mark.parametrize(("source", "told"), [(None, "an overview alone"), (Gone(), "disk")])
def test_the_overview_outlives_its_imagery(source: Any, told: str) -> None:
    views = render_views(sample(), source, overview())
    assert len(views.base) == 1
    assert views.chips == {}
    assert told in views.notes[0]


def test_the_page_draws_all_pictures_in_order(tmp_path: Path, offline_page: OfflinePage) -> None:
    views = render_views(result := sample(lacking={"no imagery": 300}), FlatImagery(), overview())
    path = tmp_path / "report.html"
    write_page(result, path, views)
    page: Any = offline_page.open(path)
    page.wait_for_selector("#map[data-ready=yes]")
    page.wait_for_selector("#base img:last-child[style*=matrix]", state="attached")
    sources = page.eval_on_selector_all("#base img", "es => es.map(e => e.src)")
    assert sources == [picture.uri for picture in views.base]
    transforms = page.eval_on_selector_all("#base img", "es => es.map(e => e.style.transform)")
    assert len(set(transforms)) == len(views.base) > 1
    assert offline_page.complaints == []
    assert "300 of 12,600 cells (2.4\u202f%) not searched: no imagery" in page.inner_text("header")
