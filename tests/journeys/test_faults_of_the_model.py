"""The model is missing, damaged, wrong, hangs or computes NaN: the rules answer, and the service says so."""

from __future__ import annotations

import hashlib
import shutil
import time
import uuid
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from data.settings import Settings
from data.store.database import Database
from data.store.keyring import Keyring
from data.taxonomy import Taxonomy
from models import bundle as bundles
from models import triage
from models.lanes import usable_cores
from models.triage import open_triage
from tests.journeys.real_process import Installation, answered
from tests.journeys.small_installation import SmallInstallation
from tests.journeys.witnesses import PATIENCE_S, Callers, Watch, an_order, assert_truthful, until
from tests.models import moody_bundle, tiny_bundle
from tests.serving.staffed import Service, assert_problem

pytestmark = pytest.mark.journey

DEADLINE_MS = 400
HANG_S = 2.0 + 0.2 * usable_cores()  # each lane has to hang while the last is made to
Files = dict[str, bytes]


@pytest.fixture(scope="module")
def moody(taxonomy: Taxonomy) -> Files:
    return moody_bundle.files(taxonomy, HANG_S)


class Place:
    """Where a bundle lies, signed by whom this process trusts, and a service that starts on it."""

    def __init__(self, folder: Path, database_url: str, keyring: Keyring, patch: pytest.MonkeyPatch) -> None:
        self._folder, self._url, self._keyring, self._patch = folder, database_url, keyring, patch

    def publish(self, contents: Files) -> Path:
        known = tiny_bundle.publish(self._folder, contents)
        read = bundles.read_bundle
        self._patch.setattr(triage, "read_bundle", lambda folder, taxonomy: read(folder, taxonomy, known))
        return self._folder / "bundle"

    def assert_rules_answer(self, folder: Path, why: str) -> None:
        database, opened = Database(self._url), open_triage(folder)
        intake = Service(Settings(), database, self._keyring, opened).caller("intake")
        answered(intake.get("/livez"))
        assert_problem(intake.get("/readyz"), 503, why)
        answer = intake.post("/v1/orders", json=an_order("GD-1", "路灯不亮，请派人修。"))
        assert_by_rules(answered(answer, 201), why)
        opened.close()
        database.close()


@pytest.fixture
def place(tmp_path: Path, sqlite_url: str, keyring: Keyring, monkeypatch: pytest.MonkeyPatch) -> Place:
    return Place(tmp_path, sqlite_url, keyring, monkeypatch)


