"""Runs what BACKUP.md tells an operator to run, on a service that writes, and goes on from the copy."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import threading
import uuid
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
from sqlalchemy import create_engine, make_url, text

from data.errors import Unavailable
from data.settings import ROOT
from data.store import audit_log, checkpoints, merkle, orders
from data.store.database import Database
from data.store.keyring import Keyring
from data.store.verification import verify_log
from tests.conftest import POSTGRES
from tests.journeys.real_process import Installation, answered

GUIDE = (ROOT / "serving" / "operations" / "BACKUP.md").read_text("utf-8")
ORIGIN = "mingbian.local/audit"
TEXT = "来电人反映柳荫巷口第三盏路灯已有五天不亮，夜里看不清台阶，希望派人修好。"


def blocks(guide: str) -> list[str]:
    return re.findall(r"^```bash\n(.*?)^```$", guide, flags=re.MULTILINE | re.DOTALL)


def block(*words: str) -> str:
    """The guide's one command block that holds all of these words; the Chinese half repeats it."""
    english, chinese = (
        [found for found in blocks(half) if all(word in found for word in words)]
        for half in GUIDE.split("\n---\n")
    )
    assert len(english) == 1
    assert chinese == english
    return english[0]


def test_both_languages_tell_the_same_commands() -> None:
    english, chinese = GUIDE.split("\n---\n")
    assert len(blocks(english)) == 7
    assert blocks(english) == blocks(chinese)


@dataclass
class Drill:
    """A running installation, and the variables that the guide names."""

    installation: Installation
    variables: dict[str, str]
    restored_url: str
    sqlite: bool

    def follow(self, commands: str) -> str:
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        environment = {**self.installation.environment, **self.variables, "PATH": path}
        shell = ["bash", "-euo", "pipefail", "-c", commands]
        done = subprocess.run(
            shell, cwd=ROOT, env=environment, capture_output=True, text=True, check=False, timeout=120
        )
        assert done.returncode == 0, f"{commands}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def folder(self, name: str) -> Path:
        return Path(self.variables[name])


@pytest.fixture
def drill(tmp_path: Path, database_url: str) -> Iterator[Drill]:
    """On both databases; without a model, since what is kept does not depend on one."""
    sqlite = make_url(database_url).get_backend_name() == "sqlite"
    if not sqlite and not all(shutil.which(tool) for tool in ("pg_dump", "pg_restore", "createdb")):
        pytest.skip("no PostgreSQL client programs to test with")
    installation = Installation(tmp_path, database_url, bundle=str(tmp_path / "none"), log_origin=ORIGIN)
    variables = {"MINGBIAN_KEYS": installation.environment["MINGBIAN_KEYS"], "URL": installation.url}
    for name in ("BACKUP", "CUSTODY", "RESTORED"):
        (tmp_path / name).mkdir(mode=0o700)
        variables[name] = str(tmp_path / name)
    variables["AUDITOR_KEY"] = installation.keys["auditor"]
    target = make_url(POSTGRES).set(database=f"mingbian_restored_{uuid.uuid4().hex}")
    if sqlite:
        restored = f"sqlite:///{tmp_path}/RESTORED/mingbian.db"
    else:
        restored = target.render_as_string(hide_password=False)
        variables["SOURCE"] = database_url.replace("+psycopg", "")
        variables["TARGET"] = restored.replace("+psycopg", "")
    installation.start()
    yield Drill(installation, variables, restored, sqlite)
    installation.kill()
    if not sqlite:
        server = create_engine(POSTGRES, isolation_level="AUTOCOMMIT")
        with server.connect() as conn:
            conn.execute(text(f'DROP DATABASE IF EXISTS "{target.database}" WITH (FORCE)'))
        server.dispose()


class Calls:
    """A call centre that sends one order after the other until it is told to stop."""

    def __init__(self, installation: Installation) -> None:
        self.first_answers: dict[str, dict[str, Any]] = {}
        self.failure: Exception | None = None
        self._client = installation.caller("intake")
        self._enough = threading.Event()
        self._thread = threading.Thread(target=self._send)

    def __enter__(self) -> Calls:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._enough.set()
        self._thread.join(60)
        self._client.close()
        assert self.failure is None

    def wait_for(self, count: int) -> None:
        wanted = len(self.first_answers) + count
        while len(self.first_answers) < wanted and self._thread.is_alive():
            self._enough.wait(0.01)
        assert len(self.first_answers) >= wanted, self.failure

    def _send(self) -> None:
        number = 0
        while not self._enough.is_set():
            number += 1
            name = f"GD-{number:06}"
            try:
                self.first_answers[name] = answered(self._client.post("/v1/orders", json=body(name)), 201)
            except (AssertionError, httpx.HTTPError) as error:
                self.failure = error
                return


def body(number: str) -> dict[str, str]:
    return {"source": "calls", "number": number, "content": TEXT}


