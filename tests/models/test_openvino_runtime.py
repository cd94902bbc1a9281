"""OpenVINO itself, where it is installed: what `models/fast_path.py` chooses is tested without it."""

from __future__ import annotations

import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from importlib.util import find_spec
from pathlib import Path

import numpy as np
import pytest

from data.settings import ROOT
from data.taxonomy import Taxonomy
from models import bundle as bundles
from models.graph_runtime import GraphRuntime
from models.onnx_runtime import OnnxRuntime
from tests.models import tiny_bundle

pytestmark = pytest.mark.skipif(find_spec("openvino") is None, reason="the extra `fast` is not installed")

RNG = np.random.default_rng(7)
TEXTS = [RNG.integers(0, 60, length).tolist() for length in (1, 2, 15, 16, 17, 31, 32, 33, 100, 256)]
TELLS = """
import os, sys
seen = ("socket.connect", "socket.getaddrinfo", "urllib.Request")
sys.addaudithook(lambda event, details: event in seen and os.write(1, f"{event} {details}\\n".encode()))
import models.openvino_runtime
"""


@pytest.fixture(scope="module")
def graph(taxonomy: Taxonomy) -> bytes:
    return tiny_bundle.files(taxonomy)[bundles.GRAPH]


@pytest.fixture(scope="module")
def fast(graph: bytes) -> GraphRuntime:
    from models.openvino_runtime import OpenvinoRuntime

    return OpenvinoRuntime(graph, 2)


def segments(ids: list[int]) -> list[int]:
    return [number % 2 for number in range(len(ids))]


def test_it_scores_as_onnx_runtime_does_at_every_length(fast: GraphRuntime, graph: bytes) -> None:
    plain = OnnxRuntime(graph)
    for ids in TEXTS:
        scores = fast.scores(ids, segments(ids))
        np.testing.assert_allclose(scores, plain.scores(ids, segments(ids)), rtol=1e-5, atol=1e-5)
        assert scores.dtype == np.float32


def test_it_says_what_it_is(fast: GraphRuntime) -> None:
    assert fast.name.startswith("openvino 2")


def test_scores_are_the_caller_s_to_change(fast: GraphRuntime) -> None:
    first = fast.scores([5, 6, 7], [0, 0, 1])
    kept = first.copy()
    fast.scores([40, 41, 42], [0, 0, 1])
    assert (first == kept).all(), "the next text wrote over them"
    first[:] = 0.0
    assert (fast.scores([5, 6, 7], [0, 0, 1]) == kept).all()


def test_threads_do_not_disturb_each_other(fast: GraphRuntime) -> None:
    expected = [fast.scores(ids, segments(ids)).tolist() for ids in TEXTS]
    with ThreadPoolExecutor(4) as pool:  # more than there are streams
        for _ in range(5):
            found = list(pool.map(lambda ids: fast.scores(ids, segments(ids)).tolist(), TEXTS))
            assert found == expected


def test_lengths_are_rounded_up_to_few_shapes(graph: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    import openvino

    from models.openvino_runtime import OpenvinoRuntime

    seen: list[dict[str, tuple[int, ...]]] = []
    infer = openvino.InferRequest.infer

    def watched(request: object, inputs: dict[str, np.ndarray]) -> object:
        seen.append({name: values.shape for name, values in inputs.items()})
        return infer(request, inputs)

    monkeypatch.setattr(openvino.InferRequest, "infer", watched)
    runtime = OpenvinoRuntime(graph, 1)
    assert len(seen) == 1, "the library's first inference in a process is none that two threads may share"
    seen.clear()
    for length in range(1, 257):
        runtime.scores([3] * length, [0] * length)
    assert len({tuple(shapes.items()) for shapes in seen}) == 16
    assert all(set(shapes.values()) == {(1, -(-n // 16) * 16)} for n, shapes in enumerate(seen, start=1))


def test_a_broken_graph_raises() -> None:
    from models.openvino_runtime import OpenvinoRuntime

    with pytest.raises(RuntimeError):
        OpenvinoRuntime(b"not a graph", 1)


def test_nobody_is_told_that_it_is_used(tmp_path: Path) -> None:
    """The library's reporter is silent on what it takes for a CI machine: nothing here may look like one."""
    environment = {"PATH": os.environ["PATH"], "HOME": str(tmp_path)}
    environment |= {
        name: os.environ[name] for name in ("PYTHONPATH", "LD_LIBRARY_PATH") if name in os.environ
    }
    done = subprocess.run(
        [sys.executable, "-c", TELLS], cwd=ROOT, env=environment, capture_output=True, timeout=60, check=True
    )
    assert done.stdout == b""
    assert list(tmp_path.iterdir()) == [], "an identifier of this installation"
