"""From trained weights to the graph that is served: int8 where it agrees; `training/run.py` calls it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from tokenizers import Tokenizer

from data.corpus.labels import LabelledOrder
from data.masking import read_text
from models.bundle import Bundle
from models.encoder_classifier import EncoderClassifier
from training.evaluate import agreement, largest_gap
from training.export import export, load_classifier

_PARITY_ORDERS = 64
_FP32_GAP = 1e-3
_INT8_AGREEMENT = 0.99


@dataclass(frozen=True, slots=True)
class ServedGraph:
    """The graph a bundle gets, and how far it is from the weights.

    Attributes:
        fp32_gap: max |Δlogit| between the fp32 graph and the weights.
        int8_agreement: the share of orders with the same verdict from both graphs.
    """

    name: str
    content: bytes
    fp32_gap: float
    int8_agreement: float


def served_graph(
    classifier: Path, unfitted: Bundle, tokenizer: Tokenizer, orders: Sequence[LabelledOrder], folder: Path
) -> ServedGraph:
    """Export the classifier to `folder` and choose: int8, or fp32 where int8 changes too many verdicts.

    Args:
        unfitted: a bundle without a graph, whose labels and token limit are used.
        orders: what the graphs are compared on.

    Raises:
        ArithmeticError: the exported graph does not compute what the model computes.
    """
    plain, small = export(classifier, folder)
    fp32, int8 = (EncoderClassifier(replace(unfitted, graph=graph.read_bytes())) for graph in (plain, small))
    probe = [read_text(order.title, order.content).reading for order in orders[:_PARITY_ORDERS]]
    gap = largest_gap(load_classifier(classifier), fp32, tokenizer, probe, unfitted.max_tokens)
    if gap >= _FP32_GAP:
        raise ArithmeticError(f"the exported graph differs from the model by {gap:.2e}")
    same = agreement(fp32, int8, orders)
    chosen = small if same >= _INT8_AGREEMENT else plain
    return ServedGraph(chosen.stem, chosen.read_bytes(), gap, same)
