"""A real, signed bundle that fails on words: one hangs it, one makes it NaN, one it cannot look up."""

from __future__ import annotations

import json
import time

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from data.taxonomy import Taxonomy
from models import bundle
from models.onnx_runtime import OnnxRuntime
from tests.models import tiny_bundle
from training.vocabulary import piece_id

# In the tiny vocabulary, UNKNOWN as its last piece, and in no text of these tests but on purpose.
HANG, POISON, UNKNOWN = "皑", "稗", "缠"
_PROBE = 2000  # rounds whose time says what a round takes


def files(taxonomy: Taxonomy, hang_s: float) -> dict[str, bytes]:
    """An order that holds HANG takes about `hang_s` seconds of a core, and nothing stops it."""
    ids = [piece_id(tiny_bundle.tokenizer(), HANG)]
    runtime = OnnxRuntime(_graph(taxonomy, _PROBE))
    runtime.scores(ids, [0])
    began = time.thread_time()  # the core's time: a busy machine makes no round longer
    runtime.scores(ids, [0])
    a_second = _PROBE / (time.thread_time() - began)
    return tiny_bundle.files(taxonomy) | {bundle.GRAPH: _graph(taxonomy, int(hang_s * a_second))}


def another_tokenizer(contents: dict[str, bytes]) -> dict[str, bytes]:
    """The same with a tokenizer whose numbers the graph has no rows for: it loads, and fails on any text."""
    tokenizer = json.loads(contents[bundle.TOKENIZER])
    vocabulary = tokenizer["model"]["vocab"]
    moved = {piece: number + len(vocabulary) for piece, number in vocabulary.items()}
    tokenizer["model"]["vocab"] = moved
    for added in tokenizer["added_tokens"]:
        added["id"] = moved[added["content"]]
    for name in ("sep", "cls"):
        tokenizer["post_processor"][name][1] = moved[tokenizer["post_processor"][name][0]]
    return contents | {bundle.TOKENIZER: json.dumps(tokenizer, ensure_ascii=False).encode()}


def _graph(taxonomy: Taxonomy, rounds: int) -> bytes:
    """The tiny graph, and before its end a loop that goes round so often for each HANG in the text."""
    pieces = tiny_bundle.tokenizer()
    model = onnx.load_from_string(tiny_bundle.files(taxonomy)[bundle.GRAPH])
    (votes,) = (each for each in model.graph.initializer if each.name == "votes")
    table = numpy_helper.to_array(votes).copy()
    table[piece_id(pieces, POISON)] = np.nan
    assert piece_id(pieces, UNKNOWN) == len(table) - 1
    votes.CopyFrom(numpy_helper.from_array(table[:-1], "votes"))
    turns = np.zeros(len(table), dtype=np.int64)
    turns[piece_id(pieces, HANG)] = rounds
    (last,) = (node for node in model.graph.node if "logits" in node.output)
    last.output[0] = "scores"
    model.graph.initializer.extend(
        numpy_helper.from_array(value, name) for name, value in _constants(turns).items()
    )
    model.graph.node.extend(
        [
            helper.make_node("Gather", ["turns", "input_ids"], ["asked"]),
            helper.make_node("ReduceSum", ["asked"], ["rounds"], keepdims=0),
            helper.make_node("Loop", ["rounds", "", "wheel"], ["spun"], body=_round()),
            helper.make_node("ReduceMean", ["spun"], ["still"], keepdims=0),
            helper.make_node("Mul", ["still", "nothing"], ["none"]),
            helper.make_node("Add", ["scores", "none"], ["logits"]),
        ]
    )
    onnx.checker.check_model(model)
    content: bytes = model.SerializeToString()
    return content


def _constants(turns: NDArray[np.int64]) -> dict[str, NDArray[np.generic]]:
    return {
        "turns": turns,
        "wheel": np.linspace(0, 1, 4096, dtype=np.float32),
        "nothing": np.array(0, dtype=np.float32),
    }


def _round() -> onnx.GraphProto:
    wheel = [4096]
    return helper.make_graph(
        [
            helper.make_node("Identity", ["on"], ["still_on"]),
            helper.make_node("Sin", ["before"], ["after"]),
        ],
        "round",
        [
            helper.make_tensor_value_info("number", TensorProto.INT64, []),
            helper.make_tensor_value_info("on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("before", TensorProto.FLOAT, wheel),
        ],
        [
            helper.make_tensor_value_info("still_on", TensorProto.BOOL, []),
            helper.make_tensor_value_info("after", TensorProto.FLOAT, wheel),
        ],
    )
