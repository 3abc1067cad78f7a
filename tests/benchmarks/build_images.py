"""The images built, and run as compose.yaml runs them: eight minutes, on busy cores thirty.

    python -m tests.benchmarks.build_images [--target cpu|cuda] [--folder FOLDER]        as root

No container runtime is needed: ``debootstrap`` makes a base of Debian's packages, ``buildah``
imports it under the Dockerfile's name for its own base and builds by ``chroot``. The pieces of
``compose.yaml`` then run from the image's root file system, with its user and environment and
theirs, without capabilities, the root file system read-only as in Kubernetes, in a network
namespace that leads nowhere. PyTorch comes from the default index, by hash. pip is configured as
on this machine. Stand-ins: PostgreSQL of this machine for ``postgres``, moto for ``store``. Not
tried: ``results``, ``bucket``, memory limits, and networks that keep the pieces apart.

Ends with exit code 1 and the reason where anything does not work. Nothing is left behind, but in a
``--folder``: there base, image and sandbox stay, and the next call goes on from them.
"""

from __future__ import annotations

import argparse
import ast
import json
import os
import re
import secrets
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import yaml

from ..service import ROOT, Service, postgresql, stopped, surroundings, tasks_seen, wait

TOOLS = ("buildah", "debootstrap", "unshare", "ip")
PACKAGES = "python3,python3-distutils,python3-lib2to3,python3.11-venv,ca-certificates"
PIP = ("index-url", "extra-index-url", "find-links", "proxy", "trusted-host")
NOBODY = 10001
HOME = "/home/geoloc"
SCHEDULER = "tcp://dask-scheduler:8786"
HERE = "tcp://127.0.0.1:8786"  # the same, for this process
KERNELS = ("/proc", "/sys", "/dev")
NAMES = ("prefect", "postgres", "dask-scheduler", "store")

ENTER = """
root=$1; shift
mount --make-rprivate /
mount --bind "$root" "$root"
mount -o remount,bind,ro "$root"
while [ "$1" != -- ]; do mount --bind "$1" "$root$2"; shift 2; done
shift
for place in proc sys dev; do mount --rbind "/$place" "$root/$place"; done
exec chroot "$root" "$@"
"""
"""Into a root file system that is read-only but for what is bound into it, as in Kubernetes."""


def missing() -> str:
    """Why it cannot be run here; empty where it can."""
    if os.geteuid() != 0:
        return "images are built by root here"
    lacking = [tool for tool in TOOLS if shutil.which(tool) is None]
    return f"no {', '.join(lacking)}: apt-get install buildah debootstrap" if lacking else ""


@contextmanager
def timed(what: str) -> Iterator[None]:
    """Print how long something took."""
    begun = time.monotonic()
    yield
    print(f"{time.monotonic() - begun:7.1f} s  {what}", flush=True)


def run(*command: str | Path, **how: Any) -> str:
    """What a command prints. Raises RuntimeError with the end of what it said where it fails."""
    done = subprocess.run(command, capture_output=True, text=True, check=False, **how)
    if done.returncode:
        said = (done.stdout + done.stderr)[-3000:]
        raise RuntimeError(
            f"{' '.join(map(str, command))[:300]} ended with {done.returncode}:\n{said}"
        )
    return done.stdout


