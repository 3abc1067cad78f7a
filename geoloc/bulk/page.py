"""``index.html``: every picture of a bulk run, to sort and filter, in a page without network.

It stands beside the folders of the answers: it links to their reports and takes its small pictures
from them, each when it is scrolled to. With thousands of pictures inside, it would be slow.
Thumbnails are blurred until they are clicked: what people send is often hard to look at.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

from PIL import Image
from pyproj import Geod

from ..files.modes import open_answer
from ..files.whole import whole_file
from ..report.formatting import degrees, metres, percent
from ..report.html import assets, environment
from ..report.links import web_maps
from ..report.tandem import SCORE
from ..scenes import display_name
from .copies import Sight
from .entries import SMALL, Answer, Entry, Group
from .reading import PREVIEW
from .tables import write_changed

THUMB = "thumb.jpg"
"""The small picture of a card, beside PREVIEW."""

_THUMB = (300, 225)  # px, at most
_QUALITY = 60
_FIRST_MAPS = ("OpenStreetMap", "Google Maps")
_FURTHER = 3  # candidates after the best that a card names
_TELLING = 0.01  # share of a scene that a card names beside the first
_EARTH = Geod(ellps="WGS84")


INDEX = "index.html"
_TITLE = b" \xc2\xb7 geoloc</title>"  # at the start of every page of this project


def is_index(path: Path) -> bool:
    """Whether a run wrote this page."""
    try:
        with path.open("rb") as file:
            return _TITLE in file.read(20_000)
    except OSError:
        return False


def write_index(
    out: Path,
    entries: Sequence[Entry],
    groups: Sequence[Group],
    failures: Mapping[str, str],
    cube: Mapping[str, Any],
    remarks: Sequence[str] = (),
    *,
    sensitive: bool = True,
) -> Path:
    """Write the page, unless it is the same already; everything in it is escaped and inlined.

    ``cube``: see `Searcher.facts`. ``remarks``: lines on what was found, such as how many files
    are left out. ``sensitive``: pictures are blurred until they are clicked, and are not printed.
    """
    clusters = {group.name: number for number, group in enumerate(groups, start=1)}
    cards = [_card(entry, out, clusters.get(entry.cluster or "")) for entry in entries]
    thumbs = {card["id"]: card["thumb"] for card in cards}
    text = (
        environment("geoloc.bulk")
        .get_template("index.html")
        .render(
            cards=cards,
            groups=[_group(group, clusters[group.name], thumbs) for group in groups],
            failures=sorted(failures.items()),
            scenes=sorted({card["scene"] for card in cards if card["scene"]}),
            cube=cube,
            models=cube.get("models", ()),
            measure=SCORE if "models" in cube else "distance",
            remarks=remarks,
            sensitive=sensitive,
            **assets("geoloc.bulk", "index.css", "index.js", pictures="'self' file:"),
        )
    )
    path = out / INDEX
    write_changed(path, text.encode("utf-8", "replace"))
    return path


def _card(entry: Entry, out: Path, cluster: int | None) -> dict[str, Any]:
    message = next((m for s in entry.sights for m in s.medium.messages), None)
    return {
        "id": entry.item.id,
        "title": entry.title,
        "file": entry.sights[0].name,
        "folder": entry.sights[0].medium.name.rpartition("/")[0],
        "kind": entry.sights[0].medium.kind,
        "time": entry.time,
        "thumb": quote(f"{entry.folder}/{THUMB}") if _thumb(out / entry.folder) else None,
        "also": [(sight.name, sight.sighting.how, _own(sight)) for sight in entry.sights[1:]],
        "conflicts": entry.conflicts,
        "message": message,
        "claimed": _claimed(entry),
        "cluster": cluster,
        **_answer(entry.answer, entry.folder),
    }


def _own(sight: Sight) -> str:
    """What a copy knows of itself: pixels, time, place."""
    gps, size = sight.exif.get("gps"), sight.sighting.record.get("size")
    facts = [f"{size[0]} × {size[1]} px"] if size else []
    facts += [str(sight.exif["time"])[:19].replace("T", " ")] if sight.exif.get("time") else []
    return ", ".join(facts + ([degrees(gps["lon"], gps["lat"])] if gps else []))


def _claimed(entry: Entry) -> dict[str, str] | None:
    """What somebody says, and how far that is from the best place (m, km on the ellipsoid)."""
    if entry.claimed is None:
        return None
    claim = {"by": entry.claimed_by, "place": degrees(*entry.claimed), "off": ""}
    if entry.answer and entry.answer["candidates"]:
        best = entry.answer["candidates"][0]
        claim["off"] = metres(_EARTH.inv(*entry.claimed, best["lon"], best["lat"])[2])
    return claim


def _group(group: Group, number: int, thumbs: Mapping[int, str | None]) -> dict[str, Any]:
    return {
        "id": number,
        "reasons": group.reasons,
        "members": [
            {"id": member.item.id, "title": member.title, "thumb": thumbs[member.item.id]}
            for member in group.members
        ],
        **_answer(group.answer, group.folder),
    }


def _answer(answer: Answer | None, folder: str) -> dict[str, Any]:
    """What a card shows of an answer; empty where there is none."""
    if answer is None:
        return dict.fromkeys(("report", "heat", "scene", "best", "distance")) | {
            "scenes": [], "further": [], "maps": {},
        }  # fmt: skip
    candidates = [_candidate(c) for c in answer["candidates"]]
    best = answer["candidates"][0] if candidates else None
    maps = web_maps(best["lon"], best["lat"]) if best else {}
    return {
        "report": quote(f"{folder}/report.html"),
        "heat": quote(f"{folder}/{SMALL}"),
        "scene": answer["scenes"][0][0],
        "scenes": [
            (display_name(name), percent(100 * share))
            for n, (name, share) in enumerate(answer["scenes"][:3])
            if n == 0 or share >= _TELLING
        ],
        "best": candidates[0] if candidates else None,
        "distance": best[_measure(best)] if best else None,
        "further": candidates[1 : 1 + _FURTHER],
        "maps": {name: maps[name] for name in _FIRST_MAPS if name in maps},
    }


def _candidate(candidate: Mapping[str, Any]) -> dict[str, Any]:
    return {
        "place": degrees(candidate["lon"], candidate["lat"]),
        "distance": f"{candidate[_measure(candidate)]:.3f}",
        "shared": ", ".join(display_name(name) for name in candidate["shared"][:3]),
        "models": [
            f"{name}: rank {said['rank']:,} (best {percent(said['percentile'])})"
            for name, said in candidate.get("models", {}).items()
        ],
    }


def _measure(candidate: Mapping[str, Any]) -> str:
    """What candidates are ranked by: of several models their score."""
    return SCORE if SCORE in candidate else "distance"


def _thumb(folder: Path) -> bool:
    """See to it that the small picture is there; False where the picture was taken away."""
    preview, thumb = folder / PREVIEW, folder / THUMB
    try:
        if thumb.is_file() and thumb.stat().st_mtime_ns >= preview.stat().st_mtime_ns:
            return True
        with Image.open(preview) as image:
            image.draft("RGB", (2 * _THUMB[0], 2 * _THUMB[1]))
            small = image.convert("RGB")
    except OSError:
        return False
    small.thumbnail(_THUMB, Image.Resampling.LANCZOS)
    with whole_file(thumb, alone=True) as part, open_answer(part, "wb") as file:
        small.save(file, "jpeg", quality=_QUALITY, optimize=True)
    return True
