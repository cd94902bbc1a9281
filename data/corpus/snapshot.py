"""Freezes labelled orders into a hashed train, calibration and test set; `data` and `training` call it."""

from __future__ import annotations

import hashlib
import json
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from data.corpus.labels import LabelledOrder, as_line, parse_lines
from data.corpus.near_duplicates import SHINGLE, likenesses
from data.errors import BadInput, Conflict, NotFound
from data.taxonomy import Taxonomy

PARTS = ("train", "calibration", "test")
FORMAT = "mingbian-snapshot/1"
THRESHOLD = 0.5
_MANIFEST = "manifest.json"


@dataclass(frozen=True, slots=True)
class Split:
    """Which regions go where; a region is never divided, because its writer's habits would leak."""

    train: tuple[str, ...] = (
        *("w1", "w2", "w5", "w6", "w7", "w8", "w9", "w10", "w11", "w12", "w14", "w15", "w16", "w17", "w19"),
        *("w22", "w23", "w24", "w25", "w26", "w27", "w28"),
        *("w29", "w30", "w31", "w32", "w33", "w34", "w35", "w36", "w37", "w38", "w39", "w40", "w41", "w42"),
        *("w43", "w44", "w45", "w46", "w47", "w48", "w49", "w50", "w51", "w52", "w53", "w54", "w55", "w56"),
    )
    calibration: tuple[str, ...] = ("w3", "w20", "w21")
    test: tuple[str, ...] = ("w4", "w13", "w18")

    def part_of(self) -> dict[str, str]:
        """Region -> part."""
        return {region: part for part in PARTS for region in getattr(self, part)}


@dataclass(frozen=True, slots=True)
class NearDuplicate:
    """Two orders of different parts, by id, that are nearly the same; the Jaccard similarity in ppm."""

    first: str
    second: str
    similarity: int


@dataclass(frozen=True, slots=True)
class FrozenFile:
    """One part's file: hex SHA-256 of its bytes, how many orders, and how many of each region."""

    sha256: str
    orders: int
    regions: dict[str, int]


@dataclass(frozen=True, slots=True)
class Manifest:
    """What a snapshot holds and how it came about; it carries no time, so equal input gives equal bytes."""

    format: str
    taxonomy: str
    split: Split
    files: dict[str, FrozenFile]
    shingle: int
    threshold: int
    near_duplicates: tuple[NearDuplicate, ...]
    dropped: tuple[str, ...]

    def content(self) -> bytes:
        """The bytes of `manifest.json`."""
        return (json.dumps(asdict(self), ensure_ascii=False, indent=1) + "\n").encode()

    @property
    def digest(self) -> str:
        """ "sha256:" and the hash of the manifest's bytes: it names the snapshot."""
        return "sha256:" + hashlib.sha256(self.content()).hexdigest()


@dataclass(frozen=True, slots=True)
class Snapshot:
    """The three parts of a frozen data set, and the digest that names it."""

    train: tuple[LabelledOrder, ...]
    calibration: tuple[LabelledOrder, ...]
    test: tuple[LabelledOrder, ...]
    digest: str


def freeze(orders: Iterable[LabelledOrder], split: Split, out: Path, taxonomy: Taxonomy) -> Manifest:
    """Writes `train.jsonl`, `calibration.jsonl`, `test.jsonl` and `manifest.json` into `out`.

    The bytes depend on the set of orders, the split and the taxonomy alone: neither on the sequence
    the orders come in nor on the time. Near-duplicates across two parts are listed, and one that
    stands in train is dropped together with its contrast twins: a lone half would teach the words
    the pair shares as its label. Regions the split does not name are left out.

    Raises:
        BadInput: a region is named twice or unknown, a part is empty, an id stands twice, or a pair
            lies in two parts.
        Conflict: `out` already holds another snapshot, which is never overwritten.
    """
    placed = _placed(orders, split)
    near = _near_duplicates(placed)
    dropped = _dropped(placed, near)
    parts = {
        part: [order for order, its_part in placed if its_part == part and order.id not in dropped]
        for part in PARTS
    }
    if not all(parts.values()):
        raise BadInput("split_empty", "划分后训练、校准、测试中有一部分是空的")
    contents = {_file(part): "".join(map(as_line, parts[part])).encode() for part in PARTS}
    manifest = Manifest(
        format=FORMAT,
        taxonomy=taxonomy.version,
        split=split,
        files={_file(part): _frozen(parts[part], contents[_file(part)]) for part in PARTS},
        shingle=SHINGLE,
        threshold=round(THRESHOLD * 1_000_000),
        near_duplicates=near,
        dropped=tuple(sorted(dropped)),
    )
    path = out / _MANIFEST
    if path.exists() and path.read_bytes() != manifest.content():
        raise Conflict("snapshot_exists", "该文件夹已有另一份数据快照，请换一个文件夹")
    out.mkdir(parents=True, exist_ok=True)
    for name, content in contents.items():
        (out / name).write_bytes(content)
    # Last, so that an interrupted run leaves no snapshot rather than a torn one.
    path.write_bytes(manifest.content())
    return manifest


