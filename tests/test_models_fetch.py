"""Models by URL: whole or not at all, once, and nothing of a hostile server believed."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from geoloc.errors import GeolocError, ModelError, UsageError
from geoloc.models.fetch import fetch_model
from geoloc.models.load import load_exact, load_model
from geoloc.models.model import Model, write_model
from geoloc.models.store import list_models

from . import cubes
from .dying import die
from .encoder_models import spec
from .model_server import ModelServer, serving

s3_bucket = cubes.s3_bucket  # the fixture

FILES: dict[str, Path | bytes] = {
    "ground.safetensors": bytes(range(256)) * 20_000,
    "overhead.safetensors": b"o" * 1000,
}


@pytest.fixture
def store(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An empty model store."""
    monkeypatch.setenv("GEOLOC_MODELS", str(tmp_path / "store"))
    return tmp_path / "store"


@pytest.fixture
def published(tmp_path: Path) -> Model:
    """A model in the folder that is served."""
    return write_model(tmp_path / "www" / "mine", spec(), FILES)


@pytest.fixture
def server(tmp_path: Path, published: Model) -> Iterator[ModelServer]:
    assert published.path.parent == tmp_path / "www"
    with serving(tmp_path / "www") as state:
        yield state


def rewrite(model: Model, **changes: Any) -> None:
    """Change the specification as only a hostile or careless publisher would."""
    path = model.path / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def seen(store: Path) -> list[str]:
    """Names in the store that are not hidden."""
    return sorted(p.name for p in store.glob("*") if not p.name.startswith("."))


def test_a_model_is_fetched_whole_and_once(
    server: ModelServer, published: Model, store: Path
) -> None:
    told: list[tuple[str, int, int]] = []
    fetched = fetch_model(server.url("mine"), progress=lambda *now: told.append(now))
    assert fetched.new and fetched.model.path == store / "tiny"
    assert load_model("tiny").digest == published.digest
    size = len(bytes(FILES["ground.safetensors"]))
    parts = [there for name, there, total in told if (name, total) == ("ground.safetensors", size)]
    assert len(parts) > 1 and parts == sorted(parts) and parts[-1] == size  # in pieces
    again = fetch_model(server.url("mine/model.json"))
    assert not again.new and again.model.digest == published.digest
    assert server.asked("ground.safetensors") == 1
    assert seen(store) == ["tiny"]


def test_from_a_disk_and_from_s3(
    published: Model, store: Path, s3_bucket: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    boto3 = pytest.importorskip("boto3")
    client = boto3.client("s3")
    for path in published.path.iterdir():
        client.upload_file(str(path), "cubes", f"models/{path.name}")
    assert fetch_model(f"{s3_bucket}/models/").model.digest == published.digest
    assert fetch_model(published.path.as_uri(), name="copy").new
    assert seen(store) == ["copy", "tiny"]
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "s3cret")
    with pytest.raises(ModelError, match=r"s3://cubes/none/model\.json does not exist") as refused:
        fetch_model(f"{s3_bucket}/none")
    assert "s3cret" not in str(refused.value)


@pytest.mark.parametrize(
    ("name", "fault", "word"),
    [
        ("model.json", "404", r"http://127\S+/mine/model.json does not exist"),
        ("overhead.safetensors", "404", r"http://127\S+/mine/overhead.safetensors does not exist"),
        ("overhead.safetensors", "403", "cannot be fetched"),
        ("overhead.safetensors", "truncate", "cannot be fetched"),
        ("overhead.safetensors", "alter", "sha256"),
        ("model.json", "truncate", "cannot be fetched"),
    ],
)
def test_what_arrives_wrong_is_no_model(
    server: ModelServer, store: Path, name: str, fault: str, word: str
) -> None:
    server.faults[name] = fault
    with pytest.raises(ModelError, match=word) as refused:
        fetch_model(server.url("mine", user="anna:s3cret@"))
    text = str(refused.value)
    assert "\n" not in text and "s3cret" not in text and "anna" not in text
    assert seen(store) == []
    server.faults.clear()
    assert fetch_model(server.url("mine")).new
    assert server.asked("ground.safetensors") == 1  # what was right is not fetched again


@pytest.mark.parametrize("name", ["../x", "/tmp/x", "..", "a/b", "a\\b", "a\0b", ".hidden", ""])
def test_names_cannot_leave_the_directory(
    server: ModelServer, published: Model, store: Path, name: str
) -> None:
    rewrite(published, files={**published.spec.files, name: "0" * 64})
    with pytest.raises(ModelError, match="plain name"):
        fetch_model(server.url("mine"))
    assert seen(store) == [] and server.requests == ["/mine/model.json"]


