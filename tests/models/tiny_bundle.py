"""A real, signed bundle small enough to make in every test: each token votes, the mean vote is the score."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from onnx import TensorProto, helper, numpy_helper
from tokenizers import Tokenizer

from data.taxonomy import Taxonomy
from models import bundle
from models.precedents import Precedent, Precedents, deflated, directions, packed
from training.vocabulary import build_tokenizer, piece_id

ALARM_MARK = "火"  # the one that raises the emergency flag
UNREASONABLE_MARK = "裁"  # the one character that votes for legal_route
MAX_TOKENS = 32


def tokenizer() -> Tokenizer:
    return build_tokenizer(["路灯坏了，请派人来修。", "法院裁定不算数，裁。", "着火了"] * 2, 400, 1)


def graph(taxonomy: Taxonomy, vocabulary: int, mark: int, alarm: int, *, poison: float = 0.0) -> bytes:
    """`poison` is added to every score: NaN makes the model non-finite."""
    width = sum(map(len, taxonomy.groups.values())) + len(taxonomy.flags)
    votes = np.zeros((vocabulary, width), dtype=np.float32)
    votes[:, 0] = 1.0
    votes[:, -len(taxonomy.flags) :] = -9.0
    votes[mark, taxonomy.verdicts.index("legal_route")] = 90.0
    votes[alarm, taxonomy.flag_codes.index("emergency") - len(taxonomy.flags)] = 200.0
    nodes = [
        helper.make_node("Gather", ["votes", "input_ids"], ["each"]),
        helper.make_node("Cast", ["attention_mask"], ["mask"], to=TensorProto.FLOAT),
        helper.make_node("Cast", ["token_type_ids"], ["types"], to=TensorProto.FLOAT),
        helper.make_node("Add", ["mask", "types"], ["seen"]),
        helper.make_node("Sign", ["seen"], ["signs"]),
        helper.make_node("Unsqueeze", ["signs", "last"], ["weights"]),
        helper.make_node("Mul", ["each", "weights"], ["kept"]),
        # Over what is there alone, so that padding changes no score.
        helper.make_node("ReduceSum", ["kept", "tokens"], ["sum"], keepdims=0),
        helper.make_node("ReduceSum", ["weights", "tokens"], ["count"], keepdims=0),
        helper.make_node("Div", ["sum", "count"], ["mean"]),
        helper.make_node("Add", ["mean", "poison"], ["logits"]),
        helper.make_node("Identity", ["mean"], ["state"]),
    ]
    inputs = [
        helper.make_tensor_value_info(name, TensorProto.INT64, ["batch", "length"])
        for name in ("input_ids", "attention_mask", "token_type_ids")
    ]
    constants = {
        "votes": votes,
        "last": np.array([-1], dtype=np.int64),
        "tokens": np.array([1], dtype=np.int64),
        "poison": np.full(width, poison, dtype=np.float32),
    }
    model = helper.make_model(
        helper.make_graph(
            nodes,
            "tiny",
            inputs,
            [
                helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", width])
                for name in ("logits", "state")
            ],
            [numpy_helper.from_array(value, name) for name, value in constants.items()],
        ),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=10,
    )
    onnx.checker.check_model(model)
    return model.SerializeToString()


def precedents(taxonomy: Taxonomy) -> bytes:
    """One order on either side; a text is like the one whose verdict it votes for."""
    width = sum(map(len, taxonomy.groups.values())) + len(taxonomy.flags)
    orders = [
        Precedent("t1", "路灯", "路灯坏了，请派人来修。", "reasonable", "设施坏了，归市政管", 1.0),
        Precedent("t2", "不服裁定", "法院裁定不算数，请改判。", "legal_route", "要求改变生效裁定", 1.0),
    ]
    states = np.zeros((len(orders), width), dtype=np.float32)
    for row, order in enumerate(orders):
        states[row, taxonomy.verdicts.index(order.verdict)] = 1.0
    centre, projection = np.zeros(width, dtype=np.float32), np.eye(width, dtype=np.float32)
    vectors = packed(directions(states, centre, projection))
    return Precedents(centre, projection, vectors, np.array([False, True]), deflated(orders)).content()


def files(taxonomy: Taxonomy, *, poison: float = 0.0) -> dict[str, bytes]:
    pieces = tokenizer()
    mark, alarm = piece_id(pieces, UNREASONABLE_MARK), piece_id(pieces, ALARM_MARK)
    settings = {
        "label_groups": taxonomy.groups,
        "temperatures": dict.fromkeys((*taxonomy.groups, "flags"), 1.0),
        "flag_thresholds": dict.fromkeys(taxonomy.flag_codes, 0.5),
        "base_rate": 0.4,
        "max_tokens": MAX_TOKENS,
    }
    certificate = {"decline": {"threshold": 0.9}, "dispatch": {"threshold": 0.3}}
    return {
        bundle.GRAPH: graph(taxonomy, pieces.get_vocab_size(), mark, alarm, poison=poison),
        bundle.PRECEDENTS: precedents(taxonomy),
        bundle.TOKENIZER: pieces.to_str().encode(),
        bundle.SETTINGS: json.dumps(settings).encode(),
        bundle.CERTIFICATE: json.dumps(certificate).encode(),
        bundle.CARD: b"# tiny\n",
    }


def publish(folder: Path, contents: dict[str, bytes], signer: Ed25519PrivateKey | None = None) -> Path:
    """Write a bundle to `folder/bundle` and its signer to a publishers file, whose path is returned."""
    key = signer or Ed25519PrivateKey.generate()
    bundle.write_bundle(folder / "bundle", "tiny", contents, {"taxonomy": "t"}, key)
    publishers = folder / "publishers.toml"
    publishers.write_text(
        f'[[publishers]]\nname = "test"\nkey = "{bundle.public_text(key.public_key())}"\n', encoding="utf-8"
    )
    return publishers
