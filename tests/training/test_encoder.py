from __future__ import annotations

import json
import lzma
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from transformers import AutoModelForMaskedLM, AutoTokenizer, BertConfig, BertModel

from data.errors import NotFound
from data.records import Reading
from tests.training.conftest import DOCUMENTS, ENCODER_RECIPE, PLAN, SENTENCES, SOURCE, TUNING
from training.encoder import FIGURES, folder_digest, load_tokenizer, make_encoder
from training.encoder_card import write_encoder_card
from training.examples import Example, LabelSlices
from training.export import load_classifier
from training.finetune import encode, finetune


def corpora(folder: Path) -> Path:
    folder.mkdir()
    for name in ("calls", "laws"):
        with lzma.open(folder / f"{name}.txt.xz", "wt", encoding="utf-8") as file:
            file.write("\n\n".join("\n".join(document) for document in DOCUMENTS))
    return folder


def test_corpora_become_a_folder_that_transformers_loads(tmp_path: Path) -> None:
    sources = {"calls": SOURCE, "laws": replace(SOURCE, tier="MIT", share=3.0)}
    recipe = replace(ENCODER_RECIPE, pretrain=replace(PLAN, sources=sources))
    out = tmp_path / "out"
    texts = corpora(tmp_path / "corpora")
    figures = make_encoder(recipe, corpora=texts, folder=tmp_path / "run", out=out)

    tokenizer, model = AutoTokenizer.from_pretrained(out), AutoModelForMaskedLM.from_pretrained(out)
    assert model.dtype == torch.bfloat16
    ids = tokenizer("来电人反映[电话]路灯", return_tensors="pt")["input_ids"]
    assert tokenizer.convert_ids_to_tokens(ids[0])[6] == "[电话]"
    assert model(ids).logits.shape == (1, ids.shape[1], len(tokenizer))
    assert json.loads((out / FIGURES).read_text(encoding="utf-8"))["steps"] == figures["steps"] == PLAN.steps
    assert figures["unknown"] == {"calls": 0.0, "laws": 0.0}

    further = replace(recipe, name="further", pretrain=replace(recipe.pretrain, start=str(out)))
    onward = make_encoder(further, corpora=texts, folder=tmp_path / "second", out=tmp_path / "further")
    assert [leg["recipe"] for leg in onward["before"]] == ["tiny"]
    assert onward["before"][0]["tokens_seen"] == figures["tokens_seen"]
    assert "- went on from tiny: 0.0M tokens" in write_encoder_card(tmp_path / "further")

    card = write_encoder_card(out)
    assert "- started from statistics of the text alone" in card
    assert "| laws | MIT | 75% |" in card
    assert "tokens/s" in card
    assert str(tmp_path) not in card


def test_a_missing_corpus_is_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(NotFound, match="corpus_missing"):
        make_encoder(ENCODER_RECIPE, corpora=tmp_path / "empty", folder=tmp_path / "run", out=tmp_path)


def test_a_folder_without_a_model_is_refused(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match="encoder_missing"):
        load_tokenizer(tmp_path)


def test_anybodys_chinese_bert_can_be_fine_tuned(tmp_path: Path) -> None:
    """As Chinese BERTs are published: `vocab.txt` and a BERT with a pooler; no file of ours."""
    folder = tmp_path / "somebodys-bert"
    folder.mkdir()
    pieces = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *sorted(set("".join(SENTENCES)))]
    (folder / "vocab.txt").write_text("\n".join(pieces) + "\n", encoding="utf-8")
    settings = {"tokenizer_class": "BertTokenizer", "do_lower_case": True}
    (folder / "tokenizer_config.json").write_text(json.dumps(settings), encoding="utf-8")
    torch.manual_seed(2)
    config = BertConfig(
        vocab_size=len(pieces),
        hidden_size=64,
        num_hidden_layers=1,
        num_attention_heads=1,
        intermediate_size=128,
    )
    BertModel(config).save_pretrained(folder)

    tokenizer = load_tokenizer(folder)
    assert tokenizer.encode("路灯坏了").tokens == ["[CLS]", "路", "灯", "坏", "了", "[SEP]"]
    readings = [Reading("", text) for text in SENTENCES]
    examples = [Example(reading, {"label": label}) for label, reading in enumerate(readings)] * 4
    slices = LabelSlices({"label": ("a", "b", "c")})
    finetune(TUNING, folder, tokenizer, examples, slices, tmp_path / "tuned", seed=1)
    with torch.no_grad():
        scores = load_classifier(tmp_path / "tuned")(**encode(tokenizer, readings, 32)).logits
    assert scores.argmax(1).tolist() == [0, 1, 2]


def test_the_digest_moves_with_weights_and_not_with_the_card(tmp_path: Path) -> None:
    (tmp_path / "model.safetensors").write_bytes(b"one")
    (tmp_path / "config.json").write_text("{}", encoding="utf-8")
    before = folder_digest(tmp_path)
    (tmp_path / "CARD.md").write_text("new", encoding="utf-8")
    (tmp_path / FIGURES).write_text("{}", encoding="utf-8")
    (tmp_path / "yardsticks.json").write_text("{}", encoding="utf-8")
    assert folder_digest(tmp_path) == before
    (tmp_path / "model.safetensors").write_bytes(b"two")
    assert folder_digest(tmp_path) != before
