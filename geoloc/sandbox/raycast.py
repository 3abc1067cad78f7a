"""Cast the rays of an upright frame over a relief: what each of them hits, and where.

One walk per column. Two layers: the ground, which is solid, and above it bodies between a base and
a top. A hit is final, since the walk goes from near to far; rays that are still free form a linked
list, so that each step touches only those it may stop.
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"

from __future__ import annotations

import math
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .camera import Camera, Frame
from .compiling import compiled
from .detail import hash3, noise3
from .relief import STRAIGHT, Relief, along, in_box

SKY_HIT, GROUND_HIT, TOP_HIT, SIDE_HIT, UNDER_HIT, LEAF_HIT, TRUNK_HIT, FAR_HIT = range(8)
_TREE, _CAR, _FENCE = 8, 14, 15
_MAX_TRUNKS = 96


@dataclass(frozen=True)
class Hits:
    """The hit of each ray of a frame; arrays ``(column, row)``, rows from the bottom.

    distance: float32, m along the ground (inf: sky). kind: one of the ``*_HIT``. body: row in
    the level's boxes, -1 none. angle: direction (radians, from east to north) in which the
    side looks; for a trunk, the offset from its middle, -1 to 1. material, use: as in Scene.
    """

    distance: NDArray[np.float32]
    kind: NDArray[np.uint8]
    body: NDArray[np.int32]
    angle: NDArray[np.float32]
    material: NDArray[np.uint8]
    use: NDArray[np.uint8]


def cast_rays(relief: Relief, camera: Camera, eye_z: float, frame: Frame, reach: float) -> Hits:
    """Cast all rays of ``frame`` from height ``eye_z`` (absolute, m), out to ``reach`` m."""
    shape = frame.columns, frame.rows
    hits = Hits(np.full(shape, np.inf, np.float32), np.zeros(shape, np.uint8),
                np.full(shape, -1, np.int32), np.zeros(shape, np.float32),
                np.full(shape, 255, np.uint8), np.full(shape, 255, np.uint8))  # fmt: skip
    levels, radii = relief.nested
    east, north = camera.forward
    view = np.array([camera.x, camera.y, eye_z, east, north, frame.u0, frame.v0, frame.step])
    near = _near_trunks(relief.trunks, camera, 90.0)
    args = (tuple(level.lattice for level in levels), tuple(level.heights for level in levels),
            tuple(level.looks for level in levels), tuple(level.body for level in levels),
            tuple(level.boxes for level in levels), radii, near, view, reach,
            hits.distance, hits.kind, hits.body, hits.angle, hits.material, hits.use)  # fmt: skip
    in_halves(_cast, args, frame)
    return hits


def in_halves(kernel: Callable[..., None], args: tuple[Any, ...], frame: Frame) -> None:
    """Run a kernel over all columns; a large frame in two threads, its columns being apart."""
    half = frame.columns // 2
    if frame.columns * frame.rows < 300_000:
        kernel(*args, 0, frame.columns)
        return
    with ThreadPoolExecutor(2) as pool:
        parts = [pool.submit(kernel, *args, *span) for span in ((0, half), (half, frame.columns))]
        for part in parts:
            part.result()


def _near_trunks(trunks: NDArray[np.float64], camera: Camera, radius: float) -> NDArray[np.float64]:
    """The trunks ahead of the camera, nearest first."""
    dx, dy = trunks[:, 0] - camera.x, trunks[:, 1] - camera.y
    distance = np.hypot(dx, dy)
    ahead = dx * camera.forward[0] + dy * camera.forward[1]
    keep = np.flatnonzero((distance < radius) & (ahead > 0.3 * distance) & (distance > 0.6))
    return trunks[keep[np.argsort(distance[keep], kind="stable")]]


@compiled
def locate(lattice, heights, x, y):
    """Cell and weights for bilinear reading at a point, clamped to the array."""
    fx = (x - lattice[0]) / lattice[2] - 0.5
    fy = (lattice[1] - y) / lattice[2] - 0.5
    j = min(max(math.floor(fx), 0), heights.shape[1] - 2)
    i = min(max(math.floor(fy), 0), heights.shape[0] - 2)
    return i, j, min(max(fy - i, 0.0), 1.0), min(max(fx - j, 0.0), 1.0)


@compiled
def blend(heights, i, j, a, b, k):
    """Bilinear value of plane ``k``."""
    north = heights[i, j, k] * (1 - b) + heights[i, j + 1, k] * b
    south = heights[i + 1, j, k] * (1 - b) + heights[i + 1, j + 1, k] * b
    return north * (1 - a) + south * a


@compiled
def probe(lattice, heights, looks, body, boxes, x, y):
    """Ground z, object's top and base z, cover (0: no object here), cell ``(i, j)``."""
    i, j, a, b = locate(lattice, heights, x, y)
    ground = blend(heights, i, j, a, b, 0)
    ci, cj = i + (a >= 0.5), j + (b >= 0.5)
    material = looks[ci, cj, 1]
    if material == 255:
        return ground, 0.0, 0.0, 0.0, ci, cj
    cover = blend(heights, i, j, a, b, 3)
    top, base = heights[ci, cj, 1], heights[ci, cj, 2]
    box = body[ci, cj]
    if box >= 0 and boxes[box, STRAIGHT] > 0:
        cover = 1.0 if in_box(boxes[box], x, y, 0.0) else 0.0
    elif cover <= (0.2 if material == _TREE else 0.5):
        cover = 0.0
    if material == _CAR and box >= 0:
        s, _ = along(boxes[box], x, y)
        s *= 1.0 if hash3(int(boxes[box, 7]), 1, 1) < 0.5 else -1.0
        s /= max(boxes[box, 4], 0.1)
        cabin = min(max(min((s + 0.98) * 3.2, (0.58 - s) * 2.6), 0.0), 1.0)
        top = base + boxes[box, 8] * (0.63 + 0.37 * cabin)
    elif material != _FENCE:
        low = min(heights[i, j, 1], heights[i, j + 1, 1], heights[i + 1, j, 1],
                  heights[i + 1, j + 1, 1])  # fmt: skip
        high = max(heights[i, j, 1], heights[i, j + 1, 1], heights[i + 1, j, 1],
                   heights[i + 1, j + 1, 1])  # fmt: skip
        if high - low < 2.5 * lattice[2]:  # a slope, not two objects side by side
            top = blend(heights, i, j, a, b, 1)
    return ground, top, base, cover, ci, cj