def truncated(folder: Path) -> None:
    graph = (folder / bundles.GRAPH).read_bytes()
    (folder / bundles.GRAPH).write_bytes(graph[: len(graph) // 2])


def bit_flipped(folder: Path) -> None:
    graph = bytearray((folder / bundles.GRAPH).read_bytes())
    graph[len(graph) // 2] ^= 1
    (folder / bundles.GRAPH).write_bytes(graph)


def half_copied(folder: Path) -> None:
    (folder / bundles.TOKENIZER).unlink()


@pytest.mark.parametrize("damage", [truncated, bit_flipped, half_copied])
def test_a_damaged_bundle_is_not_used(damage: Callable[[Path], None], moody: Files, place: Place) -> None:
    folder = place.publish(moody)
    assert open_triage(folder).ready
    damage(folder)
    place.assert_rules_answer(folder, "model_corrupt")


def test_a_bundle_whose_numbers_fit_no_text_is_not_used(moody: Files, place: Place) -> None:
    """Properly signed, so that only running it shows that its tokenizer belongs to another graph."""
    place.assert_rules_answer(place.publish(moody_bundle.another_tokenizer(moody)), "model_corrupt")


def test_a_bundle_that_computes_nan_is_not_used(taxonomy: Taxonomy, place: Place) -> None:
    contents = tiny_bundle.files(taxonomy, poison=float("nan"))
    place.assert_rules_answer(place.publish(contents), "model_corrupt")


def test_without_its_model_a_server_answers_by_rules_until_it_is_there(
    sqlite_url: str, moody: Files, tmp_path: Path
) -> None:
    """Then one is promoted whose copy on the server's disk is damaged: the first stays until it is whole."""
    signer = Ed25519PrivateKey.generate()
    tiny_bundle.publish(tmp_path / "second", moody | {bundles.CARD: b"# second\n"}, signer)
    first, second = tmp_path / "bundle", tmp_path / "second" / "bundle"
    server = SmallInstallation(tmp_path, sqlite_url, moody, signer, bundle=str(tmp_path / "later"))
    server.start()
    with Callers([lambda: server.caller("intake")], 2) as callers, Watch(server) as watch:
        watch.until("model_missing")
        callers.until_more(2)
        assert_by_rules(newest(callers), "model_missing")
        shutil.copytree(first, tmp_path / "later")
        watch.until("ready")
        until(lambda: newest(callers)["versions"]["bundle"] == digest(first), PATIENCE_S)
        assert not newest(callers)["degraded"]

        place = tmp_path / "kept" / digest(second).replace(":", "-")
        shutil.copytree(second, place)
        bit_flipped(place)
        operator = server.beside()
        operator.environment["MINGBIAN_PROMOTED"] = str(tmp_path / "kept by the operator")
        operator.run("models", "promote", str(second), "--who", "陈工", "--why", "评测更好")
        until(lambda: "cannot run" in server.log(), PATIENCE_S)
        callers.until_more(2)
        assert newest(callers)["versions"]["bundle"] == digest(first)

        shutil.rmtree(place)
        shutil.copytree(second, place)
        until(lambda: newest(callers)["versions"]["bundle"] == digest(second), PATIENCE_S)
    assert server.stop() == 0
    assert (watch.dead, watch.readiness) == ([], ["model_missing", "ready"])
    assert_truthful(server, callers)


def test_a_model_that_hangs_or_computes_nonsense_delays_and_breaks_nothing(
    sqlite_url: str, moody: Files, tmp_path: Path
) -> None:
    server = SmallInstallation(tmp_path, sqlite_url, moody, deadline_ms=str(DEADLINE_MS))
    server.start()
    with Callers([lambda: server.caller("intake")], 2) as callers, Watch(server) as watch:
        watch.until("ready")
        assert_by_rules(posted(server, moody_bundle.POISON), "model_nonfinite")
        assert_by_rules(posted(server, moody_bundle.UNKNOWN), "model_error")
        assert watch.readiness == ["ready"]

        hang_every_lane(server)
        # No lane has come back: what was answered since was answered without them.
        assert_by_rules(posted(server, "路灯不亮"), "model_slow")
        with server.caller("auditor") as auditor:
            answered(auditor.get("/v1/audit/checkpoint"))
            answered(auditor.get("/v1/model"))
            assert "mingbian_ready 0.0" in auditor.get("/metrics").text
            assert_problem(auditor.get("/readyz"), 503, "model_slow")
        callers.until_more(2)

        watch.until("ready")
        until(lambda: not posted(server, "路灯不亮")["degraded"], PATIENCE_S)
        callers.until_more(2)
        hang_every_lane(server)
    # A thread inside the runtime cannot be ended, and keeps nobody from ending the process.
    assert server.stop() == 0
    assert watch.dead == []
    assert watch.readiness[:3] == ["ready", "model_slow", "ready"]
    assert_truthful(server, callers)


def hang_every_lane(server: Installation) -> None:
    """Each order that hangs a lane is answered while it hangs: readiness says afterwards that all do."""
    with ThreadPoolExecutor(usable_cores()) as pool:
        for decision in pool.map(posted, [server] * usable_cores(), [moody_bundle.HANG] * usable_cores()):
            assert_by_rules(decision, "model_slow")
    with httpx.Client(base_url=server.url) as client:
        assert_problem(client.get("/readyz"), 503, "model_slow")


def posted(server: Installation, word: str) -> dict[str, Any]:
    """The decision on an order with this word; a busy service is asked again."""
    body = an_order(f"GD-{uuid.uuid4()}", f"来电人反映路灯不亮，{word}，希望派人修好。")
    with server.caller("intake") as client:
        while (response := client.post("/v1/orders", json=body)).status_code == 503:
            assert response.json()["code"] == "overloaded"
            time.sleep(0.02)
        decision: dict[str, Any] = answered(response, 201)
    return decision


def newest(callers: Callers) -> dict[str, Any]:
    return list(callers.acknowledged.values())[-1]


def digest(folder: Path) -> str:
    return "sha256:" + hashlib.sha256((folder / bundles.MANIFEST).read_bytes()).hexdigest()


def assert_by_rules(decision: dict[str, Any], why: str) -> None:
    assert (decision["degraded"], decision["fallback"]) == (True, why)
    assert (decision["decision_source"], decision["disposition"]) == ("rules", "review")
    assert decision["review_id"]
