"""A country's imagery as web map tiles, on loopback."""

from __future__ import annotations

import http.server
import io
import re
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

from PIL import Image

from ...area.imagery import SandboxImagery
from ...errors import OutputError
from ...imagery.xyz.pyramid import Tiles
from .source import SandboxSource

TILE_PX = 256
MAX_ZOOM = 18
TEMPLATE = "{z}/{x}/{y}.png"

_PATH = re.compile(r"/(\d{1,2})/(\d{1,7})/(\d{1,7})\.png")


def tile_of(source: SandboxSource, zoom: int, x: int, y: int) -> bytes | None:
    """A tile as PNG; None where there is none."""
    if not (zoom <= MAX_ZOOM and x < 2**zoom and y < 2**zoom):
        return None
    window = Tiles(zoom, x, x + 1, y, y + 1, TILE_PX).grid
    if not source.covers(window):
        return None
    seen = source.read(window)
    if not seen["valid"].values.any():
        return None
    alpha = Image.fromarray(seen["valid"].values.astype("uint8") * 255)
    image = Image.fromarray(seen.values.transpose(1, 2, 0))
    if not seen["valid"].values.all():
        image.putalpha(alpha)
    file = io.BytesIO()
    image.save(file, "PNG", compress_level=1)
    return file.getvalue()


class _Handler(http.server.BaseHTTPRequestHandler):
    source: SandboxSource

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        named = _PATH.fullmatch(self.path.partition("?")[0])
        body = tile_of(self.source, *map(int, named.groups())) if named else None
        with suppress(BrokenPipeError, ConnectionResetError):  # who asked has gone
            self.send_response(200 if body else 404)
            if body:
                self.send_header("Content-Type", "image/png")
            self.send_header("Content-Length", str(len(body or b"")))
            self.end_headers()
            self.wfile.write(body or b"")


@contextmanager
def tile_server(country: Path, port: int = 0) -> Iterator[http.server.ThreadingHTTPServer]:
    """A server of ``TEMPLATE`` below ``http://127.0.0.1:PORT/`` for a country.json; not running.

    Raises ImageryError for a file that describes no country, OutputError for a port in use.
    """
    source = SandboxSource(SandboxImagery(path=str(country), cache=False))
    handler = type("Handler", (_Handler,), {"source": source})
    try:
        server = http.server.ThreadingHTTPServer(("127.0.0.1", port), handler)
    except OSError as error:
        raise OutputError(f"port {port} cannot be used ({error.strerror}): give another") from None
    with server:
        yield server
