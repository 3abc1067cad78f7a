"""Colour the hits: material, sun and shadow, sky light, mirror of water and glass, haze."""

# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"

from __future__ import annotations

import math

import numpy as np
from numpy.typing import NDArray

from .camera import Camera, Frame
from .compiling import compiled
from .detail import bark, fbm2, ground_tone, hash3, leaf_tone, noise2
from .facades import building, car, fence, style_of, wagon
from .raycast import Hits, blend, in_halves, locate
from .relief import Level, Relief, along, shadow_heights
from .sky import Light, sky_color

_ASPHALT, _WATER, _TREE, _ROOF = 3, 7, 8, 9
_METAL, _CAR, _FENCE, _MARKING = 13, 14, 15, 16


def shade(
    relief: Relief, camera: Camera, eye_z: float, frame: Frame, hits: Hits, light: Light
) -> NDArray[np.float32]:
    """Linear RGB ``(column, row, 3)`` of a frame's hits."""
    out = np.zeros((frame.columns, frame.rows, 3), np.float32)
    levels, radii = relief.nested
    shadows, corners = zip(
        *(_shadow(level, radius, camera, light)
          for level, radius in zip(relief.levels, relief.radii, strict=True)), strict=True
    )  # fmt: skip
    more = len(levels) - len(shadows)
    shadows += shadows[-1:] * more
    starts = np.array(corners + corners[-1:] * more)
    east, north = camera.forward
    view = np.array([camera.x, camera.y, eye_z, east, north, frame.u0, frame.v0, frame.step])
    args = (tuple(level.lattice for level in levels), tuple(level.heights for level in levels),
            tuple(level.looks for level in levels), tuple(level.boxes for level in levels),
            shadows, starts, radii, view, light.values,
            hits.distance, hits.kind, hits.body, hits.angle, hits.material, hits.use,
            out)  # fmt: skip
    in_halves(_shade, args, frame)
    return out


def _shadow(
    level: Level, radius: float, camera: Camera, light: Light
) -> tuple[NDArray[np.float32], tuple[int, int]]:
    """Shadow heights around the camera and the cell at which they start."""
    left, top, step = level.lattice
    reach = int(min(radius, 150 + 100 * step) / step) + 2
    i, j = int((top - camera.y) / step), int((camera.x - left) / step)
    ny, nx = level.body.shape
    i0, i1 = max(i - reach, 0), min(i + reach, ny)
    j0, j1 = max(j - reach, 0), min(j + reach, nx)
    east, north, up = light.sun
    flat = math.hypot(east, north)
    heights = shadow_heights(level.heights[..., 4], step, east / flat, north / flat,
                             up / flat, i0, i1, j0, j1)  # fmt: skip
    return heights, (i0, j0)


@compiled
def _look(lattice, looks, plane, x, y):
    """Bilinear sRGB colour (0-1) of ground (plane 3) or object (plane 6)."""
    i, j, a, b = locate(lattice, looks, x, y)
    wa, wb, wc, wd = (1 - a) * (1 - b), (1 - a) * b, a * (1 - b), a * b
    p, q = looks[i, j], looks[i, j + 1]
    r, s = looks[i + 1, j], looks[i + 1, j + 1]
    return (
        (p[plane] * wa + q[plane] * wb + r[plane] * wc + s[plane] * wd) / 255.0,
        (p[plane + 1] * wa + q[plane + 1] * wb + r[plane + 1] * wc + s[plane + 1] * wd) / 255.0,
        (p[plane + 2] * wa + q[plane + 2] * wb + r[plane + 2] * wc + s[plane + 2] * wd) / 255.0,
    )


@compiled
def _nearest(lattice, looks, plane, x, y):
    """sRGB colour (0-1) of the cell itself."""
    i = min(max(int((lattice[1] - y) / lattice[2]), 0), looks.shape[0] - 1)
    j = min(max(int((x - lattice[0]) / lattice[2]), 0), looks.shape[1] - 1)
    return (
        looks[i, j, plane] / 255.0,
        looks[i, j, plane + 1] / 255.0,
        looks[i, j, plane + 2] / 255.0,
    )


