"""The images' lock files: whole, hashed, and of the versions that all else is tested with."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import tomllib
from types import ModuleType
from typing import Any

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from tests.service import ROOT

LOCKS = ("requirements", "cuda")
LINUX = {
    "sys_platform": "linux", "platform_system": "Linux", "platform_machine": "x86_64",
    "os_name": "posix", "implementation_name": "cpython",
    "platform_python_implementation": "CPython",
    "python_version": "3.11", "python_full_version": "3.11.0",
}  # fmt: skip


def text_of(name: str) -> str:
    return (ROOT / f"deploy/{name}.lock").read_text()


@pytest.fixture(scope="module")
def lock() -> ModuleType:
    spec = importlib.util.spec_from_file_location("deploy_lock", ROOT / "deploy/lock.py")
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def versions(text: str) -> dict[str, str]:
    """By the name that package indexes know."""
    pairs = (
        line.split()[0].split("==") for line in text.splitlines() if re.match(r"[\w.-]+==", line)
    )
    return {canonicalize_name(name): version for name, version in pairs}


def project() -> dict[str, Any]:
    read: dict[str, Any] = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    return read


def wanted(*extras: str) -> set[str]:
    """All that geoloc needs with some extras, on the image's Python, as what is installed says."""
    lines = list(project()["dependencies"])
    lines += (line for extra in extras for line in project()["optional-dependencies"][extra])
    open_ends = [need for need in map(Requirement, lines) if holds(need, "")]
    found = set[tuple[str, str]]()
    while open_ends:
        requirement = open_ends.pop()
        name = canonicalize_name(requirement.name)
        for part in {"", *requirement.extras} - {part for known, part in found if known == name}:
            found.add((name, part))
            open_ends += [need for need in needs_of(name) if holds(need, part)]
    return {name for name, _ in found}


def needs_of(name: str) -> list[Requirement]:
    """What an installed package needs; nothing of one that older Pythons alone need."""
    try:
        return [Requirement(line) for line in importlib.metadata.requires(name) or ()]
    except importlib.metadata.PackageNotFoundError:
        return []


def holds(requirement: Requirement, extra: str) -> bool:
    return requirement.marker is None or requirement.marker.evaluate({**LINUX, "extra": extra})


@pytest.mark.parametrize("name", LOCKS)
def test_every_package_is_pinned_and_hashed(name: str) -> None:
    entries = re.findall(r"^[\w.-]+==\S+ \\\n(?:    --hash=sha256:[0-9a-f]{64}(?: \\)?\n)+",
                         text_of(name), re.MULTILINE)  # fmt: skip
    head, _, rest = text_of(name).partition("\n")
    assert head.startswith("# Made by deploy/lock.py")
    assert "".join(entries) == rest, "a line that is neither a package nor a hash of one"
    assert len(entries) == len(versions(rest)) > 20


def test_locks_do_not_overlap() -> None:
    assert not versions(text_of("requirements")).keys() & versions(text_of("cuda")).keys()


@pytest.mark.parametrize("name", LOCKS)
def test_versions_are_those_of_the_constraints(name: str) -> None:
    constraints = versions((ROOT / "constraints.txt").read_text())
    for package, version in versions(text_of(name)).items():
        assert constraints.get(package) == version, f"{package}: make lock"


def test_locks_hold_all_that_images_need_and_no_more(lock: ModuleType) -> None:
    """pip takes them as they are, looking for nothing else (``--no-deps``)."""
    every, cuda = (versions(text_of(name)).keys() for name in LOCKS)
    assert every | cuda == wanted(*lock.EXTRAS, "cuda")
    assert every <= wanted(*lock.EXTRAS)
    assert "setuptools" in every  # builds geoloc itself
    assert {"torch", "torchvision"} <= cuda


def test_images_have_every_extra(lock: ModuleType) -> None:
    (everything,) = map(Requirement, project()["optional-dependencies"]["all"])
    assert everything.extras == {*lock.EXTRAS, "cuda"}
    assert set(project()["optional-dependencies"]) - {"all", "test", "lint"} == everything.extras


def test_what_belongs_to_cuda_is_divided_from_the_rest(lock: ModuleType) -> None:
    hashed = "torch==2.14 \\\n    --hash=sha256:bb \\\n    --hash=sha256:cc\n"
    plain = lock.entries(f"# by uv\nnumpy==2.4 \\\n    --hash=a\n{hashed}nvidia-nccl-cu13==2\n")
    assert plain["torch==2.14"] == hashed
    every, cuda = lock.divided(plain, {**plain, "dask-cuda==26.10": "dask-cuda==26.10\n"})
    assert list(every) == ["numpy==2.4"]
    assert list(cuda) == ["torch==2.14", "nvidia-nccl-cu13==2", "dask-cuda==26.10"]


def test_the_lock_is_for_the_images_python(lock: ModuleType) -> None:
    assert lock.python_version() == LINUX["python_version"]


def test_the_dockerfile_takes_packages_by_hash_alone() -> None:
    text = (ROOT / "deploy/Dockerfile").read_text().replace("\\\n", " ")
    installs = [" ".join(found.split()) for found in re.findall(r"pip install ([^;&\n]*)", text)]
    assert len(installs) == 6
    for options in installs:
        assert "--no-deps" in options
        by_hash = re.search(r"--require-hashes --requirement (requirements|cuda)\.lock$", options)
        own = options.endswith("--no-index --no-build-isolation .")
        torch = options.endswith('--index-url "${TORCH_INDEX}" torch torchvision')  # see there
        assert by_hash or own or torch, options
