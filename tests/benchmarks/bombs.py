"""Hostile files and answers, each met by a process of its own: what it costs, and what is said.

    python -m tests.benchmarks.bombs [FAMILY…]     photos rasters answers shapes cubes models …

Prints attack, outcome (the last line that is told), peak resident MB, seconds and CPU seconds. Ends
with exit code 1 where one took BYTES more than a harmless one, or SECONDS of CPU, or ended in a
traceback. All servers are on loopback.
"""

from __future__ import annotations

import gzip
import io
import json
import os
import resource
import struct
import subprocess
import sys
import tempfile
import time
import zipfile
import zlib
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
from rasterio.transform import from_origin

from ..loopback import Listener, listening

BYTES, SECONDS = 1 << 30, 35.0
SIDE = 64
LONG = 600.0
CATALOG = {"type": "Catalog", "id": "c", "stac_version": "1.0.0", "description": "c", "links": []}
SQUARE = [[30.0, 50.4], [30.1, 50.4], [30.1, 50.5], [30.0, 50.5], [30.0, 50.4]]


@dataclass(frozen=True)
class Attack:
    """``command``: arguments of the command line, or of this module where it begins so."""

    name: str
    command: list[str]
    harmless: bool = False


@dataclass(frozen=True)
class Outcome:
    """What came of an attack."""

    attack: Attack
    told: str
    mb: float
    seconds: float
    cpu: float
    code: int

    def bad(self, usual: float) -> bool:
        """Whether it cost more than ``usual`` MB by too much, or ended in a traceback."""
        over = (self.mb - usual) * 1e6 > BYTES or self.cpu > SECONDS
        return over or "Traceback" in self.told or self.code < 0


def measured(attack: Attack, folder: Path) -> Outcome:
    """Run an attack in a process of its own."""
    start = time.monotonic()
    command, nothing = [sys.executable, "-m", *attack.command], subprocess.DEVNULL
    with (folder / "out.txt").open("w+") as out:
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        child = subprocess.Popen(command, stdout=out, stderr=out, stdin=nothing)
        peak = 0.0
        while child.poll() is None:
            peak = _resident(child.pid) or peak
            time.sleep(0.02)
        usage = resource.getrusage(resource.RUSAGE_CHILDREN)
        out.seek(0)
        text = out.read()
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    told = "Traceback" if "Traceback" in text else lines[-1] if lines else ""
    cpu = usage.ru_utime + usage.ru_stime - before.ru_utime - before.ru_stime
    return Outcome(attack, told, peak, time.monotonic() - start, cpu, child.returncode)


def _resident(pid: int) -> float:
    """The most MB that a process has held so far, without what it was forked from; 0: it ended."""
    with suppress(OSError, IndexError):
        return int(Path(f"/proc/{pid}/status").read_text().split("VmHWM:")[1].split()[0]) / 1000
    return 0.0


# --- entries of the library, for what no command takes by itself


def _raster(path: str) -> str:
    from geoloc.area import GeotiffImagery
    from geoloc.domain import Grid
    from geoloc.imagery.geotiff import GeotiffSource

    window = Grid("EPSG:32636", 300_000.0, 5_600_000.0, 10.0, 200, 300)
    found = GeotiffSource(GeotiffImagery(paths=[path])).read(window)
    return " ".join(found.attrs["errors"]) or f"read, {int(found.coords['valid'].sum())} valid"


def _stac(url: str) -> str:
    from geoloc.area import StacImagery
    from geoloc.domain import Grid
    from geoloc.imagery.stac import StacSource

    window = Grid("EPSG:32636", 300_000.0, 5_600_000.0, 10.0, 20, 30)
    return f"covers: {StacSource(StacImagery(url=url)).covers(window)}"


def _xyz(url: str) -> str:
    from geoloc.area import XyzImagery
    from geoloc.domain import Grid
    from geoloc.imagery.xyz import XyzSource

    window = Grid("EPSG:32636", 300_000.0, 5_600_000.0, 10.0, 20, 30)
    source = XyzSource(XyzImagery(url=url, zoom=10, cache_mb=0, retries=0))
    return " ".join(source.read(window).attrs["errors"])


def _polygon(path: str) -> str:
    from geoloc.area.polygon import read_polygon

    return f"{read_polygon(Path(path), 'EPSG:32636').area:.0f} m2"


