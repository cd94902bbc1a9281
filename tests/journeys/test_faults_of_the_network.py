"""The way to the database swallows every packet, and nobody waits for ever; runs among the long forms."""

from __future__ import annotations

import os
import shutil
import subprocess
import tempfile
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.journeys.cluster import Cluster, programs
from tests.journeys.small_installation import SmallInstallation
from tests.journeys.witnesses import PATIENCE_S, Callers, Watch, answer_the_unanswered, assert_truthful, until

pytestmark = [
    pytest.mark.journey,
    pytest.mark.skipif(
        "MINGBIAN_OUTAGE_SECONDS" not in os.environ, reason="a long form: set MINGBIAN_OUTAGE_SECONDS"
    ),
]

HERE, THERE = "10.231.7.1", "10.231.7.2"


@dataclass(frozen=True)
class Network:
    """A network of two: this machine, and a name space in which a database can run."""

    name: str

    def cut(self) -> None:
        """Packets are sent and nothing comes back, not even a refusal."""
        ip("-n", self.name, "link", "set", f"{self.name}b", "down")

    def mend(self) -> None:
        ip("-n", self.name, "link", "set", f"{self.name}b", "up")


@pytest.fixture
def network() -> Iterator[Network]:
    name = f"mb{uuid.uuid4().hex[:8]}"
    if shutil.which("ip") is None or not ip("netns", "add", name):
        pytest.skip("no network of its own can be made here: that takes root and `ip`")
    ip("link", "add", f"{name}a", "type", "veth", "peer", "name", f"{name}b", "netns", name)
    ip("addr", "add", f"{HERE}/30", "dev", f"{name}a")
    ip("-n", name, "addr", "add", f"{THERE}/30", "dev", f"{name}b")
    ip("link", "set", f"{name}a", "up")
    ip("-n", name, "link", "set", f"{name}b", "up")
    yield Network(name)
    # By itself: a name space lives on, and its link with it, for as long as a socket in it does.
    ip("link", "del", f"{name}a")
    ip("netns", "del", name)


@pytest.fixture
def cluster(network: Network) -> Iterator[Cluster]:
    found = programs()
    if found is None:
        pytest.skip("no PostgreSQL programs, or no user to run them as")
    with tempfile.TemporaryDirectory(prefix="mingbian-cluster-") as folder:
        cluster = Cluster(Path(folder), found, THERE, within=("ip", "netns", "exec", network.name))
        yield cluster
        cluster.crash()


def test_a_network_that_swallows_everything(network: Network, cluster: Cluster, tmp_path: Path) -> None:
    server = SmallInstallation(tmp_path, cluster.url)
    server.start()
    try:
        with Callers([lambda: server.caller("intake")]) as callers, Watch(server) as watch:
            callers.until_more(5)
            watch.until("ready")
            network.cut()
            # Those that were under way when it was cut are told so, too.
            until(lambda: callers.refused["database_unavailable"] >= 8, PATIENCE_S, f"{callers.refused}")
            watch.until("database_unavailable")
            network.mend()
            callers.until_more(5)
            watch.until("ready")
        assert watch.dead == []
        answer_the_unanswered(server, callers)
        assert server.stop() == 0
        assert_truthful(server, callers)
    finally:
        server.kill()


def ip(*arguments: str) -> bool:
    return subprocess.run(["ip", *arguments], check=False, capture_output=True).returncode == 0
