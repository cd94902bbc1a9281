"""A snapshot divides whole regions, is named by its bytes, and refuses to be anything but what was frozen."""

from __future__ import annotations

import json
import random
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from data.corpus.labels import LabelledOrder, read_folder
from data.corpus.snapshot import NearDuplicate, Split, freeze, read_manifest, read_snapshot
from data.errors import BadInput, Conflict, NotFound
from data.taxonomy import Taxonomy, load_taxonomy
from tests.data.corpus.invented import order

SPLIT = Split(train=("north", "south"), calibration=("east",), test=("west",))
FILES = ["calibration.jsonl", "manifest.json", "test.jsonl", "train.jsonl"]
SITUATIONS = [
    "河边步道的护栏断了两根，孩子常在那里玩。",
    "楼上空调滴水到雨棚，整夜响个不停。",
    "想问居住证到期前多久可以续签。",
    "菜场门口的井盖翘起来，绊倒过老人。",
    "公交末班车提前十分钟就开走了。",
    "单位食堂换了承包人，饭菜没有标价。",
]


@pytest.fixture(scope="module")
def taxonomy() -> Taxonomy:
    return load_taxonomy()


def some() -> list[LabelledOrder]:
    """Two orders of each region, a pair in the north, all about different things."""
    return [
        order("n1", region="north", pair="p", content=SITUATIONS[0]),
        order("n2", region="north", pair="p", content="邻居说护栏挡了他家的财路，请把整排拆掉。"),
        order("s1", region="south", content=SITUATIONS[1]),
        order("s2", region="south", content=SITUATIONS[2]),
        order("e1", region="east", content=SITUATIONS[3]),
        order("w1", region="west", content=SITUATIONS[4]),
    ]


def names(orders: tuple[LabelledOrder, ...]) -> list[str]:
    return [each.id for each in orders]


def test_committed_labels_freeze_by_region_without_loss(tmp_path: Path, taxonomy: Taxonomy) -> None:
    orders = read_folder(taxonomy)
    manifest = freeze(orders, Split(), tmp_path, taxonomy)
    snapshot = read_snapshot(tmp_path, taxonomy)
    assert [len(part) for part in (snapshot.train, snapshot.calibration, snapshot.test)] == [
        16685,
        1456,
        1224,
    ]
    assert {each.region for each in snapshot.test} == set(Split().test)
    assert {each.region for each in snapshot.calibration} == set(Split().calibration)
    assert manifest.near_duplicates == ()
    frozen = {*snapshot.train, *snapshot.calibration, *snapshot.test}
    assert frozen == {order for order in orders if order.region in Split().part_of()}
    assert not {each.pair for each in snapshot.train if each.pair} & {each.pair for each in snapshot.test}


def test_the_same_orders_give_the_same_bytes(tmp_path: Path, taxonomy: Taxonomy) -> None:
    shuffled = some()
    random.Random(5).shuffle(shuffled)
    first = freeze(some(), SPLIT, tmp_path / "a", taxonomy)
    second = freeze(shuffled, SPLIT, tmp_path / "b", taxonomy)
    assert first == second
    assert sorted(path.name for path in (tmp_path / "a").iterdir()) == FILES
    for name in FILES:
        assert (tmp_path / "a" / name).read_bytes() == (tmp_path / "b" / name).read_bytes()
    assert (
        read_snapshot(tmp_path / "a", taxonomy).digest == first.digest == read_manifest(tmp_path / "b").digest
    )


def test_the_manifest_says_what_is_where(tmp_path: Path, taxonomy: Taxonomy) -> None:
    freeze(some(), SPLIT, tmp_path, taxonomy)
    manifest = json.loads((tmp_path / "manifest.json").read_bytes())
    assert manifest["taxonomy"] == taxonomy.version
    assert manifest["files"]["train.jsonl"]["orders"] == 4
    assert manifest["files"]["train.jsonl"]["regions"] == {"north": 2, "south": 2}
    assert manifest["split"] == {"train": ["north", "south"], "calibration": ["east"], "test": ["west"]}


@pytest.mark.parametrize(
    "changed",
    [{"content": SITUATIONS[5]}, {"verdict": "harassment"}, {"flags": ("emergency",)}, {"region": "north"}],
)
def test_any_changed_label_gives_another_digest(
    changed: dict[str, Any], tmp_path: Path, taxonomy: Taxonomy
) -> None:
    before = freeze(some(), SPLIT, tmp_path / "a", taxonomy)
    orders = [replace(each, **changed) if each.id == "s1" else each for each in some()]
    assert freeze(orders, SPLIT, tmp_path / "b", taxonomy).digest != before.digest


def test_another_split_gives_another_digest(tmp_path: Path, taxonomy: Taxonomy) -> None:
    before = freeze(some(), SPLIT, tmp_path / "a", taxonomy)
    swapped = replace(SPLIT, calibration=SPLIT.test, test=SPLIT.calibration)
    assert freeze(some(), swapped, tmp_path / "b", taxonomy).digest != before.digest


def test_a_near_duplicate_is_dropped_from_train_with_its_twin(tmp_path: Path, taxonomy: Taxonomy) -> None:
    orders = [*some(), order("w2", region="west", content=SITUATIONS[0].replace("，", "、") + "急")]
    manifest = freeze(orders, SPLIT, tmp_path, taxonomy)
    ((first, second, similarity),) = [
        (found.first, found.second, found.similarity) for found in manifest.near_duplicates
    ]
    assert (first, second) == ("n1", "w2")
    assert 500_000 <= similarity < 1_000_000
    assert manifest.dropped == ("n1", "n2")
    snapshot = read_snapshot(tmp_path, taxonomy)
    assert names(snapshot.train) == ["s1", "s2"]
    assert names(snapshot.test) == ["w1", "w2"]