@pytest.mark.parametrize(
    ("text", "word"),
    [
        (b"[" * 100_000, "JSON"),
        (b"[]", "not a JSON object"),
        (b'{"dim": NaN}', "NaN"),
        (b"\xff\xfe", "JSON"),
        (b" " * (5 << 20), "larger than 4 MiB"),
    ],
)
def test_a_hostile_specification_is_one_line(
    server: ModelServer, published: Model, store: Path, text: bytes, word: str
) -> None:
    (published.path / "model.json").write_bytes(text)
    with pytest.raises(ModelError, match=word) as refused:
        fetch_model(server.url("mine"))
    assert "\n" not in str(refused.value) and seen(store) == []


def test_a_file_without_its_digest_is_refused(
    server: ModelServer, published: Model, store: Path
) -> None:
    rewrite(published, files={"ground.safetensors": "0" * 64})
    with pytest.raises(ModelError, match=r"no sha256 of overhead\.safetensors"):
        fetch_model(server.url("mine"))
    assert seen(store) == []


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize(
    "url", ["mine", "https://h/m?sig=s3cret", "s3://b/m#s3cret", "://x", "http://a:s3cret@[::1/m"]
)
def test_what_is_no_url_of_a_directory_is_said(url: str) -> None:
    with pytest.raises(UsageError, match="URL") as refused:
        fetch_model(url)
    assert "s3cret" not in str(refused.value)


@pytest.mark.usefixtures("store")
@pytest.mark.parametrize("url", ["ftp://127.0.0.1/m", "http://127.0.0.1:9/m", "file:///nowhere/m"])
def test_what_cannot_be_reached_is_one_line(url: str) -> None:
    with pytest.raises(GeolocError) as refused:
        fetch_model(url)
    assert "\n" not in str(refused.value) and "URL" in str(refused.value)


def test_another_model_of_that_name_stays(
    server: ModelServer, published: Model, store: Path
) -> None:
    other = write_model(store / "tiny", spec(preferred_gsd=1.1), FILES)
    with pytest.raises(ModelError, match=r"--name, .*--replace") as refused:
        fetch_model(server.url("mine"))
    assert other.digest[:12] in str(refused.value)
    assert load_model("tiny").digest == other.digest
    with pytest.raises(UsageError, match="name"):
        fetch_model(server.url("mine"), name="../x")
    assert fetch_model(server.url("mine"), name="mine").model.path == store / "mine"
    assert fetch_model(server.url("mine"), replace=True).new
    assert load_model("tiny").digest == published.digest
    assert seen(store) == ["mine", "tiny"]


def test_what_is_no_model_is_never_replaced(server: ModelServer, store: Path) -> None:
    (store / "tiny").mkdir(parents=True)
    (store / "tiny" / "diary.txt").write_text("mine")
    for replace in (False, True):
        with pytest.raises(ModelError, match="is not a model"):
            fetch_model(server.url("mine"), replace=replace)
    assert (store / "tiny" / "diary.txt").read_text() == "mine"


@pytest.mark.parametrize(
    ("name", "fault", "left"),
    [
        ("ground.safetensors", "403", None),
        ("ground.safetensors", "alter", None),
        ("overhead.safetensors", "404", ["ground.safetensors"]),
        ("overhead.safetensors", "alter", ["ground.safetensors"]),
        (
            "ground.safetensors", "truncate",
            ["ground.safetensors.part", "ground.safetensors.part.version"],
        ),
    ],
)  # fmt: skip
def test_a_failed_attempt_leaves_what_the_next_can_use(
    server: ModelServer, store: Path, name: str, fault: str, left: list[str] | None
) -> None:
    server.faults[name] = fault
    with pytest.raises(ModelError):
        fetch_model(server.url("mine"))
    drafts = list(store.glob(".*.fetching"))
    assert len(drafts) == (left is not None)
    assert [sorted(path.name for path in draft.iterdir()) for draft in drafts] == [left] * bool(
        left
    )


def test_what_has_arrived_outlives_an_attempt_that_gets_nothing(
    server: ModelServer, store: Path, published: Model
) -> None:
    server.faults["ground.safetensors"] = "truncate"
    with pytest.raises(ModelError):
        fetch_model(server.url("mine"))
    (part,) = store.glob(".*.fetching/*.part")
    arrived = part.read_bytes()
    assert arrived
    server.faults["ground.safetensors"] = "403"
    with pytest.raises(ModelError, match="what has arrived is kept"):
        fetch_model(server.url("mine"))
    assert part.read_bytes() == arrived
    del server.faults["ground.safetensors"]
    assert fetch_model(server.url("mine")).model.digest == published.digest
    assert load_model("tiny").digest == published.digest


def test_a_part_that_no_attempt_can_go_on_from_goes_away(
    server: ModelServer, store: Path, published: Model
) -> None:
    draft = store / f".tiny.{published.digest[:12]}.fetching"
    draft.mkdir(parents=True)
    (draft / "overhead.safetensors.part").write_bytes(b"of what?")
    server.faults["ground.safetensors"] = "404"
    with pytest.raises(ModelError):
        fetch_model(server.url("mine"))
    assert not draft.exists()


