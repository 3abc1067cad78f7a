"""An answer that tells much, and what lies in files, unpacked: for the tests of sharing.

The reading here is another than the project's own, so that both cannot be blind alike.
"""

from __future__ import annotations

import base64
import gzip
import io
import json
import re
import zipfile
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from geoloc.report import QueryResult, write_report
from geoloc.report.tandem import TandemPart
from tests.report_sample import FlatImagery, in_tandem, photo, sample

MARKS = {
    "captions": "Säugling beim Bäcker <b>Q1</b>",
    "senders": "Olena Qvortrup",
    "chat": "Qanal der Nachbarn",
    "paths": "/home/qwinifred/Fälle 2025",
    "names": "IMG_Q4711 & Söhne",
    "time": "2025-06-03T10:11:12",
}
LON, LAT = 30.1987654, 50.5543219


def telling(**changes: Any) -> QueryResult:
    """An answer with all that is private, each by its mark."""
    message = {
        "chat": MARKS["chat"], "id": 7_654_321, "from": MARKS["senders"], "text": MARKS["captions"],
        "date": MARKS["time"], "place": {"lon": LON, "lat": LAT}, "export": "result-q.json",
        "forwarded_from": "Qarl", "saved_from": "Qarl",
    }  # fmt: skip
    path = Path(MARKS["paths"]) / f"{MARKS['names']}.jpg"
    claim = {"place": {"lon": LON, "lat": LAT}, "by": f"message 7 of {MARKS['chat']}"}
    copy = {"file": f"sub/{path.name}", "path": str(path), "sha256": "ef" * 32}
    copies = [{**copy, "how": how, "messages": [message]} for how in ("original", "same bytes")]
    shown = replace(
        photo(path.name),
        path=path,
        exif={"time": MARKS["time"], "gps": {"lon": LON, "lat": LAT}},
        origin={"messages": [message], "claims": [claim], "copies": copies,
                "conflicts": [f"claims differ: {MARKS['names']}.jpg says {LAT:.5f}, {LON:.5f}"],
                "fetched_from": f"https://t.me/{MARKS['senders']}/5"},
    )  # fmt: skip
    fields: dict[str, Any] = {
        "title": path.name,
        "photos": (shown,),
        "cube": {"cube": f"{MARKS['paths']}/cube.zarr", "name": "sample", "area": "sample",
                 "generation": "g0001"},
        "model": {"name": "sandbox", "digest": "cd" * 32, "path": f"{MARKS['paths']}/model"},
        "parameters": {"top": 3, "within": f"{MARKS['paths']}/area.geojson", "radius": 150.0,
                       "within_sha256": "12" * 32},
        "imagery": ({"id": f"{MARKS['paths']}/tile.tif", "href": f"{MARKS['paths']}/tile.tif",
                     "date": "2024-05-06T10:00:00Z", "candidates": [1]},),
        "notes": (f"{path.name} has only 80 x 60 px: too few.",
                  f"The report shows no base map: {MARKS['paths']}/tile.tif is not to be opened."),
        "truth": (LAT, LON),
    }  # fmt: skip
    return sample(**{**fields, **changes})


BANK = {
    "file": "IMG_Qbank & Söhne.jpg",
    "path": f"{MARKS['paths']}/IMG_Qbank & Söhne.jpg",
    "sha256": "0badca5e" * 8,
}


def telling_tandem(**changes: Any) -> QueryResult:
    """The same of two models, each with paths of its own and a bank of one photo."""
    told = telling(**changes)
    kept = ("title", "photos", "cube", "model", "parameters", "imagery", "notes", "truth")
    result = in_tandem(**{key: getattr(told, key) for key in kept})
    assert result.tandem is not None
    first, second = (
        replace(
            part.alone, photos=told.photos, truth=told.truth,
            cube={**told.cube, "cube": f"{MARKS['paths']}/{number}.zarr"},
            model={**told.model, "path": f"{MARKS['paths']}/{number}"},
        )
        for number, part in enumerate(result.tandem.models)
    )  # fmt: skip
    models = result.tandem.models
    parts = (replace(models[0], alone=first), replace(models[1], alone=second))
    return replace(result, tandem=TandemPart(parts, (BANK,)))


def write_telling(folder: Path, imagery: bool = True, **changes: Any) -> Path:
    write_report(telling(**changes), folder, FlatImagery() if imagery else None)
    return folder


def edit_record(folder: Path, **changes: Any) -> None:
    """Change values of a record, as somebody with an editor."""
    path = folder / "query.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}, ensure_ascii=False))


def forget_digests(folder: Path) -> None:
    """Make it an answer of an older version, whose record knows no digests of its files."""
    edit_record(folder, outputs=None)


def unpacked(folder: Path) -> dict[str, bytes]:
    """Every file of a folder, what is packed in it beside it."""
    found: dict[str, bytes] = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found |= _unpacked(str(path.relative_to(folder)), path.read_bytes())
    return found


def _unpacked(name: str, data: bytes) -> dict[str, bytes]:
    found = {name: data}
    if zipfile.is_zipfile(io.BytesIO(data)):
        archive = zipfile.ZipFile(io.BytesIO(data))
        for inner in archive.namelist():
            found |= _unpacked(f"{name}/{inner}", archive.read(inner))
    for n, text in enumerate(re.findall(rb"[A-Za-z0-9+/]{40,}={0,2}", data)):
        try:
            plain = base64.b64decode(text + b"=" * (-len(text) % 4))
            found[f"{name}#{n}"] = gzip.decompress(plain) if plain[:2] == b"\x1f\x8b" else plain
        except (ValueError, OSError):
            continue
    return found


def holders(folder: Path, text: str) -> list[str]:
    """Files that hold a text, however it is written."""
    escaped = [text, text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")]
    escaped += [json.dumps(text)[1:-1], json.dumps(text, ensure_ascii=False)[1:-1]]
    escaped.append(escaped[1].replace("&", "&amp;"))
    wanted = {one.encode(code) for one in escaped for code in ("utf-8", "utf-16-le", "utf-16-be")}
    return [name for name, data in unpacked(folder).items() if any(w in data for w in wanted)]


def pictures(folder: Path) -> dict[str, Image.Image]:
    """Every JPEG and PNG, inside of pages and archives too."""
    return {
        name: Image.open(io.BytesIO(data))
        for name, data in unpacked(folder).items()
        if data.startswith((b"\xff\xd8\xff", b"\x89PNG"))
    }


def blob(colour: tuple[int, int, int]) -> np.ndarray[Any, Any]:
    return np.full((90, 160, 3), colour, np.uint8)
