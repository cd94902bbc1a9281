"""An outsider with an export, a public key and `python` alone: the script runs as it is handed out."""

from __future__ import annotations

import ast
import contextlib
import io
import json
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from data.errors import NotFound
from data.store import audit_log, checkpoints, exports, merkle, offline_verifier
from data.store.keyring import PUBLIC_FILE, Keyring
from tests.data.store.stories import INTAKE, NOW, decided, resolved

ORIGIN = "log.test/audit"
SCRIPT = Path(offline_verifier.__file__)


class Outsider:
    """A folder with the script and what was handed over; nothing of the service is importable there."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir()
        shutil.copy(SCRIPT, folder / "verifier.py")

    def write(self, name: str, content: object) -> None:
        text = content if isinstance(content, str) else json.dumps(content, ensure_ascii=False)
        (self.folder / name).write_text(text, "utf-8")

    def run(self, *options: str) -> tuple[int, str]:
        """Exit status and output of the script's `main`, in this process because many runs follow."""
        output = io.StringIO()
        with contextlib.chdir(self.folder), contextlib.redirect_stdout(output):
            status = offline_verifier.main(["export.json", "--key", "public.pem", *options])
        return status, output.getvalue()

    def run_alone(self, *options: str) -> tuple[int, str]:
        """The same as a process of its own, which can import nothing of the service."""
        command = [sys.executable, "-I", "verifier.py", "export.json", "--key", "public.pem", *options]
        done = subprocess.run(
            command, check=False, cwd=self.folder, capture_output=True, text=True, encoding="utf-8"
        )
        assert done.stderr == ""
        return done.returncode, done.stdout


@pytest.fixture
def handed(database, keyring, tmp_path):
    """The outsider, the export, a checkpoint from before and the proof between the two."""
    outsider = Outsider(tmp_path / "outsider")
    with database.transaction() as conn:
        decided(conn)
        held = checkpoints.sign(conn, keyring.audit, ORIGIN, NOW)
    with database.transaction() as conn:
        review = resolved(conn)
        decided(conn)
        now = checkpoints.sign(conn, keyring.audit, ORIGIN, NOW)
        export = exports.order_story(conn, review.order_id, ORIGIN, now)
        path = audit_log.consistency(conn, held.size, now.size)
    proof = {"old": held.size, "new": now.size, "path": [node.hex() for node in path]}
    outsider.write("export.json", export)
    outsider.write("held.txt", held.note)
    outsider.write("proof.json", proof)
    shutil.copy(tmp_path / "keys" / PUBLIC_FILE, outsider.folder / "public.pem")
    return outsider, export, held, proof


def test_it_shares_no_code_with_the_service():
    tree = ast.parse(SCRIPT.read_text("utf-8"))
    modules = {node.module for node in ast.walk(tree) if isinstance(node, ast.ImportFrom)}
    modules |= {alias.name for node in ast.walk(tree) if isinstance(node, ast.Import) for alias in node.names}
    roots = {name.split(".")[0] for name in modules} - {"cryptography"}
    assert roots <= set(sys.stdlib_module_names)


def test_an_honest_export_passes(handed):
    outsider, export, *_ = handed
    status, output = outsider.run_alone("--checkpoint", "held.txt", "--consistency", "proof.json")
    assert status == 0
    lines = output.splitlines()
    assert len(lines) == 1 + len(export["entries"]) + 1 + 2 + 1
    assert all(line.startswith("通过 OK") for line in lines[:-1])
    assert "order.received" in output
    assert "review.resolved" in output
    outsider.write("export.json", with_entry(export, 0, path=[]))
    assert outsider.run_alone()[0] == 1


def test_a_later_checkpoint_may_be_held_too(handed, database, keyring):
    outsider, _, _, proof = handed
    with database.transaction() as conn:
        decided(conn)
        later = checkpoints.sign(conn, keyring.audit, ORIGIN, NOW)
        path = audit_log.consistency(conn, proof["new"], later.size)
    outsider.write("held.txt", later.note)
    outsider.write(
        "proof.json", {"old": proof["new"], "new": later.size, "path": [node.hex() for node in path]}
    )
    assert outsider.run("--checkpoint", "held.txt", "--consistency", "proof.json")[0] == 0


def changed(export, **changes):
    return {**export, **changes}


def with_entry(export, number, **changes):
    entries = [dict(entry) for entry in export["entries"]]
    entries[number].update(changes)
    return {**export, "entries": entries}


