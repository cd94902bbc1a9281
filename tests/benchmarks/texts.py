"""The texts that every contender is asked: real messages where they are at hand; the bench reads them."""

from __future__ import annotations

import json
import random
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from data.corpus.labels import read_folder
from data.taxonomy import Taxonomy

SEED = 12345
REAL = "haikou_dev.jsonl"


@dataclass(frozen=True, slots=True)
class Texts:
    """`source` says where they are from, for whoever reads the figures."""

    source: str
    texts: tuple[str, ...]

    def __getitem__(self, number: int) -> str:
        return self.texts[number % len(self.texts)]

    def __str__(self) -> str:
        lengths = [len(text) for text in self.texts]
        return (
            f"{len(lengths)} texts of {self.source}, {median(lengths):.0f} characters in the median, "
            f"{max(lengths)} at most"
        )


def read_texts(external: Path, taxonomy: Taxonomy) -> Texts:
    """Real messages of the folder of external data, else the authored orders; in one fixed order."""
    path = external / REAL
    if path.is_file():
        source = f"real messages ({REAL})"
        with path.open(encoding="utf-8") as lines:
            texts = [json.loads(line)["content"] for line in lines]
    else:
        source = "authored orders, for want of real messages"
        texts = [order.content for order in read_folder(taxonomy)]
    random.Random(SEED).shuffle(texts)
    return Texts(source, tuple(texts))
