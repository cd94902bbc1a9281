from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from tokenizers import Tokenizer

from data.corpus.labels import read_folder
from data.errors import BadInput
from data.masking import read_text
from data.taxonomy import Taxonomy
from models.bundle import Bundle
from models.encoder_classifier import EncoderClassifier
from tests.training.conftest import TUNING
from training.classifier import PooledClassifier
from training.encoder import load_tokenizer
from training.evaluate import largest_gap
from training.examples import LabelSlices, authored
from training.export import export, load_classifier
from training.finetune import train_member
from training.fitted_bundle import unfitted
from training.masked_model import new_model
from training.recipe import ShapePlan, read_recipe
from training.reopened import REOPENED, reopen, weights_of
from training.vocabulary import build_tokenizer, save_tokenizer

SHAPE = ShapePlan(layers=2, width=64, heads=1, positions=64)


@pytest.fixture(scope="module")
def tokenizer(taxonomy: Taxonomy) -> Tokenizer:
    return build_tokenizer((order.content for order in read_folder(taxonomy)[:200]), 2000, 1)


@pytest.fixture(scope="module")
def encoder(tokenizer: Tokenizer, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("encoder")
    torch.manual_seed(1)
    new_model(SHAPE, tokenizer).save_pretrained(folder)
    save_tokenizer(tokenizer, folder)
    return folder


@pytest.fixture(scope="module")
def trained(encoder: Path, taxonomy: Taxonomy, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("classifier")
    torch.manual_seed(2)
    labels = LabelSlices(taxonomy.groups, taxonomy.flag_codes)
    model = PooledClassifier.from_pretrained(encoder, num_labels=labels.width, dtype=torch.float32)
    with torch.no_grad():  # so that no two matrices and no two channels are alike
        for weight in model.parameters():
            weight.add_(torch.randn_like(weight) * 0.05)
    model.save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def graphs(trained: Path) -> tuple[Path, Path]:
    return export(trained, trained / "graphs")


@pytest.fixture(scope="module")
def bundle(tokenizer: Tokenizer, taxonomy: Taxonomy, graphs: tuple[Path, Path]) -> Bundle:
    plain = unfitted(read_recipe(Path("training/recipes/default.toml")), tokenizer, taxonomy)
    return replace(plain, digest="sha256:this", graph=graphs[1].read_bytes(), max_tokens=48)


def test_weights_come_back_under_their_names(graphs: tuple[Path, Path], trained: Path) -> None:
    original = load_classifier(trained).state_dict()
    plain, small = (weights_of(graph.read_bytes()) for graph in graphs)
    assert set(plain) == set(small) == set(original)
    for name, weight in original.items():
        torch.testing.assert_close(plain[name], weight, atol=1e-6, rtol=1e-5)
        assert (small[name] - weight).abs().max() <= weight.abs().max() / 100, name


def test_a_reopened_bundle_scores_as_the_bundle_does(
    bundle: Bundle, encoder: Path, taxonomy: Taxonomy, tmp_path: Path
) -> None:
    reopen(bundle, encoder, tmp_path)
    readings = [read_text(order.title, order.content).reading for order in read_folder(taxonomy)[:20]]
    again = load_classifier(tmp_path)
    graph = EncoderClassifier(bundle)
    gap = largest_gap(again, graph, load_tokenizer(tmp_path), readings, bundle.max_tokens)
    with torch.no_grad():
        again.classifier.bias += 1.0
    assert gap < 0.2 < largest_gap(again, graph, load_tokenizer(tmp_path), readings, bundle.max_tokens)
    assert (tmp_path / REOPENED).read_text() == f'{{"bundle": "sha256:this", "encoder": "{encoder.name}"}}\n'


def test_training_goes_on_from_it_head_and_all(
    bundle: Bundle, encoder: Path, taxonomy: Taxonomy, tmp_path: Path
) -> None:
    reopen(bundle, encoder, tmp_path)
    labels = LabelSlices(taxonomy.groups, taxonomy.flag_codes)
    examples = authored(read_folder(taxonomy)[:8], taxonomy)
    weights = {"verdict": 1.0, "kind": 0.5, "subject": 0.5, "flags": 1.0}
    plan = replace(TUNING, epochs=1, learning_rate=1e-9, weights=weights)
    model, _ = train_member(plan, tmp_path, load_tokenizer(tmp_path), examples, labels, seed=1)
    for name, weight in weights_of(bundle.graph).items():
        torch.testing.assert_close(model.state_dict()[name], weight, atol=1e-5, rtol=1e-4)


def test_another_encoder_is_refused(bundle: Bundle, tokenizer: Tokenizer, tmp_path: Path) -> None:
    for shape in (replace(SHAPE, layers=3), replace(SHAPE, layers=1), replace(SHAPE, width=128, heads=2)):
        new_model(shape, tokenizer).save_pretrained(tmp_path / "other")
        with pytest.raises(BadInput, match="bundle_unlike_encoder"):
            reopen(bundle, tmp_path / "other", tmp_path / "out")
    assert not (tmp_path / "out").exists()
