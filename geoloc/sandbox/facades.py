"""Sides of things: windows, balconies, doors, joints, bricks, corrugated sheet, cars, fences.

Each function returns ``(red, green, blue, shine)``: sRGB albedo 0-1 and how much of the
sky it mirrors. ``s`` runs along the wall from its left end, ``h`` above the ground, m; ``px``
is the size of a pixel on the wall, m.
"""

# mypy: disable-error-code="no-untyped-def,untyped-decorator,no-untyped-call"

from __future__ import annotations

import math

from .compiling import compiled, compiled_for
from .detail import hash3, noise2

_PANELS = (
    (0.80, 0.77, 0.70), (0.72, 0.72, 0.70), (0.83, 0.80, 0.76), (0.76, 0.69, 0.60),
    (0.78, 0.74, 0.62), (0.66, 0.68, 0.70), (0.86, 0.84, 0.80), (0.70, 0.52, 0.42),
)  # fmt: skip
_SHEETS = (
    (0.62, 0.66, 0.70), (0.50, 0.56, 0.62), (0.70, 0.70, 0.68), (0.42, 0.52, 0.60),
    (0.74, 0.72, 0.64), (0.56, 0.60, 0.56), (0.66, 0.62, 0.58), (0.60, 0.64, 0.70),
)  # fmt: skip
_PLASTERS = (
    (0.86, 0.83, 0.76), (0.84, 0.74, 0.56), (0.66, 0.40, 0.32), (0.88, 0.87, 0.84),
    (0.62, 0.70, 0.76), (0.76, 0.60, 0.46), (0.80, 0.80, 0.72), (0.72, 0.78, 0.66),
)  # fmt: skip


@compiled
def style_of(material, use, height):
    """0 panel block, 1 house, 2 shed, 3 school, 4 plain: by material, land use and height."""
    if material == 13 or use == 9:
        return 2
    if use == 11 or use == 15:
        return 4
    if use == 10:
        return 3
    return 0 if height > 10.5 or use == 8 or use == 18 else 1


@compiled_for("UniTuple(float64, 3)(int64, int64, int64)")
def wall_color(style, seed, use):
    """Plaster, panel or brick of one building."""
    pick = int(hash3(seed, 3, use) * 8)
    if style == 0:
        return _PANELS[pick]
    return _SHEETS[pick] if style == 2 else _PLASTERS[pick]


@compiled
def glass(bay, floor, seed, u, v):
    """A window pane by its own hash: dark glass, curtains, frame; ``u, v`` in 0-1."""
    if u < 0.07 or u > 0.93 or v < 0.06 or v > 0.94 or abs(u - 0.5) < 0.035:
        return 0.88, 0.88, 0.86, 0.0
    kind = hash3(bay, floor, seed + 5)
    if kind < 0.35 and (u < 0.3 or u > 0.72):
        return 0.70, 0.66, 0.60, 0.12
    if kind > 0.85:
        return 0.62, 0.60, 0.55, 0.15
    return 0.10 + 0.05 * kind, 0.12 + 0.05 * kind, 0.15 + 0.05 * kind, 0.5


