"""A country as a world: any window of it at any time, and towns' worth of it for photos."""

from __future__ import annotations

from functools import cached_property, lru_cache

from ..roads import Road, find_roads
from ..world import World
from .layout import CountryLayout
from .plan import CRS, make_plan

Bounds = tuple[float, float, float, float]


class Country(World):
    """A country of ``km`` kilometres; see `World`."""

    crs = CRS
    layout: CountryLayout

    def __init__(self, seed: int = 0, km: float = 200.0) -> None:
        self.plan = make_plan(int(seed), float(km))
        super().__init__(seed, km, CountryLayout(self.plan))

    def __reduce__(self) -> tuple[type[Country], tuple[int, float]]:
        return Country, (self.seed, self.km)

    @cached_property
    def roads(self) -> list[Road]:
        """Those of a country would not fit in memory: see `roads.write_network`."""
        raise NotImplementedError("ask a Neighbourhood for its roads")


@lru_cache(maxsize=4)
def country_of(seed: int, km: float) -> Country:
    """The country, shared by all that read it in a process."""
    return Country(seed, km)


class Neighbourhood:
    """A square of a country, as the town that photos are taken in."""

    def __init__(self, country: Country, x: float, y: float, half: float) -> None:
        self.country, self.seed, self.crs = country, country.seed, country.crs
        self.bounds: Bounds = (x - half, y - half, x + half, y + half)
        self.rasterize = country.rasterize

    @cached_property
    def roads(self) -> list[Road]:
        """Roads and railways inside the bounds."""
        return find_roads(self.country.layout, self.bounds)
