"""How runs are named, how they fail, what is tried again, and who waits for whom."""

from __future__ import annotations

import hashlib
import logging
import re
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any, ParamSpec, TypeVar, cast
from urllib.parse import urlsplit

from prefect import task
from prefect.cache_policies import NO_CACHE
from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency
from prefect.logging.loggers import flow_run_logger
from prefect.runtime import flow_run

from geoloc.errors import ClusterError, GeolocError, UnavailableError

P = ParamSpec("P")
R = TypeVar("R")

TIME_MAY_MEND = (ClusterError, UnavailableError, ConnectionError, TimeoutError)
"""Errors after which a stage is tried again; what is wrong with a request stays wrong."""

_RETRY_SECONDS = [10.0, 60.0]  # before the second and the third try
_BEFORE = re.compile(r"^Flow run encountered an exception: (?:\w+: )?")
_LEASE_SECONDS = 60.0  # so long does a killed run's claim on its cube outlive it


class OneLine(logging.Filter):
    """Prefect logs every error with its traceback; an expected one is logged in its one line."""

    def filter(self, record: logging.LogRecord) -> bool:
        """Let the record pass, shortened."""
        error = record.exc_info[1] if record.exc_info else None
        if isinstance(error, GeolocError | ConnectionError):
            record.msg, record.args, record.exc_info = str(error), (), None
        return True


# prefect.yaml has what the library says brought to the log of the run
logging.getLogger("geoloc").setLevel(logging.INFO)
for _runs in ("prefect.flow_runs", "prefect.task_runs"):
    logging.getLogger(_runs).addFilter(OneLine())


def say_why(flow: Any, flow_run: Any, state: Any) -> None:
    """A flow's ``on_failure``: the reason is the last line of its log, and of ``--watch``."""
    logger = flow_run_logger(flow_run, flow)
    logger.error("Failed: %s", reason_of(str(state.message)))


def reason_of(message: str) -> str:
    """An error's own line, without the words that Prefect puts before it."""
    return _BEFORE.sub("", " ".join(message.split()))


def stage(name: str, *, run_name: str | None = None) -> Callable[[Callable[P, R]], Callable[P, R]]:
    """A Prefect task of a flow's size; called, it gives what the function gives.

    ``run_name`` may name parameters in braces. A cluster, a store or a server that cannot be
    reached is tried again after a while (`TIME_MAY_MEND`); what is wrong with the request, a
    model or a photo stays wrong.
    """

    def worth_another_try(_task: Any, _run: Any, state: Any) -> bool:
        return isinstance(state.data, TIME_MAY_MEND)

    made = task(
        name=name,
        task_run_name=run_name or name,
        retries=2,
        retry_delay_seconds=_RETRY_SECONDS,
        retry_condition_fn=worth_another_try,
        cache_policy=NO_CACHE,
        tags=["geoloc"],
    )
    return cast(Callable[[Callable[P, R]], Callable[P, R]], made)


def run_name(*parameters: str) -> Callable[[], str]:
    """A flow's ``flow_run_name``: the flow, then what these parameters name."""

    def name() -> str:
        given = cast(Mapping[str, Any], flow_run.get_parameters())
        shown = [brief(given.get(key)) for key in parameters]
        words = str(flow_run.get_flow_name() or "")
        return f"{words}: {' · '.join(filter(None, shown))}"[:200]

    return name


def brief(value: Any) -> str:
    """The last part of a path or an address, without what may be secret in it."""
    match value:
        case None | "":
            return ""
        case list() | tuple():
            more = f" +{len(value) - 1}" if len(value) > 1 else ""
            return brief(value[0]) + more if value else ""
        case Mapping():
            return brief(value.get("name", value.get("pairs")))
        case _:
            named = getattr(value, "name", None) or getattr(value, "pairs", None) or value
            path = PurePosixPath(_host_and_path(str(named))[1])
            generic = path.stem in ("area", "cube") and path.parent.name
            return path.parent.name if generic else path.name


def shown(address: str) -> str:
    """Host, port and path of an address: user and query, which may be secret, are left out."""
    return "".join(_host_and_path(address))


def _host_and_path(address: str) -> tuple[str, str]:
    try:
        parts = urlsplit(address)
        _ = parts.port  # raises for one that is no number: a password may be taken for it
        return parts.netloc.rpartition("@")[2], parts.path
    except ValueError:  # what may be secret in it is then told by its marks alone
        rest = address.partition("://")[2].rpartition("@")[2]
        host, slash, path = re.split(r"[?#&;=]", rest)[0].partition("/")
        return host, slash + path


def limit_name(cube: str) -> str:
    """The concurrency limit of a cube: its address may hold what such a name may not."""
    return "cube-" + hashlib.sha256(cube.encode()).hexdigest()[:12]


def limit_cube(cube: str) -> None:
    """Make sure of the limit that lets one run at a time work on this cube."""
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(limit_name(cube), 1)


@contextmanager
def only_run_on(cube: str) -> Iterator[None]:
    """Waits until no other run works on this cube; a killed run's claim ends by itself."""
    limit_cube(cube)
    # to lose the claim harms less than to stop: a block that is made twice is the same block
    with concurrency(
        limit_name(cube),
        strict=True,
        lease_duration=_LEASE_SECONDS,
        raise_on_lease_renewal_failure=False,
    ):
        yield
