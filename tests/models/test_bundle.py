from __future__ import annotations

import json
import random
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from data.errors import BadInput, NotFound
from data.taxonomy import Taxonomy
from models import bundle
from models.bundle import read_bundle, write_bundle
from tests.models import tiny_bundle


@pytest.fixture
def published(tmp_path: Path, taxonomy: Taxonomy) -> tuple[Path, Path]:
    publishers = tiny_bundle.publish(tmp_path, tiny_bundle.files(taxonomy))
    return tmp_path / "bundle", publishers


def test_what_was_written_is_read(published: tuple[Path, Path], taxonomy: Taxonomy) -> None:
    folder, publishers = published
    read = read_bundle(folder, taxonomy, publishers)
    assert read.name == "tiny"
    assert read.label_groups == taxonomy.groups
    assert read.max_tokens == tiny_bundle.MAX_TOKENS
    assert (read.thresholds.decline, read.thresholds.dispatch) == (0.9, 0.3)
    assert read.graph == (folder / bundle.GRAPH).read_bytes()
    assert read.digest.startswith("sha256:")


def test_digest_follows_the_contents(tmp_path: Path, taxonomy: Taxonomy) -> None:
    signer = Ed25519PrivateKey.generate()
    contents = tiny_bundle.files(taxonomy)
    first = write_bundle(tmp_path / "a", "tiny", contents, {}, signer)
    again = write_bundle(tmp_path / "b", "tiny", contents, {}, signer)
    other = write_bundle(tmp_path / "c", "tiny", {**contents, bundle.CARD: b"# other\n"}, {}, signer)
    assert first == again != other


CONTENTS = (bundle.GRAPH, bundle.TOKENIZER, bundle.SETTINGS, bundle.CERTIFICATE, bundle.CARD)


@pytest.mark.parametrize("file", [*CONTENTS, bundle.MANIFEST, bundle.SIGNATURE])
def test_one_flipped_bit_anywhere_is_refused(
    published: tuple[Path, Path], taxonomy: Taxonomy, file: str
) -> None:
    folder, publishers = published
    path = folder / file
    whole = path.read_bytes()
    choose = random.Random(file)
    for _ in range(150):  # over a thousand flips in all
        place, bit = choose.randrange(len(whole)), choose.randrange(8)
        flipped = bytearray(whole)
        flipped[place] ^= 1 << bit
        if file == bundle.SIGNATURE and _same_meaning(whole, bytes(flipped)):
            continue  # white space between the JSON tokens of the signature is not signed, nor read
        path.write_bytes(flipped)
        with pytest.raises(BadInput) as refused:
            read_bundle(folder, taxonomy, publishers)
        assert refused.value.code == "bundle_corrupt"
    path.write_bytes(whole)
    assert read_bundle(folder, taxonomy, publishers).name == "tiny"


def _same_meaning(one: bytes, other: bytes) -> bool:
    try:
        return bool(json.loads(one) == json.loads(other))
    except ValueError:
        return False


def test_a_missing_file_is_refused(published: tuple[Path, Path], taxonomy: Taxonomy) -> None:
    folder, publishers = published
    (folder / bundle.TOKENIZER).unlink()
    with pytest.raises(BadInput, match="bundle_corrupt"):
        read_bundle(folder, taxonomy, publishers)


def test_a_surplus_file_is_refused(published: tuple[Path, Path], taxonomy: Taxonomy) -> None:
    folder, publishers = published
    (folder / "extra.bin").write_bytes(b"?")
    with pytest.raises(BadInput, match="清单之外"):
        read_bundle(folder, taxonomy, publishers)


def test_a_stranger_s_signature_is_refused(tmp_path: Path, taxonomy: Taxonomy) -> None:
    contents = tiny_bundle.files(taxonomy)
    publishers = tiny_bundle.publish(tmp_path, contents)
    write_bundle(tmp_path / "bundle", "tiny", contents, {}, Ed25519PrivateKey.generate())
    with pytest.raises(BadInput, match="可信发布者"):
        read_bundle(tmp_path / "bundle", taxonomy, publishers)


def test_a_file_name_outside_the_folder_is_refused(tmp_path: Path, taxonomy: Taxonomy) -> None:
    (tmp_path / "outside").write_bytes(b"secret")
    contents = {**tiny_bundle.files(taxonomy), "../outside": b"secret"}
    publishers = tiny_bundle.publish(tmp_path, contents)
    with pytest.raises(BadInput, match="越出目录"):
        read_bundle(tmp_path / "bundle", taxonomy, publishers)


def test_labels_in_another_order_are_refused(tmp_path: Path, taxonomy: Taxonomy) -> None:
    contents = tiny_bundle.files(taxonomy)
    settings = json.loads(contents[bundle.SETTINGS])
    settings["label_groups"]["kind"].reverse()
    publishers = tiny_bundle.publish(tmp_path, {**contents, bundle.SETTINGS: json.dumps(settings).encode()})
    with pytest.raises(BadInput, match="分类表"):
        read_bundle(tmp_path / "bundle", taxonomy, publishers)


def test_a_new_bundle_takes_the_old_one_s_place_whole(tmp_path: Path, taxonomy: Taxonomy) -> None:
    contents = tiny_bundle.files(taxonomy)
    tiny_bundle.publish(tmp_path, {**contents, "old.txt": b"old"})
    publishers = tiny_bundle.publish(tmp_path, contents)
    assert read_bundle(tmp_path / "bundle", taxonomy, publishers).name == "tiny"
    assert {path.name for path in tmp_path.iterdir()} == {"bundle", "publishers.toml"}


def test_a_folder_that_holds_something_else_is_left_alone(tmp_path: Path, taxonomy: Taxonomy) -> None:
    (tmp_path / "letter.txt").write_text("keep me", encoding="utf-8")
    with pytest.raises(BadInput, match="bundle_folder_taken"):
        write_bundle(tmp_path, "tiny", tiny_bundle.files(taxonomy), {}, Ed25519PrivateKey.generate())
    assert [path.name for path in tmp_path.iterdir()] == ["letter.txt"]


def test_no_bundle_is_not_found(tmp_path: Path, taxonomy: Taxonomy) -> None:
    with pytest.raises(NotFound, match="bundle_missing"):
        read_bundle(tmp_path, taxonomy)


def test_the_shipped_bundle_is_signed_by_a_known_publisher(taxonomy: Taxonomy, shipped: Path) -> None:
    read = read_bundle(shipped, taxonomy)
    assert read.name == "update-2026-11"
    assert "Figures on the test region" in read.card