@pytest.mark.journey
@pytest.mark.timeout(300)
def test_a_copy_made_while_the_service_writes_carries_it_on(drill: Drill, tmp_path: Path) -> None:
    source = drill.installation
    with Calls(source) as calls:
        calls.wait_for(3)
        before = dict(calls.first_answers)
        drill.follow(block("$MINGBIAN_KEYS"))
        drill.follow(block("/v1/audit/checkpoint"))
        drill.follow(block("data backup") if drill.sqlite else block("pg_dump"))
        calls.wait_for(3)
    source.stop()
    held = checkpoints.parse((drill.folder("CUSTODY") / "checkpoint.txt").read_text("utf-8"))
    assert held.size > 0

    drill.follow(block("install") if drill.sqlite else block("pg_restore"))
    restored = going_on_from(drill, tmp_path / "elsewhere")
    drill.variables |= {
        "MINGBIAN_DATABASE_URL": drill.restored_url,
        "MINGBIAN_KEYS": str(drill.folder("RESTORED") / "keys"),
    }
    report = drill.follow(block("verify-audit"))
    size, root = end_of(drill.restored_url)
    assert held.size <= size
    assert f"{size}  根 root {root.hex()}" in report
    assert end_of(source.environment["MINGBIAN_DATABASE_URL"], size) == (size, root), "the same log, shorter"

    restored.start()
    try:
        assert_goes_on(restored, held, before, calls.first_answers)
    finally:
        restored.kill()
    drill.follow(block("verify-audit"))


def going_on_from(drill: Drill, folder: Path) -> Installation:
    """The service on what was restored; callers keep the keys that they have."""
    folder.mkdir()
    restored = Installation(
        folder,
        drill.restored_url,
        bundle=str(folder / "none"),
        log_origin=ORIGIN,
        keys=str(drill.folder("RESTORED") / "keys"),
    )
    assert restored.keys == {}, "a restored database has its keys"
    restored.keys = drill.installation.keys
    return restored


def end_of(url: str, size: int | None = None) -> tuple[int, bytes]:
    """The log's size and root, now or when it had this size."""
    database = Database(url)
    with database.reading() as conn:
        size = audit_log.size(conn) if size is None else size
        root = audit_log.root(conn, size)
    database.close()
    return size, root


def assert_goes_on(
    restored: Installation,
    held: checkpoints.Checkpoint,
    before: dict[str, dict[str, Any]],
    later: dict[str, dict[str, Any]],
) -> None:
    with restored.caller("intake") as intake, restored.caller("auditor") as auditor:
        for number, first in before.items():
            assert answered(intake.get(f"/v1/orders/{first['order_id']}")) == first
            assert answered(auditor.get(f"/v1/orders/{first['order_id']}/record"))["content"] == TEXT
            assert answered(intake.post("/v1/orders", json=body(number)), 201) == first
        # Sent again, what the copy lacks is received and what it has is not received twice.
        for number in later:
            answered(intake.post("/v1/orders", json=body(number)), 201)
        now = answered(auditor.get("/v1/audit/checkpoint"))
        proof = answered(auditor.get("/v1/audit/consistency", params={"old": held.size, "new": now["size"]}))
    assert now["size"] > held.size
    path = [bytes.fromhex(node) for node in proof["path"]]
    assert merkle.verify_consistency(held.size, now["size"], held.root, bytes.fromhex(now["root"]), path)
    database = Database(restored.environment["MINGBIAN_DATABASE_URL"])
    with database.reading() as conn:
        assert all(len(orders.find(conn, "calls", number)) == 1 for number in later)
    database.close()


@pytest.mark.journey
def test_without_the_keys_a_copy_tells_nothing(drill: Drill, tmp_path: Path) -> None:
    with drill.installation.caller("intake") as intake:
        order_id = answered(intake.post("/v1/orders", json=body("GD-1")), 201)["order_id"]
    drill.follow(block("$MINGBIAN_KEYS"))
    drill.follow(block("/v1/audit/checkpoint"))
    drill.follow(block("data backup") if drill.sqlite else block("pg_dump"))
    (copy,) = drill.folder("BACKUP").iterdir()
    assert TEXT.encode("utf-8") not in copy.read_bytes()
    keyring = Keyring.open(drill.folder("CUSTODY") / "keys")
    assert keyring.vault not in copy.read_bytes()
    drill.follow(block("install") if drill.sqlite else block("pg_restore"))
    note = (drill.folder("CUSTODY") / "checkpoint.txt").read_text("utf-8")
    database = Database(drill.restored_url)
    with database.reading() as conn:
        other = Keyring.open(tmp_path / "other")
        with pytest.raises(Unavailable) as unreadable:
            orders.get(conn, other.vault, order_id)
        assert unreadable.value.code == "order_unreadable"
        assert orders.get(conn, keyring.vault, order_id).content == TEXT
        findings = verify_log(conn, other.audit_public, ORIGIN, [note]).findings
        assert {finding.code for finding in findings} == {"checkpoint_signature"}
        assert verify_log(conn, keyring.audit_public, ORIGIN, [note]).sound
    database.close()
