"""The fine-tuned model as single-file ONNX graphs, fp32 and int8; `training/run.py` calls it."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from torch import Tensor, nn

from training.classifier import PooledClassifier

OPSET = 18


class _Logits(nn.Module):
    """The graph's signature: (batch, tokens) ids, mask and segments in, (batch, scores) out."""

    def __init__(self, model: PooledClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor) -> Tensor:
        logits: Tensor = self.model(
            input_ids=input_ids, attention_mask=attention_mask, token_type_ids=token_type_ids
        ).logits
        return logits


def load_classifier(folder: Path) -> PooledClassifier:
    """The fine-tuned model in evaluation mode: exported in training mode it would keep its dropout."""
    model: PooledClassifier = PooledClassifier.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32
    )
    model.train(False)
    return model


def export(folder: Path, out: Path) -> tuple[Path, Path]:
    """Write `fp32.onnx` and `int8.onnx` to `out` from the model in `folder`; return both paths.

    int8 weights are unsigned: on processors without VNNI signed ones saturate, and the same order
    would get another score there.
    """
    out.mkdir(parents=True, exist_ok=True)
    plain, small = out / "fp32.onnx", out / "int8.onnx"
    wrapped = _Logits(load_classifier(folder)).eval()
    # Three tensors, not one thrice: inputs that alias each other become a single input of the graph.
    examples = tuple(torch.ones(2, 16, dtype=torch.int64) for _ in range(3))
    batch, tokens = torch.export.Dim("batch", min=1, max=512), torch.export.Dim("tokens", min=2, max=512)
    axes = {0: batch, 1: tokens}
    logging.getLogger("torch.onnx").setLevel(logging.ERROR)
    with warnings.catch_warnings():
        # The exporter's own: it calls what torch deprecates, and renames axes that are equal by design.
        warnings.filterwarnings("ignore", "`isinstance\\(treespec", FutureWarning)
        warnings.filterwarnings("ignore", "# The axis name", UserWarning)
        program = torch.onnx.export(
            wrapped,
            examples,
            dynamo=True,
            opset_version=OPSET,
            input_names=["input_ids", "attention_mask", "token_type_ids"],
            output_names=["logits"],
            dynamic_shapes=(axes, axes, axes),
            verbose=False,
        )
    assert program is not None  # noqa: S101 - dynamo=True always returns a program
    program.save(str(plain), external_data=False)
    _strip(plain)
    quantize_dynamic(plain, small, weight_type=QuantType.QUInt8, per_channel=False)
    return plain, small


def _strip(path: Path) -> None:
    """Remove the exporter's notes, which hold stack traces with this machine's paths."""
    model = onnx.load(path)
    graph = model.graph
    for part in (
        model,
        graph,
        *graph.node,
        *graph.input,
        *graph.output,
        *graph.value_info,
        *graph.initializer,
    ):
        part.doc_string = ""
        del part.metadata_props[:]
    onnx.save(model, path)