@compiled
def _slope(lattice, heights, plane, x, y):
    """Upward normal of ground (plane 0) or tops (plane 1)."""
    d = max(lattice[2], 0.5)
    i, j, a, b = locate(lattice, heights, x + d, y)
    east = blend(heights, i, j, a, b, plane)
    i, j, a, b = locate(lattice, heights, x - d, y)
    west = blend(heights, i, j, a, b, plane)
    i, j, a, b = locate(lattice, heights, x, y + d)
    north = blend(heights, i, j, a, b, plane)
    i, j, a, b = locate(lattice, heights, x, y - d)
    south = blend(heights, i, j, a, b, plane)
    gx, gy = (west - east) / (2 * d), (south - north) / (2 * d)
    norm = 1 / math.sqrt(1 + gx * gx + gy * gy)
    return gx * norm, gy * norm, norm


@compiled
def _car_top(box, fitted, x, y):
    """Normal of a car's bonnet, roof and slanting panes; see `probe` for its outline."""
    if not fitted:
        return 0.0, 0.0, 1.0
    s, _ = along(box, x, y)
    turn = 1.0 if hash3(int(box[7]), 1, 1) < 0.5 else -1.0
    s *= turn / max(box[4], 0.1)
    lean = 0.0
    if -0.98 < s < -0.67:
        lean = -turn * 0.55
    elif 0.2 < s < 0.58:
        lean = turn * 0.55
    return lean * box[2], lean * box[3], math.sqrt(1 - lean * lean)


@compiled
def _sunlit(shadow, corner, lattice, x, y, z):
    """Share of the sun that reaches a point."""
    fx = (x - lattice[0]) / lattice[2] - 0.5 - corner[1]
    fy = (lattice[1] - y) / lattice[2] - 0.5 - corner[0]
    i, j = math.floor(fy), math.floor(fx)
    if i < 0 or j < 0 or i + 1 >= shadow.shape[0] or j + 1 >= shadow.shape[1]:
        return 1.0
    a, b = fy - i, fx - j
    soft = 0.12 + 0.3 * lattice[2]
    total = 0.0
    for p in range(2):
        for q in range(2):
            w = (a if p else 1 - a) * (b if q else 1 - b)
            lit = (z - shadow[i + p, j + q]) / soft + 0.75
            total += w * min(max(lit, 0.0), 1.0)
    return total


@compiled
def _side(box, fitted, material, use, x, y, h, angle, px, color):
    """Albedo and shine of a side; ``color``: the look of the object from above."""
    r, g, b = color
    if fitted:
        # the axis along the face that is hit, and the position from its left end
        dx, dy = x - box[0], y - box[1]
        c, s = math.cos(angle), math.sin(angle)
        turn = (angle - math.atan2(box[3], box[2])) / (math.pi / 2)
        length = 2 * (box[5] if round(turn) % 2 == 0 else box[4])
        place = min(max(-dx * s + dy * c + length / 2, 0.0), length)
        if material == _CAR:
            return car(place, h, length, length < 2.6, box[11], box[12], box[13])
        if material == _METAL and box[8] < 4.6 and length < 26:
            return wagon(place, h, box[11], box[12], box[13])
        style = style_of(material, use, box[8])
        return building(style, place, h, length, box[8], int(box[7]), use, px)
    turned = round(angle / (math.pi / 8)) * (math.pi / 8)
    place = abs(-x * math.sin(turned) + y * math.cos(turned))
    if material == _FENCE:
        return fence(place, h, r, g, b, use)
    if material in (_ROOF, _METAL):
        seed = np.int64(7)  # a constant would have all kinds of walls compiled once more for it
        return building(style_of(material, use, 6.0), place % 40.0, h, 40.0, 6.0, seed, use, px)
    tone = 0.8 + 0.3 * fbm2(place * 1.5, h * 1.5, 29, 3)
    return r * tone, g * tone, b * tone, 0.0


