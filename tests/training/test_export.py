from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
import torch
from tokenizers import Tokenizer
from transformers import BertConfig

from data.corpus.labels import LabelledOrder, read_folder
from data.masking import read_text
from data.taxonomy import Taxonomy
from models.bundle import Bundle, read_bundle
from models.encoder_classifier import EncoderClassifier
from tests.models import tiny_bundle
from training.classifier import PooledClassifier
from training.evaluate import agreement, largest_gap, score
from training.export import export, load_classifier
from training.vocabulary import build_tokenizer

LENGTH = 48


@pytest.fixture(scope="module")
def orders(taxonomy: Taxonomy) -> list[LabelledOrder]:
    return [order for order in read_folder(taxonomy) if order.region == "w1"][:60]


@pytest.fixture(scope="module")
def tokenizer(orders: list[LabelledOrder]) -> Tokenizer:
    return build_tokenizer((order.content for order in orders), 3000, 1)


@pytest.fixture(scope="module")
def trained(tokenizer: Tokenizer, taxonomy: Taxonomy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classifier")
    torch.manual_seed(4)
    config = BertConfig(
        vocab_size=tokenizer.get_vocab_size(),
        hidden_size=64,
        num_hidden_layers=2,
        num_attention_heads=1,
        intermediate_size=128,
        max_position_embeddings=64,
        num_labels=sum(map(len, taxonomy.groups.values())) + len(taxonomy.flags),
    )
    PooledClassifier(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def graphs(trained: Path) -> tuple[Path, Path]:
    return export(trained, trained / "graphs")


@pytest.fixture
def running(
    tmp_path: Path, tokenizer: Tokenizer, taxonomy: Taxonomy, graphs: tuple[Path, Path]
) -> list[EncoderClassifier]:
    publishers = tiny_bundle.publish(tmp_path, tiny_bundle.files(taxonomy))
    like: Bundle = read_bundle(tmp_path / "bundle", taxonomy, publishers)
    like = replace(like, tokenizer=tokenizer.to_str(), max_tokens=LENGTH)
    return [EncoderClassifier(replace(like, graph=path.read_bytes())) for path in graphs]


def test_the_graph_computes_what_the_weights_compute(
    running: list[EncoderClassifier], trained: Path, tokenizer: Tokenizer, orders: list[LabelledOrder]
) -> None:
    readings = [read_text(order.title, order.content).reading for order in orders]
    assert largest_gap(load_classifier(trained), running[0], tokenizer, readings, LENGTH) < 1e-4
    other = load_classifier(trained)
    with torch.no_grad():
        other.classifier.bias += 0.5
    assert largest_gap(other, running[0], tokenizer, readings[:3], LENGTH) == pytest.approx(0.5, abs=1e-3)


def test_every_length_and_batch_runs(graphs: tuple[Path, Path], trained: Path) -> None:
    model = load_classifier(trained)
    session = onnxruntime.InferenceSession(graphs[0])
    for shape in ((1, 2), (1, 47), (3, 9)):
        ids = torch.randint(5, 100, shape)
        ones = np.ones(shape, dtype=np.int64)
        with torch.no_grad():
            given = torch.from_numpy(ones)
            expected = model(ids, given, given * 0).logits.numpy()
        inputs = {"input_ids": ids.numpy(), "attention_mask": ones, "token_type_ids": ones * 0}
        np.testing.assert_allclose(session.run(["logits"], inputs)[0], expected, atol=1e-4)


def test_the_small_graph_is_smaller_and_agrees(
    graphs: tuple[Path, Path], running: list[EncoderClassifier], orders: list[LabelledOrder]
) -> None:
    assert graphs[1].stat().st_size < graphs[0].stat().st_size / 2
    assert agreement(running[0], running[0], orders) == 1.0
    assert agreement(running[0], running[1], orders) >= 0.95


def test_no_graph_holds_a_path_of_this_machine(graphs: tuple[Path, Path]) -> None:
    for path in graphs:
        content = path.read_bytes()
        assert str(Path.cwd()).encode() not in content
        assert b"site-packages" not in content


def test_scores_follow_the_taxonomy(
    running: list[EncoderClassifier], orders: list[LabelledOrder], taxonomy: Taxonomy
) -> None:
    scored = score(running[0], orders, taxonomy)
    assert scored.probabilities["verdict"].shape == (len(orders), len(taxonomy.verdicts))
    np.testing.assert_allclose(scored.p_unreasonable, 1 - scored.probabilities["verdict"][:, 0], atol=1e-9)
    assert scored.metrics().orders == len(orders)
    assert 0 <= scored.calibration_error() <= 1