@compiled
def panel_block(s, h, length, height, seed, px):
    """A tall block of concrete panels: bays, floors, balconies, stair doors, joints."""
    r, g, b = wall_color(0, seed, 0)
    bays = max(int(length / 3.1), 1)
    wide = length / bays
    floors = max(int((height - 0.9) / 2.8), 1)
    tall = max(height - 0.9, 1.0) / floors
    bay, floor = int(s / wide), math.floor((h - 0.7) / tall)
    u, v = s / wide - bay, (h - 0.7) / tall - floor
    stripe = 3 + int(hash3(seed, 1, 1) * 3)
    if hash3(bay // stripe, seed, 11) < 0.4:
        r, g, b = r * 0.9, g * 0.86, b * 0.82
    if h < 0.7:
        return 0.46, 0.45, 0.44, 0.0
    if floor >= floors:
        return r * 0.9, g * 0.9, b * 0.9, 0.0
    if length < 16 and hash3(seed, 7, int(length)) < 0.6:  # a blind end wall
        edge = min(min(u, 1 - u) * wide, min(v, 1 - v) * tall)
        dark = 0.72 if edge < max(0.03, 0.4 * px) else 1.0
        return r * dark, g * dark, b * dark, 0.0
    balcony = hash3(bay % 6, seed, 21) < 0.36 and floor > 0
    door = bay % 5 == 2 and hash3(seed, 9, 2) < 0.8
    if door and floor == 0:
        if 0.3 < u < 0.7 and h < 3.0:
            return 0.30, 0.24, 0.20, 0.05
        return (0.55, 0.54, 0.52, 0.0) if h > 2.9 and h < 3.15 else (r, g, b, 0.0)
    if door and not balcony:  # the stairs' narrow panes
        return glass(bay, floor, seed, (u - 0.36) / 0.28, v) if 0.36 < u < 0.64 else (r, g, b, 0.0)
    if balcony and 0.06 < u < 0.94:
        if v < 0.40:
            tone = 0.72 + 0.35 * hash3(bay, floor, seed + 2)
            tint = hash3(bay, seed, 4)
            seam = 0.85 if ((u * wide) % 0.5) < 0.04 else 1.0
            return r * tone * seam, g * tone * seam, b * (tone + 0.15 * tint) * seam, 0.0
        if hash3(bay, floor, seed + 3) < 0.6 and v < 0.94:
            return glass(bay, floor, seed, ((u * 2.2) % 1.0), (v - 0.4) / 0.55)
        return (r * 0.42, g * 0.42, b * 0.44, 0.0) if v < 0.9 else (r, g, b, 0.0)
    if 0.24 < u < 0.76 and 0.30 < v < 0.84:
        return glass(bay, floor, seed, (u - 0.24) / 0.52, (v - 0.30) / 0.54)
    edge = min(min(u, 1 - u) * wide, min(v, 1 - v) * tall)
    stain = 0.93 + 0.07 * hash3(bay, floor, seed)
    if edge < max(0.03, 0.35 * px):
        stain *= 0.78
    return r * stain, g * stain, b * stain, 0.0


@compiled
def house(s, h, length, height, seed, use, px):
    """A family house: plinth, windows with sills, a door, plaster or bricks."""
    r, g, b = wall_color(1, seed, use)
    if h < 0.45:
        return 0.46, 0.44, 0.42, 0.0
    if hash3(seed, 3, use) * 8 // 1 == 2 and px < 0.05:
        row = int(h / 0.077)
        joint = (h % 0.077) < 0.012 or ((s + 0.125 * (row % 2)) % 0.25) < 0.012
        tone = 0.9 + 0.2 * hash3(row, int((s + 0.125 * (row % 2)) / 0.25), seed)
        if joint:
            r, g, b = 0.70, 0.66, 0.60
        else:
            r, g, b = r * tone, g * tone, b * tone
    bays = max(int(length / 3.4), 1)
    wide = length / bays
    bay, floor = int(s / wide), int((h - 0.5) / 2.9)
    u, v = (s / wide - bay) * wide - wide / 2, (h - 0.5) - 2.9 * floor
    if floor == 0 and bay == int(hash3(seed, 5, int(length)) * bays) and abs(u) < 0.62 and v < 2.15:
        if abs(u) > 0.5 or v > 2.05:
            return 0.80, 0.78, 0.74, 0.0
        return 0.34 + 0.2 * hash3(seed, 8, 8), 0.25, 0.20, 0.06
    if (floor == 0 or height > 5.2) and floor < 2 and h + 1.0 < height + 0.8:
        if abs(u) < 0.72 and 0.85 < v < 2.25:
            return glass(bay, floor, seed, (u + 0.72) / 1.44, (v - 0.85) / 1.4)
        if abs(u) < 0.84 and 0.73 < v < 2.37:
            return min(r + 0.16, 0.95), min(g + 0.16, 0.95), min(b + 0.16, 0.95), 0.0
    return r, g, b, 0.0


@compiled
def shed(s, h, length, height, seed, px):
    """An industrial hall: corrugated sheet, gates, a band of windows under the eaves."""
    r, g, b = wall_color(2, seed, 0)
    if h < 0.8:
        return 0.55, 0.54, 0.52, 0.0
    bays = max(int(length / 9.0), 1)
    wide = length / bays
    bay = int(s / wide)
    u = s - (bay + 0.5) * wide
    if hash3(bay, seed, 31) < 0.34 and abs(u) < 2.1 and h < 4.4 and height > 5:
        slat = 0.82 if (h % 0.5) < 0.05 else 1.0
        if hash3(bay, seed, 3) < 0.5:
            return 0.24 * slat, 0.34 * slat, 0.50 * slat, 0.04
        return 0.60 * slat, 0.60 * slat, 0.58 * slat, 0.04
    if height - 2.4 < h < height - 1.1 and hash3(seed, 6, 1) < 0.65:
        pane = s % 1.2
        return (0.4, 0.42, 0.44, 0.0) if pane < 0.08 else (0.17, 0.2, 0.23, 0.4)
    if height - 0.6 < h:
        return r * 0.7, g * 0.72, b * 0.78, 0.0
    wave = 1.0
    if px < 0.12:
        wave = 0.9 + 0.14 * math.sin(s * 2 * math.pi / 0.28)
    streak = 0.9 + 0.1 * noise2(s * 1.3, h * 0.08, seed)
    return r * wave * streak, g * wave * streak, b * wave * streak, 0.06


@compiled
def school(s, h, length, height, seed):
    """A school: wide windows in bands, a bright plinth, a porch."""
    r, g, b = wall_color(3, seed, 10)
    bays = max(int(length / 3.3), 1)
    wide = length / bays
    bay = int(s / wide)
    u = s / wide - bay
    floors = max(int((height - 0.6) / 3.4), 1)
    tall = max(height - 0.6, 1.0) / floors
    floor = int((h - 0.5) / tall)
    v = (h - 0.5) / tall - floor
    if h < 0.5:
        return 0.5, 0.49, 0.47, 0.0
    if bay == bays // 2 and length > 25 and h < 3.0 and 0.1 < u < 0.9:
        return (0.86, 0.86, 0.84, 0.0) if abs(u - 0.5) < 0.03 else (0.20, 0.24, 0.27, 0.35)
    if floor < floors and 0.12 < u < 0.88 and 0.28 < v < 0.86:
        return glass(bay, floor, seed, (u - 0.12) / 0.76, (v - 0.28) / 0.58)
    if v < 0.28 and floor < floors:
        return r * 0.94, g * 0.86, b * 0.74, 0.0
    return r, g, b, 0.0


@compiled
def building(style, s, h, length, height, seed, use, px):
    """The façade of a style, with dirt."""
    if style == 0:
        r, g, b, shine = panel_block(s, h, length, height, seed, px)
    elif style == 1:
        r, g, b, shine = house(s, h, length, height, seed, use, px)
    elif style == 2:
        r, g, b, shine = shed(s, h, length, height, seed, px)
    elif style == 3:
        r, g, b, shine = school(s, h, length, height, seed)
    else:
        joint = 0.8 if (s % 4.0) < 0.05 or (h % 1.0) < 0.03 else 1.0
        r, g, b, shine = 0.62 * joint, 0.61 * joint, 0.58 * joint, 0.0
    if shine < 0.1:
        dirt = 0.9 + 0.1 * noise2(s * 0.9, h * 0.5, seed) + 0.06 * noise2(s * 7.0, h * 7.0, seed)
        dirt -= 0.1 * math.exp(-h / 0.5)
        r, g, b = r * dirt, g * dirt, b * dirt
    return r, g, b, shine


@compiled
def car(s, h, length, front, r, g, b):
    """Body, windows and wheels of a car; ``front``: a short side."""
    u = s / max(length, 0.1)
    if front:
        if 0.55 < h < 0.75 and (u < 0.2 or u > 0.8):
            return 0.85, 0.82, 0.76, 0.3
        return (0.04, 0.04, 0.04, 0.0) if h < 0.2 else (r, g, b, 0.15)
    for wheel in (0.19, 0.8):
        d = math.hypot((u - wheel) * length, h - 0.3)
        if d < 0.33:
            return (0.5, 0.5, 0.52, 0.1) if d < 0.17 else (0.05, 0.05, 0.05, 0.0)
    if h < 0.2:
        return 0.04, 0.04, 0.04, 0.0
    if 0.88 < h < 1.32 and 0.2 < u < 0.82:
        return (0.1, 0.1, 0.1, 0.1) if abs(u - 0.5) < 0.015 else (0.09, 0.10, 0.12, 0.5)
    return r, g, b, 0.15


@compiled
def wagon(s, h, r, g, b):
    """A truck's box, a bus or a railway wagon: ribbed sheet over dark wheels."""
    if h < 0.9:
        wheel = abs(s % 4.5 - 1.2) < 0.45 and h < 0.95
        return (0.09, 0.08, 0.08, 0.0) if wheel or h > 0.55 else (0.14, 0.13, 0.12, 0.0)
    rib = 0.86 if (s % 0.7) < 0.08 else 1.0
    rust = 0.88 + 0.16 * noise2(s * 0.8, h * 0.6, 37)
    return r * rib * rust, g * rib * rust, b * rib * rust, 0.05


@compiled
def fence(s, h, r, g, b, use):
    """Boards or sheets between posts."""
    post = s % 2.5
    if post < 0.09:
        return r * 0.6, g * 0.6, b * 0.6, 0.0
    period = 0.16 if use == 7 or use == 16 else 0.22
    gap = (s % period) < 0.02
    rail = 0.9 if abs(h - 0.4) < 0.05 or abs(h - 1.2) < 0.05 else 1.0
    tone = (0.62 if gap else 0.9 + 0.15 * hash3(int(s / period), 3, 7)) * rail
    return r * tone, g * tone, b * tone, 0.0