def read_manifest(folder: Path) -> Manifest:
    """The manifest of a snapshot, not yet checked against its files.

    Raises:
        NotFound: there is no snapshot.
        BadInput: the manifest is not byte for byte as `freeze` writes one.
    """
    try:
        content = (folder / _MANIFEST).read_bytes()
    except FileNotFoundError as error:
        raise NotFound("snapshot_missing", "没有找到数据快照") from error
    try:
        manifest = TypeAdapter(Manifest).validate_json(content, strict=True)
    except ValidationError as error:
        raise BadInput("snapshot_tampered", "数据快照的清单已损坏") from error
    if (
        manifest.format != FORMAT
        or manifest.content() != content
        or set(manifest.files) != set(map(_file, PARTS))
    ):
        raise BadInput("snapshot_tampered", "数据快照的清单被改动过")
    return manifest


def read_snapshot(folder: Path, taxonomy: Taxonomy) -> Snapshot:
    """A snapshot whose every file agrees with the manifest.

    Raises:
        NotFound: there is no snapshot.
        BadInput: a file is missing or differs from its hash, a line is broken, or the snapshot was
            made under another taxonomy.
    """
    manifest = read_manifest(folder)
    if manifest.taxonomy != taxonomy.version:
        raise BadInput("snapshot_taxonomy", "数据快照是按另一版分类标准生成的，请重新生成")
    parts = {part: _read_part(folder, _file(part), manifest, taxonomy) for part in PARTS}
    return Snapshot(parts["train"], parts["calibration"], parts["test"], manifest.digest)


def _read_part(folder: Path, name: str, manifest: Manifest, taxonomy: Taxonomy) -> tuple[LabelledOrder, ...]:
    try:
        content = (folder / name).read_bytes()
    except FileNotFoundError as error:
        raise BadInput("snapshot_tampered", "数据快照缺少文件") from error
    if hashlib.sha256(content).hexdigest() != manifest.files[name].sha256:
        raise BadInput("snapshot_tampered", "数据快照的文件与清单不符")
    orders, faults = parse_lines(content, name, taxonomy)
    if faults:
        raise BadInput("labels_invalid", f"数据快照有 {len(faults)} 处错误", tuple(faults))
    return tuple(orders)


def _file(part: str) -> str:
    return f"{part}.jsonl"


def _frozen(orders: Sequence[LabelledOrder], content: bytes) -> FrozenFile:
    regions = Counter(order.region for order in orders)
    return FrozenFile(hashlib.sha256(content).hexdigest(), len(orders), dict(sorted(regions.items())))


def _placed(orders: Iterable[LabelledOrder], split: Split) -> list[tuple[LabelledOrder, str]]:
    """The orders the split names, each with its part, by region and id."""
    part_of = split.part_of()
    if len(part_of) != sum(len(getattr(split, part)) for part in PARTS):
        raise BadInput("split_overlaps", "同一地区不能同时属于两个部分")
    ordered = sorted(orders, key=lambda order: (order.region, order.id))
    if part_of.keys() - {order.region for order in ordered}:
        raise BadInput("split_unknown_region", "划分中有标注里没有的地区")
    placed = [(order, part_of[order.region]) for order in ordered if order.region in part_of]
    if len({order.id for order, _ in placed}) != len(placed):
        raise BadInput("labels_invalid", "标注中有重复的编号")
    pair_parts: dict[str, str] = {}
    for order, part in placed:
        if order.pair is not None and pair_parts.setdefault(order.pair, part) != part:
            raise BadInput("pair_split", "同一对照组不能分到两个部分")
    return placed


def _near_duplicates(placed: Sequence[tuple[LabelledOrder, str]]) -> tuple[NearDuplicate, ...]:
    texts = [order.content for order, _ in placed]
    parts = [part for _, part in placed]
    return tuple(
        NearDuplicate(placed[like.first][0].id, placed[like.second][0].id, round(like.similarity * 1_000_000))
        for like in likenesses(texts, parts, THRESHOLD)
    )


def _dropped(placed: Sequence[tuple[LabelledOrder, str]], near: Sequence[NearDuplicate]) -> set[str]:
    alike = {one for found in near for one in (found.first, found.second)}
    train = [order for order, part in placed if part == "train"]
    pairs = {order.pair for order in train if order.id in alike and order.pair is not None}
    return {order.id for order in train if order.id in alike or order.pair in pairs}