def test_drafts_that_were_given_up_go_away(server: ModelServer, store: Path) -> None:
    given_up, others = (store / f".{name}.{'0' * 12}.fetching" for name in ("tiny", "tiny.b"))
    for draft in (given_up, others):
        draft.mkdir(parents=True)
        (draft / "model.json").write_text("{}")
    assert fetch_model(server.url("mine")).new
    assert (given_up.exists(), others.exists()) == (False, True)


def test_a_store_that_cannot_be_written_is_one_line(
    server: ModelServer, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "file").touch()
    monkeypatch.setenv("GEOLOC_MODELS", str(tmp_path / "file" / "store"))
    with pytest.raises(ModelError, match=r"cannot be written .*GEOLOC_MODELS"):
        fetch_model(server.url("mine"))


@pytest.mark.usefixtures("store")
def test_a_damaged_model_is_mended(server: ModelServer, published: Model) -> None:
    model = fetch_model(server.url("mine")).model
    (model.path / "ground.safetensors").write_bytes(b"x")
    with pytest.raises(ModelError, match="altered or damaged"):
        load_model(server.url("mine"))
    assert fetch_model(server.url("mine")).new
    assert load_model(server.url("mine")).digest == published.digest


def test_a_url_is_a_model_wherever_a_name_is(tmp_path: Path, published: Model, store: Path) -> None:
    other = write_model(store / "tiny", spec(preferred_gsd=1.1), FILES)
    with serving(tmp_path / "www") as server:
        url = server.url("mine")
        model = load_model(url)
        assert model.digest == published.digest
        assert load_model("tiny").digest == other.digest  # who has the name keeps it
        asked = len(server.requests)
    assert load_model(url).path == model.path  # nobody answers there any more
    assert len(server.requests) == asked
    assert len(list_models()) >= 2


@pytest.mark.usefixtures("store")
def test_a_newer_model_at_the_url_is_had_when_it_is_meant(
    server: ModelServer, published: Model
) -> None:
    url = server.url("mine")
    first = load_model(url)
    second = write_model(published.path, spec(preferred_gsd=1.1), FILES)
    assert load_model(url).digest == first.digest  # as long as nobody says otherwise
    assert load_exact(url, second.digest).digest == second.digest
    assert load_exact(url, first.digest).digest == first.digest
    with pytest.raises(ModelError, match="planned for model 777777777777"):
        load_exact(url, "7" * 64)


def test_several_processes_fetch_it_once(
    server: ModelServer, published: Model, store: Path
) -> None:
    code = "import sys; from geoloc.models import load_model; print(load_model(sys.argv[1]).digest)"
    started = [
        subprocess.Popen(
            [sys.executable, "-c", code, server.url("mine")], stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    assert {process.communicate(timeout=120)[0].strip() for process in started} == {
        published.digest
    }
    assert server.asked("ground.safetensors") == 1
    assert seen(store) == ["tiny"]


def test_fetching_does_not_import_torch() -> None:
    code = "import sys, geoloc.models.fetch; sys.exit('torch' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_killed_as_it_takes_another_s_place_one_of_both_is_there(
    store: Path, server: ModelServer, published: Model
) -> None:
    first = fetch_model(server.url("mine"), name="m").model
    rewrite(published, training={"note": "another"})
    code = (
        "from geoloc.models.fetch import fetch_model\n"
        f"fetch_model({server.url('mine')!r}, name='m', replace=True)"
    )
    for change in (r"rename .*overhead", r"rename .*model\.json"):
        die(code, change)
        assert load_model("m").digest == first.digest
    die(code, r"remove ")  # of what was there
    second = load_model("m")
    assert second.digest != first.digest
    asked = server.asked("ground.safetensors")
    assert not fetch_model(server.url("mine"), name="m", replace=True).new
    assert server.asked("ground.safetensors") == asked
    assert [p.name for p in sorted(store.iterdir())] == [".m.lock", ".origins", "m"]


def test_where_folders_cannot_be_exchanged_a_kill_is_mended_by_the_next(
    store: Path, server: ModelServer, published: Model
) -> None:
    fetch_model(server.url("mine"), name="m")
    rewrite(published, training={"note": "another"})
    code = (
        "from geoloc.models import fetch, store\nstore.swap = lambda *_: False\n"
        f"fetch.fetch_model({server.url('mine')!r}, name='m', replace=True)"
    )
    die(code, r"rename \S+ \S+/m$")
    assert seen(store) == []
    asked = server.asked("ground.safetensors")
    assert fetch_model(server.url("mine"), name="m", replace=True).new
    assert server.asked("ground.safetensors") == asked
    assert [p.name for p in sorted(store.iterdir())] == [".m.lock", ".origins", "m"]