@dataclass(frozen=True)
class Workshop:
    """A folder with buildah's store and all else that is made."""

    folder: Path

    @property
    def buildah(self) -> list[str]:
        store = ["--root", self.folder / "store", "--runroot", self.folder / "run"]
        return ["buildah", *map(str, store), "--storage-driver", "vfs"]

    def make_base(self, name: str) -> None:
        """An image under the name of the Dockerfile's base: Debian's own Python of that version."""
        root, suite = self.folder / "base", name.rpartition("-")[2]
        run("debootstrap", "--variant=minbase", f"--include={PACKAGES}", suite, root)
        for authority in Path("/usr/local/share/ca-certificates").glob("*.crt"):
            shutil.copy(authority, root / "usr/local/share/ca-certificates")
        run("chroot", root, "update-ca-certificates")
        (root / "usr/local/bin/python").symlink_to("/usr/bin/python3")
        made = run(*self.buildah, "from", "scratch").strip()
        path = "PATH=/usr/local/bin:/usr/local/sbin:/usr/sbin:/usr/bin:/sbin:/bin"
        run(*self.buildah, "config", "--env", path, made)
        run(*self.buildah, "add", "--quiet", made, root, "/")
        run(*self.buildah, "commit", "--quiet", "--rm", made, name)
        shutil.rmtree(root)

    def build(self, target: str) -> str:
        """The image of that name, built from this source."""
        made = f"geoloc:{target}"
        run(
            *self.buildah, "build", "--isolation", "chroot", "--network", "host", "--pull-never",
            "--format", "docker", "--layers=false", "--build-arg", "TORCH_INDEX=",
            "--ignorefile", "deploy/Dockerfile.dockerignore", "--file", "deploy/Dockerfile",
            "--target", target, "--tag", made, *pip_of_this_machine(self.folder), ".", cwd=ROOT,
        )  # fmt: skip
        return made

    @contextmanager
    def root_of(self, image: str) -> Iterator[tuple[Path, dict[str, Any]]]:
        """The image's root file system, and what its Dockerfile says of running it."""
        container = run(*self.buildah, "from", "--pull-never", image).strip()
        try:
            root = Path(run(*self.buildah, "mount", container).strip())
            (root / "etc/hosts").touch()
            yield root, self.about(container)
        finally:
            subprocess.run([*self.buildah, "rm", container], capture_output=True, check=False)

    def about(self, container: str) -> dict[str, Any]:
        """What the Dockerfile says of running it."""
        found: dict[str, Any] = json.loads(run(*self.buildah, "inspect", container))["Docker"]
        return found["config"]

    def size_of(self, image: str) -> str:
        wanted = ("images", "--format", "{{.Size}}", image)
        return run(*self.buildah, *wanted).strip()

    def close(self) -> None:
        """Delete all of it."""
        for command in (["rm", "--all"], ["rmi", "--all", "--force"]):
            subprocess.run([*self.buildah, *command], capture_output=True, check=False)
        shutil.rmtree(self.folder, ignore_errors=True)


def pip_of_this_machine(folder: Path) -> list[str]:
    """Options of buildah that have its pip look where this machine's does."""
    said = run(sys.executable, "-m", "pip", "config", "list")
    found = re.findall(r"^[^.\s]+\.([a-z-]+)=(.*)$", said, re.MULTILINE)
    settings = {name: ast.literal_eval(value) for name, value in found if name in PIP}
    wanted = folder / "pip.conf"
    lines = [f"{name} =\n  " + "\n  ".join(value.split()) for name, value in settings.items()]
    authorities = "/etc/ssl/certs/ca-certificates.crt"  # Debian's, with this machine's own
    wanted.write_text("\n".join(["[global]", f"cert = {authorities}", *lines, ""]))
    places = {word.removeprefix("file://") for value in settings.values() for word in value.split()}
    # an index on disk refers to the files beside it
    folders = {str(Path(place).parent if "/simple" in place else place)
               for place in places if place.startswith("/")}  # fmt: skip
    shared = [(str(wanted), "/etc/pip.conf"), *((place, place) for place in sorted(folders))]
    return [word for here, there in shared for word in ("--volume", f"{here}:{there}:ro")]


def base_name() -> str:
    """The Dockerfile's base image."""
    dockerfile = (ROOT / "deploy/Dockerfile").read_text()
    tag = re.search(r"^ARG PYTHON=(\S+)$", dockerfile, re.MULTILINE)
    assert tag and "FROM python:${PYTHON}" in dockerfile
    return f"python:{tag[1]}"


