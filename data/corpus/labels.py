"""Reads labelled work orders and refuses whatever breaks the format; snapshot, card and training call it."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from data.errors import BadInput, Fault, NotFound
from data.records import REASONABLE
from data.taxonomy import Taxonomy

LABELS = Path(__file__).resolve().parent / "labels"
STYLES = ("operator", "letter", "wechat", "transcript", "formal", "traditional")

_BOM = b"\xef\xbb\xbf"
_TEXTS = ("id", "title", "content", "why")
_CODES = ("verdict", "kind", "subject", "style")
_KEYS = ("id", "pair", "title", "content", "verdict", "kind", "subject", "flags", "style", "why")


@dataclass(frozen=True, slots=True)
class LabelledOrder:
    """One work order and what a reader of it decided.

    `pair` is shared by contrast twins and None for an order that stands alone; `region` is the stem
    of the file it was written in; `why` is the fact in the text that decides the label.
    """

    id: str
    pair: str | None
    title: str
    content: str
    verdict: str
    kind: str
    subject: str
    flags: tuple[str, ...]
    style: str
    why: str
    region: str

    @property
    def unreasonable(self) -> bool:
        return self.verdict != REASONABLE


def read_folder(taxonomy: Taxonomy, folder: Path = LABELS) -> list[LabelledOrder]:
    """Every order of every `*.jsonl` in the folder, files by name and lines as they stand.

    Raises:
        NotFound: the folder holds no label file.
        BadInput: a line is broken, an id stands twice or a pair spans two files; all faults at once.
    """
    paths = sorted(folder.glob("*.jsonl"))
    if not paths:
        raise NotFound("labels_missing", "没有找到标注文件")
    return _read(paths, taxonomy)


def read_labels(path: Path, taxonomy: Taxonomy) -> list[LabelledOrder]:
    """The orders of one label file, whose stem is their region.

    Raises:
        NotFound: there is no such file.
        BadInput: a line is broken; `faults` point to `/FILE/LINE/KEY` with lines counted from 1.
    """
    return _read([path], taxonomy)


def parse_lines(
    content: bytes, name: str, taxonomy: Taxonomy, region: str | None = None
) -> tuple[list[LabelledOrder], list[Fault]]:
    """The valid orders among JSON lines, and what is wrong with the others.

    `name` stands for the file in the faults' pointers. Without a `region` every line must carry its
    own, as the lines of a snapshot do.
    """
    orders: list[LabelledOrder] = []
    faults: list[Fault] = []
    if content.startswith(_BOM):
        faults.append(_fault(name, 1, "", "文件以字节序标记(BOM)开头"))
        content = content.removeprefix(_BOM)
    lines = content.split(b"\n")
    if not lines[-1]:
        lines.pop()
    if not lines:
        faults.append(_fault(name, 1, "", "文件是空的"))
    first_seen: dict[str, int] = {}
    for number, line in enumerate(lines, start=1):
        row = _row(line)
        if isinstance(row, str):
            faults.append(_fault(name, number, "", row))
            continue
        wrong = _wrong(row, taxonomy, with_region=region is None)
        if not wrong and first_seen.setdefault(str(row["id"]), number) != number:
            wrong = [("id", f"编号与第 {first_seen[str(row['id'])]} 行重复")]
        if wrong:
            faults.extend(_fault(name, number, key, detail) for key, detail in wrong)
            continue
        orders.append(_order(row, region))
    return orders, faults


def as_line(order: LabelledOrder) -> str:
    """The order as one line of a snapshot: the label file's keys in their order, then its region."""
    row = {key: getattr(order, key) for key in (*_KEYS, "region")}
    return json.dumps(row, ensure_ascii=False) + "\n"


