"""Attacks on Dask: who may look, who may send, and what goes over the network in the clear."""

from __future__ import annotations

import logging
import socket
from collections.abc import Iterator
from pathlib import Path

import dask
import psutil
import pytest
from distributed import LocalCluster
from distributed.security import Security

from geoloc.errors import ClusterError
from geoloc.executors import open_cluster
from geoloc.executors.cuda import cuda_arguments
from geoloc.executors.local import local_arguments
from geoloc.executors.remote import is_open
from tests.test_executors import Squares


@pytest.fixture(scope="module")
def listening() -> Iterator[set[tuple[str, int]]]:
    """Addresses that a local cluster's processes, this one too, opened."""
    before = _listening()
    arguments = {**local_arguments(2), "n_workers": 1}
    with LocalCluster(**arguments) as cluster:
        assert cluster.dashboard_link
        yield _listening() - before


def _listening() -> set[tuple[str, int]]:
    own = psutil.Process()
    found = (c for p in (own, *own.children(recursive=True)) for c in p.net_connections("inet"))
    return {(c.laddr.ip, c.laddr.port) for c in found if c.status == psutil.CONN_LISTEN}


def test_nothing_of_a_local_cluster_listens_beyond_loopback(
    listening: set[tuple[str, int]],
) -> None:
    assert len(listening) >= 3  # scheduler, dashboard, worker
    assert {ip for ip, _ in listening} <= {"127.0.0.1", "::1"}


def test_the_neighbour_cannot_open_the_dashboard(listening: set[tuple[str, int]]) -> None:
    """Another address of this machine, as the network sees it: 127.0.0.2 is not 127.0.0.1."""
    for _, port in listening:
        with socket.socket() as neighbour:
            neighbour.settimeout(5)
            assert neighbour.connect_ex(("127.0.0.2", port)) != 0


def test_a_dashboard_for_others_has_to_be_asked_for(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GEOLOC_DASHBOARD", raising=False)
    for arguments in (local_arguments(8), cuda_arguments()):
        assert arguments["dashboard_address"] == "127.0.0.1:0"
    monkeypatch.setenv("GEOLOC_DASHBOARD", "0.0.0.0:8787")
    for arguments in (local_arguments(8), cuda_arguments()):
        assert arguments["dashboard_address"] == "0.0.0.0:8787"


@pytest.mark.parametrize(
    ("address", "beyond"),
    [
        ("tcp://10.0.0.5:8786", True), ("tcp://dask-scheduler:8786", True),
        ("tcp://[2001:db8::1]:8786", True), ("ws://host:8786", True), ("ucx://host:1", True),
        ("tcp://127.evil.example:8786", True), ("tcp://localhost.evil.example:8786", True),
        ("tcp://0.0.0.0:8786", True),
        ("tls://10.0.0.5:8786", False), ("wss://host:8786", False),
        ("tcp://127.0.0.1:8786", False), ("tcp://127.9.9.9:8786", False),
        ("tcp://localhost:8786", False), ("tcp://[::1]:8786", False), ("inproc://1/2", False),
        ("local", False), ("cuda", False),
    ],
)  # fmt: skip
def test_an_address_in_the_clear_is_known(address: str, beyond: bool) -> None:
    assert is_open(address) is beyond


def test_an_address_in_the_clear_is_warned_of(
    caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("geoloc.executors.workers._CONNECT_SECONDS", 0.5)
    with (
        caplog.at_level(logging.WARNING, "geoloc"),
        pytest.raises(ClusterError),
        open_cluster("tcp://0.0.0.0:1"),
    ):
        pass
    (told,) = (record.getMessage() for record in caplog.records if "TLS" in record.getMessage())
    assert "give tls://" in told
    assert "\n" not in told


@pytest.fixture
def certificates(tmp_path: Path) -> dict[str, str]:
    """A certificate authority of its own for scheduler, worker and client, as Dask's settings."""
    made = Security.temporary()
    key, cert = tmp_path / "key.pem", tmp_path / "cert.pem"
    key.write_text(made.tls_client_key)
    cert.write_text(made.tls_client_cert)
    who = ("scheduler", "worker", "client")
    pairs = {f"{name}.{what}": str(file) for name in who
             for what, file in (("key", key), ("cert", cert))}  # fmt: skip
    return {f"distributed.comm.tls.{name}": file
            for name, file in {"ca-file": str(cert), **pairs}.items()}  # fmt: skip


def test_tls_settings_reach_scheduler_and_client(
    certificates: dict[str, str], caplog: pytest.LogCaptureFixture
) -> None:
    """The settings are Dask's own; one without a certificate is not heard."""
    bare = dict.fromkeys(certificates)
    with (
        dask.config.set(certificates),
        LocalCluster(
            n_workers=1, threads_per_worker=1, processes=False, protocol="tls",
            dashboard_address="127.0.0.1:0",
        ) as cluster,
    ):  # fmt: skip
        assert cluster.scheduler_address.startswith("tls://")
        with open_cluster(cluster.scheduler_address) as executor:
            outcomes = list(executor.stream(Squares(), [3, 5]))
        assert sorted(o.result[0] for o in outcomes if o.result) == [9, 25]
        assert "TLS" not in caplog.text
        with (
            dask.config.set(bare),
            pytest.raises(ClusterError, match=r"without distributed\.comm\.tls\.ca-file, client"),
            open_cluster(cluster.scheduler_address),
        ):
            pass
