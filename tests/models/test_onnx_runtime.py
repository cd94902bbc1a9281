"""Which of ONNX Runtime's kernels multiplies: the usual one where it is exact, else the slower exact one."""

from __future__ import annotations

import numpy as np
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from models import onnx_runtime
from models.bundle import read_bundle
from models.onnx_runtime import OnnxRuntime, multiplies_exactly


@pytest.fixture
def told(monkeypatch):
    """What sessions are told about exactness, and a probe that has not been made."""
    said: list[bool] = []
    plain = onnxruntime.SessionOptions

    class Options(plain):
        def add_session_config_entry(self, name: str, value: str) -> None:
            said.append((name, value) == (onnx_runtime._EXACT, "1"))
            super().add_session_config_entry(name, value)

    monkeypatch.setattr(onnxruntime, "SessionOptions", Options)
    multiplies_exactly.cache_clear()
    yield said
    multiplies_exactly.cache_clear()


def test_the_probe_is_one_product_of_bytes():
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["unsigned", "signed"], ["product"])],
        "byte_product",
        [
            helper.make_tensor_value_info("unsigned", TensorProto.UINT8, [4, 64]),
            helper.make_tensor_value_info("signed", TensorProto.INT8, [64, 16]),
        ],
        [helper.make_tensor_value_info("product", TensorProto.INT32, [4, 16])],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=8)
    assert onnx.load_from_string(onnx_runtime._PRODUCT.read_bytes()) == model


def test_the_exact_kernel_is_asked_for_only_where_the_usual_one_is_not_exact(
    shipped, taxonomy, told, monkeypatch
):
    graph = read_bundle(shipped, taxonomy).graph
    OnnxRuntime(graph)
    assert told == ([] if multiplies_exactly() else [True])
    told.clear()

    class Saturating:
        def __init__(self, *_: object, **__: object) -> None:
            pass

        def run(self, _: object, inputs: dict[str, np.ndarray]) -> list[np.ndarray]:
            """As pairs of products are added in 16 bits."""
            pairs = inputs["unsigned"].shape[1] // 2
            return [np.full((4, 16), pairs * (2**15 - 1), dtype=np.int32)]

    multiplies_exactly.cache_clear()
    with monkeypatch.context() as patch:
        patch.setattr(onnxruntime, "InferenceSession", Saturating)
        assert not multiplies_exactly()
    OnnxRuntime(graph)
    assert told == [True]


def test_both_kernels_give_the_same_scores(shipped, taxonomy, monkeypatch):
    graph = read_bundle(shipped, taxonomy).graph
    usual = OnnxRuntime(graph)
    monkeypatch.setattr(onnx_runtime, "multiplies_exactly", lambda: False)
    exact = OnnxRuntime(graph)
    if not multiplies_exactly():
        pytest.skip("this processor has the exact kernel alone")
    for length in (2, 17, 80, 256):
        ids = [1 + (7 * place) % 7900 for place in range(length)]
        assert np.array_equal(usual.scores(ids, [0] * length), exact.scores(ids, [0] * length))
