"""Commands on an area of several models: the same for each of them, one after the other."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, Protocol, TypeVar

from ..errors import GeolocError
from .console import note, print_json

Part = TypeVar("Part")


class Reported(Protocol):
    """What a job reports of itself."""

    def to_json(self) -> dict[str, Any]: ...

    def raise_if_incomplete(self) -> None: ...


def each_model(
    parts: Mapping[str, Part],
    work: Callable[[str, Part], dict[str, Any] | Reported],
    as_json: bool,
) -> None:
    """Do the work for every model, and say of which it is; print what it gives with ``--json``.

    ``parts``: by name, "" of one model alone, whose work is then that of the command. What fails
    for one model does not keep the others from theirs: GeolocError at the end.
    """
    told, failures = dict[str, dict[str, Any]](), dict[str, GeolocError]()
    for name, part in parts.items():
        if name:
            note(f"model {name}:")
        try:
            done = work(name, part)
            told[name] = done if isinstance(done, dict) else done.to_json()
            if not isinstance(done, dict):
                done.raise_if_incomplete()
        except GeolocError as error:
            failures[name] = error
            if name:
                note(f"  failed: {error}")
                told[name] = {**told.get(name, {}), "error": str(error)}
    if as_json and told:
        print_json(told.get("", {"models": told}))
    if failures:
        raise _of_all(failures, len(parts))


def _of_all(failures: Mapping[str, GeolocError], models: int) -> GeolocError:
    """The error of one model alone; that of the first of several, of its kind where all agree."""
    name, first = next(iter(failures.items()))
    if not name:
        return first
    kind = type(first) if len({type(one) for one in failures.values()}) == 1 else GeolocError
    return kind(f"{len(failures)} of {models} models failed; {name}: {first}")


def titled(name: str, title: str) -> str:
    """A title that says which model it is of, where there are several."""
    return f"{title}, model {name}" if name else title
