"""``heatmap.qml``: how QGIS draws the heatmap beside it, without a click."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING
from xml.sax.saxutils import quoteattr

import numpy as np

from .heat import overlay_palette
from .shares import LEVELS, RAMP, position

if TYPE_CHECKING:
    from .result import QueryResult
    from .views import Views

_STYLE = """<!DOCTYPE qgis PUBLIC 'http://mrcc.com/qgis.dtd' 'SYSTEM'>
<qgis version="3.22.0" styleCategories="Symbology" hasScaleBasedVisibilityFlag="0">
 <pipe>
  <rasterrenderer type="singlebandpseudocolor" band="1" opacity="1" alphaBand="-1"\
 nodataColor="" classificationMin="{low}" classificationMax="{high}">
   <rasterTransparency/>
   <minMaxOrigin><limits>None</limits></minMaxOrigin>
   <rastershader>
    <colorrampshader colorRampType="INTERPOLATED" classificationMode="1" clip="0"\
 minimumValue="{low}" maximumValue="{high}" labelPrecision="4">
{items}
    </colorrampshader>
   </rastershader>
  </rasterrenderer>
 </pipe>
 <blendMode>0</blendMode>
</qgis>
"""


def write_style(result: QueryResult, path: Path, _views: Views | None = None) -> None:
    """Write the style: the best place is the hottest, nothing is drawn where nothing is known.

    The ramp follows the rank of the distances, as the report does. Names of its stops are shares
    of the area's cells.
    """
    stops = list(_stops(result))
    low, high = (repr(stops[end][0]) if stops else "0" for end in (0, -1))
    text = _STYLE.format(low=low, high=high, items="\n".join(map(_item, stops)))
    path.write_text(text, encoding="utf-8")


_Stop = tuple[float, tuple[int, int, int], int, str]  # distance, colour, opacity, name


def _stops(result: QueryResult) -> Iterator[_Stop]:
    """Stops of rising distance; equal ones, which QGIS cannot order, are left out."""
    if not result.survey.known:
        return
    last = -np.inf
    for share, distance in zip(RAMP.tolist(), result.quantiles(RAMP).tolist(), strict=True):
        if distance > last:
            at = round(position(share) * (LEVELS - 1))
            red, green, blue, opacity = overlay_palette()[at].tolist()
            yield distance, (red, green, blue), opacity, f"best {100 * share:.3g} %"
            last = distance


def _item(stop: _Stop) -> str:
    distance, (red, green, blue), opacity, name = stop
    return (
        f'     <item value="{distance!r}" color="#{red:02x}{green:02x}{blue:02x}" '
        f'alpha="{opacity}" label={quoteattr(f"{name}: {distance:.4g}")}/>'
    )
