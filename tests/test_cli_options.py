"""Options of the command line, made from the model."""

from __future__ import annotations

import datetime as dt
from collections.abc import Callable

import pytest
import typer
from click.testing import Result
from typer.main import get_command
from typer.testing import CliRunner

from geoloc.cli import app
from geoloc.cli.options import option, with_options
from geoloc.errors import UsageError
from geoloc.query.options import QueryOptions, Use
from tests.test_query_options import Tilted

OWN = {"cube", "out", "as_json", "help"}
ARGUMENTS = {Use.QUERY: {"photos"}, Use.SCENE: {"name"}, Use.BULK: {"folder"}}


def command(
    use: Use, model: type[QueryOptions]
) -> tuple[Callable[..., Result], list[QueryOptions]]:
    """A command that has the options of a use, and those that it was given."""
    found: list[QueryOptions] = []

    def ask(*, options: QueryOptions) -> None:
        found.append(options)

    ask.__annotations__["options"] = model
    made = typer.Typer()
    made.command()(with_options(use)(ask))
    return lambda *words: CliRunner().invoke(made, list(words), env={"COLUMNS": "100"}), found


@pytest.mark.parametrize("use", Use)
def test_the_commands_have_the_options_of_the_model(use: Use) -> None:
    shown = {parameter.name for parameter in get_command(app).commands[use].params}  # type: ignore[attr-defined]
    expected = {
        flag.name or name
        for name, (_, option) in QueryOptions.options().items()
        if use in (option.uses if option.commands is None else option.commands)
        for flag in option.flags
    }
    assert shown - OWN - ARGUMENTS[use] == expected


def test_each_option_is_read() -> None:
    run, found = command(Use.QUERY, QueryOptions)
    done = run(
        "--top", "3", "--within", "a.geojson", "--radius", "20", "--fuse", "--weight", "indoor=0",
        "--weight", "beach=2.5", "--crop", "1,2,30,40", "--crop", "5,6,70,80", "--rotate", "-90",
        "--truth", "50.4,30.5", "--date", "2024-06-30", "--cluster", "auto", "--check-digests",
        "--fetch-imagery", "--no-sensitive",
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    assert found == [
        QueryOptions.of(
            Use.QUERY, top=3, within="a.geojson", radius=20, fuse=True, rotate=-90.0,
            weights={"indoor": 0, "beach": 2.5}, crops=[(1, 2, 30, 40), (5, 6, 70, 80)],
            truth="50.4,30.5", epoch=dt.date(2024, 6, 30), cluster="auto",
            check_digests=True, fetch_imagery=True, sensitive=False,
        )
    ]  # fmt: skip


def test_without_any_all_is_as_usual() -> None:
    run, found = command(Use.QUERY, QueryOptions)
    assert run().exit_code == 0 and found == [QueryOptions()]


@pytest.mark.parametrize(
    ("words", "reason"),
    [
        (["--weight", "indoor"], "--weight indoor: write NAME=NUMBER, such as indoor=0"),
        (["--crop", "1,2,3"], "--crop 1,2,3: write left,top,right,bottom in pixels"),
        (["--date", "30.6.2024"], "--date 30.6.2024: write YEAR-MONTH-DAY, such as 2024-06-30"),
        (["--generation", "g1", "--date", "2024-06-30"], "generation and date: give one of them"),
        (["--cluster", "moon"], "--cluster moon: say auto"),
        (["--radius", "inf"], "radius: Input should be a finite number"),
    ],
    ids=str,
)
def test_what_cannot_be_read_is_refused(words: list[str], reason: str) -> None:
    run, found = command(Use.QUERY, QueryOptions)
    done = run(*words)
    assert isinstance(done.exception, UsageError) and reason in str(done.exception)
    assert found == []


def test_an_option_is_added_by_its_field_alone() -> None:
    run, found = command(Use.QUERY, Tilted)
    shown = run("--help").output
    assert all(one in shown for one in ("--tilt", "<=x<=9", "How steep it may be."))
    assert run("--tilt", "2.5").exit_code == 0 and found == [Tilted(tilt=2.5)]
    assert run("--tilt", "10").exit_code == 2
    run, _ = command(Use.BULK, Tilted)
    assert "--tilt" not in run("--help").output


def test_one_option_for_a_command_of_another_kind() -> None:
    assert option("fetch_imagery").param_decls == ("--fetch-imagery",)