@compiled
def free(nxt, r):
    """First ray at or above ``r`` that has hit nothing yet."""
    root = r
    while nxt[root] != root:
        root = nxt[root]
    while nxt[r] != root:
        nxt[r], r = root, nxt[r]
    return root


@compiled
def facing(heights, i, j, step_i):
    """Direction in which the cover falls off: the outward normal of a side."""
    ny, nx = heights.shape[0], heights.shape[1]
    gx, gy = 0.0, 0.0
    for di in range(-step_i, step_i + 1):
        for dj in range(-step_i, step_i + 1):
            ii, jj = min(max(i + di, 0), ny - 1), min(max(j + dj, 0), nx - 1)
            gx -= dj * heights[ii, jj, 3]
            gy += di * heights[ii, jj, 3]
    return math.atan2(gy, gx)


@compiled
def face_of(box, x, y):
    """Direction in which the nearest face of a box looks."""
    dx, dy = x - box[0], y - box[1]
    s, t = dx * box[2] + dy * box[3], -dx * box[3] + dy * box[2]
    turn = math.atan2(box[3], box[2])
    if box[4] - abs(s) < box[5] - abs(t):
        return turn if s > 0 else turn + math.pi
    return turn + math.pi / 2 if t > 0 else turn - math.pi / 2


@compiled
def trunk_hits(trunks, view, dx, dy, width, stems):
    """Distances, offsets (-1 to 1), z of foot and end of the trunks in a column, in order."""
    n = 0
    for k in range(trunks.shape[0]):
        if n == _MAX_TRUNKS:
            break
        rx, ry = trunks[k, 0] - view[0], trunks[k, 1] - view[1]
        ahead, side = rx * dx + ry * dy, rx * dy - ry * dx
        reach = max(trunks[k, 2], 0.5 * width * ahead)
        if abs(side) < reach:
            stems[n, 0], stems[n, 1] = ahead, -side / reach
            stems[n, 2], stems[n, 3] = trunks[k, 3], trunks[k, 4]
            n += 1
    return n


@compiled
def leaf(x, y, z, top, base, depth, px):
    """Whether leaves fill this point of a crown: dense inside, ragged at the rim.

    ``depth``: m from the crown's outline; ``px``: m a ray stands for. A crown is round below
    too: its base rises outwards.
    """
    round_base = base + 0.45 * (top - base) * max(1.0 - depth / 2.2, 0.0) ** 2
    rim = min(min(top - z, z - round_base + 0.2) * 0.8, depth * 0.75)
    if rim > 0.75:
        return True
    if px > 0.4:
        return rim + 0.3 * hash3(math.floor(x), math.floor(y), int(z)) > 0.3
    coarse = noise3(x * 1.1, y * 1.1, z * 1.1, 5)
    if px > 0.07:
        return coarse < 0.25 + rim
    return 0.55 * coarse + 0.45 * noise3(x * 5.1, y * 5.1, z * 5.1, 9) < 0.27 + 0.75 * rim


