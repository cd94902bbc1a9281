"""What was changed in a label after it was committed, and why; a test holds it to the label files."""

from __future__ import annotations

import csv
from dataclasses import dataclass, fields
from pathlib import Path

CORRECTIONS = Path(__file__).resolve().parent / "CORRECTIONS.tsv"


@dataclass(frozen=True, slots=True)
class Correction:
    """One change of one order's label; `now` stands in the label file, `was` stood there before."""

    id: str
    field: str
    was: str
    now: str
    reason: str


def read_corrections(path: Path = CORRECTIONS) -> list[Correction]:
    """Every correction, oldest first."""
    with path.open(encoding="utf-8", newline="") as file:
        rows = csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE)
        return [Correction(**{field.name: row[field.name] for field in fields(Correction)}) for row in rows]
