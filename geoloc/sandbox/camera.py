"""A pinhole camera, and the upright frame in which it is cheap to cast rays.

A height field is cast column by column: all rays of a column of an *upright* picture (no
pitch, no roll) lie in one vertical plane, so one walk along the ground serves them all.
The picture that the tilted camera takes differs from an upright one by a homography only
(rotation about the optical centre; Hartley & Zisserman, Multiple View Geometry, 8.4).
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from .compiling import compiled

Array = NDArray[np.float32]


@dataclass(frozen=True)
class Camera:
    """Position and orientation of a camera.

    x, y: m in the world's CRS; eye: m above the ground. heading: degrees clockwise from
    north; fov: horizontal field of view, degrees; pitch: degrees, up is positive; roll:
    degrees, the camera turned clockwise is positive. width, height: px.
    """

    x: float
    y: float
    heading: float
    fov: float = 65.0
    pitch: float = 0.0
    roll: float = 0.0
    eye: float = 1.6
    width: int = 1280
    height: int = 960

    @property
    def focal(self) -> float:
        """Focal length in px."""
        return self.width / 2 / math.tan(math.radians(self.fov) / 2)

    @property
    def forward(self) -> tuple[float, float]:
        """Unit vector (east, north) of the heading."""
        angle = math.radians(self.heading)
        return math.sin(angle), math.cos(angle)

    def rotation(self) -> NDArray[np.float64]:
        """Matrix from camera axes (right, up, forward) to upright axes of the same heading."""
        pitch, roll = math.radians(self.pitch), math.radians(self.roll)
        cp, sp, cr, sr = math.cos(pitch), math.sin(pitch), math.cos(roll), math.sin(roll)
        tilt = np.array([[1, 0, 0], [0, cp, sp], [0, -sp, cp]])
        turn = np.array([[cr, sr, 0], [-sr, cr, 0], [0, 0, 1]])
        return np.asarray(tilt @ turn)

    def homography(self) -> NDArray[np.float64]:
        """``(3, 3)``: (column edge px, row edge px, 1) to (right, up, forward), upright."""
        f = self.focal
        to_axes = np.array(
            [[1 / f, 0, -self.width / 2 / f], [0, -1 / f, self.height / 2 / f], [0, 0, 1]]
        )
        return np.asarray(self.rotation() @ to_axes)

    def project(self, right: float, up: float, forward: float) -> tuple[float, float]:
        """Pixel ``(column, row)`` of a point given in upright axes from the eye, m."""
        a, b, c = self.rotation().T @ np.array([right, up, forward])
        return self.width / 2 + self.focal * a / c, self.height / 2 - self.focal * b / c


@dataclass(frozen=True)
class Frame:
    """An upright picture that covers a camera's view.

    Column ``i`` looks along ``u = u0 + (i + 0.5) * du`` (right per forward), row ``j``,
    counted from the bottom, along ``v = v0 + (j + 0.5) * dv`` (up per forward).
    """

    u0: float
    v0: float
    step: float
    columns: int
    rows: int

    @classmethod
    def covering(cls, camera: Camera, oversample: float) -> Frame:
        """The smallest frame around the view, with ``oversample`` samples per px at the centre."""
        w, h = camera.width, camera.height
        corners = np.array([[0, w, 0, w], [0, 0, h, h], [1, 1, 1, 1]], dtype=float)
        right, up, forward = camera.homography() @ corners
        u, v = right / forward, up / forward
        step = 1 / (camera.focal * oversample)
        columns = math.ceil((u.max() - u.min()) / step) + 2
        rows = math.ceil((v.max() - v.min()) / step) + 2
        return cls(u.min() - step, v.min() - step, step, columns, rows)

    def warp(self, pixels: Array, camera: Camera, taps: int = 2) -> Array:
        """The camera's picture ``(y, x, band)`` from the upright ``(column, row, band)``."""
        size = camera.height, camera.width
        lattice = self.u0, self.v0, self.step
        return np.asarray(_warp(pixels, camera.homography(), *lattice, *size, taps))

    def pick(self, values: NDArray[np.generic], camera: Camera) -> NDArray[np.generic]:
        """Nearest value ``(y, x)`` at every pixel's centre, from ``(column, row)``."""
        columns, rows = np.meshgrid(np.arange(camera.width) + 0.5, np.arange(camera.height) + 0.5)
        points = np.stack([columns.ravel(), rows.ravel(), np.ones(columns.size)])
        right, up, forward = camera.homography() @ points
        i = ((right / forward - self.u0) / self.step).astype(np.intp)
        j = ((up / forward - self.v0) / self.step).astype(np.intp)
        i, j = np.clip(i, 0, self.columns - 1), np.clip(j, 0, self.rows - 1)
        return np.asarray(values[i, j].reshape(camera.height, camera.width))


@compiled
def _position(h, px, py, u0, v0, step):
    """Fractional (column, row) sample index of a pixel position."""
    forward = h[2, 0] * px + h[2, 1] * py + h[2, 2]
    u = (h[0, 0] * px + h[0, 1] * py + h[0, 2]) / forward
    v = (h[1, 0] * px + h[1, 1] * py + h[1, 2]) / forward
    return (u - u0) / step - 0.5, (v - v0) / step - 0.5


@compiled
def _warp(pixels, h, u0, v0, step, height, width, taps):
    """Mean of ``taps x taps`` bilinear samples inside every pixel."""
    bands = pixels.shape[2]
    out = np.zeros((height, width, bands), np.float32)
    share = 1.0 / (taps * taps)
    for y in range(height):
        for x in range(width):
            for tap in range(taps * taps):
                px = x + (tap % taps + 0.5) / taps
                py = y + (tap // taps + 0.5) / taps
                ci, rj = _position(h, px, py, u0, v0, step)
                i = min(max(int(ci), 0), pixels.shape[0] - 2)
                j = min(max(int(rj), 0), pixels.shape[1] - 2)
                a, b = ci - i, rj - j
                for k in range(bands):
                    low = pixels[i, j, k] * (1 - a) + pixels[i + 1, j, k] * a
                    high = pixels[i, j + 1, k] * (1 - a) + pixels[i + 1, j + 1, k] * a
                    out[y, x, k] += share * (low * (1 - b) + high * b)
    return out