@compiled
def _cast(lattices, heights, looks, bodies, boxes, radii, trunks, view, reach,
          distance, kind, body, angle, material, use, begin, end):  # fmt: skip
    """Fill columns ``[begin:end]`` of the arrays of hits."""
    rows = distance.shape[1]
    nxt = np.empty(rows + 1, np.int64)
    stems = np.empty((_MAX_TRUNKS, 4))
    slope = np.empty(rows)
    for column in range(begin, end):
        u = view[5] + (column + 0.5) * view[7]
        scale = 1 / math.sqrt(1 + u * u)
        dx, dy = (view[3] + view[4] * u) * scale, (view[4] - view[3] * u) * scale
        for r in range(rows + 1):
            nxt[r] = r
        v0, dv = view[6] * scale, view[7] * scale
        for r in range(rows):
            slope[r] = v0 + (r + 0.5) * dv
        n_found = trunk_hits(trunks, view, dx, dy, view[7], stems)
        _walk(lattices, heights, looks, bodies, boxes, radii, stems[:n_found], view, dx, dy,
              v0, dv, reach, slope, nxt, distance[column], kind[column], body[column],
              angle[column], material[column], use[column])  # fmt: skip


@compiled
def row_of(z, eye, t, v0, dv, rows):
    """First row whose ray is at or above height ``z`` at distance ``t``."""
    return int(min(max(math.ceil(((z - eye) / t - v0) / dv - 0.5), 0), rows))


@compiled
def _edge(lattice, heights, looks, body, boxes, x, y, dx, dy, near, far):
    """Where between two distances along a line a body begins."""
    for _ in range(7):
        middle = 0.5 * (near + far)
        if probe(lattice, heights, looks, body, boxes, x + dx * middle, y + dy * middle)[3] > 0:
            far = middle
        else:
            near = middle
    return far


@compiled
def _stop_at_trunk(trunk, foot, ground, landuse, eye, v0, dv, slope, nxt, distance, kind, angle,
                   material, use):  # fmt: skip
    """Stop the rays that a trunk catches, above ``ground`` in front of it."""
    ahead, rows = max(trunk[0], 0.1), slope.shape[0]
    r = free(nxt, row_of(foot, eye, ahead, v0, dv, rows))
    end = row_of(trunk[3], eye, ahead, v0, dv, rows)
    while r < end:
        if eye + slope[r] * ahead > ground:
            distance[r], kind[r], angle[r] = ahead, TRUNK_HIT, trunk[1]
            material[r], use[r] = _TREE, landuse
            nxt[r] = r + 1
        r = free(nxt, r + 1)


@compiled
def _stop_at_leaves(lattice, heights, first, end, x, y, t, at, top, base, px, look, box, eye,
                    slope, nxt, distance, kind, body, material, use):  # fmt: skip
    """Stop the rays that meet leaves of a crown, ``t`` m away."""
    i, j, a, b = locate(lattice, heights, x, y)
    depth = blend(heights, i, j, a, b, 5)
    r = free(nxt, first)
    while r < end:
        if leaf(x, y, eye + slope[r] * t, top, base, depth, t * px):
            distance[r], kind[r], body[r] = at, LEAF_HIT, box
            material[r], use[r] = look[1], look[2]
            nxt[r] = r + 1
        r = free(nxt, r + 1)


@compiled
def _outward(boxes, box, heights, i, j, x, y):
    """Direction in which the side of a body looks."""
    return face_of(boxes[box], x, y) if box >= 0 else facing(heights, i, j, 2)


