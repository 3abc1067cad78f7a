"""Addresses of a place on public web maps; nothing is opened unless somebody clicks."""

from __future__ import annotations

WEB_MAPS: dict[str, str] = {
    "OpenStreetMap": "https://www.openstreetmap.org/?mlat={lat}&mlon={lon}#map=18/{lat}/{lon}",
    "Google Maps": (
        "https://www.google.com/maps/place/{lat},{lon}/@{lat},{lon},400m/data=!3m1!1e3"
    ),
    "Street View": ("https://www.google.com/maps/@?api=1&map_action=pano&viewpoint={lat},{lon}"),
    "Google Earth": "https://earth.google.com/web/search/{lat},{lon}",
    "Bing": "https://www.bing.com/maps?cp={lat}~{lon}&lvl=18&style=h&sp=point.{lat}_{lon}_here",
    "Yandex": "https://yandex.com/maps/?ll={lon},{lat}&z=18&l=sat&pt={lon},{lat}",
    "Mapillary": "https://www.mapillary.com/app/?lat={lat}&lng={lon}&z=17",
}
"""Templates by name; ``{lat}`` and ``{lon}`` are degrees (WGS84)."""


def web_maps(lon: float, lat: float) -> dict[str, str]:
    """Links by name to the place at ``lon``, ``lat`` (degrees, WGS84)."""
    place = {"lon": f"{lon:.6f}", "lat": f"{lat:.6f}"}
    return {name: template.format(**place) for name, template in WEB_MAPS.items()}
