"""Daylight: position of the sun, colour of the sky, visibility."""

# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from .compiling import compiled
from .detail import fbm2

SUN, SUN_RGB, AMBIENT, ZENITH, HORIZON, CLOUDS, SKY_SEED, HAZE = 0, 3, 6, 9, 12, 15, 16, 17
"""Offsets in `Light.values`; colours are linear RGB."""


@dataclass(frozen=True)
class Light:
    """The light of one moment: ``values`` float64 ``(18,)``, see the offsets above."""

    values: NDArray[np.float64]

    @property
    def sun(self) -> tuple[float, float, float]:
        """Unit vector (east, north, up) towards the sun."""
        east, north, up = self.values[SUN : SUN + 3]
        return float(east), float(north), float(up)


def sun_direction(when: datetime, lon: float, lat: float) -> tuple[float, float, float]:
    """Unit vector (east, north, up) to the sun at ``when`` (UTC); good to about a degree.

    Cooper's declination and the hour angle, as in Duffie & Beckman, Solar Engineering, ch. 1.
    """
    day = when.timetuple().tm_yday
    tilt = math.radians(23.45) * math.sin(2 * math.pi * (284 + day) / 365)
    hours = when.hour + when.minute / 60 + lon / 15 - 12
    turn, phi = math.radians(15 * hours), math.radians(lat)
    up = math.sin(phi) * math.sin(tilt) + math.cos(phi) * math.cos(tilt) * math.cos(turn)
    east = -math.cos(tilt) * math.sin(turn)
    north = math.cos(phi) * math.sin(tilt) - math.sin(phi) * math.cos(tilt) * math.cos(turn)
    return east, north, up


def make_light(
    sun: tuple[float, float, float], clouds: float = 0.35, haze: float = 6000.0, seed: int = 0
) -> Light:
    """Light under a sky with ``clouds`` (0 clear - 1 overcast) and ``haze`` m of visibility."""
    east, north, up = sun
    up = max(up, 0.12)
    scale = math.sqrt(max(1 - up * up, 1e-6)) / max(math.hypot(east, north), 1e-6)
    low = math.exp(-0.16 / up) / math.exp(-0.16)  # the air reddens and dims a low sun
    direct = min(1.0, max(0.06, 1.35 - 1.35 * clouds))
    sun_rgb = np.array([1.0, 0.72 + 0.24 * low, 0.42 + 0.44 * low]) * (1.15 * direct * low**0.5)
    blue = np.array([0.11, 0.32, 0.72]) * (0.55 + 0.35 * low)
    grey = np.array([0.57, 0.62, 0.66]) * (0.65 + 0.25 * low)
    overcast = min(max(clouds * 1.7 - 0.7, 0.0), 1.0)
    zenith = blue * (1 - overcast) + grey * overcast
    pale = np.array([0.45, 0.66, 0.82]) * (0.8 + 0.15 * low)
    horizon = pale * (1 - overcast) + grey * 1.08 * overcast
    ambient = (0.34 + 0.2 * overcast) * (0.25 * zenith / zenith.mean() + 0.75) * (0.7 + 0.3 * low)
    return Light(np.concatenate([[east * scale, north * scale, up], sun_rgb, ambient, zenith,
                                 horizon, [clouds, seed % 9973, haze]]))  # fmt: skip


@compiled
def sky_color(east, north, up, light):
    """Linear RGB of the sky in a direction (unit vector)."""
    lift = max(up, 0.0) ** 0.55
    toward = max(east * light[0] + north * light[1] + up * light[2], 0.0)
    glow = 0.22 * toward**6 + 0.5 * toward**180
    red = light[12] * (1 - lift) + light[9] * lift + glow * light[3]
    green = light[13] * (1 - lift) + light[10] * lift + glow * light[4]
    blue = light[14] * (1 - lift) + light[11] * lift + glow * light[5]
    if up < 0.012 or light[15] < 0.03:
        return red, green, blue
    x, y = east / (up + 0.16) * 1.5, north / (up + 0.16) * 1.5
    seed = int(light[16])
    body = fbm2(x + 3.1 * seed, y - 1.7 * seed, seed, 5)
    edge = 0.78 - 0.56 * light[15]
    dense = min(max((body - edge) / 0.2, 0.0), 1.0)
    dense = dense * dense * (3 - 2 * dense) * min(up / 0.07, 1.0) * 0.94
    if dense <= 0:
        return red, green, blue
    toward_sun = fbm2(x + 3.1 * seed + 0.25 * light[0], y - 1.7 * seed + 0.25 * light[1], seed, 3)
    bright = min(max(1.0 - 1.5 * (toward_sun - edge - 0.05), 0.5), 1.0)
    white = 0.55 + 0.42 * (1 - light[15])
    bright = bright * white * (1 + 0.35 * toward**8)
    warm = light[3] / max(light[5], 0.02) - 1
    return (
        red * (1 - dense) + dense * bright * (0.93 + 0.07 * warm),
        green * (1 - dense) + dense * bright * (0.955 + 0.045 * warm),
        blue * (1 - dense) + dense * bright * (1.02 - 0.02 * warm),
    )