def _photo(url: str) -> str:
    from flows.fetching import store_photo

    return str(store_photo(url, Path(tempfile.mkdtemp())).stat().st_size)


def _picture(path: str) -> str:
    from geoloc.photos import read_photo

    return str(read_photo(Path(path)).pixels.shape)


ENTRIES: dict[str, Callable[[str], str]] = {
    "raster": _raster, "stac": _stac, "xyz": _xyz, "polygon": _polygon, "photo": _photo,
    "picture": _picture,
}  # fmt: skip


def _enter(entry: str, argument: str) -> int:
    from geoloc.errors import GeolocError

    try:
        sys.stdout.write(ENTRIES[entry](argument) + "\n")
    except (GeolocError, ConnectionError) as error:
        sys.stdout.write(f"{type(error).__name__}: {error}\n")
        return 1
    return 0


def _entry(name: str, entry: str, argument: str, *, harmless: bool = False) -> Attack:
    return Attack(name, ["tests.benchmarks.bombs", "--entry", entry, argument], harmless)


def _cli(name: str, *arguments: str | Path, harmless: bool = False) -> Attack:
    return Attack(name, ["geoloc", *map(str, arguments)], harmless)


# --- files


def _chunk(kind: bytes, data: bytes) -> bytes:
    body = kind + data
    return struct.pack(">I", len(data)) + body + struct.pack(">I", zlib.crc32(body))