def test_every_forgery_fails(handed):
    outsider, export, _, _ = handed
    entries = export["entries"]
    first, second = entries[:2]
    forgeries = {
        "origin": changed(export, origin="other.log"),
        "size": changed(export, checkpoint=export["checkpoint"].replace("\n1", "\n2", 1)),
        "no checkpoint": changed(export, checkpoint=""),
        "leaf": with_entry(export, 1, leaf=second["leaf"].replace('"review"', '"dispatch"')),
        "spelling": with_entry(export, 0, leaf=first["leaf"].replace(":", ": ", 1)),
        "index": with_entry(export, 0, index=first["index"] + 1),
        "negative": with_entry(export, 0, index=-1),
        "path": with_entry(export, 0, path=first["path"][:-1]),
        "longer path": with_entry(export, 0, path=[*first["path"], "00" * 32]),
        "other path": with_entry(export, 0, path=second["path"]),
        "no path": with_entry(export, 0, path=[]),
        "not hex": with_entry(export, 0, path=["zz"]),
        "no leaf": with_entry(export, 0, leaf=None),
        "left out": changed(export, entries=entries[1:]),
        "undecided": changed(export, entries=entries[:1]),
        "nothing": changed(export, entries=[]),
        "order": changed(export, entries=entries[::-1]),
        "twice": changed(export, entries=[first, *entries]),
        "no entries": {name: export[name] for name in ("origin", "checkpoint")},
        "not an export": [],
        "not JSON": "{",
    }
    for name, forgery in forgeries.items():
        outsider.write("export.json", forgery)
        status, output = outsider.run()
        assert status == 1, name
        assert "失败 FAIL" in output, name


def test_entries_of_two_orders_are_no_story(handed, database, keyring):
    outsider, export, _, _ = handed
    with database.transaction() as conn:
        order, _ = decided(conn)
        now = checkpoints.sign(conn, keyring.audit, ORIGIN, NOW)
        mine = json.loads(export["entries"][0]["leaf"])["subject"]
        both = exports.order_story(conn, mine, ORIGIN, now)
        both["entries"] += exports.order_story(conn, order.id, ORIGIN, now)["entries"]
    outsider.write("export.json", both)
    status, output = outsider.run()
    assert (status, "more than one order" in output) == (1, True)


def test_another_key_fails(handed, tmp_path):
    outsider, *_ = handed
    Keyring.open(tmp_path / "other")
    shutil.copy(tmp_path / "other" / PUBLIC_FILE, outsider.folder / "public.pem")
    assert outsider.run()[0] == 1
    outsider.write("public.pem", "no key")
    assert outsider.run()[0] == 1


def test_another_history_fails_against_the_held_checkpoint(handed, keyring):
    outsider, export, held, proof = handed
    options = ("--checkpoint", "held.txt", "--consistency", "proof.json")
    assert outsider.run("--checkpoint", "held.txt")[0] == 1
    assert outsider.run("--checkpoint", "missing.txt")[0] == 1
    for wrong in (
        {**proof, "path": proof["path"][:-1]},
        {**proof, "path": [*proof["path"], "00" * 32]},
        {**proof, "path": ["00" * 32, *proof["path"][1:]]},
        {**proof, "old": proof["old"] + 1},
        {},
    ):
        outsider.write("proof.json", wrong)
        assert outsider.run(*options)[0] == 1
    outsider.write("proof.json", proof)
    outsider.write("held.txt", checkpoints.write(keyring.audit, ORIGIN, held.size, bytes(32)))
    assert outsider.run(*options)[0] == 1
    outsider.write("held.txt", checkpoints.write(Ed25519PrivateKey.generate(), ORIGIN, held.size, held.root))
    assert outsider.run(*options)[0] == 1
    outsider.write("held.txt", checkpoints.write(keyring.audit, ORIGIN, proof["new"], bytes(32)))
    status, output = outsider.run("--checkpoint", "held.txt")
    assert (status, "forked" in output) == (1, True)
    outsider.write("held.txt", export["checkpoint"])
    assert outsider.run("--checkpoint", "held.txt")[0] == 0


def test_an_export_names_an_order_of_the_log(database, keyring):
    with database.transaction() as conn:
        empty = checkpoints.sign(conn, keyring.audit, ORIGIN, NOW)
        order, _ = decided(conn)
        for order_id in ("none", order.id):
            with pytest.raises(NotFound):
                exports.order_story(conn, order_id, ORIGIN, empty)
        assert audit_log.entries(conn, order.id)[0].actor == INTAKE


@given(st.data(), st.integers(1, 130))
def test_its_own_proofs_agree_with_the_log_s(data, size):
    leaves = [merkle.leaf_hash(bytes([number])) for number in range(size)]
    index, old = data.draw(st.integers(0, size - 1)), data.draw(st.integers(1, size))
    path = merkle.inclusion_path(leaves, index)
    assert offline_verifier.root_of_path(leaves[index], index, size, path) == merkle.root(leaves)
    roots = merkle.root(leaves[:old]), merkle.root(leaves)
    proof = merkle.consistency_path(leaves, old)
    assert offline_verifier.roots_of_consistency(old, size, roots[0], proof, True) == roots
