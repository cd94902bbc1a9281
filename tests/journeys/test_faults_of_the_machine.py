"""The disk is full, a second server shares the database, one dies, one is told to stop: nothing is lost."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from data.taxonomy import Taxonomy
from tests.journeys.real_process import Installation, answered
from tests.journeys.small_installation import SmallInstallation
from tests.journeys.witnesses import (
    PATIENCE_S,
    Callers,
    Watch,
    an_order,
    answer_the_unanswered,
    assert_truthful,
    until,
)
from tests.models import moody_bundle

pytestmark = pytest.mark.journey

DISK = "4m"
TWINS = 24  # orders that are posted to both servers at once


class Disk:
    """A small file system of its own, which can be filled to the last byte."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._filler = place / "filler"

    def fill(self) -> None:
        """What others free afterwards, as a journal does at its end, is room again."""
        with self._filler.open("ab", buffering=0) as file:
            for size in (1 << 16, 1 << 10, 1):
                try:
                    while True:
                        file.write(bytes(size))
                except OSError:
                    continue

    def make_room(self) -> None:
        self._filler.unlink()


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    place = tmp_path / "disk"
    place.mkdir()
    mount = shutil.which("mount")
    command = [mount or "mount", "-t", "tmpfs", "-o", f"size={DISK}", "tmpfs", str(place)]
    if mount is None or subprocess.run(command, check=False, capture_output=True).returncode:
        pytest.skip("no small disk can be mounted here: that takes root and the right to mount")
    yield Disk(place)
    subprocess.run(["umount", str(place)], check=True)


def test_a_full_disk_refuses_orders_and_nothing_else(disk: Disk, tmp_path: Path) -> None:
    server = SmallInstallation(tmp_path, f"sqlite:///{disk.place}/mingbian.db")
    server.start()
    try:
        with Callers([lambda: server.caller("intake")]) as callers, Watch(server) as watch:
            callers.until_more(5)
            watch.until("ready")
            disk.fill()
            until(lambda: callers.refused["database_unavailable"] >= 5, PATIENCE_S, f"{callers.refused}")
            watch.until("database_unavailable")
            newest = list(callers.acknowledged.values())[-1]
            with server.caller("intake") as intake, server.caller("auditor") as auditor:
                assert answered(intake.get(f"/v1/orders/{newest['order_id']}")) == newest
                answered(auditor.get(f"/v1/audit/orders/{newest['order_id']}"))
                # What would have to be logged is not shown either, once not even a leaf finds room.
                until(lambda: refused_record(disk, auditor, newest["order_id"]), PATIENCE_S)
            disk.make_room()
            callers.until_more(5)
            watch.until("ready")
        assert watch.dead == []
        assert set(callers.refused) <= {"database_unavailable", "overloaded"}
        answer_the_unanswered(server, callers)
        assert server.stop() == 0
        assert_truthful(server, callers)
    finally:
        server.kill()


def refused_record(disk: Disk, auditor: httpx.Client, order_id: str) -> bool:
    disk.fill()
    answer = auditor.get(f"/v1/orders/{order_id}/record")
    assert answer.status_code in (200, 503)
    return answer.status_code == 503


def test_two_servers_take_an_order_once_and_one_outlives_the_other(database_url: str, tmp_path: Path) -> None:
    running = SmallInstallation(tmp_path, database_url)
    other = running.beside()
    try:
        running.start()
        other.start()
        with ThreadPoolExecutor(8) as pool, running.caller("intake") as here, other.caller("intake") as there:
            bodies = [an_order(f"TWIN-{number}", f"第{number}号路灯不亮") for number in range(TWINS)]
            posts = [
                (
                    pool.submit(here.post, "/v1/orders", json=body),
                    pool.submit(there.post, "/v1/orders", json=body),
                )
                for body in bodies
            ]
            answers = [(one.result(), two.result()) for one, two in posts]
        with Callers([lambda: running.caller("intake"), lambda: other.caller("intake")]) as callers:
            for body, (one, two) in zip(bodies, answers, strict=True):
                assert answered(one, 201) == answered(two, 201)
                assert one.content == two.content
                replays = sorted(each.headers.get("Idempotent-Replayed", "first") for each in (one, two))
                assert replays == ["first", "true"]
                callers.acknowledged[body["number"]] = one.json()
            callers.until_more(8)
            other.kill()
            callers.until_more(8)
        # Whose server died finds the other one.
        answer_the_unanswered(running, callers)
        assert_truthful(running, callers)
    finally:
        running.kill()
        other.kill()


def test_what_is_under_way_is_answered_when_the_service_is_told_to_stop(
    sqlite_url: str, tmp_path: Path, taxonomy: Taxonomy
) -> None:
    server = SmallInstallation(tmp_path, sqlite_url, moody_bundle.files(taxonomy, hang_s=2.0))
    server.start()
    slow = an_order("SLOW-1", f"路灯不亮，{moody_bundle.HANG}，请派人修。")
    callers = Callers([lambda: server.caller("intake")])
    with ThreadPoolExecutor(2) as pool, server.caller("intake") as client:
        answer = pool.submit(client.post, "/v1/orders", json=slow)
        until(lambda: under_way(server) == 1, PATIENCE_S)
        with callers:
            until(lambda: bool(callers.acknowledged) or under_way(server) > 1, PATIENCE_S)
            stopped = pool.submit(server.stop)
            until(lambda: refuses_connections(server), PATIENCE_S)
            assert not answer.done(), "it was to be under way still"
            decision = answered(answer.result(), 201)
        assert stopped.result() == 0
    assert decision["decision_source"] == "model"
    callers.acknowledged["SLOW-1"] = decision
    assert_truthful(server, callers)


def under_way(server: Installation) -> int:
    metrics = httpx.get(f"{server.url}/metrics", timeout=PATIENCE_S).text
    (line,) = (line for line in metrics.splitlines() if line.startswith("mingbian_orders_in_flight "))
    return int(float(line.split()[1]))


def refuses_connections(server: Installation) -> bool:
    try:
        httpx.get(f"{server.url}/livez", timeout=PATIENCE_S)
    except httpx.TransportError:
        return True
    return False
