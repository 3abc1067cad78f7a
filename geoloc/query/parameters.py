"""Options as parameters of functions, for those who read signatures: typer, Prefect."""

from __future__ import annotations

import functools
import inspect
import re
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, TypeVar

from ..errors import UsageError
from .options import QueryOptions, Use

R = TypeVar("R")


@dataclass(frozen=True)
class Given:
    """A parameter that gives an option.

    text: what it does, for the docstring; read: the option's value from what is passed, None for
    none.
    """

    option: str
    name: str
    annotation: Any
    default: Any
    text: str = ""
    read: Callable[[Any], Any] = lambda passed: passed


def spread(
    function: Callable[..., R],
    use: Use,
    parameters: Callable[[type[QueryOptions], Use], Sequence[Given]],
) -> Callable[..., R]:
    """The function with a parameter for each of the options that it takes as ``options``.

    They stand where that stood. ``parameters``: those of a model, for a use. What is called
    raises UsageError where the options are not valid.
    """
    signature = inspect.signature(function, eval_str=True)
    model = signature.parameters["options"].annotation
    given = parameters(model, use)
    shown = signature.replace(parameters=list(_shown(signature, given)))

    @functools.wraps(function)
    def spread_out(*args: Any, **kwargs: Any) -> R:
        passed = dict(shown.bind(*args, **kwargs).arguments)
        options = model.of(use, **_values(given, passed))
        return function(**passed, options=options)

    spread_out.__signature__ = shown  # type: ignore[attr-defined]
    spread_out.__annotations__ = {p.name: p.annotation for p in shown.parameters.values()}
    spread_out.__doc__ = _described(function.__doc__ or "", given)
    return spread_out


def _described(text: str, given: Sequence[Given]) -> str:
    """A docstring with the parameters in place of its line on ``options``."""
    return re.sub(
        r"(?m)^( +)options: .*$",
        lambda line: "\n".join(f"{line[1]}{one.name}: {one.text}" for one in given),
        text,
    )


def _shown(signature: inspect.Signature, given: Sequence[Given]) -> Iterator[inspect.Parameter]:
    kind = inspect.Parameter.POSITIONAL_OR_KEYWORD
    for name, parameter in signature.parameters.items():
        if name == "options":
            for one in given:
                yield inspect.Parameter(
                    one.name, kind, default=one.default, annotation=one.annotation
                )
        else:
            yield parameter.replace(kind=kind)


def _values(given: Sequence[Given], passed: dict[str, Any]) -> dict[str, Any]:
    """The options' values, taken out of what was passed."""
    values: dict[str, Any] = {}
    for one in given:
        value = one.read(passed.pop(one.name, None))
        if value is not None and one.option in values:
            names = [other.name for other in given if other.option == one.option]
            raise UsageError(f"{' and '.join(names)}: give one of them")
        if value is not None:
            values[one.option] = value
    return values
