"""``geoloc describe``: the scene classes of photos, or of a place of a cube."""

from __future__ import annotations

import typer

from ..errors import UsageError
from .console import JSON, note, print_json, print_table

_SYNTHETIC = "sandbox"
_OF_THE_SYNTHETIC = (
    f"named by the model {_SYNTHETIC!r}, which knows the synthetic world alone: for real photos "
    "add --model landuse"
)


def describe(
    photos: list[str] = typer.Argument(
        None, metavar="PHOTO…", help="Ground photos: files, not URLs."
    ),
    model: str | None = typer.Option(
        None,
        "--model",
        help="Model that names the scenes of photos: landuse for real ones. Default: sandbox.",
        show_default=False,
    ),
    cube: str | None = typer.Option(None, "--cube", help="Describe a place in this cube instead."),
    at: str | None = typer.Option(
        None,
        "--at",
        metavar="LAT,LON",
        help="The place, in degrees: 50.45,30.52 or 50.45N 30.52E. The other order is used if "
        "only that lies in the cube. Of a cube of points the nearest one is described.",
    ),
    top: int = typer.Option(5, "--top", min=1, help="How many classes."),
    as_json: bool = JSON,
) -> None:
    """Name the scene classes of photos, or of a place as the cube shows it."""
    from ..query import describe_photos
    from ..query.describing import look_at
    from ..report.formatting import percent
    from ..scenes import display_name

    if bool(photos) == bool(cube) or bool(at) != bool(cube):
        raise UsageError("describe either photos, or a place: --cube CUBE --at LAT,LON")
    point = None
    if cube is None:
        described = describe_photos(photos, model or _SYNTHETIC, top=top)
        if model is None:
            note(_OF_THE_SYNTHETIC)
    else:
        found = look_at(cube, at or "", top=top)
        described, point = {at or "": found.scenes}, found.point
    if as_json:
        print_json(described if point is None else {**described, "point": point.to_json()})
        return
    columns = {"": "left", "scene": "left", "share": "right"}
    rows = [
        [name if i == 0 else "", display_name(scene), percent(100 * share)]
        for name, scenes in described.items()
        for i, (scene, share) in enumerate(scenes)
    ]
    by = "" if cube else f"model {model or _SYNTHETIC}: "
    print_table(f"{by}scene classes (softmax, for display)", columns, rows)
