"""The fine-tuned encoder of a bundle as a classifier: tokens in, calibrated predictions out.

`models/triage.py` serves with it, and `training` judges the exported graph through it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from data.records import Prediction, Reading
from models.bundle import Bundle
from models.classifier import NonFinite
from models.graph_runtime import GraphRuntime
from models.onnx_runtime import OnnxRuntime

_WARM_UP = Reading("路灯不亮", "幸福路路灯坏了三天，晚上看不清路，请派人维修。")


class EncoderClassifier:
    """Classifies one reading at a time; safe to call from several threads at once."""

    def __init__(self, bundle: Bundle, runtime: GraphRuntime | None = None, threads: int = 2) -> None:
        """Over a runtime that has loaded the bundle's graph; by default ONNX Runtime with these threads.

        Raises whatever the runtime raises on a graph it cannot run.
        """
        self.runtime = OnnxRuntime(bundle.graph, threads) if runtime is None else runtime
        self._tokenizer = Tokenizer.from_str(bundle.tokenizer)
        self._tokenizer.enable_truncation(bundle.max_tokens)
        self._groups = bundle.label_groups
        self._flags = tuple(bundle.thresholds.flags)
        self._temperatures = bundle.temperatures

    def warm_up(self) -> None:
        """Run once for real, so that a graph that cannot answer fails readiness, not an order."""
        self.classify([_WARM_UP])

    def classify(self, readings: Sequence[Reading]) -> list[Prediction]:
        """See `Classifier.classify`."""
        return [self._one(reading) for reading in readings]

    def logits(self, reading: Reading) -> tuple[NDArray[np.float32], bool]:
        """(raw scores of all groups and then of the flags, whether the text was cut)."""
        encoding = self._tokenizer.encode(reading.title, reading.content)
        return self.runtime.scores(encoding.ids, encoding.type_ids), bool(encoding.overflowing)

    def _one(self, reading: Reading) -> Prediction:
        scores, truncated = self.logits(reading)
        if not np.isfinite(scores).all():
            raise NonFinite("the model's scores are not finite")
        probabilities: dict[str, Mapping[str, float]] = {}
        raw: dict[str, tuple[float, ...]] = {}
        start = 0
        for group, codes in self._groups.items():
            part = scores[start : start + len(codes)].astype(np.float64)
            start += len(codes)
            raw[group] = tuple(part.tolist())
            probabilities[group] = dict(zip(codes, _softmax(part / self._temperatures[group]), strict=True))
        flags = scores[start:].astype(np.float64)
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
