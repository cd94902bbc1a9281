"""A bundle as a classifier: its fine-tuned encoder, the n-grams beside it, calibrated predictions out.

`models/triage.py` serves with it, and `training` judges the exported graph through it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray

from data.records import Prediction, Reading
from models.bundle import Bundle
from models.char_ngrams import read_char_ngrams
from models.classifier import NonFinite
from models.graph_runtime import GraphRuntime
from models.onnx_runtime import OnnxRuntime
from models.table_tokenizer import TableTokenizer

_WARM_UP = Reading("路灯不亮", "幸福路路灯坏了三天，晚上看不清路，请派人维修。")
_MARKS = 3  # [CLS], and [SEP] twice
_OVERLAP = 24  # characters: a danger is not missed because a window ends in its middle
_FURTHER_WINDOWS = 3  # each costs as much as the longest order; one in a thousand messages has a second


class EncoderClassifier:
    """Classifies one reading at a time; safe to call from several threads at once."""

    def __init__(self, bundle: Bundle, runtime: GraphRuntime | None = None) -> None:
        """Over a runtime that has loaded the bundle's graph; by default ONNX Runtime.

        Raises:
            ValueError: the n-grams do not score the bundle's labels.
            Exception: whatever the runtime raises on a graph it cannot run.
        """
        self.runtime = OnnxRuntime(bundle.graph) if runtime is None else runtime
        self._tokenizer = TableTokenizer(bundle.tokenizer, bundle.max_tokens)
        self._room = max(bundle.max_tokens - _MARKS, 1 + _OVERLAP)
        self._groups = bundle.label_groups
        self._flags = tuple(bundle.thresholds.flags)
        self._temperatures = bundle.temperatures
        sizes = {group: len(codes) for group, codes in self._groups.items()} | {"flags": len(self._flags)}
        self._ngrams = read_char_ngrams(bundle.ngrams, sum(sizes.values())) if bundle.ngrams else None
        weights = [bundle.ngram_weights.get(group, 0.0) for group in sizes]
        self._ngram_weights = np.repeat(np.array(weights, dtype=np.float32), list(sizes.values()))

    def warm_up(self) -> None:
        """Run once for real, so that a graph that cannot answer fails readiness, not an order."""
        self.classify([_WARM_UP])

    def classify(self, readings: Sequence[Reading]) -> list[Prediction]:
        """See `Classifier.classify`."""
        return [self._one(reading) for reading in readings]

    def logits(self, reading: Reading) -> tuple[NDArray[np.float32], bool]:
        """(raw scores of all groups and then of the flags, whether the text was cut).

        The encoder reads a text's beginning, the n-grams read all of it.
        """
        encoded = self._tokenizer.encode(reading.title, reading.content)
        scores = self.runtime.scores(encoded.ids, encoded.segments)
        if self._ngrams is not None:
            scores = scores + self._ngram_weights * self._ngrams.scores(reading)
        return scores, encoded.truncated

    def state(self, reading: Reading) -> NDArray[np.float32]:
        """(width,): the encoder's state of a text, or of its beginning, from which the head scores it."""
        encoded = self._tokenizer.encode(reading.title, reading.content)
        return self.runtime.state(encoded.ids, encoded.segments)

    def _flags_behind(self, content: str) -> list[NDArray[np.float32]]:
        """Scores of the flags in what is not read at once.

        Of a text that is cut, the encoder's verdict rests on its beginning, as when the certificate was made.
        What follows it reads for flags alone, which can only make the outcome safer: a danger that is told at
        the end of a long letter counts as if it stood at the beginning.
        """
        scores = []
        for start in self._windows(len(content)):
            part, _ = self.logits(Reading("", content[start : start + self._room]))
            scores.append(part[-len(self._flags) :])
        return scores

    def _windows(self, length: int) -> range:
        """Where the further windows begin, in characters; what is still longer stays unread.

        A title takes up to half of the room that the beginning has, and no piece is longer than a character.
        """
        begin, step = max(0, self._room // 2 - _OVERLAP), self._room - _OVERLAP
        return range(begin, min(length - _OVERLAP, begin + _FURTHER_WINDOWS * step), step)

    def _one(self, reading: Reading) -> Prediction:
        scores, truncated = self.logits(reading)
        probabilities: dict[str, Mapping[str, float]] = {}
        raw: dict[str, tuple[float, ...]] = {}
        start = 0
        for group, codes in self._groups.items():
            part = scores[start : start + len(codes)].astype(np.float64)
            start += len(codes)
            raw[group] = tuple(part.tolist())
            probabilities[group] = dict(zip(codes, _softmax(part / self._temperatures[group]), strict=True))
        behind = self._flags_behind(reading.content) if truncated and self._flags else []
        flags = np.max([scores[start:], *behind], axis=0).astype(np.float64)
        if not (np.isfinite(scores).all() and np.isfinite(flags).all()):
            raise NonFinite("the model's scores are not finite")
        raw["flags"] = tuple(flags.tolist())
        chances = _sigmoid(flags / self._temperatures["flags"])
        return Prediction(
            verdict=probabilities["verdict"],
            kind=probabilities["kind"],
            subject=probabilities["subject"],
            flags=dict(zip(self._flags, chances, strict=True)),
            logits=raw,
            truncated=truncated,
        )


def _sigmoid(scores: NDArray[np.float64]) -> list[float]:
    return [float(value) for value in 1.0 / (1.0 + np.exp(-scores))]


def _softmax(scores: NDArray[np.float64]) -> list[float]:
    powers = np.exp(scores - scores.max())
    return [float(value) for value in powers / powers.sum()]