@dataclass(frozen=True)
class Pieces:
    """The pieces of ``compose.yaml``, run from a container's root in this network namespace."""

    shop: Workshop
    root: Path
    """The image's root file system."""
    about: dict[str, Any]
    """What the Dockerfile says of running it."""
    settings: dict[str, str]
    """What ``deploy/.env`` says."""

    @property
    def services(self) -> dict[str, Any]:
        found: dict[str, Any] = yaml.safe_load((ROOT / "deploy/compose.yaml").read_text())
        return found["services"]

    def filled(self, text: str) -> str:
        """A value of ``compose.yaml`` with its variables in place, as Compose has it."""

        def value(found: re.Match[str]) -> str:
            given = self.settings.get(found["name"]) or found["default"]
            assert given is not None, f"deploy/.env: {found['name']} is not set"
            return given

        return re.sub(r"\$\{(?P<name>\w+)(?::-(?P<default>[^}]*)|:\?[^}]*)?\}", value, text)

    def command(self, name: str, *words: str) -> list[str]:
        """What runs a piece's command, or another one in its place (``docker compose exec``)."""
        piece, about = self.services[name], self.about
        own = {key: self.filled(value) for key, value in piece.get("environment", {}).items()}
        given = [*about["Env"], f"HOME={HOME}", *(f"{key}={value}" for key, value in own.items())]
        user, enter = about["User"].split(":")[0], ["sh", "-euc", ENTER, "sh", str(self.root)]
        return [
            "unshare", "--mount", *enter, *self.mounts(name), "--",
            "setpriv", "--reuid", user, "--regid", user, "--clear-groups", "--no-new-privs",
            "--inh-caps=-all", "--bounding-set=-all",
            "env", "--ignore-environment", f"--chdir={about['WorkingDir']}", *given,
            *about["Entrypoint"], *(words or map(self.filled, piece["command"])),
        ]  # fmt: skip

    def mounts(self, name: str) -> list[str]:
        """Pairs of folders here and places there: all that a piece may write to, but /dev/shm."""
        named = (
            self.filled(volume).split(":") for volume in self.services[name].get("volumes", ())
        )
        pairs = {f"{name}/tmp": "/tmp", f"{name}/home": HOME} | {
            "data" if source.startswith((".", "/")) else f"volume-{source}": target
            for source, target, *_ in named
        }
        nested = [f"{name}/home/{Path(target).name}" for target in pairs.values()
                  if target.startswith(f"{HOME}/")]  # fmt: skip
        for folder in (*pairs, *nested):
            (self.shop.folder / folder).mkdir(parents=True, exist_ok=True)
            os.chown(self.shop.folder / folder, NOBODY, NOBODY)
        places = [(str(self.shop.folder / source), target) for source, target in pairs.items()]
        return [word for pair in [*places, (str(self.hosts), "/etc/hosts")] for word in pair]

    @property
    def hosts(self) -> Path:
        """The names of the pieces, all of them here."""
        made = self.shop.folder / "hosts"
        made.write_text(f"127.0.0.1 localhost {' '.join(NAMES)}\n")
        return made

    def ask(self, name: str, *words: str) -> str:
        """What a command prints in a piece's surroundings."""
        return run(*self.command(name, *words))

    @contextmanager
    def running(self, name: str) -> Iterator[None]:
        """A piece that runs, healthy by its own check where it has one; stopped at the end."""
        log = self.shop.folder / f"{name}.log"
        with log.open("wb") as output:
            process = subprocess.Popen(self.command(name), stdout=output, stderr=output)
        with stopped(process):
            if check := self.services[name].get("healthcheck"):
                wait(f"healthy {name}", lambda: self.passes(name, check["test"][1:]), 240)
            yield

    def passes(self, name: str, check: list[str]) -> bool:
        done = subprocess.run(self.command(name, *check), capture_output=True, check=False)
        return done.returncode == 0


def env_file() -> dict[str, str]:
    """``deploy/.env`` as its example says, with passwords."""
    lines = (ROOT / "deploy/example.env").read_text().splitlines()
    pairs = dict(line.split("=", 1) for line in lines if "=" in line and line[0] != "#")
    return {name: value or secrets.token_urlsafe(32) for name, value in pairs.items()}