def _read(paths: Iterable[Path], taxonomy: Taxonomy) -> list[LabelledOrder]:
    orders: list[LabelledOrder] = []
    faults: list[Fault] = []
    id_files: dict[str, str] = {}
    pair_files: dict[str, str] = {}
    for path in paths:
        try:
            content = path.read_bytes()
        except FileNotFoundError as error:
            raise NotFound("labels_missing", "没有找到标注文件") from error
        found, wrong = parse_lines(content, path.name, taxonomy, path.stem)
        faults.extend(wrong)
        for order in found:
            if id_files.setdefault(order.id, path.name) != path.name:
                faults.append(Fault(f"/{path.name}", f"有编号与 {id_files[order.id]} 中的重复"))
            if order.pair is not None and pair_files.setdefault(order.pair, path.name) != path.name:
                faults.append(Fault(f"/{path.name}", f"有对照组与 {pair_files[order.pair]} 中的同名"))
        orders.extend(found)
    if faults:
        raise BadInput("labels_invalid", f"标注文件有 {len(faults)} 处错误", tuple(faults))
    return orders


def _fault(name: str, number: int, key: str, detail: str) -> Fault:
    pointer = f"/{name}/{number}" + (f"/{key}" if key else "")
    return Fault(pointer, f"第 {number} 行：{detail}")


class _DuplicateKeyError(ValueError):
    pass


def _without_duplicates(pairs: list[tuple[str, object]]) -> dict[str, object]:
    row = dict(pairs)
    if len(row) != len(pairs):
        raise _DuplicateKeyError
    return row


def _row(line: bytes) -> dict[str, object] | str:
    """The line's object, or what keeps it from being one."""
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        return "不是有效的 UTF-8"
    if not text.strip():
        return "是空行"
    try:
        row = json.loads(text, object_pairs_hook=_without_duplicates)
    except _DuplicateKeyError:
        return "有重复的字段"
    except (ValueError, RecursionError):
        return "不是有效的 JSON"
    return row if isinstance(row, dict) else "不是 JSON 对象"


def _wrong(row: dict[str, object], taxonomy: Taxonomy, *, with_region: bool) -> list[tuple[str, str]]:
    """What is wrong with a row: (key, Chinese sentence), unknown keys under the empty key."""
    expected = (*_KEYS, "region") if with_region else _KEYS
    texts = (*_TEXTS, "region") if with_region else _TEXTS
    wrong = [(key, "缺少此字段") for key in expected if key not in row]
    unknown = len(row.keys() - set(expected))
    if unknown:
        wrong.append(("", f"有 {unknown} 个规范之外的字段"))
    wrong += [(key, problem) for key in texts if key in row and (problem := _text_problem(row[key]))]
    if "pair" in row and row["pair"] not in (None, "") and (problem := _text_problem(row["pair"])):
        wrong.append(("pair", problem))
    allowed: dict[str, tuple[str, ...]] = {**taxonomy.groups, "style": STYLES}
    wrong += [(key, "不是规范中的代码") for key in _CODES if key in row and row[key] not in allowed[key]]
    if "flags" in row:
        flags, known = row["flags"], [flag.code for flag in taxonomy.flags]
        if not isinstance(flags, list) or any(flag not in known for flag in flags):
            wrong.append(("flags", "不是规范中代码的列表"))
        elif len(set(flags)) != len(flags):
            wrong.append(("flags", "有重复的代码"))
    return wrong


def _text_problem(value: object) -> str | None:
    if not isinstance(value, str):
        return "不是文本"
    if not value.strip():
        return "内容为空"
    if any("\ud800" <= character <= "\udfff" for character in value):
        return "含有不成对的代理字符"
    return None


def _order(row: dict[str, Any], region: str | None) -> LabelledOrder:
    return LabelledOrder(
        id=row["id"],
        pair=row["pair"] or None,
        title=row["title"],
        content=row["content"],
        verdict=row["verdict"],
        kind=row["kind"],
        subject=row["subject"],
        flags=tuple(row["flags"]),
        style=row["style"],
        why=row["why"],
        region=region if region is not None else row["region"],
    )
