"""A released bundle's weights as a model that trains on; `python -m training reopen` calls it.

A bundle carries what is served and no checkpoint. Its graph holds every weight all the same, in int8
with a scale for each channel, so that new bulletins can be learned on top of any released bundle by
whoever has it. What rounding cost, training on makes good where layers are not frozen.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping
from pathlib import Path

import onnx
import torch
from onnx import GraphProto, NodeProto, numpy_helper
from torch import Tensor
from transformers import BertConfig

from data.errors import BadInput
from models.bundle import Bundle
from training.classifier import PooledClassifier
from training.encoder import FIGURES

_PRODUCTS = ("MatMulInteger", "MatMul", "Gemm")
_AHEAD = 5  # nodes from a matrix product to its bias, at most, both counted
_TOKENIZER = "tokenizer_config.json"
REOPENED = "reopened.json"


def reopen(bundle: Bundle, encoder: Path, out: Path) -> None:
    """Write the bundle's encoder and head to `out` in transformers' format, as a recipe's `encoder`.

    Args:
        encoder: folder of the encoder that the bundle was trained from; it tells the shape, and the
            record of its pretraining goes along.

    Raises:
        BadInput: the graph's weights are not those of a model of that shape.
    """
    config = BertConfig.from_pretrained(encoder)
    names = [
        *(f"{group}:{code}" for group, codes in bundle.label_groups.items() for code in codes),
        *(f"flag:{code}" for code in bundle.thresholds.flags),
    ]
    config.num_labels = len(names)
    config.id2label = dict(enumerate(names))
    config.label2id = {name: place for place, name in enumerate(names)}
    model = PooledClassifier(config)
    weights = weights_of(bundle.graph)
    try:
        missing, surplus = model.load_state_dict(weights, strict=False)
    except RuntimeError as error:
        raise _unlike() from error
    if missing or surplus:
        raise _unlike()
    out.mkdir(parents=True, exist_ok=True)
    model.save_pretrained(out)
    (out / "tokenizer.json").write_text(bundle.tokenizer, encoding="utf-8")
    for name in (_TOKENIZER, FIGURES):
        if (encoder / name).exists():
            shutil.copyfile(encoder / name, out / name)
    origin = {"bundle": bundle.digest, "encoder": encoder.resolve().name}
    (out / REOPENED).write_text(json.dumps(origin) + "\n", encoding="utf-8")


def weights_of(graph: bytes) -> dict[str, Tensor]:
    """Every weight of an exported graph in fp32, by the name that it has in `PooledClassifier`."""
    content = onnx.load_from_string(graph).graph
    stored = {each.name: numpy_helper.to_array(each).copy() for each in content.initializer}
    tensors = {name: torch.from_numpy(values) for name, values in stored.items()}
    found = {
        _own_name(name): _plain(tensors, name)
        for name in tensors
        if name.startswith("model.") and "Transposed" not in name and name.endswith(("bias", "weight"))
    }
    for name in tensors:  # embeddings are looked up, so they keep their name
        looked_up = name.removesuffix("_quantized")
        if looked_up != name and looked_up.endswith("embeddings.weight"):
            found[_own_name(looked_up)] = _plain(tensors, looked_up)
    for product in content.node:
        weight = _weight_of(product, tensors)
        if product.op_type in _PRODUCTS and weight is not None and _own_name(weight) not in found:
            bias = _bias_of(product, content)
            found[_own_name(bias).removesuffix("bias") + "weight"] = _plain(tensors, weight).T.contiguous()
    return found


def _weight_of(product: NodeProto, tensors: Mapping[str, Tensor]) -> str | None:
    """The name, less what quantisation added, of the weight that a product multiplies by; None of states."""
    weight = product.input[1] if len(product.input) > 1 else ""
    return weight.removesuffix("_quantized") if weight in tensors else None


def _plain(tensors: Mapping[str, Tensor], name: str) -> Tensor:
    if name in tensors:
        return tensors[name]
    steps = tensors[f"{name}_quantized"].float() - tensors[f"{name}_zero_point"].float()
    return steps * tensors[f"{name}_scale"]


def _bias_of(product: NodeProto, graph: GraphProto) -> str:
    """What a product is shifted by, which says whose weight it is: exporting renames matrices."""
    node: NodeProto | None = product
    for _ in range(_AHEAD):
        if node is None:
            break
        if bias := [name for name in node.input if name.endswith(".bias") and "LayerNorm" not in name]:
            return str(bias[0])
        made = node.output[0]
        node = next((each for each in graph.node if made in each.input), None)
    raise _unlike()


def _own_name(name: str) -> str:
    return name.removeprefix("model.")


def _unlike() -> BadInput:
    return BadInput("bundle_unlike_encoder", "模型包里的权重与指定编码器的形状不符。")
