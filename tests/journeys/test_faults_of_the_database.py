"""PostgreSQL crashes, hangs, cuts connections, takes no writes: 503, and then on without a restart."""

from __future__ import annotations

import os
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from sqlalchemy import create_engine, text

from tests.journeys.cluster import Cluster, programs
from tests.journeys.real_process import Installation, answered
from tests.journeys.small_installation import SmallInstallation
from tests.journeys.witnesses import (
    PATIENCE_S,
    Callers,
    Watch,
    answer_the_unanswered,
    assert_truthful,
    until,
)

pytestmark = pytest.mark.journey

OUTAGE_S = float(os.environ.get("MINGBIAN_OUTAGE_SECONDS", "4"))
RESUMED_WITHIN_S = 5.0  # what an operator is promised once the database is back
CUTS = 10


@pytest.fixture(scope="module")
def cluster() -> Iterator[Cluster]:
    found = programs()
    if found is None:
        pytest.skip("no PostgreSQL programs, or no user to run them as")
    # Not in pytest's own folder, which only its own user may enter.
    with tempfile.TemporaryDirectory(prefix="mingbian-cluster-") as folder:
        cluster = Cluster(Path(folder), found)
        yield cluster
        cluster.crash()


@pytest.fixture(scope="module")
def server(cluster: Cluster, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Installation]:
    """One process for all of these tests: none of the faults may need a restart."""
    folder = tmp_path_factory.mktemp("server")
    server = SmallInstallation(folder, cluster.url)
    server.start()
    pid = server.pid
    yield server
    assert server.pid == pid
    assert server.stop() == 0


@pytest.mark.timeout(240 + 2 * int(OUTAGE_S))
def test_a_database_that_crashes_and_comes_back(server: Installation, cluster: Cluster) -> None:
    with Callers([lambda: server.caller("intake")]) as callers, Watch(server) as watch:
        callers.until_more(5)
        watch.until("ready")
        cluster.crash()
        watch.until("database_unavailable")
        until(lambda: callers.refused["database_unavailable"] >= 5, PATIENCE_S)
        acknowledged = len(callers.acknowledged)
        time.sleep(OUTAGE_S)
        assert len(callers.acknowledged) == acknowledged
        assert watch.now == "database_unavailable"
        cluster.start()
        callers.until_more(5, RESUMED_WITHIN_S)
        watch.until("ready")
        callers.until_more(5)
    assert watch.dead == []
    assert set(callers.refused) <= {"database_unavailable", "overloaded"}
    answer_the_unanswered(server, callers)
    assert_truthful(server, callers)


def test_connections_cut_at_any_moment(server: Installation, cluster: Cluster) -> None:
    with Callers([lambda: server.caller("intake")]) as callers, Watch(server) as watch:
        cut = 0
        for _ in range(CUTS):
            callers.until_more(2)
            cut += cluster.cut_connections()
        callers.until_more(5)
    assert cut >= CUTS
    assert watch.dead == []
    assert set(callers.refused) <= {"database_unavailable", "overloaded"}
    answer_the_unanswered(server, callers)
    assert_truthful(server, callers)


def test_a_connection_cut_between_an_order_and_its_audit_leaf(server: Installation, cluster: Cluster) -> None:
    """The order's rows are written when its transaction comes to the log, which is held; there it is cut."""
    engine = create_engine(cluster.url)
    blocked = "SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE :what"
    with Callers([lambda: server.caller("intake")], 1) as callers:
        with engine.begin() as holder:
            holder.execute(text("LOCK TABLE audit_leaves IN EXCLUSIVE MODE"))
            waiting = {"what": "INSERT INTO audit_leaves%"}
            until(lambda: cluster.ask(blocked, **waiting)[0][0] == 1, PATIENCE_S)
            kept = cluster.ask("SELECT count(*) FROM orders")
            writer = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE wait_event_type = 'Lock'"
            cluster.ask(f"{writer} AND query LIKE :what", **waiting)
            until(lambda: callers.refused["database_unavailable"] == 1, PATIENCE_S)
            assert cluster.ask("SELECT count(*) FROM orders") == kept
        callers.until_more(2)
    engine.dispose()
    answer_the_unanswered(server, callers)
    assert_truthful(server, callers)


def test_a_database_that_hangs(server: Installation, cluster: Cluster) -> None:
    """Callers wait, and so does whoever asks for readiness; liveness is answered all the while."""
    with Callers([lambda: server.caller("intake")]) as callers:
        callers.until_more(5)
        cluster.freeze()
        try:
            with httpx.Client(base_url=server.url) as client:
                for _ in range(5):
                    assert answered(client.get("/livez")) == {"status": "alive"}
                    with pytest.raises(httpx.ReadTimeout):
                        client.get("/readyz", timeout=0.3)
        finally:
            cluster.thaw()
        callers.until_more(5)
    answer_the_unanswered(server, callers)
    assert_truthful(server, callers)


def test_a_database_that_takes_no_writes(server: Installation, cluster: Cluster) -> None:
    """As after a failover that left the service on the standby."""
    with Callers([lambda: server.caller("intake")]) as callers, Watch(server) as watch:
        callers.until_more(2)
        newest = list(callers.acknowledged.values())[-1]
        cluster.ask("ALTER DATABASE mingbian SET default_transaction_read_only = on", "postgres")
        cluster.cut_connections()
        watch.until("database_unavailable")
        until(lambda: callers.refused["database_unavailable"] >= 4, PATIENCE_S)
        with server.caller("intake") as intake:
            assert answered(intake.get(f"/v1/orders/{newest['order_id']}")) == newest
        cluster.ask("ALTER DATABASE mingbian RESET default_transaction_read_only", "postgres")
        cluster.cut_connections()
        callers.until_more(5)
        watch.until("ready")
    assert watch.dead == []
    answer_the_unanswered(server, callers)
    assert_truthful(server, callers)
