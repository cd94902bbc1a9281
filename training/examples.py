"""What a classifier learns from: labelled orders, and real messages; `training/run.py` calls it."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from data.corpus.labels import LabelledOrder
from data.corpus.readings import MessageReading, message_digest
from data.errors import BadInput, NotFound
from data.masking import read_text
from data.records import REASONABLE, Reading
from data.taxonomy import Taxonomy

ORDERS = Path("haikou_dev.jsonl")
MESSAGES = (Path("tipdm") / "train.jsonl", Path("tipdm") / "messages.jsonl")


@dataclass(frozen=True, slots=True)
class Example:
    """One reading and, per label group, the position of its true code; a group may be missing.

    `flags` are the positions of those that are raised; None where nobody has looked. A `real`
    example is a citizen's message, not an authored order. A `weak` one's verdict is a presumption: it
    holds for nearly all of its kind, not for each. A `learned` one has trained the model that training
    starts from.
    """

    reading: Reading
    labels: Mapping[str, int]
    pair: str | None = None
    weak: bool = False
    flags: tuple[int, ...] | None = None
    real: bool = False
    learned: bool = False


@dataclass(frozen=True, slots=True)
class LabelSlices:
    """Where each label group lies in the classifier's logits, in the taxonomy's order; flags come last."""

    groups: Mapping[str, tuple[str, ...]]
    flags: tuple[str, ...] = ()

    def __iter__(self) -> Iterator[tuple[str, slice]]:
        start = 0
        for name, codes in self.groups.items():
            yield name, slice(start, start + len(codes))
            start += len(codes)

    @property
    def width(self) -> int:
        return sum(len(codes) for codes in self.groups.values()) + len(self.flags)

    @property
    def of_flags(self) -> slice:
        return slice(self.width - len(self.flags), self.width)

    @property
    def names(self) -> list[str]:
        """One per logit."""
        grouped = [f"{group}:{code}" for group, codes in self.groups.items() for code in codes]
        return [*grouped, *(f"flag:{code}" for code in self.flags)]


def authored(
    orders: Iterable[LabelledOrder], taxonomy: Taxonomy, learned: Collection[str] = ()
) -> list[Example]:
    """Labelled orders as the model reads them, with all groups; those of the `learned` files are marked."""
    return [
        Example(
            read_text(order.title, order.content).reading,
            {group: codes.index(getattr(order, group)) for group, codes in taxonomy.groups.items()},
            order.pair,
            flags=tuple(taxonomy.flag_codes.index(code) for code in order.flags),
            learned=order.region in learned,
        )
        for order in orders
    ]


def real_messages(
    folder: Path, taxonomy: Taxonomy, readings: Mapping[str, MessageReading] | None = None
) -> list[Example]:
    """Citizens' messages, each text once: weakly reasonable, with the subject where it is known.

    Of 700 such messages that two readers labelled, two were unreasonable. A message that is among the
    `readings` has all that its reader decided, and is not weak.

    Raises:
        NotFound: a file is missing.
        BadInput: a subject is not in the taxonomy.
    """
    verdict = taxonomy.verdicts.index(REASONABLE)
    subjects = taxonomy.groups["subject"]
    found: dict[Reading, Example] = {}
    for name in MESSAGES:
        for row in _rows(folder / name):
            reading = read_text(row["title"], row["content"]).reading
            read = (readings or {}).get(message_digest(row["title"], row["content"]))
            if read is not None:
                found.setdefault(reading, _read_example(reading, read, taxonomy))
                continue
            labels = {"verdict": verdict}
            if (subject := row.get("subject")) is not None:
                if subject not in subjects:
                    raise BadInput("subject_unknown", f"{name.name} 中有分类表之外的主题。")
                labels["subject"] = subjects.index(subject)
            found.setdefault(reading, Example(reading, labels, weak=True, real=True))
    return list(found.values())


def held_back(messages: Sequence[Example], share: float) -> tuple[list[Example], list[Example]]:
    """The messages that may train, and the `share` that calibration keeps; each text's hash decides."""
    parts: tuple[list[Example], list[Example]] = ([], [])
    for example in messages:
        digest = hashlib.blake2b(example.reading.content.encode(), digest_size=8).digest()
        parts[int.from_bytes(digest) / 2**64 < share].append(example)
    return parts


def real_orders(folder: Path) -> list[Reading]:
    """One city's real hotline orders, for measuring alone; none without the file."""
    path = folder / ORDERS
    return [read_text("", row["content"]).reading for row in _rows(path)] if path.exists() else []


def examples_digest(examples: Iterable[Example]) -> str:
    """Hex SHA-256 of what is learned from: the texts as the model reads them, and their labels."""
    digest = hashlib.sha256()
    for each in examples:
        fields = (each.reading.title, each.reading.content, sorted(each.labels.items()), each.flags)
        digest.update(f"{fields} {each.pair} {each.weak} {each.real}\n".encode())
    return digest.hexdigest()


def _read_example(reading: Reading, read: MessageReading, taxonomy: Taxonomy) -> Example:
    codes = {"verdict": read.verdict, "kind": read.kind, "subject": read.subject}
    labels = {group: taxonomy.groups[group].index(code) for group, code in codes.items()}
    flags = tuple(map(taxonomy.flag_codes.index, read.flags))
    return Example(reading, labels, flags=flags, real=True)


def _rows(path: Path) -> list[dict[str, str]]:
    try:
        lines: Sequence[str] = path.read_text(encoding="utf-8").splitlines()
    except FileNotFoundError as error:
        raise _missing(path) from error
    return [json.loads(line) for line in lines if line.strip()]


def _missing(path: Path) -> NotFound:
    return NotFound("messages_missing", f"没有找到真实来信文件 {path.parent.name}/{path.name}")