@compiled
def _albedo(kind, material, use, box, fitted, lattice, heights, looks, x, y, z, t, lateral, px,
            offset, eye, dx, dy):  # fmt: skip
    """Albedo (sRGB 0-1), shine, normal of a hit."""
    shine = 0.0
    if kind == 1 or kind == 7:
        n = _slope(lattice, heights, 0, x, y)
        # waver: edges of grass and soil do not follow square cells
        jx, jy = x, y
        if px < 0.2 and material not in (_ASPHALT, _MARKING):
            w = min(0.6 * lattice[2], 0.35)
            jx += w * (noise2(x * 2.3, y * 2.3, 71) + noise2(x * 9, y * 9, 72) - 1)
            jy += w * (noise2(x * 2.3, y * 2.3, 73) + noise2(x * 9, y * 9, 74) - 1)
        r, g, b = _look(lattice, looks, 3, jx, jy)
        tone = ground_tone(material, x, y, t, lateral, px, eye)
    elif kind == 2:
        n = _slope(lattice, heights, 1, x, y) if material != _CAR else _car_top(box, fitted, x, y)
        r, g, b = _nearest(lattice, looks, 6, x, y)
        tone = 1.0
        if material == _ROOF:
            tone = 0.9 + 0.2 * noise2(x * 1.3, y * 1.3, 31)
        elif material == _CAR:
            shine = 0.2
            if fitted:
                r, g, b = box[11], box[12], box[13]
            if n[2] < 0.93:  # wind screens
                r, g, b, shine = 0.09, 0.10, 0.12, 0.5
        else:
            tone = ground_tone(material, x, y, t, lateral, px, eye)
    elif kind == 5:
        r, g, b = _nearest(lattice, looks, 6, x, y)
        tone = leaf_tone(x, y, z, t, px)
        up = 0.75
        flat = math.sqrt(1 - up * up)
        n = (-dx * flat, -dy * flat, up)
    elif kind == 6:
        r, g, b = bark(x, y, z, offset)
        tone = 1.0
        c = math.sqrt(max(1 - offset * offset, 0.0))
        n = (-dx * c + dy * offset, -dy * c - dx * offset, 0.0)
    elif kind == 4:
        r, g, b, tone, n = 0.42, 0.41, 0.40, 1.0, (0.0, 0.0, -1.0)
    else:
        inside = 0.3 * lattice[2]
        c, s = math.cos(offset), math.sin(offset)
        color = _nearest(lattice, looks, 6, x - c * inside, y - s * inside)
        i, j, p, q = locate(lattice, heights, x, y)
        h = z - blend(heights, i, j, p, q, 0)
        r, g, b, shine = _side(box, fitted, material, use, x, y, max(h, 0.0), offset, px, color)
        tone = 1.0
        n = (c, s, 0.0)
    return r * tone, g * tone, b * tone, shine, n


@compiled
def _linear(c):
    """sRGB 0-1 to linear light (power law)."""
    return max(c, 0.0) ** 2.2


@compiled
def _lit(kind, under, h_sun, n, r, g, b, light):
    """Reflected light of a rough surface under sun and sky."""
    cosine = n[0] * light[0] + n[1] * light[1] + n[2] * light[2]
    if kind == 5:
        cosine = 0.35 + 0.65 * max(cosine, 0.0)  # leaves let light through
    sun = max(cosine, 0.0) * h_sun
    sky = (0.55 + 0.45 * n[2]) * under
    bounce = 0.10 * (1 - n[2]) * (0.4 + 0.6 * light[3])
    return (
        _linear(r) * (sun * light[3] + sky * light[6] + bounce),
        _linear(g) * (sun * light[4] + sky * light[7] + bounce),
        _linear(b) * (sun * light[5] + sky * light[8] + bounce * 0.85),
    )


@compiled
def _water(out, distance, column, row, x, y, t, m, dx, dy, albedo, light, view, scale):
    """Sky and shore mirrored in ripples: the upper half of the column, upside down."""
    ripple = noise2(x * 1.1, y * 1.1, 81) + 0.6 * noise2(x * 3.7, y * 3.7, 83) - 0.8
    ripple *= 0.05 * min(1.0, 12.0 / t + 0.25)
    lift = -m + abs(ripple) * 0.7 + 0.5 * ripple
    mirror = int((max(lift, 0.001) / scale - view[6]) / view[7])
    if mirror < out.shape[1] and mirror > row and distance[column, mirror] > t:
        sr, sg, sb = out[column, mirror, 0], out[column, mirror, 1], out[column, mirror, 2]
    else:
        norm = 1 / math.sqrt(1 + lift * lift)
        sr, sg, sb = sky_color(dx * norm, dy * norm, lift * norm, light)
    sine = abs(m) / math.sqrt(1 + m * m) + 0.03 + abs(ripple)
    mirrored = 0.03 + 0.9 * max(1 - sine, 0.0) ** 5
    r, g, b = albedo
    return (
        0.6 * r * (1 - mirrored) + sr * mirrored,
        0.6 * g * (1 - mirrored) + sg * mirrored,
        0.6 * b * (1 - mirrored) + sb * mirrored,
    )