@contextmanager
def store(settings: dict[str, str]) -> Iterator[None]:
    """An S3 server where compose.yaml has one, with the bucket of cubes."""
    import boto3
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=9000, verbose=False)
    server.start()
    keys = {"aws_access_key_id": settings["S3_ACCESS_KEY"],
            "aws_secret_access_key": settings["S3_SECRET_KEY"]}  # fmt: skip
    client = boto3.client(
        "s3", endpoint_url="http://127.0.0.1:9000", region_name="us-east-1", **keys
    )
    client.create_bucket(Bucket="cubes")
    try:
        yield
    finally:
        server.stop()


def exercise(pieces: Pieces) -> None:
    """The service as ``docker compose up`` starts it, asked as its users ask it."""
    data = pieces.shop.folder / "data"
    with ExitStack() as stack:
        stack.enter_context(postgresql(5432))
        stack.enter_context(store(pieces.settings))
        for name in ("prefect", "dask-scheduler"):
            with timed(f"{name} is healthy"):
                stack.enter_context(pieces.running(name))
        with timed("furnish ended well: pool, limits, automations and deployments are there"):
            pieces.ask("furnish")
        with timed("worker is healthy"):
            stack.enter_context(pieces.running("worker"))
        stack.enter_context(pieces.running("dask-worker"))
        check_rights(pieces)
        make_world(pieces, data)
        ask_the_service(pieces, data)


def check_rights(pieces: Pieces) -> None:
    """What compose.yaml and the Dockerfile promise of a process."""
    status = dict(line.split(":", 1) for line in
                  pieces.ask("worker", "cat", "/proc/self/status").splitlines())  # fmt: skip
    assert status["Uid"].split() == [str(NOBODY)] * 4
    assert all(int(status[f"Cap{kind}"], 16) == 0 for kind in ("Inh", "Prm", "Eff", "Bnd", "Amb"))
    assert status["NoNewPrivs"].strip() == "1"
    volumes = " -o ".join(f"-path {place}" for place in ("/data", "/tmp", HOME, *KERNELS))
    look = f"find / \\( {volumes} \\) -prune -o -writable -not -type l -print 2>/dev/null || true"
    found = pieces.ask("worker", "sh", "-c", look)
    assert not found, f"others than volumes may be written to: {found}"
    print(f"processes run as {NOBODY}, without capabilities, and write to volumes alone")


def make_world(pieces: Pieces, data: Path) -> None:
    """A sandbox with imagery of one square kilometre, whose cube lies in the store."""
    if not (data / "sandbox/area.yaml").exists():
        with timed("geoloc sandbox"):
            wanted = ("/data/sandbox", "--seed", "5", "--km", "1", "--photos", "2")
            pieces.ask("worker", "geoloc", "sandbox", *wanted)
    area = (data / "sandbox/area.yaml").read_text()
    stored = re.sub(r"^cube: .*$", "cube: s3://cubes/sandbox.zarr", area, flags=re.MULTILINE)
    (data / "sandbox/stored.yaml").write_text(stored)


def ask_the_service(pieces: Pieces, data: Path) -> None:
    """Build a cube on the Dask cluster; query it in the worker, on the cluster and by itself."""
    secret = pieces.settings["PREFECT_PASSWORD"]
    folder = pieces.shop.folder
    service = Service(folder, 4200, surroundings(folder, 4200, PREFECT_API_AUTH_STRING=secret))
    area, photo = "/data/sandbox/stored.yaml", "/data/sandbox/photos/0001.jpg"
    assert "dask cuda worker" in pieces.ask("dask-worker-cuda", "dask", "cuda", "worker", "--help")
    refuse_strangers(service)
    with timed("refresh-cubes on the Dask cluster, cube in the store"):
        complete(service, "refresh-cubes", areas=[area], cluster=SCHEDULER, verify_cells=5)
    assert (before := tasks_seen(HERE)) > 0
    asked = {"cube": area, "photos": [photo]}
    with timed("query-photo in the worker"):
        complete(service, "query-photo", **asked, out="/data/results/worker", cluster="inline")
    assert tasks_seen(HERE) == before
    with timed("query-photo on the Dask cluster"):
        complete(service, "query-photo", **asked, out="/data/results/cluster", cluster=SCHEDULER)
    assert tasks_seen(HERE) > before
    with timed("geoloc query"):
        pieces.ask("worker", "geoloc", "query", area, photo, "--out", "/data/results/alone")
    compare_answers(data / "results")


