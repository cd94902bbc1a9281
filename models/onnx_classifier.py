"""The encoder as ONNX Runtime runs it; the only file of the rooms that imports the inference runtime.

`models/triage.py` serves with it, and `training` judges the exported graph through it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
import onnxruntime
from numpy.typing import NDArray
from tokenizers import Tokenizer

from data.records import Prediction, Reading
from models.bundle import Bundle
from models.classifier import NonFinite

_WARM_UP = Reading("路灯不亮", "幸福路路灯坏了三天，晚上看不清路，请派人维修。")


class OnnxClassifier:
    """Classifies one reading at a time, unpadded.

    Dynamic int8 quantisation scales activations over the whole input of the graph, so that in a
    batch an order's scores would depend on its neighbours; a batch of one has none.
    """

    def __init__(self, bundle: Bundle, threads: int = 2) -> None:
        """Load the verified bytes; raises whatever the runtime raises on a graph it cannot run."""
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.log_severity_level = 3
        self._session = onnxruntime.InferenceSession(
            bundle.graph, options, providers=["CPUExecutionProvider"]
        )
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
        inputs = {
            "input_ids": np.array([encoding.ids], dtype=np.int64),
            "attention_mask": np.array([encoding.attention_mask], dtype=np.int64),
            "token_type_ids": np.array([encoding.type_ids], dtype=np.int64),
        }
        (scores,) = self._session.run(["logits"], inputs)
        return scores[0], bool(encoding.overflowing)

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
