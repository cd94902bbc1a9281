"""A newly promoted model comes into force while requests run, and none of them is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from data.store.database import Database
from data.store.promotions import Instruction
from data.taxonomy import Taxonomy
from models import bundle as bundles
from models import registry, triage
from models.triage import Triage
from serving import reloading
from tests.data.store.stories import NOW
from tests.models import tiny_bundle
from tests.serving.conftest import Opened
from tests.serving.staffed import an_order

WORD = Instruction("陈工", "评测更好", NOW)


@pytest.fixture
def two(tmp_path: Path, taxonomy: Taxonomy, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    signer = Ed25519PrivateKey.generate()
    files = tiny_bundle.files(taxonomy)
    for name in ("one", "two"):
        known = tiny_bundle.publish(tmp_path / name, files | {bundles.CARD: name.encode()}, signer)
    read = bundles.read_bundle
    for room in (registry, triage):
        monkeypatch.setattr(room, "read_bundle", lambda folder, taxonomy: read(folder, taxonomy, known))
    return tmp_path / "one" / "bundle", tmp_path / "two" / "bundle"


def test_a_promotion_under_load_drops_nothing(
    database: Database, opened: Opened, two: tuple[Path, Path], taxonomy: Taxonomy, tmp_path: Path
) -> None:
    first = triage.open_triage(two[0])
    service = opened(database, first, bundle=two[0], promoted=tmp_path / "kept")
    answers: list[tuple[int, str | None]] = []

    async def post(client: httpx.AsyncClient, until: asyncio.Event) -> None:
        while not until.is_set():
            answer = await client.post("/v1/orders", json=an_order())
            answers.append((answer.status_code, answer.json()["versions"]["bundle"]))

    async def scene() -> None:
        stop = asyncio.Event()
        done = asyncio.Event()
        transport = httpx.ASGITransport(app=service.app)
        headers = dict(service.caller("intake").headers)
        following = asyncio.create_task(reloading.follow(service.app, two[0], stop, 0.05, 0.5))
        async with httpx.AsyncClient(transport=transport, base_url="http://test", headers=headers) as client:
            posting = [asyncio.create_task(post(client, done)) for _ in range(3)]
            await _until(lambda: len(answers) > 5)
            with database.transaction() as conn:
                made = reloading.registry_of(service.settings).promote(conn, two[1], taxonomy, WORD)
            await _until(lambda: any(bundle == made.digest for _, bundle in answers))
            await asyncio.sleep(0.8)  # past the grace: the old model is closed
            done.set()
            await asyncio.gather(*posting)
            after = await client.post("/v1/orders", json=an_order())
            assert after.json()["versions"]["bundle"] == made.digest
        stop.set()
        await following

    asyncio.run(scene())
    assert {status for status, _ in answers} == {201}
    used = {bundle for _, bundle in answers}
    assert len(used) == 2
    service.app.state.desk.triage.close()


def test_a_model_that_cannot_run_does_not_come_into_force(
    database: Database, opened: Opened, two: tuple[Path, Path], taxonomy: Taxonomy, tmp_path: Path
) -> None:
    first: Triage = triage.open_triage(two[0])
    service = opened(database, first, bundle=two[0], promoted=tmp_path / "kept")
    with database.transaction() as conn:
        reloading.registry_of(service.settings).promote(conn, two[1], taxonomy, WORD)
    for graph in (tmp_path / "kept").glob(f"*/{bundles.GRAPH}"):
        graph.write_bytes(b"not a graph")

    async def scene() -> None:
        stop = asyncio.Event()
        following = asyncio.create_task(reloading.follow(service.app, two[0], stop, 0.02, 0.1))
        await asyncio.sleep(0.5)
        stop.set()
        await following

    asyncio.run(scene())
    assert service.app.state.desk.triage is first
    answer = service.caller("intake").post("/v1/orders", json=an_order())
    assert answer.json()["versions"]["bundle"] == first.versions.bundle
    first.close()


async def _until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.02)
