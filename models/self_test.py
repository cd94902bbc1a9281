"""A bundle's graph on OpenVINO beside ONNX Runtime, in a process that `models/fast_path.py` starts.

A process of its own, since what it tries may crash, hang or fill the memory. `python -m models.self_test`
reads a bundle from standard input and prints a verdict as its last line.
"""

from __future__ import annotations

import json
import signal
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, replace
from itertools import cycle, islice
from pathlib import Path
from typing import Final

from data.masking import read_text
from data.records import Prediction, Reading, Thresholds
from models.bundle import Bundle
from models.encoder_classifier import EncoderClassifier
from models.graph_runtime import GraphRuntime
from models.onnx_runtime import OnnxRuntime

# The certificate was computed on ONNX Runtime's scores, so another runtime's must be the same in effect.
# Thresholds come from a grid of log-odds by 1/20, whose steps are 0.002 where they usually lie (0.05, 0.95):
# less than half a step is less than the certificate can tell apart.
PARITY: Final = 1e-3
# Less is not worth a second library in the process, and what a busy machine may feign.
WORTHWHILE: Final = 1.1
PATIENCE_S: Final = 60.0

_ORDERS: Final = Path(__file__).resolve().parent / "reference" / "self_test.txt"
# Lines that make a longer text together; the last is more than the encoder reads.
_JOINED: Final = ((8, 12), (14, 19), (20, 27, 9), (24, 29), (22, 31, 32), (33, 24, 27, 29, 22, 31, 32))
_ROUNDS: Final = 3  # of each in turn, so that a slow moment of the machine falls on both
_TEXTS_A_LANE: Final = 4  # in one round at least: with fewer, lanes would stand idle at its end


@dataclass(frozen=True, slots=True)
class Verdict:
    """Whether OpenVINO shall serve, and why."""

    fast: bool
    reason: str


def readings() -> list[Reading]:
    """Forty texts from a few words to more than the encoder reads; none is anybody's order."""
    lines = _ORDERS.read_text(encoding="utf-8").splitlines()
    orders = [*lines, *("".join(lines[number] for number in numbers) for numbers in _JOINED)]
    return [read_text("", order).reading for order in orders]


def examine(bundle: Bundle, plain: GraphRuntime, fast: GraphRuntime, lanes: int) -> Verdict:
    """`fast` must score as `plain` does, the same each time, and get more done on as many lanes as serve.

    Raises:
        NonFinite: one of them scores NaN or infinity.
    """
    ours, theirs = EncoderClassifier(bundle, plain), EncoderClassifier(bundle, fast)
    texts = readings()
    alone: list[Prediction] = []
    for reading in texts:
        expected, found = _one(ours, reading), _one(theirs, reading)
        gap = _gap(expected, found)
        if not gap <= PARITY:
            return Verdict(False, f"a probability differs by {gap:.2g}, more than {PARITY:g}")
        if _settled(expected, bundle.thresholds) != _settled(found, bundle.thresholds):
            return Verdict(False, "an order would be decided otherwise")
        alone.append(found)
    with ThreadPoolExecutor(lanes) as pool:
        # Also warms up each lane's own part of the runtime.
        together = list(pool.map(lambda reading: _one(theirs, reading), texts))
        if together != alone:
            return Verdict(False, "the same text does not always get the same scores")
        load = list(islice(cycle(texts[::2]), max(len(texts) // 2, _TEXTS_A_LANE * lanes)))
        taken = [[_seconds(pool, classifier, load) for classifier in (ours, theirs)] for _ in range(_ROUNDS)]
    ratio = sum(mine for mine, _ in taken) / sum(its for _, its in taken)
    return Verdict(ratio >= WORTHWHILE, f"{ratio:.2f} times as fast as {plain.name} on {lanes} lanes")


def packed(bundle: Bundle, lanes: int) -> bytes:
    """What `main` reads: a line of JSON, then the n-grams and the graph, bytes that were verified.

    Precedents stay here: they score nothing.
    """
    described = asdict(replace(bundle, graph=b"", ngrams=b"", precedents=b""))
    del described["graph"], described["ngrams"], described["precedents"]
    head = {"lanes": lanes, "ngrams": len(bundle.ngrams), "bundle": described}
    return json.dumps(head).encode() + b"\n" + bundle.ngrams + bundle.graph


def main() -> int:
    signal.alarm(int(PATIENCE_S) + 1)  # it ends even if whoever waits for it was killed
    head = json.loads(sys.stdin.buffer.readline())
    described = head["bundle"]
    described["label_groups"] = {group: tuple(codes) for group, codes in described["label_groups"].items()}
    described["thresholds"] = Thresholds(**described["thresholds"])
    ngrams = sys.stdin.buffer.read(head["ngrams"])
    bundle = Bundle(**described, ngrams=ngrams, graph=sys.stdin.buffer.read())
    lanes = head["lanes"]
    verdict = examine(bundle, OnnxRuntime(bundle.graph), _openvino(bundle, lanes), lanes)
    print(json.dumps(asdict(verdict)))
    return 0


def _openvino(bundle: Bundle, lanes: int) -> GraphRuntime:
    from models.openvino_runtime import OpenvinoRuntime

    return OpenvinoRuntime(bundle.graph, lanes)


def _one(classifier: EncoderClassifier, reading: Reading) -> Prediction:
    return classifier.classify([reading])[0]


def _seconds(pool: ThreadPoolExecutor, classifier: EncoderClassifier, texts: Sequence[Reading]) -> float:
    began = time.perf_counter()
    list(pool.map(lambda reading: _one(classifier, reading), texts))
    return time.perf_counter() - began


def _gap(one: Prediction, other: Prediction) -> float:
    """The largest difference between their probabilities."""
    groups = (
        (one.verdict, other.verdict),
        (one.kind, other.kind),
        (one.subject, other.subject),
        (one.flags, other.flags),
    )
    return max(abs(p - theirs[code]) for ours, theirs in groups for code, p in ours.items())


def _settled(prediction: Prediction, thresholds: Thresholds) -> Sequence[object]:
    """What a decision would rest on: the verdict's side, its ground, each threshold's side and each flag."""
    p = prediction.p_unreasonable
    return (
        p >= 0.5,
        prediction.likeliest_ground if p >= 0.5 else None,
        thresholds.decline is not None and p >= thresholds.decline,
        thresholds.dispatch is not None and p <= thresholds.dispatch,
        *(chance >= thresholds.flags[code] for code, chance in prediction.flags.items()),
    )


if __name__ == "__main__":
    sys.exit(main())
