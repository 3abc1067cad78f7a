"""Prefect's server as started by ``prefect server start``, with checks that Prefect lacks.

    python deploy/server.py [--host 127.0.0.1] [--port 4200]

A request is refused unless its Host header is one of the server's names, which are loopback's and
those in ``GEOLOC_SERVER_HOSTS`` (comma-separated): a stranger's page whose name was pointed at this
machine has no access (DNS rebinding). ``POST /sign-in`` with the password opens Prefect's pages
without a prompt; everything else is Prefect's own and set by ``PREFECT_SERVER_…``. It does not
start without ``PREFECT_SERVER_API_AUTH_STRING``: anyone who reaches the API can make its worker run
commands.
"""

from __future__ import annotations

import argparse
import base64
import hmac
import os
import sys
from collections.abc import Sequence
from urllib.parse import parse_qs

import uvicorn
from fastapi import FastAPI
from prefect.server.api.server import create_app
from prefect.settings import get_current_settings
from starlette.middleware.trustedhost import TrustedHostMiddleware
from starlette.requests import Request
from starlette.responses import HTMLResponse, PlainTextResponse, Response
from starlette.routing import Route

LOOPBACK = ("127.0.0.1", "localhost")
_MOST_BYTES = 4096  # of a sign-in

# where Prefect's own form keeps the password, in both of its interfaces
_SIGNED_IN = """<!doctype html><meta charset="utf-8"><title>geoloc</title>
<script>localStorage.setItem("prefect-password", "{token}"); location.replace("/")</script>
"""


def hosts() -> list[str]:
    """The accepted names of this server, without ports."""
    more = os.environ.get("GEOLOC_SERVER_HOSTS", "").split(",")
    return [*LOOPBACK, *(name.strip() for name in more if name.strip())]


def guarded(password: str, names: Sequence[str]) -> FastAPI:
    """Prefect's application, with its services, which only accepts the host ``names``."""

    async def sign_in(request: Request) -> Response:
        if not hmac.compare_digest(await _given(request), password.encode()):
            return PlainTextResponse("wrong password", 401)
        token = base64.b64encode(password.encode()).decode()
        page = _SIGNED_IN.format(token=token)
        return HTMLResponse(page, headers={"Cache-Control": "no-store"})

    app = create_app(final=True)
    app.router.routes.insert(0, Route("/sign-in", sign_in, methods=["POST"]))
    app.add_middleware(TrustedHostMiddleware, allowed_hosts=list(names), www_redirect=False)
    return app


async def _given(request: Request) -> bytes:
    """The field ``password`` of a form; empty if absent or too long."""
    body = b""
    async for chunk in request.stream():
        body += chunk
        if len(body) > _MOST_BYTES:
            return b""
    return parse_qs(body).get(b"password", [b""])[0]


def main() -> int:
    """The command line."""
    settings = get_current_settings().server
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--host", default=settings.api.host)
    parser.add_argument("--port", type=int, default=settings.api.port)
    given = parser.parse_args()
    secret = settings.api.auth_string
    if secret is None or not secret.get_secret_value():
        print(
            "error: set PREFECT_SERVER_API_AUTH_STRING: without a password anyone who reaches this "
            "server can make its worker run commands",
            file=sys.stderr,
        )
        return 2
    uvicorn.run(
        guarded(secret.get_secret_value(), hosts()),
        host=given.host,
        port=given.port,
        timeout_keep_alive=settings.api.keepalive_timeout,
        ws_ping_interval=settings.api.websocket_ping_interval,
        ws_ping_timeout=settings.api.websocket_ping_timeout,
        log_level=settings.logging_level.lower(),
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
