"""Keys are gone, damaged, exposed or another's: no service starts on them; one that runs has its own."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_public_key,
)

from data.settings import Settings
from data.store import checkpoints
from data.store.database import Database
from data.store.keyring import Keyring
from serving.__main__ import _refuse_another_signer, main
from tests.journeys.real_process import Installation, answered
from tests.journeys.small_installation import SmallInstallation
from tests.journeys.witnesses import Callers, assert_truthful

pytestmark = pytest.mark.journey

SIGNER = "audit.pem"


@pytest.fixture
def server(sqlite_url: str, tmp_path: Path) -> Iterator[Installation]:
    server = SmallInstallation(tmp_path, sqlite_url)
    yield server
    server.kill()


def test_a_lost_signer_is_restored_and_never_replaced(server: Installation, tmp_path: Path) -> None:
    server.start()
    keys = tmp_path / "keys"
    saved = (keys / SIGNER).read_bytes()
    with Callers([lambda: server.caller("intake")], 1) as callers, server.caller("auditor") as auditor:
        callers.until_more(2)
        held = [answered(auditor.get("/v1/audit/checkpoint"))["note"]]
        public_key = load_pem_public_key(answered(auditor.get("/v1/audit/public-key"))["pem"].encode())

        # Gone from the disk: what runs has it in memory and signs on.
        (keys / SIGNER).unlink()
        callers.until_more(2)
        held.append(answered(auditor.get("/v1/audit/checkpoint"))["note"])
        assert held[1] != held[0]
        assert checkpoints.is_signed(held[1], public_key, Settings().log_origin)
    assert server.stop() == 0

    said = server.refusal_to_start()
    assert "signer_changed" in said
    assert "请从备份恢复" in said
    assert "Traceback" not in said
    # Who has no copy of it signs on under another name, as every auditor sees.
    database = Database(server.environment["MINGBIAN_DATABASE_URL"])
    _refuse_another_signer(Settings(log_origin="elsewhere.local/audit"), database, Keyring.open(keys))
    database.close()

    (keys / SIGNER).write_bytes(saved)
    (keys / SIGNER).chmod(0o600)
    server.start()
    with server.caller("auditor") as auditor:
        held.append(answered(auditor.get("/v1/audit/checkpoint"))["note"])
    assert server.stop() == 0
    assert_truthful(server, callers, held)


def exposed_key(keys: Path) -> None:
    (keys / SIGNER).chmod(0o644)


def exposed_folder(keys: Path) -> None:
    keys.chmod(0o755)


def cut_off_key(keys: Path) -> None:
    (keys / SIGNER).write_bytes((keys / SIGNER).read_bytes()[:60])


def key_of_another_kind(keys: Path) -> None:
    key = rsa.generate_private_key(65537, 2048)
    (keys / SIGNER).write_bytes(key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()))


def short_vault_key(keys: Path) -> None:
    (keys / "vault.key").write_bytes(b"short")


def unreadable_key(keys: Path) -> None:
    """Root may read whatever its mode says; a folder in its place nobody reads."""
    (keys / SIGNER).unlink()
    (keys / SIGNER).mkdir(mode=0o700)


def no_folder(keys: Path) -> None:
    """A file where the folder should be, as when a volume was not mounted."""
    keys.rename(keys.with_name("elsewhere"))
    keys.write_bytes(b"")


@pytest.mark.parametrize(
    ("damage", "code"),
    [
        (exposed_key, "keys_exposed"),
        (exposed_folder, "keys_exposed"),
        (cut_off_key, "keys_damaged"),
        (key_of_another_kind, "keys_damaged"),
        (short_vault_key, "keys_damaged"),
        (unreadable_key, "keys_unreadable"),
        (no_folder, "keys_unreadable"),
    ],
)
def test_with_wrong_keys_it_does_not_start_and_says_why(
    damage: Callable[[Path], None],
    code: str,
    tmp_path: Path,
    sqlite_url: str,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    keys = tmp_path / "keys"
    Keyring.open(keys)
    damage(keys)
    monkeypatch.setenv("MINGBIAN_KEYS", str(keys))
    monkeypatch.setenv("MINGBIAN_DATABASE_URL", sqlite_url)
    monkeypatch.setattr("serving.logs.configure", lambda _level: None)
    assert main(["run"]) == 1
    said = capsys.readouterr().err
    assert f"({code})" in said
    assert any("\u4e00" <= character <= "\u9fff" for character in said)
    assert str(tmp_path) not in said


def test_a_folder_that_may_not_be_written_is_enough_once_its_keys_are_made(tmp_path: Path) -> None:
    keys = tmp_path / "keys"
    made = Keyring.open(keys)
    before = {path.name: path.stat().st_mtime_ns for path in (keys, *keys.iterdir())}
    keys.chmod(0o500)
    again = Keyring.open(keys)
    assert (again.vault, again.cookies, again.audit_public) == (made.vault, made.cookies, made.audit_public)
    # Root could have written all the same.
    assert {path.name: path.stat().st_mtime_ns for path in (keys, *keys.iterdir())} == before
