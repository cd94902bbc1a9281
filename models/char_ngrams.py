"""A linear model over runs of characters: the second opinion beside the encoder.

`models/encoder_classifier.py` adds its scores to the encoder's, `training/char_ngrams.py` fits it. It knows
words that decide and no grammar; the encoder knows grammar and few rare words: their errors differ.
"""

from __future__ import annotations

import io
import zipfile
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from data.records import Reading
from models.array_archive import archive

LONGEST = 4  # characters: what four of 16 bits each fill is one number of 64
_WIDTH = np.uint64(16)
_BEYOND = 0xFFFF  # stands for every character that 16 bits do not hold
_NEEDED = ("keys", "rarity", "weights", "scales", "intercepts")

Keys = NDArray[np.uint64]


@dataclass(frozen=True, slots=True, eq=False)
class CharNgrams:
    """Scores of `outputs` labels from TF-IDF of known runs; safe to call from several threads at once.

    Attributes:
        keys: (runs,), sorted; a run's characters, 16 bits each.
        rarity: (runs,), inverse document frequencies.
        weights: (runs, outputs), int8; `scales` (outputs,) make numbers of them.
        intercepts: (outputs,).
    """

    keys: Keys
    rarity: NDArray[np.float32]
    weights: NDArray[np.int8]
    scales: NDArray[np.float32]
    intercepts: NDArray[np.float32]

    def scores(self, reading: Reading) -> NDArray[np.float32]:
        """(outputs,) raw scores of one text."""
        places, values = self.features(reading)
        found: NDArray[np.float32] = (values @ self.weights[places].astype(np.float32)) * self.scales
        return found + self.intercepts

    def features(self, reading: Reading) -> tuple[NDArray[np.intp], NDArray[np.float32]]:
        """The known runs of a text, by place, and their TF-IDF with sublinear counts, of length one."""
        seen, counts = np.unique(runs(reading), return_counts=True)
        places = np.searchsorted(self.keys, seen)
        known = self.keys[np.minimum(places, len(self.keys) - 1)] == seen
        places, counts = places[known], counts[known]
        values = (1.0 + np.log(counts.astype(np.float32))) * self.rarity[places]
        length = np.sqrt(np.square(values).sum())
        return places, (values / length if length else values).astype(np.float32)

    def content(self) -> bytes:
        """The bytes that `read_char_ngrams` reads; equal models have equal bytes."""
        return archive({name: getattr(self, name) for name in _NEEDED})


def read_char_ngrams(content: bytes, outputs: int) -> CharNgrams:
    """The model in these bytes.

    Raises:
        ValueError: they are no such model, or it does not score so many outputs.
    """
    try:
        with np.load(io.BytesIO(content), allow_pickle=False) as stored:
            keys, rarity, weights, scales, intercepts = (stored[name] for name in _NEEDED)
    except (zipfile.BadZipFile, KeyError, EOFError, OSError, ValueError) as error:
        raise ValueError("no model over runs of characters") from error
    shapes = [array.shape for array in (rarity, weights, scales, intercepts)]
    if shapes != [keys.shape, (*keys.shape, outputs), (outputs,), (outputs,)]:
        raise ValueError("a model of other shapes")
    types = [array.dtype for array in (keys, rarity, weights, scales, intercepts)]
    if types != [np.uint64, np.float32, np.int8, np.float32, np.float32]:
        raise ValueError("a model of other numbers")
    if not len(keys) or not (keys[1:] > keys[:-1]).all():
        raise ValueError("a model whose runs are not sorted")
    return CharNgrams(keys, rarity, weights, scales, intercepts)


def runs(reading: Reading) -> Keys:
    """Every run of one to four characters of title and content, in sequence and as often as it occurs."""
    text = f"{reading.title}\n{reading.content}"
    points = np.frombuffer(text.encode("utf-32-le", "replace"), dtype=np.uint32)
    characters = np.minimum(points, _BEYOND).astype(np.uint64)
    found = [characters]
    for length in range(1, min(LONGEST, len(characters))):
        longer = (found[-1][:-1] << _WIDTH) | characters[length:]
        found.append(longer)
    return np.concatenate(found)
