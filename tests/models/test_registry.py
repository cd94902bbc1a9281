from __future__ import annotations

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from data.errors import BadInput, Conflict, NotFound
from data.store import promotions
from data.store.database import Database
from data.store.promotions import Instruction
from data.taxonomy import Taxonomy
from models import bundle as bundles
from models import registry
from models.registry import Registry
from tests.models import tiny_bundle

WORD = Instruction("陈工", "评测更好", datetime(2026, 5, 1, tzinfo=UTC))


@pytest.fixture
def two(tmp_path: Path, taxonomy: Taxonomy, monkeypatch: pytest.MonkeyPatch) -> tuple[Path, Path]:
    """Two bundles by one publisher whom the registry knows."""
    signer = Ed25519PrivateKey.generate()
    files = tiny_bundle.files(taxonomy)
    places = []
    for name in ("one", "two"):
        publishers = tiny_bundle.publish(tmp_path / name, files | {bundles.CARD: name.encode()}, signer)
        places.append(tmp_path / name / "bundle")
    known = publishers
    read = bundles.read_bundle
    monkeypatch.setattr(registry, "read_bundle", lambda folder, taxonomy: read(folder, taxonomy, known))
    return places[0], places[1]


def test_a_promoted_bundle_is_kept_and_in_force(
    database: Database, two: tuple[Path, Path], taxonomy: Taxonomy, tmp_path: Path
) -> None:
    default, other = two
    kept = tmp_path / "kept"
    with database.reading() as conn:
        assert Registry(kept, default).folder_in_force(conn) == default
    with database.transaction() as conn:
        Registry(kept, default).promote(conn, other, taxonomy, WORD)
    shutil.rmtree(other)  # the copy is what counts
    with database.reading() as conn:
        folder = Registry(kept, default).folder_in_force(conn)
        assert [past.why for past in promotions.history(conn)][1] == "评测更好"
    assert (folder / bundles.CARD).read_bytes() == b"two"

    with database.transaction() as conn:
        Registry(kept, default).roll_back(conn, taxonomy, WORD)
    with database.reading() as conn:
        back = Registry(kept, default).folder_in_force(conn)
    assert (back / bundles.CARD).read_bytes() == b"one"


def test_what_cannot_be_trusted_or_is_already_there_is_not_promoted(
    database: Database, two: tuple[Path, Path], taxonomy: Taxonomy, tmp_path: Path
) -> None:
    default, other = two
    kept = tmp_path / "kept"

    def promote(folder: Path) -> None:
        with database.transaction() as conn:
            Registry(kept, default).promote(conn, folder, taxonomy, WORD)

    with pytest.raises(NotFound, match="bundle_missing"):
        promote(tmp_path / "nowhere")
    broken = tmp_path / "broken"
    shutil.copytree(other, broken)
    graph = bytearray((broken / bundles.GRAPH).read_bytes())
    graph[len(graph) // 2] ^= 1
    (broken / bundles.GRAPH).write_bytes(graph)
    with pytest.raises(BadInput, match="bundle_corrupt"):
        promote(broken)
    with database.reading() as conn:
        assert promotions.history(conn) == []
    promote(other)
    with pytest.raises(Conflict, match="model_in_force"):
        promote(other)


def test_a_broken_default_does_not_bar_a_good_bundle(
    database: Database, two: tuple[Path, Path], taxonomy: Taxonomy, tmp_path: Path
) -> None:
    default, other = two
    (default / bundles.CARD).write_bytes(b"changed")
    with database.transaction() as conn:
        Registry(tmp_path / "kept", default).promote(conn, other, taxonomy, WORD)
    with database.reading() as conn:
        assert len(promotions.history(conn)) == 1


def test_a_kept_copy_that_was_damaged_is_not_put_back(
    database: Database, two: tuple[Path, Path], taxonomy: Taxonomy, tmp_path: Path
) -> None:
    default, other = two
    kept = tmp_path / "kept"
    with database.transaction() as conn:
        Registry(kept, default).promote(conn, other, taxonomy, WORD)
    for card in kept.glob(f"*/{bundles.CARD}"):
        card.write_bytes(card.read_bytes() + b"!")
    with pytest.raises(BadInput, match="bundle_corrupt"), database.transaction() as conn:
        Registry(kept, default).roll_back(conn, taxonomy, WORD)
    with database.reading() as conn:
        assert len(promotions.history(conn)) == 2
