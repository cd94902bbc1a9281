"""What careful readers decided about real messages, without the messages; `training/examples.py` calls it."""

from __future__ import annotations

import csv
import hashlib
from dataclasses import dataclass
from functools import cache
from pathlib import Path

READINGS = Path(__file__).resolve().parent / "READINGS.tsv"
_DIGITS = 24


@dataclass(frozen=True, slots=True)
class MessageReading:
    """One message's labels by one reader; `sure` where no careful reader would differ in kind or subject."""

    verdict: str
    kind: str
    subject: str
    flags: tuple[str, ...]
    sure: bool


def message_digest(title: str, content: str) -> str:
    """What stands for a message in READINGS.tsv: the head of the SHA-256 of its text as published."""
    return hashlib.sha256(f"{title}\n{content}".encode()).hexdigest()[:_DIGITS]


@cache
def read_readings(path: Path = READINGS) -> dict[str, MessageReading]:
    """Digest -> reading."""
    with path.open(encoding="utf-8", newline="") as file:
        return {
            row["digest"]: MessageReading(
                row["verdict"],
                row["kind"],
                row["subject"],
                tuple(filter(None, row["flags"].split(","))),
                row["sure"] == "yes",
            )
            for row in csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        }
