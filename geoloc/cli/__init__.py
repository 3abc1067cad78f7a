"""The command line: ``geoloc``. Every command is a thin call of the library.

Exit codes: 0 the work is done, 1 it failed (also in part), 2 invalid usage; 143 after SIGTERM
and 129 after SIGHUP, which end a command as Ctrl-C does.
The library is imported inside the commands, so that ``geoloc --help`` answers at once.
"""

from __future__ import annotations

import os
import sys
import warnings

import typer

from ..errors import GeolocError
from . import (
    bulk,
    confirm,
    cube,
    derive,
    describe,
    evaluate,
    imagery,
    learn,
    models,
    pairs,
    points,
    query,
    share,
    tandem,
    world,
    zoom,
)
from .console import INTERRUPTED, err, show_remarks
from .ending import Terminated, end_in_order

app = typer.Typer(
    name="geoloc",
    help="Find where in a country a ground photo may have been taken, by matching it with "
    "overhead imagery. It narrows the search; a human decides.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)
app.add_typer(cube.app, name="cube")
app.add_typer(imagery.app, name="imagery")
for derived in (derive.extend, derive.adapt):
    models.app.command()(derived)
app.add_typer(models.app, name="models")
app.add_typer(pairs.app, name="pairs")
app.add_typer(points.app, name="points")
for command in (
    world.sandbox,
    world.demo,
    query.query,
    query.scene,
    query.repeat,
    tandem.tandem,
    zoom.zoom,
    bulk.bulk,
    share.share,
    confirm.confirm,
    describe.describe,
    learn.train,
    evaluate.evaluate,
):
    app.command()(command)


def _version(show: bool) -> None:
    if show:
        from .. import __version__

        typer.echo(f"geoloc {__version__}")
        raise typer.Exit


@app.callback()
def root(
    version: bool = typer.Option(  # noqa: ARG001 answered by its callback
        False, "--version", callback=_version, is_eager=True, help="Show the version."
    ),
) -> None:
    """Options before any command."""
    show_remarks()


def main() -> None:
    """Run the command line; turn every expected failure into one line and an exit code."""
    # rasterio says so of arrays that it wraps, whose place lies beside them
    warnings.filterwarnings("ignore", message="Dataset has no geotransform")
    end_in_order()
    try:
        app()
    except GeolocError as error:
        _fail(str(error), error.exit_code)
    except Terminated as end:
        _fail(INTERRUPTED, int(end.code or 1))
    except KeyboardInterrupt:
        _fail(INTERRUPTED, 1)
    except BrokenPipeError:
        # the reader (head, less) has gone: nothing more to say, and no traceback at exit
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(1)


def _fail(message: str, code: int) -> None:
    err.print(f"error: {message}", markup=False, style="red")
    sys.exit(code)