def png(side: int, extra: bytes = b"") -> bytes:
    """A grey picture of one bit a pixel."""
    packer = zlib.compressobj(9)
    row = b"\0" + bytes((side + 7) // 8)
    rows = b"".join(packer.compress(row) for _ in range(side)) + packer.flush()
    head = struct.pack(">IIBBBBB", side, side, 1, 0, 0, 0, 0)
    return (
        b"\x89PNG\r\n\x1a\n" + _chunk(b"IHDR", head) + extra + _chunk(b"IDAT", rows)
        + _chunk(b"IEND", b"")
    )  # fmt: skip


def _jpeg() -> bytes:
    from PIL import Image

    memory = io.BytesIO()
    Image.new("RGB", (640, 480), (90, 120, 30)).save(memory, "jpeg")
    return memory.getvalue()


def photos(folder: Path) -> Iterator[Attack]:
    """As they are read for whatever is asked of them."""
    swollen = zlib.compress(bytes(500_000_000), 9)
    head = _jpeg()
    sof = head.index(b"\xff\xc0")
    huge = head[: sof + 5] + struct.pack(">HH", 65500, 65500) + head[sof + 9 :]
    tiff = io.BytesIO()
    with rasterio.MemoryFile() as memory:
        profile = {"width": 60_000, "height": 60_000, "count": 1, "dtype": "uint8"}
        with memory.open(driver="GTiff", **profile, compress="deflate", sparse_ok=True) as data:
            data.write(np.zeros((1, 16, 60_000), np.uint8), window=((0, 16), (0, 60_000)))
        tiff.write(memory.read())
    svg = (
        '<?xml version="1.0"?><!DOCTYPE s [<!ENTITY x SYSTEM "file:///etc/passwd">]><svg xmlns='
        '"http://www.w3.org/2000/svg" width="99999" height="99999"><text>&x;</text></svg>'
    )
    heic = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + b"\0\0\0\x10meta" + bytes(8)
    files = {
        "PNG of 40,000 px a side.png": png(40_000),
        "PNG, text that swells to 500 MB.png": png(64, _chunk(b"zTXt", b"a\0\0" + swollen)),
        "PNG, profile that swells to 500 MB.png": png(64, _chunk(b"iCCP", b"a\0\0" + swollen)),
        "JPEG that claims 65,500 px a side.jpg": huge,
        "TIFF of 60,000 px a side.tif": tiff.getvalue(),
        "SVG with an entity.jpg": svg.encode(),
        "HEIC of nothing.heic": heic,
    }
    (folder / "good.jpg").write_bytes(head)
    good = str(folder / "good.jpg")
    yield _cli("photo: a good one, described", "describe", good, harmless=True)
    yield _entry("photo: a good one", "picture", good, harmless=True)
    for name, data in files.items():
        (folder / name).write_bytes(data)
        yield _entry(f"photo: {Path(name).stem}", "picture", str(folder / name))


def rasters(folder: Path) -> Iterator[Attack]:
    """Of imagery."""
    place = {"crs": "EPSG:32636", "transform": from_origin(300_000, 5_600_000, 0.05, 0.05)}

    def tiff(name: str, size: int, **more: Any) -> str:
        path = folder / f"{name}.tif"
        profile = {"width": size, "height": size, "count": 3, "dtype": "uint8"} | more
        with rasterio.open(path, "w", driver="GTiff", **profile, **place) as data:
            data.write(np.zeros((data.count, 1, 1), data.dtypes[0]), window=((0, 1), (0, 1)))
        return str(path)

    tiled = {"tiled": True, "compress": "deflate", "sparse_ok": True, "bigtiff": "yes"}
    good = tiff("good", 1000, tiled=True)
    yield _entry("raster: a good one", "raster", good, harmless=True)
    big = tiff("blocks", 32_768, blockxsize=32_768, blockysize=32_768, **tiled)
    yield _entry("raster: one tile of 32,768 px", "raster", big)
    yield _entry("raster: 2,000,000 px a side", "raster", tiff("side", 2_000_000, **tiled))
    yield _entry("raster: 20,000 bands", "raster", tiff("bands", 256, **tiled | {"count": 20_000}))
    (folder / "tile.png").write_bytes(png(40_000))
    (folder / "tile.pgw").write_text("0.1\n0\n0\n-0.1\n300000\n5600000\n")
    yield _entry("raster: PNG of 40,000 px", "raster", str(folder / "tile.png"))
    source = f"<SimpleSource><SourceFilename>{good}</SourceFilename></SimpleSource>" * 200_000
    vrt = (
        '<VRTDataset rasterXSize="10" rasterYSize="10"><SRS>EPSG:32636</SRS><GeoTransform>300000, '
        '10, 0, 5600000, 0, -10</GeoTransform><VRTRasterBand dataType="Byte" band="1">'
        f"{source}</VRTRasterBand></VRTDataset>"
    )
    (folder / "many.vrt").write_text(vrt)
    yield _entry("raster: VRT of 200,000 sources", "raster", str(folder / "many.vrt"))
    deep = "<a>" * 100_000 + "</a>" * 100_000
    (folder / "deep.vrt").write_text(f"<VRTDataset>{deep}</VRTDataset>")
    yield _entry("raster: VRT, 100,000 deep", "raster", str(folder / "deep.vrt"))


def answers(_: Path, server: Listener) -> Iterator[Attack]:
    """Of servers."""
    zeros = gzip.compress(bytes(1_000_000_000), 6)
    padded = json.dumps(CATALOG)[:-1].encode() + b', "x": "'
    parts = json.dumps(CATALOG)[:-1] + ', "x": [' + "[]," * 20_000_000 + "[]]}"
    nested = json.dumps(CATALOG)[:-1] + ', "x": ' + "[" * 1_000_000 + "]" * 1_000_000 + "}"
    strings = json.dumps(CATALOG)[:-1] + ', "x": ["' + '","'.join(["ab"] * 12_000_000) + '"]}'
    server.pages = {
        "/good.json": json.dumps(CATALOG).encode(),
        "/gz/catalog.json": zeros,
        "/gz2/catalog.json": gzip.compress(zeros),
        "/parts.json": parts.encode(),
        "/strings.json": strings.encode(),
        "/nested.json": nested.encode(),
        "/big.json": padded + b"x" * 200_000_000 + b'"}',
        "/photo.jpg": _jpeg(),
        "/gz/photo.jpg": zeros,
        "/png/photo.jpg": png(40_000),
        "/gz/tile": zeros,
        "/png/tile": png(40_000),
        "/jpg/tile": _jpeg(),
    }
    server.headers_of = {
        path: {"Content-Encoding": "gzip, gzip" if "gz2" in path else "gzip"}
        for path in server.pages
        if path.startswith("/gz")
    }
    root = server.root
    yield _entry("catalog: a good one", "stac", f"{root}/good.json", harmless=True)
    yield _entry("catalog: gzip of 1 GB", "stac", f"{root}/gz/catalog.json")
    yield _entry("catalog: gzip of gzip of 1 GB", "stac", f"{root}/gz2/catalog.json")
    yield _entry("catalog: 200 MB", "stac", f"{root}/big.json")
    yield _entry("catalog: 20 million lists", "stac", f"{root}/parts.json")
    yield _entry("catalog: 12 million words", "stac", f"{root}/strings.json")
    yield _entry("catalog: 1,000,000 deep", "stac", f"{root}/nested.json")
    yield _entry("photo of the web: a good one", "photo", f"{root}/photo.jpg", harmless=True)
    yield _entry("photo of the web: gzip of 1 GB", "photo", f"{root}/gz/photo.jpg")
    yield _entry("photo of the web: PNG of 40,000 px", "photo", f"{root}/png/photo.jpg")
    for kind, what in (("gz", "gzip of 1 GB"), ("png", "PNG of 40,000 px"), ("jpg", "640 x 480")):
        url = f"{root}/{kind}/tile?{{z}}/{{x}}/{{y}}"
        yield _entry(f"web tile: {what}", "xyz", url, harmless=kind == "jpg")


def shapes(folder: Path) -> Iterator[Attack]:
    """Of polygons and area files."""
    laughs = "".join(f'<!ENTITY l{n} "{f"&l{n - 1};" * 10}">' for n in range(1, 10))
    kml = f'<?xml version="1.0"?><!DOCTYPE k [<!ENTITY l0 "ha">{laughs}]><kml>&l9;</kml>'
    files = {
        "good.geojson": json.dumps({"type": "Polygon", "coordinates": [SQUARE]}).encode(),
        "deep.geojson": b'{"type":"Polygon","coordinates":'
        + b"[" * 500_000
        + b"]" * 500_000
        + b"}",
        "nested.geojson": b'{"type":"GeometryCollection","geometries":[' * 20_000 + b"]}" * 20_000,
        "laughs.kml": kml.encode(),
        "deep.kml": b"<kml>" + b"<a>" * 500_000 + b"</a>" * 500_000 + b"</kml>",
    }
    for name, data in files.items():
        (folder / name).write_bytes(data)
        path = str(folder / name)
        yield _entry(f"polygon: {name}", "polygon", path, harmless=name.startswith("good"))
    with zipfile.ZipFile(folder / "swollen.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("a.geojson", files["good.geojson"] + b" " * 1_000_000_000)
    yield _entry("polygon: zip of 1 GB", "polygon", str(folder / "swollen.zip"))
    lines = ["a: &a [x, x, x, x, x, x, x, x, x]"]
    for this, last in zip("bcdefghij", "abcdefghi", strict=True):
        lines.append(f"{this}: &{this} [{', '.join([f'*{last}'] * 9)}]")
    (folder / "laughs.yaml").write_text("\n".join([*lines, "name: *j"]))
    yield _cli("area: YAML of aliases", "cube", "build", folder / "laughs.yaml")
    (folder / "deep.yaml").write_text("name: " + "[" * 100_000 + "]" * 100_000)
    yield _cli("area: YAML, 100,000 deep", "cube", "build", folder / "deep.yaml")
    (folder / "big.yaml").write_text("name: a\nx: " + "[" + "a, " * 10_000_000 + "a]")
    yield _cli("area: YAML of 30 MB", "cube", "build", folder / "big.yaml")


def cubes(folder: Path) -> Iterator[Attack]:
    """Of a cube's metadata and of its chunks."""
    import numcodecs

    from ..cubes import write_cube

    classes = ("abbey", "airfield", "alley", "beach", "bridge")
    features = np.random.default_rng(4).normal(0, 2, (20, 30, 5)).astype(np.float32)

    def cube(name: str) -> Path:
        write_cube(folder / name, features, classes=classes)
        return folder / name

    def asked(what: str, path: Path, *, harmless: bool = False) -> Attack:
        out = folder / f"out-{path.name}"
        return _cli(f"cube: {what}", "scene", path, "beach", "--out", out, harmless=harmless)

    yield asked("a good one", cube("good.zarr"), harmless=True)
    claims = cube("claims.zarr")
    for meta in claims.glob("g*/zarr.json"):
        told = json.loads(meta.read_text())
        spec = told["attributes"]["spec"]
        as_text = isinstance(spec, str)
        changed = json.loads(spec) if as_text else spec
        changed["domain"] |= {"ny": 400_000, "nx": 400_000}
        told["attributes"]["spec"] = json.dumps(changed) if as_text else changed
        meta.write_text(json.dumps(told))
    yield asked("claims 400,000 cells a side", claims)
    arrays = cube("arrays.zarr")
    for meta in arrays.glob("g*/zarr.json"):
        told = json.loads(meta.read_text())
        array = told["consolidated_metadata"]["metadata"]["features"]
        array["shape"] = [400_000, 400_000, 5]
        array["chunk_grid"]["configuration"]["chunk_shape"] = [400_000, 400_000, 5]
        meta.write_text(json.dumps(told))
    yield asked("array of 400,000 cells a side", arrays)
    deep = cube("deep.zarr")
    for meta in deep.glob("g*/zarr.json"):
        meta.write_text("[" * 1_000_000 + "]" * 1_000_000)
    yield asked("metadata 1,000,000 deep", deep)
    swollen = cube("swollen.zarr")
    bomb = numcodecs.Zstd(level=3).encode(bytes(1_500_000_000))
    for chunk in (path for path in swollen.rglob("c/**/*") if path.is_file()):
        chunk.write_bytes(bomb)
    yield asked("chunks of 1.5 GB of zeros", swollen)
    codecs = cube("codecs.zarr")
    for meta in codecs.glob("g*/zarr.json"):
        told = json.loads(meta.read_text())
        told["consolidated_metadata"]["metadata"]["features"]["codecs"] = [
            {"name": "numcodecs.pickle", "configuration": {}}
        ]
        meta.write_text(json.dumps(told))
    yield asked("a codec that unpickles", codecs)


def models(folder: Path) -> Iterator[Attack]:
    """As `geoloc models import` takes them."""
    from ..test_encoders_exported import export
    from ..test_security_models import DETOURS, _endless, _Swelling, swelling_onnx

    names = ["abbey", "airfield", "alley", "beach", "bridge"]
    (folder / "classes.txt").write_text("\n".join(names))

    def imported(what: str, file: Path, *, harmless: bool = False, **more: str) -> Attack:
        extra = "".join(f'{key} = "{value}"\n' for key, value in more.items())
        text = (
            f'name = "m{len(what)}{file.stem}"\nclasses = "classes.txt"\n[ground]\n'
            f'file = "{file.name}"\ninput_px = {SIDE}\n{extra}'
        )
        path = folder / f"{file.stem}.toml"
        path.write_text(text)
        return _cli(f"model: {what}", "models", "import", path, harmless=harmless)

    harmless = export(folder / "good.pt2", _Swelling(lambda x: x[:, :1]))
    yield imported("a good .pt2", harmless, harmless=True)
    for name, detour in DETOURS.items():
        file = export(folder / f"{name}.pt2", _Swelling(detour))
        yield imported(f".pt2, {name}", file)
    with zipfile.ZipFile(folder / "zip.pt2", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("n/data/weights/w", bytes(1_000_000_000))
    yield imported(".pt2 that unpacks to 1 GB", folder / "zip.pt2")
    yield imported("a good ONNX", swelling_onnx(folder / "g.onnx", [2, 2]), harmless=True)
    for kind, shape in (("Expand", [20_000, 20_000]), ("ConstantOfShape", [20_000, 20_000]),
                        ("Tile", [1, 10**8])):  # fmt: skip
        file = swelling_onnx(folder / f"{kind}.onnx", shape, kind)
        yield imported(f"ONNX, {kind}", file)
    yield imported("ONNX, a loop without end", _endless(folder / "loop.onnx"))
    head = struct.pack("<Q", 1 << 40) + b"{}"
    (folder / "head.safetensors").write_bytes(head)
    arch = {"arch": "shufflenet_v2_x0_5"}
    yield imported("safetensors, head of 1 TB", folder / "head.safetensors", **arch)
    with zipfile.ZipFile(folder / "p.pth", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("p/data.pkl", bytes(1_000_000_000))
        archive.writestr("p/version", "3")
    yield imported("checkpoint that unpacks to 1 GB", folder / "p.pth", **arch)


def folders(folder: Path, cube: Path) -> Iterator[Attack]:
    """Of strangers' folders, by `geoloc bulk`."""

    def bulk(name: str, files: dict[str, bytes]) -> Attack:
        place = folder / name.replace(" ", "-")
        for file, data in files.items():
            (place / file).parent.mkdir(parents=True, exist_ok=True)
            (place / file).write_bytes(data)
        return _cli(f"folder: {name}", "bulk", cube, place, "--out", folder / f"{place.name}.out")

    yield replace(bulk("a good one", {"a.jpg": _jpeg()}), harmless=True)
    yield bulk("export 1,000,000 deep", {"result.json": b'{"messages": ' + b"[" * 1_000_000})
    parts = b'{"messages": [' + b"[]," * 10_000_000 + b"[]]}"
    yield bulk("export of 10 million lists", {"result.json": parts})
    concat = b"ffconcat version 1.0\nfile /etc/passwd\n"
    hls = b"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\nfile:///etc/passwd\n#EXT-X-ENDLIST\n"
    dash = b'<?xml version="1.0"?><MPD><BaseURL>file:///etc/passwd</BaseURL></MPD>'
    lists = {"a.mp4": concat, "b.mkv": hls, "c.m3u8": hls, "d.mpd": dash, "e.mp4": dash}
    yield bulk("lists as videos", lists)
    yield bulk("bombs as photos", {"a.png": png(40_000), "b.jpg": png(40_000)})
    memory = io.BytesIO()
    with zipfile.ZipFile(memory, "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("../../a.jpg", bytes(1_000_000_000))
    yield bulk("zip of 1 GB", {"a.zip": memory.getvalue(), "b.jpg": memory.getvalue()})


def records(folder: Path) -> Iterator[Attack]:
    """As `geoloc repeat` takes them."""
    (folder / "deep.json").write_text("[" * 1_000_000)
    yield _cli("record: 1,000,000 deep", "repeat", folder / "deep.json")
    (folder / "parts.json").write_text("[" + "[]," * 30_000_000 + "[]]")
    yield _cli("record: 30 million lists", "repeat", folder / "parts.json")
    yield _cli("record: /dev/zero", "repeat", "/dev/zero")


@contextmanager
def attacks(folder: Path) -> Iterator[dict[str, Callable[[], Iterator[Attack]]]]:
    """All families; their files are made as they are asked for."""

    def below(name: str) -> Path:
        (folder / name).mkdir()
        return folder / name

    def in_folders() -> Iterator[Attack]:
        from geoloc.models import load_model

        from ..cubes import write_cube
        from ..encoder_models import CLASSES, tiny_model

        place = below("folders")
        tiny_model(folder / "store" / "tiny")
        digest = load_model("tiny").digest
        features = np.random.default_rng(4).normal(0, 2, (20, 30, len(CLASSES))).astype(np.float32)
        write_cube(place / "cube.zarr", features, classes=CLASSES, model_digest=digest)
        return folders(place, place / "cube.zarr")

    with listening() as server:
        yield {
            "photos": lambda: photos(below("photos")),
            "rasters": lambda: rasters(below("rasters")),
            "answers": lambda: answers(folder, server),
            "shapes": lambda: shapes(below("shapes")),
            "cubes": lambda: cubes(below("cubes")),
            "models": lambda: models(below("models")),
            "folders": in_folders,
            "records": lambda: records(below("records")),
        }


def main(*wanted: str) -> int:
    """The number of attacks that cost too much or were answered by a traceback."""
    bad = 0
    with tempfile.TemporaryDirectory(prefix="geoloc-bombs-") as place:
        folder = Path(place)
        os.environ |= {
            "GEOLOC_MODELS": str(folder / "store"),
            "GEOLOC_PRIVATE_HOSTS": "127.0.0.1",
            "COLUMNS": "400",
        }
        print("| attack | outcome | MB | s | CPU s |\n|---|---|---|---|---|")
        with attacks(folder) as families:
            for family in wanted or families:
                usual = 0.0
                for attack in families[family]():
                    found = measured(attack, folder)
                    told = found.told.replace(str(folder), "…").replace("|", "/")[:150]
                    usual = found.mb if attack.harmless else usual
                    mark = " **over**" if found.bad(usual) else ""
                    bad += bool(mark)
                    figures = f"{found.mb:.0f} | {found.seconds:.1f} | {found.cpu:.1f}"
                    print(f"| {attack.name} | {told}{mark} | {figures} |", flush=True)
    return bad


if __name__ == "__main__":
    if sys.argv[1:2] == ["--entry"]:
        sys.exit(_enter(*sys.argv[2:4]))
    sys.exit(1 if main(*sys.argv[1:]) else 0)