@compiled
def _stop_at_body(first, end, t0, t, starts, entering, top0, base0, top, base, ground, side, look,
                  box, eye, slope, nxt, distance, kind, body, angle, material,
                  use):  # fmt: skip
    """Stop the rays that meet a solid body between two distances: its side, top or underside."""
    r = free(nxt, first)
    while r < end:
        z0, at, hit = eye + slope[r] * t0, t, SIDE_HIT
        if not entering:
            if z0 >= top0 and top - top0 < 1.5 * (t - t0) + 0.05:
                above0, below = z0 - top0, top - (eye + slope[r] * t)
                at = t0 + (t - t0) * above0 / max(above0 + below, 1e-9)
                hit = TOP_HIT
            elif z0 <= base0 and base > ground + 1.0:
                hit = UNDER_HIT
        distance[r], kind[r], body[r] = max(at, starts), hit, box
        material[r], use[r] = look[1], look[2]
        if hit == SIDE_HIT:
            angle[r] = side
        nxt[r] = r + 1
        r = free(nxt, r + 1)


@compiled
def _stop_at_horizon(first, reach, slope, nxt, distance, kind):
    """Remaining rays at or below the horizon end in the distance."""
    r = free(nxt, first)
    while r < slope.shape[0] and slope[r] <= 0.004:
        distance[r], kind[r] = reach, FAR_HIT
        r = free(nxt, r + 1)


@compiled
def _walk(lattices, heights, looks, bodies, boxes, radii, stems, view, dx, dy, v0, dv, reach,
          slope, nxt, distance, kind, body, angle, material, use):  # fmt: skip
    """March along one column's vertical plane and stop its rays."""
    rows, eye = slope.shape[0], view[2]
    t, level, trunk, first = 0.05, 0, 0, 0
    starts = 0.0  # where this level starts: the level of a hit follows from its distance
    growth = min(max(2 * view[7], 0.005), 0.015)  # a coarse picture allows longer steps
    ground, top, base, cover, i, j = probe(
        lattices[0], heights[0], looks[0], bodies[0], boxes[0], view[0], view[1]
    )
    highest = 130.0 + ground
    while t < reach:
        t0, ground0, top0, base0, cover0 = t, ground, top, base, cover
        t = t0 + max(0.45 * lattices[level][2], growth * t0)
        if t > radii[level] and level < len(radii) - 1:
            starts = radii[level] + 0.001
            level += 1
        ground, top, base, cover, i, j = probe(
            lattices[level], heights[level], looks[level], bodies[level], boxes[level],
            view[0] + dx * t, view[1] + dy * t)  # fmt: skip
        entering = cover > 0 and cover0 == 0
        leafy = cover > 0 and looks[level][i, j, 1] == _TREE
        if entering and not leafy:
            t = _edge(lattices[level], heights[level], looks[level], bodies[level], boxes[level],
                      view[0], view[1], dx, dy, t0, t)  # fmt: skip
            ground, top, base, cover, i, j = probe(
                lattices[level], heights[level], looks[level], bodies[level], boxes[level],
                view[0] + dx * t, view[1] + dy * t)  # fmt: skip
        while trunk < stems.shape[0] and stems[trunk, 0] < t:
            _stop_at_trunk(stems[trunk], min(stems[trunk, 2], ground) - 0.2, ground0 - 0.3,
                           looks[level][i, j, 2], eye, v0, dv, slope, nxt, distance, kind, angle,
                           material, use)  # fmt: skip
            trunk += 1
        first = free(nxt, first)
        while first < rows:  # the ground between the two points
            above = eye + slope[first] * t - ground
            if above > 0:
                break
            above0 = max(eye + slope[first] * t0 - ground0, 0.0)
            distance[first] = t0 + (t - t0) * above0 / max(above0 - above, 1e-9)
            kind[first], nxt[first] = GROUND_HIT, first + 1
            material[first], use[first] = looks[level][i, j, 0], looks[level][i, j, 2]
            first = free(nxt, first + 1)
        if first >= rows or (slope[first] > 0 and eye + slope[first] * t > highest):
            break
        if cover == 0:
            continue
        x, y = view[0] + dx * t, view[1] + dy * t
        lo, hi = row_of(base, eye, t, v0, dv, rows), row_of(top, eye, t, v0, dv, rows)
        look, b = looks[level][i, j], bodies[level][i, j]
        if leafy:
            _stop_at_leaves(lattices[level], heights[level], lo, hi, x, y, t, max(t, starts), top,
                            base, view[7], look, b, eye, slope, nxt, distance, kind, body,
                            material, use)  # fmt: skip
            continue
        side = _outward(boxes[level], b, heights[level], i, j, x, y) if free(nxt, lo) < hi else 0.0
        _stop_at_body(lo, hi, t0, t, starts, entering, top0, base0, top, base, ground, side, look,
                      b, eye, slope, nxt, distance, kind, body, angle, material,
                      use)  # fmt: skip
    _stop_at_horizon(first, reach, slope, nxt, distance, kind)
