"""A newly promoted model comes into force while requests run, and none of them is lost."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from data.settings import Settings
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
from tests.serving.staffed import Service, an_order

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


def test_a_model_that_could_not_run_comes_into_force_once_it_can(
    database: Database, opened: Opened, two: tuple[Path, Path], taxonomy: Taxonomy, tmp_path: Path
) -> None:
    first = triage.open_triage(two[0])
    service = opened(database, first, bundle=two[0], promoted=tmp_path / "kept")
    with database.transaction() as conn:
        made = reloading.registry_of(service.settings).promote(conn, two[1], taxonomy, WORD)
    (kept,) = (tmp_path / "kept").glob(made.digest.replace(":", "-"))
    kept.rename(tmp_path / "elsewhere")
    tried: list[Path] = []

    def put_back() -> None:
        if len(tried) == 3:
            (tmp_path / "elsewhere").rename(kept)

    asyncio.run(_followed_until(service, two[0], lambda: _in_force(service) == made.digest, tried, put_back))
    assert set(tried) == {kept}
    assert len(tried) >= 3
    service.app.state.desk.triage.close()
    first.close()


def test_a_service_that_began_without_its_model_goes_over_to_it(
    sqlite: Database, opened: Opened, two: tuple[Path, Path], tmp_path: Path
) -> None:
    late = tmp_path / "late"
    without = triage.open_triage(late)
    service = opened(sqlite, without, bundle=late)
    two[0].rename(late)
    asyncio.run(_followed_until(service, late, lambda: service.app.state.desk.triage.ready))
    assert service.caller("intake").post("/v1/orders", json=an_order()).json()["degraded"] is False
    service.app.state.desk.triage.close()
    without.close()


def test_an_unforeseen_failure_does_not_end_the_following(
    sqlite: Database, opened: Opened, two: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    service = opened(sqlite, triage.open_triage(two[0]), bundle=two[0])
    looks = 0

    def broken(_desk: object) -> Path:
        nonlocal looks
        looks += 1
        raise OSError("the disk went away")

    monkeypatch.setattr(reloading, "_wanted", broken)
    asyncio.run(_followed_until(service, two[0], lambda: looks > 2))
    service.triage.close()


def test_retries_come_ever_less_often_and_another_model_is_tried_at_once() -> None:
    retries = reloading.Retries(2.0, most_s=10.0)
    one, other = Path("one"), Path("other")
    now = 100.0
    assert retries.due(one, now)
    waits = []
    for _ in range(5):
        waits.append(retries.failed(one, now))
        assert not retries.due(one, now + waits[-1] - 0.1)
        assert retries.due(other, now)
        now += waits[-1]
        assert retries.due(one, now)
    assert waits == [2.0, 4.0, 8.0, 10.0, 10.0]
    assert retries.failed(other, now) == 2.0
    assert retries.failed(one, now) == 2.0


async def _followed_until(
    service: Service,
    loaded: Path,
    true: Callable[[], bool],
    tried: list[Path] | None = None,
    on_try: Callable[[], None] = lambda: None,
) -> None:
    """Follows until it is true; each folder that is opened on the way is noted, then `on_try` called."""
    opens = reloading.open_as_set

    def noted(settings: Settings, folder: Path) -> Triage:
        if tried is not None:
            tried.append(folder)
        on_try()
        return opens(settings, folder)

    stop = asyncio.Event()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(reloading, "open_as_set", noted)
        following = asyncio.create_task(reloading.follow(service.app, loaded, stop, 0.02, 0.1))
        try:
            await _until(true)
        finally:
            stop.set()
            await following


def _in_force(service: Service) -> str | None:
    digest: str | None = service.app.state.desk.triage.versions.bundle
    return digest


async def _until(true: Callable[[], bool], seconds: float = 20.0) -> None:
    async with asyncio.timeout(seconds):
        while not true():
            await asyncio.sleep(0.02)
