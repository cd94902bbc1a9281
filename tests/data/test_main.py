"""`python -m data` as an operator runs it: a process, an environment, an exit status."""

from __future__ import annotations

import os
import subprocess
import sys
from datetime import UTC, datetime

import pytest

from data.settings import ROOT
from data.store import checkpoints, credentials
from data.store.database import Database
from data.store.keyring import Keyring
from tests.data.store.stories import decided

ORIGIN = "log.test/audit"


@pytest.fixture
def data(tmp_path):
    """Runs a command on an SQLite file of its own; (status, standard output, standard error)."""
    environment = {
        **os.environ,
        "MINGBIAN_DATABASE_URL": f"sqlite:///{tmp_path}/var/m.db",
        "MINGBIAN_KEYS": str(tmp_path / "keys"),
        "MINGBIAN_LOG_ORIGIN": ORIGIN,
        "PYTHONIOENCODING": "utf-8",
    }

    def run(*arguments):
        command = [sys.executable, "-m", "data", *arguments]
        done = subprocess.run(
            command, check=False, cwd=ROOT, env=environment, capture_output=True, text=True, encoding="utf-8"
        )
        return done.returncode, done.stdout, done.stderr

    return run


@pytest.fixture
def file(tmp_path, data):
    assert data("migrate") == (0, "", "")
    database = Database(f"sqlite:///{tmp_path}/var/m.db")
    yield database
    database.close()


def test_keys_are_bootstrapped_once(data, file):
    status, output, _ = data("keys", "bootstrap")
    assert status == 0
    keys = dict(line.split() for line in output.splitlines()[1:])
    assert tuple(keys) == credentials.ROLES
    with file.reading() as conn:
        for role, plain in keys.items():
            assert credentials.authenticate(conn, plain, datetime.now(UTC)).role == role
    assert data("keys", "bootstrap") == (0, "", "")


def test_a_key_is_issued_and_revoked(data, file):
    status, output, _ = data("keys", "issue", "--role", "auditor", "--name", "市审计局")
    assert status == 0
    key_id, plain = output.split()
    with file.reading() as conn:
        assert credentials.authenticate(conn, plain, datetime.now(UTC)).name == "市审计局"
    assert data("keys", "revoke", key_id) == (0, "", "")
    status, output, errors = data("keys", "revoke", key_id)
    assert (status, output) == (1, "")
    assert "key_revoked" in errors
    assert "Traceback" not in errors
    assert data("keys", "issue", "--role", "king", "--name", "x")[0] == 2


def test_the_audit_log_is_verified(data, file, tmp_path):
    keyring = Keyring.open(tmp_path / "keys")
    with file.transaction() as conn:
        decided(conn)
        held = checkpoints.sign(conn, keyring.audit, ORIGIN, datetime.now(UTC))
    (tmp_path / "held.txt").write_text(held.note, "utf-8")
    status, output, _ = data("verify-audit", "--checkpoint", str(tmp_path / "held.txt"))
    assert status == 0
    assert held.root.hex() in output
    longer = checkpoints.write(keyring.audit, ORIGIN, held.size + 1, held.root)
    (tmp_path / "held.txt").write_text(longer, "utf-8")
    status, output, _ = data("verify-audit", "--checkpoint", str(tmp_path / "held.txt"))
    assert (status, "log_rolled_back" in output) == (1, True)
    assert "checkpoint_unreadable" in data("verify-audit", "--checkpoint", "missing")[2]


def test_a_database_is_backed_up_once_to_each_file(data, file, tmp_path):
    assert data("backup", str(tmp_path / "copy.db")) == (0, "", "")
    copy = Database(f"sqlite:///{tmp_path}/copy.db")
    copy.check()
    copy.close()
    status, output, errors = data("backup", str(tmp_path / "copy.db"))
    assert (status, output) == (1, "")
    assert "backup_exists" in errors


def test_what_is_not_migrated_is_said(data):
    status, output, errors = data("verify-audit")
    assert (status, output) == (1, "")
    assert "database_unavailable" in errors
