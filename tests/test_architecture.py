"""The shape of the house: layers, owners of heavy dependencies, forbidden names, light imports."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import pytest

ROOT = Path(__file__).parent.parent
PACKAGE = ROOT / "geoloc"

LAYERS = (
    {"arrays", "errors"},
    {"domain", "extras", "files", "names", "net", "progress", "pulse", "ranking", "scenes"},
    {"grid", "stores"},
    {"area", "photos"},
    {"models", "points"},
    {"imagery", "encoders", "cube", "executors", "telegram", "video"},
    {"search", "jobs"},
    {"candidates", "pairs"},
    {"evaluation", "report"},
    {"training"},
    {"sandbox"},
    {"query"},
    {"bulk", "demo"},
    {"sharing"},
    {"cli"},
)
"""A module imports only from lower layers, and from its own package."""

OWNERS = {
    "prefect": (),  # only flows/, which lie outside the package
    "dask_cuda": ("executors",),
    "dask": ("executors", "imagery.stac"),
    "distributed": ("executors",),
    "torch": ("encoders", "training", "sandbox.recipe", "sandbox.features", "executors"),
    "torchvision": ("encoders", "training"),
    "lightning_fabric": ("training.machine",),
    "zarr": ("stores", "cube", "imagery.cached"),
    "httpx": ("imagery.xyz",),
    "osmium": ("points.extracts", "sandbox"),
    "stackstac": ("imagery.stac",),
    "pystac_client": ("imagery.stac",),
    "typer": ("cli",),
    "numba": ("search", "sandbox"),
}
"""Who alone may import a heavy dependency: a prefix of the module's dotted name."""

HEAVY = ("torch", "numba", "rasterio", "xarray", "zarr", "dask", "matplotlib", "geopandas",
         "onnxruntime", "scipy", "prefect", "pandas")  # fmt: skip


def modules() -> list[Path]:
    return sorted(PACKAGE.rglob("*.py"))


def dotted(path: Path) -> str:
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


def imports(path: Path) -> Iterator[tuple[int, str]]:
    """(line, absolute dotted name) of every import in a file, relative ones resolved."""
    package = ["geoloc", *path.relative_to(PACKAGE).parts[:-1]]
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            yield from ((node.lineno, alias.name) for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            base = package[: len(package) - node.level + 1] if node.level else []
            prefix = ".".join([*base, *([node.module] if node.module else [])])
            yield node.lineno, prefix
            yield from ((node.lineno, f"{prefix}.{alias.name}") for alias in node.names)


def layer(top: str) -> int:
    return next(i for i, names in enumerate(LAYERS) if top in names)


def breaches_of_layers(path: Path) -> list[str]:
    own = dotted(path).split(".")[0]
    if not own:
        return []
    found = []
    for line, name in imports(path):
        parts = name.split(".")
        if parts[0] != "geoloc" or len(parts) < 2 or parts[1] in (own, "__version__"):
            continue
        if layer(parts[1]) >= layer(own):
            found.append(f"{path.name}:{line} {own} imports {parts[1]}")
    return found


def test_every_module_has_a_layer() -> None:
    tops = {dotted(p).split(".")[0] for p in modules()} - {"", "__main__"}
    assert tops <= set().union(*LAYERS), tops - set().union(*LAYERS)


def test_modules_import_only_from_lower_layers() -> None:
    known = [p for p in modules() if dotted(p).split(".")[0] in set().union(*LAYERS)]
    assert [b for p in known for b in breaches_of_layers(p)] == []


def imported(path: Path, known: set[str]) -> set[str]:
    """The modules of the package that a file imports anywhere, for typing or lazily too.

    ``from package import module`` names the module, not the package above it.
    """
    names = {name for _, name in imports(path)}
    names -= {name.rpartition(".")[0] for name in names & known}
    return {name if name in known else name.rpartition(".")[0] for name in names} & known


def circle(graph: dict[str, set[str]]) -> list[str]:
    """Modules that import one another in a ring, if there are any."""
    try:
        list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        return list(error.args[1])
    return []


def test_no_module_imports_itself_by_way_of_others() -> None:
    names = {".".join(filter(None, ["geoloc", dotted(p)])): p for p in modules()}
    graph = {name: imported(p, set(names)) - {name, "geoloc"} for name, p in names.items()}
    assert circle(graph) == []


def test_circles_are_seen() -> None:
    assert set(circle({"a": {"b"}, "b": {"c"}, "c": {"b"}, "d": {"a"}})) == {"b", "c"}


def test_heavy_dependencies_have_owners() -> None:
    found = [
        f"{dotted(path)}:{line} imports {name}"
        for path in modules()
        for line, name in imports(path)
        for heavy, owners in OWNERS.items()
        if name.split(".")[0] == heavy
        and not any((dotted(path) + ".").startswith(owner + ".") for owner in owners)
    ]
    assert sorted(set(found)) == []


def test_no_module_is_named_for_nothing() -> None:
    bad = {"utils", "util", "common", "helpers", "config", "misc"}
    assert [p for p in modules() if set(p.relative_to(PACKAGE).with_suffix("").parts) & bad] == []


def test_no_pickle_and_no_shell() -> None:
    """Nothing from outside is unpickled, no command line is built from strings."""
    found = [
        f"{dotted(path)}:{line} imports {name}"
        for path in modules()
        for line, name in imports(path)
        if name.split(".")[0] in ("pickle", "dill", "joblib", "shelve", "marshal")
    ]
    assert found == []


@pytest.mark.parametrize("module", ["geoloc", "geoloc.cli"])
def test_imports_stay_light(module: str) -> None:
    code = f"import sys, {module}; print(*sorted({set(HEAVY)!r} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == []


def test_a_query_by_the_shipped_model_does_not_wait_for_torchvision() -> None:
    """Which takes a second and a half and 200 MB to import."""
    code = (
        "import sys, geoloc.query; from geoloc.encoders import open_ground;"
        "from geoloc.models import load_model;"
        "open_ground(load_model('sandbox')); print('torchvision' in sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.split() == ["False"]


def test_breaches_are_seen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The test itself can fail: an upward import in a sample package is reported."""
    monkeypatch.setattr(sys.modules[__name__], "PACKAGE", tmp_path)
    sample = tmp_path / "domain.py"
    sample.write_text("from .search import scan\nimport torch\n")
    assert breaches_of_layers(sample) == [
        "domain.py:1 domain imports search",
        "domain.py:1 domain imports search",
    ]
