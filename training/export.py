"""The fine-tuned model as single-file ONNX graphs, fp32 and int8; `training/run.py` calls it."""

from __future__ import annotations

import logging
import warnings
from pathlib import Path

import onnx
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from onnxruntime.transformers.fusion_options import FusionOptions
from onnxruntime.transformers.optimizer import optimize_model
from torch import Tensor, nn
from transformers import BertConfig

from training.classifier import PooledClassifier

OPSET = 18

# What a fused node makes has no type that the quantiser could look up.
_QUANTIZER = {"DefaultTensorType": onnx.TensorProto.FLOAT}


class _Graph(nn.Module):
    """(batch, tokens) ids, mask, segments in; (batch, labels) scores and (batch, 2 * width) states out."""

    def __init__(self, model: PooledClassifier) -> None:
        super().__init__()
        self.model = model

    def forward(
        self, input_ids: Tensor, attention_mask: Tensor, token_type_ids: Tensor
    ) -> tuple[Tensor, Tensor]:
        state = self.model.pooled(input_ids, attention_mask, token_type_ids)
        return self.model.classifier(state), state


def load_classifier(folder: Path) -> PooledClassifier:
    """The fine-tuned model in evaluation mode: exported in training mode it would keep its dropout."""
    model: PooledClassifier = PooledClassifier.from_pretrained(
        folder, attn_implementation="eager", dtype=torch.float32
    )
    model.train(False)
    return model


def export(folder: Path, out: Path) -> tuple[Path, Path]:
    """Write `fp32.onnx` and `int8.onnx` to `out` from the model in `folder`; return both paths.

    int8 weights are signed, which processors with VNNI multiply about twice as fast as unsigned ones; each
    output channel has a scale of its own. On processors without VNNI signed products saturate, so that
    `models/onnx_runtime.py` asks for the exact kernel there.
    """
    out.mkdir(parents=True, exist_ok=True)
    plain, small = out / "fp32.onnx", out / "int8.onnx"
    wrapped = _Graph(load_classifier(folder)).eval()
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
            output_names=["logits", "state"],
            dynamic_shapes=(axes, axes, axes),
            verbose=False,
        )
    assert program is not None  # noqa: S101 - dynamo=True always returns a program
    program.save(str(plain), external_data=False)
    _strip(plain)
    _fuse(plain, wrapped.model.config)
    quantize_dynamic(plain, small, weight_type=QuantType.QInt8, per_channel=True, extra_options=_QUANTIZER)
    return plain, small


def _fuse(path: Path, config: BertConfig) -> None:
    """Activation functions in one node each, where the exporter writes five."""
    fused = optimize_model(
        str(path),
        model_type="bert",
        num_heads=config.num_attention_heads,
        hidden_size=config.hidden_size,
        optimization_options=FusionOptions("bert"),
        opt_level=0,
    )
    fused.save_model_to_file(str(path))


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
