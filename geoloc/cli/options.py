"""Options of the command line, made from the model of a query's options."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, TypeVar

import typer
from pydantic.fields import FieldInfo

from ..errors import UsageError
from ..query.options import Flag, Option, QueryOptions, Use
from ..query.parameters import Given, spread

R = TypeVar("R")


def with_options(use: Use) -> Callable[[Callable[..., R]], Callable[..., R]]:
    """A command that has the options of a use, and takes them as ``options``."""
    return lambda command: spread(command, use, command_line)


def option(name: str, use: Use = Use.QUERY) -> Any:
    """One of the options, for a command that has no others of them."""
    return next(given.default for given in command_line(QueryOptions, use) if given.option == name)


def command_line(model: type[QueryOptions], use: Use) -> list[Given]:
    """The parameters of a command, as typer reads them."""
    return [
        _given(name, info, option, flag, use)
        for name, (info, option) in model.options().items()
        if use in (option.uses if option.commands is None else option.commands)
        for flag in option.flags
    ]


def _given(name: str, info: FieldInfo, option: Option, flag: Flag, use: Use) -> Given:
    spelled = (flag.name or name).replace("_", "-")
    kind = _kind(info, flag)
    default = [] if flag.many else info.default
    shown = typer.Option(
        default,
        f"--{spelled}/--no-{spelled}" if kind == bool | None else f"--{spelled}",
        metavar=flag.metavar,
        min=next((one.ge for one in info.metadata if hasattr(one, "ge")), None),
        max=next((one.le for one in info.metadata if hasattr(one, "le")), None),
        help=flag.help or option.described(info, use),
        show_default=kind != bool | None,
    )
    return Given(name, flag.name or name, kind, shown, read=_reader(f"--{spelled}", flag))


def _kind(info: FieldInfo, flag: Flag) -> Any:
    """The type that typer reads."""
    if flag.many:
        return list[str]
    if flag.read:
        return str | None
    return info.annotation


def _reader(spelled: str, flag: Flag) -> Callable[[Any], Any]:
    """From what typer read to the option's value; None where the option was not given."""

    def one(text: str) -> Any:
        try:
            return flag.read(text) if flag.read else text
        except ValueError as error:
            raise UsageError(f"{spelled} {text}: {error}") from None

    if flag.many:
        return lambda texts: [one(text) for text in texts or ()] or None
    return lambda text: None if text is None else one(text)
