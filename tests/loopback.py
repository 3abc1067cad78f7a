"""An HTTP server of the tests, in a thread, on a port of loopback."""

from __future__ import annotations

import http.server
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager


@contextmanager
def serving_on_loopback(
    handler: Callable[..., http.server.BaseHTTPRequestHandler],
) -> Iterator[int]:
    """The port of a server that runs for the length of a ``with`` block."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), handler)
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield server.server_port
    finally:
        server.shutdown()
        server.server_close()
        thread.join()