@compiled
def _glass(m, n, dx, dy, r, g, b, shine, light):
    """A pane mirrors the sky (or the ground) in front of it."""
    norm = 1 / math.sqrt(1 + m * m)
    ex, ey, ez = dx * norm, dy * norm, m * norm
    dot = ex * n[0] + ey * n[1] + ez * n[2]
    east, north, up = ex - 2 * dot * n[0], ey - 2 * dot * n[1], ez - 2 * dot * n[2]
    if up > 0.03:
        sr, sg, sb = sky_color(east, north, up, light)
    else:
        sr, sg, sb = 0.16, 0.17, 0.16
    share = shine * (0.35 + 0.65 * (1 - abs(dot)) ** 3)
    return r + (sr - r) * share, g + (sg - g) * share, b + (sb - b) * share


@compiled
def _shade(lattices, heights, looks, boxes, shadows, corners, radii, view, light,
           distance, kind, body, angle, material, use, out, first, end):  # fmt: skip
    """Fill columns ``[first:end]``; rows from the top down: water mirrors what is above it."""
    rows = distance.shape[1]
    last = len(radii) - 1
    for column in range(first, end):
        u = view[5] + (column + 0.5) * view[7]
        scale = 1 / math.sqrt(1 + u * u)
        dx, dy = (view[3] + view[4] * u) * scale, (view[4] - view[3] * u) * scale
        for row in range(rows - 1, -1, -1):
            m = (view[6] + (row + 0.5) * view[7]) * scale
            what = kind[column, row]
            norm = 1 / math.sqrt(1 + m * m)
            if what == 0:
                color = sky_color(dx * norm, dy * norm, m * norm, light)
                out[column, row, 0], out[column, row, 1], out[column, row, 2] = color
                continue
            t = distance[column, row]
            hr, hg, hb = sky_color(dx * norm, dy * norm, 0.005, light)
            if what != 7:
                level = 0
                while level < last and t > radii[level]:
                    level += 1
                color = _hit(
                    lattices[level], heights[level], looks[level], boxes[level], shadows[level],
                    corners[level], view, light, distance, kind[column, row], body[column, row],
                    angle[column, row], material[column, row], use[column, row], out, column, row,
                    t, m, u, dx, dy, scale,
                )  # fmt: skip
            else:
                color = (0.10, 0.13, 0.11)
            veil = 1 - math.exp(-((t / light[17]) ** 1.15))
            out[column, row, 0] = color[0] * (1 - veil) + 0.93 * hr * veil
            out[column, row, 1] = color[1] * (1 - veil) + 0.95 * hg * veil
            out[column, row, 2] = color[2] * (1 - veil) + 0.98 * hb * veil


@compiled
def _hit(lattice, heights, looks, boxes, shadow, corner, view, light, distance, kind, body,
         angle, material, use, out, column, row, t, m, u, dx, dy, scale):  # fmt: skip
    """Linear RGB of one hit, without haze."""
    x, y, z = view[0] + dx * t, view[1] + dy * t, view[2] + m * t
    px = t * view[7] * scale * 1.5
    box = boxes[max(body, 0)]
    fitted = body >= 0 and box[4] > 0
    r, g, b, shine, n = _albedo(kind, material, use, box, fitted, lattice, heights, looks, x, y, z,
                                t, u * scale * t, px, angle, abs(m * t), dx, dy)  # fmt: skip
    off = 0.7 * lattice[2] if kind == 3 else 0.0
    lit = _sunlit(shadow, corner, lattice, x + n[0] * off, y + n[1] * off, z)
    under = 1.0
    if kind == 1 or kind == 3 or kind == 6:
        i, j, _, _ = locate(lattice, heights, x, y)
        if looks[i, j, 1] == _TREE:
            under = 0.62
        elif kind == 1 and looks[i, j, 1] != 255:
            under = 0.8
    color = _lit(kind, under, lit, n, r, g, b, light)
    if material == _WATER and kind == 1:
        return _water(out, distance, column, row, x, y, t, m, dx, dy, color, light, view, scale)
    if shine > 0:
        return _glass(m, n, dx, dy, color[0], color[1], color[2], shine, light)
    return color
