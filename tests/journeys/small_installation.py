"""An installation on a tiny model of the tests' own, made in an instant; the tests of faults start many."""

from __future__ import annotations

from datetime import UTC, datetime
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from data.store import credentials
from data.store.database import Database
from data.taxonomy import load_taxonomy
from tests.journeys.real_process import Installation
from tests.models import tiny_bundle


class SmallInstallation(Installation):
    """Processes as real as any, on a bundle that is trusted by them alone and may take its time.

    Only the first steps are taken in this process, where an operator would start two.
    """

    def __init__(
        self,
        folder: Path,
        database_url: str,
        contents: dict[str, bytes] | None = None,
        signer: Ed25519PrivateKey | None = None,
        **settings: str,
    ) -> None:
        """`contents` are the bundle's files, by default those of the tiny one."""
        known = tiny_bundle.publish(folder, contents or tiny_bundle.files(load_taxonomy()), signer)
        defaults = {
            "bundle": str(folder / "bundle"),
            "promoted": str(folder / "kept"),
            "deadline_ms": "30000",
        }
        super().__init__(folder, database_url, known, **(defaults | settings))

    def _prepared(self) -> dict[str, str]:
        database = Database(self.environment["MINGBIAN_DATABASE_URL"])
        database.migrate()
        with database.transaction() as conn:
            now = datetime.now(UTC)
            keys = {role: credentials.issue(conn, role, role, now, "tests")[1] for role in credentials.ROLES}
        database.close()
        return {str(role): key for role, key in keys.items()}
