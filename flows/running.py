"""How runs are named, how they fail, what is tried again, and who waits for whom."""

from __future__ import annotations

import functools
import hashlib
import inspect
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import PurePosixPath
from typing import Any, ParamSpec, TypeVar, cast
from urllib.parse import urlsplit

from prefect.client.orchestration import get_client
from prefect.concurrency.sync import concurrency
from prefect.runtime import flow_run
from prefect.states import Failed

from geoloc.errors import ClusterError, CubeError, GeolocError, SpecMismatchError

P = ParamSpec("P")
R = TypeVar("R")

RETRY_SECONDS = [10.0, 60.0]
"""Waits before the second and the third try."""

_LEASE_SECONDS = 60.0  # so long does a killed run's claim on its cube outlive it


def one_line(work: Callable[P, R]) -> Callable[P, R]:
    """Expected errors end a run as Failed with their one line; others keep their traceback.

    Goes right under ``@flow`` or ``@task``. A task's error is raised again in its flow.
    """

    @functools.wraps(work)
    def wrapped(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return work(*args, **kwargs)
        except (GeolocError, ConnectionError) as error:
            return cast(R, Failed(message=str(error), data=error))

    # Prefect looks names of annotations up in this module: give it the types themselves
    signature = inspect.signature(work, eval_str=True)
    wrapped.__signature__ = signature  # type: ignore[attr-defined]
    wrapped.__annotations__ = inspect.get_annotations(work, eval_str=True)
    return wrapped


def worth_another_try(_task: Any, _run: Any, state: Any) -> bool:
    """Whether time may mend it: a cluster, a store or imagery that could not be reached.

    What is wrong with the request, a model or a photo stays wrong.
    """
    error = state.data
    if isinstance(error, SpecMismatchError):
        return False
    return isinstance(error, ClusterError | CubeError | ConnectionError | TimeoutError)


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
            path = PurePosixPath(urlsplit(str(named)).path)
            generic = path.stem in ("area", "cube") and path.parent.name
            return path.parent.name if generic else path.name


@contextmanager
def only_run_on(cube: str) -> Iterator[None]:
    """Waits until no other run works on this cube; a killed run's claim ends by itself."""
    name = "cube-" + hashlib.sha256(cube.encode()).hexdigest()[:12]
    with get_client(sync_client=True) as client:
        client.upsert_global_concurrency_limit_by_name(name, 1)
    # to lose the claim harms less than to stop: a block that is made twice is the same block
    with concurrency(
        name, strict=True, lease_duration=_LEASE_SECONDS, raise_on_lease_renewal_failure=False
    ):
        yield