def refuse_strangers(service: Service) -> None:
    """Who has no password, another name for the server, or shows a key."""
    assert httpx.post(f"{service.page}/api/flows/filter", json={}).status_code == 401
    renamed = httpx.get(f"{service.page}/api/health", headers={"Host": "evil.example"})
    assert renamed.status_code == 400
    imagery = {
        "kind": "stac",
        "url": "https://stac.example/",
        "query": {"a": {"eq": "https://u:p@b/"}},
    }
    area = {"name": "a", "crs": "EPSG:32636", "model": "sandbox", "cube": "/a", "imagery": imagery}
    before = service.runs("refresh-cubes")
    try:
        service.start_run("refresh-cubes", areas=[area])
    except httpx.HTTPStatusError as refused:
        assert "shows" not in refused.response.text or "no password" in refused.response.text
    else:
        raise AssertionError("an area that shows a password was taken")
    assert service.runs("refresh-cubes") == before
    print("refused: no password (401), another host's name (400), an area that shows a password")


def complete(service: Service, name: str, **parameters: Any) -> None:
    """Have a deployment run. Raises RuntimeError with what it says where it fails."""
    ended = service.finished(service.start_run(name, **parameters))
    if ended["state_type"] != "COMPLETED":
        raise RuntimeError(f"{name}: {ended['state_type']}: {ended['state']['message']}")


def compare_answers(results: Path) -> None:
    """All three are there, belong to the image's user, and name the same places."""
    found = {}
    for name in ("worker", "cluster", "alone"):
        (record,) = (results / name).rglob("query.json")
        assert (record.parent / "report.html").stat().st_uid == NOBODY
        found[name] = json.loads(record.read_text())["candidates"]
    assert len(found["alone"]) == 20
    assert found["worker"] == found["cluster"] == found["alone"]
    best = found["alone"][0]
    print(f"three answers agree: best of 20 places {best['lat']:.5f}, {best['lon']:.5f}")


def main() -> int:
    """The command line."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--target", choices=("cpu", "cuda"), default="cpu")
    parser.add_argument("--folder", type=Path, help="where to work, and to leave what was made")
    parser.add_argument("--inside", type=Path, metavar="ROOT", help=argparse.SUPPRESS)
    given = parser.parse_args()
    if reason := missing():
        print(f"skipped: {reason}", file=sys.stderr)
        return 0
    shop = Workshop(given.folder or Path(tempfile.mkdtemp(prefix="geoloc-images-")))
    try:
        if given.inside:
            run("ip", "link", "set", "lo", "up")
            about = json.loads((shop.folder / "about.json").read_text())
            exercise(Pieces(shop, given.inside, about, env_file()))
            return 0
        return build_and_run(shop, given.target)
    except (AssertionError, RuntimeError) as failure:
        print(f"error: {failure}", file=sys.stderr)
        return 1
    finally:
        if given.folder is None:
            shop.close()


def build_and_run(shop: Workshop, target: str) -> int:
    """The exit code of the pieces' run."""
    shop.folder.mkdir(parents=True, exist_ok=True)
    images = run(*shop.buildah, "images", "--format", "{{.Name}}:{{.Tag}}").split()
    if f"docker.io/library/{base_name()}" not in images:
        with timed(f"base of Debian's packages as {base_name()}"):
            shop.make_base(base_name())
    if f"localhost/geoloc:{target}" not in images:
        with timed(f"geoloc:{target} is built"):
            shop.build(target)
    print(f"geoloc:{target}: {shop.size_of(f'geoloc:{target}')}")
    with shop.root_of(f"geoloc:{target}") as (root, about):
        (shop.folder / "about.json").write_text(json.dumps(about))
        command = ["unshare", "--net", sys.executable, "-m", "tests.benchmarks.build_images"]
        inside = ["--folder", str(shop.folder), "--inside", str(root)]
        return subprocess.run([*command, *inside], cwd=ROOT, check=False).returncode


if __name__ == "__main__":
    sys.exit(main())