def test_a_duplicate_between_calibration_and_test_is_told_and_kept(
    tmp_path: Path, taxonomy: Taxonomy
) -> None:
    orders = [*some(), order("w2", region="west", content=SITUATIONS[3])]
    manifest = freeze(orders, SPLIT, tmp_path, taxonomy)
    assert manifest.near_duplicates == (NearDuplicate("e1", "w2", 1_000_000),)
    assert manifest.dropped == ()
    assert names(read_snapshot(tmp_path, taxonomy).test) == ["w1", "w2"]


@pytest.mark.parametrize(
    ("split", "code"),
    [
        (replace(SPLIT, test=("north",)), "split_overlaps"),
        (replace(SPLIT, train=("north", "north")), "split_overlaps"),
        (replace(SPLIT, test=("nowhere",)), "split_unknown_region"),
        (replace(SPLIT, test=()), "split_empty"),
        (replace(SPLIT, train=()), "split_empty"),
    ],
)
def test_refuses_a_wrong_split(split: Split, code: str, tmp_path: Path, taxonomy: Taxonomy) -> None:
    with pytest.raises(BadInput) as caught:
        freeze(some(), split, tmp_path / "out", taxonomy)
    assert caught.value.code == code
    assert not (tmp_path / "out").exists()


def test_refuses_a_divided_pair_and_a_double_id(tmp_path: Path, taxonomy: Taxonomy) -> None:
    for extra, code in ((order("w9", region="west", pair="p"), "pair_split"), (some()[0], "labels_invalid")):
        with pytest.raises(BadInput) as caught:
            freeze([*some(), extra], SPLIT, tmp_path, taxonomy)
        assert caught.value.code == code


def test_never_overwrites_another_snapshot(tmp_path: Path, taxonomy: Taxonomy) -> None:
    freeze(some(), SPLIT, tmp_path, taxonomy)
    kept = (tmp_path / "train.jsonl").read_bytes()
    freeze(some(), SPLIT, tmp_path, taxonomy)
    with pytest.raises(Conflict):
        freeze(some()[1:], SPLIT, tmp_path, taxonomy)
    assert (tmp_path / "train.jsonl").read_bytes() == kept


@pytest.mark.parametrize("name", FILES)
def test_any_flipped_bit_is_refused(name: str, tmp_path: Path, taxonomy: Taxonomy) -> None:
    manifest = freeze(some(), SPLIT, tmp_path, taxonomy)
    content = (tmp_path / name).read_bytes()
    for place in range(0, len(content), 7):
        changed = bytearray(content)
        changed[place] ^= 1
        (tmp_path / name).write_bytes(changed)
        try:
            # A manifest may be changed into another valid one: then it no longer has the same name.
            assert read_snapshot(tmp_path, taxonomy).digest != manifest.digest
            assert name == "manifest.json"
        except BadInput:
            pass


@pytest.mark.parametrize("name", FILES)
def test_a_lost_file_is_refused(name: str, tmp_path: Path, taxonomy: Taxonomy) -> None:
    freeze(some(), SPLIT, tmp_path, taxonomy)
    (tmp_path / name).unlink()
    with pytest.raises(NotFound if name == "manifest.json" else BadInput):
        read_snapshot(tmp_path, taxonomy)


@pytest.mark.parametrize("content", [b"", b"{}", b"[]", b"\xff", b'{"format": "other"}'])
def test_a_broken_manifest_is_refused(content: bytes, tmp_path: Path, taxonomy: Taxonomy) -> None:
    freeze(some(), SPLIT, tmp_path, taxonomy)
    (tmp_path / "manifest.json").write_bytes(content)
    with pytest.raises(BadInput) as caught:
        read_manifest(tmp_path)
    assert caught.value.code == "snapshot_tampered"


def test_another_taxonomy_is_refused(tmp_path: Path, taxonomy: Taxonomy) -> None:
    freeze(some(), SPLIT, tmp_path, taxonomy)
    with pytest.raises(BadInput) as caught:
        read_snapshot(tmp_path, replace(taxonomy, version="sha256:0"))
    assert caught.value.code == "snapshot_taxonomy"


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["north", "south", "east", "west", "unused"]),
            st.integers(0, 3),
            st.sampled_from(SITUATIONS),
        ),
        max_size=14,
    )
)
def test_whatever_is_frozen_no_train_order_resembles_a_held_out_one(
    tmp_path_factory: pytest.TempPathFactory, taxonomy: Taxonomy, drawn: list[tuple[str, int, str]]
) -> None:
    fixed = [
        order(f"fixed-{region}", region=region, content=f"{region}站台上写着{region}两个字，请换成中文。")
        for region in ("north", "south", "east", "west")
    ]
    orders = [
        order(f"o{place}", region=region, pair=f"{region}-{pair}" if pair else None, content=content)
        for place, (region, pair, content) in enumerate(drawn)
    ]
    out = tmp_path_factory.mktemp("snapshot")
    manifest = freeze([*fixed, *orders], SPLIT, out, taxonomy)
    snapshot = read_snapshot(out, taxonomy)
    held_out = (*snapshot.calibration, *snapshot.test)
    assert not {each.content for each in snapshot.train} & {each.content for each in held_out}
    used = {each.id for each in (*fixed, *orders) if each.region != "unused"}
    assert {each.id for each in (*snapshot.train, *held_out)} == used - set(manifest.dropped)
    train_pairs = {each.pair for each in snapshot.train if each.pair}
    gone = {each.pair for each in orders if each.id in manifest.dropped and each.pair}
    assert not train_pairs & gone
