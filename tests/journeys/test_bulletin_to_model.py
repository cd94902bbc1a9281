"""Labels until a new model answers: the second half of HOUSE.md's second story, on a recipe of seconds."""

from __future__ import annotations

import json
import lzma
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path

import pytest
import torch
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from data.errors import BadInput
from data.masking import read_text
from data.settings import ROOT
from data.taxonomy import Taxonomy
from models.bundle import public_text, read_bundle
from models.encoder_classifier import EncoderClassifier
from models.rules import Rules
from models.triage import Triage
from training.encoder import make_encoder
from training.examples import MESSAGES, ORDERS
from training.recipe import read_encoder_recipe, read_recipe
from training.run import run

pytestmark = pytest.mark.journey

TRAIN, CALIBRATION, TEST = "w7", "w8", "w6"
ENCODER = """
name = "journey-encoder"
seed = 7

[vocabulary]
size = 1500
min_count = 2

[shape]
layers = 1
width = 64
heads = 2
positions = 128

[pretrain]
steps = 6
minutes = 0
batch = 8
length = 64
mask_rate = 0.15
learning_rate = 1e-3
warmup = 2
decay = 0.5
held_out = 0.1
start = ""

[pretrain.sources.streets]
tier = "written for this test"
share = 2
million_characters = 0.02

[pretrain.sources.offices]
tier = "written for this test"
share = 1
million_characters = 0.01
"""
RECIPE = f"""
name = "journey"
seed = 7
encoder = "ENCODER"
readings = true

[split]
train = ["{TRAIN}"]
calibration = ["{CALIBRATION}"]
test = ["{TEST}"]

[finetune]
epochs = 1
batch = 32
length = 64
learning_rate = 1e-3
warmup = 0.1
dropout = 0.1
weak_share = 0.3
weak_weight = 1.0
weak_cap = 5.0
pair_weight = 0.5
pair_margin = 4.0

[finetune.weights]
verdict = 1.0
kind = 0.5
subject = 0.5
flags = 0.5

[finetune.rewording]
untitled = 0.3
title_alone = 0.4

[ngrams]
runs = 5000
inverse_regularisation = 10.0

[certificate]
decline_risk = 0.02
real_risk = 0.001
real_share = 0.5
dispatch_risk = 0.05
confidence = 0.95
"""
NAMES = ("柳荫巷", "望江路", "东关街", "石桥头", "梧桐里", "北塘村", "河沿路", "老厂区")
FAULTS = (
    "路灯不亮",
    "井盖松动",
    "水管漏水",
    "油烟扰民",
    "电梯停运",
    "垃圾没有清运",
    "公交站牌倒了",
    "树枝压着电线",
)
ASKED = ("希望派人修好", "请尽快处理", "想问归哪个部门管", "已经反映过两次", "老人孩子出入不便")


def write_corpora(folder: Path) -> None:
    """Two small corpora in which every paragraph is another."""
    folder.mkdir()
    for corpus, kind in (("streets", "居民反映"), ("offices", "窗口接到来电，称")):
        paragraphs = [
            f"{kind}{name}{number}号附近{fault}，{asked}。"
            for number in range(1, 5)
            for name in NAMES
            for fault in FAULTS
            for asked in ASKED
        ]
        documents = ["\n".join(paragraphs[start : start + 4]) for start in range(0, len(paragraphs), 4)]
        with lzma.open(folder / f"{corpus}.txt.xz", "wt", encoding="utf-8") as file:
            file.write("\n\n".join(documents) + "\n")


def write_messages(folder: Path) -> Path:
    """Messages of citizens as the contest gives them, and orders of a city to measure on."""
    (folder / "tipdm").mkdir(parents=True)
    told = [f"{name}的{fault}，{asked}。" for name in NAMES for fault in FAULTS for asked in ASKED]
    rows = [{"title": "反映问题", "content": text, "subject": "urban_rural"} for text in told]
    parts = (rows[:200], [{"title": row["title"], "content": row["content"]} for row in rows[200:]])
    for name, part in zip(MESSAGES, parts, strict=True):
        write_lines(folder / name, part)
    write_lines(folder / ORDERS, [{"content": text} for text in told[:40]])
    return folder


def write_lines(path: Path, rows: Sequence[Mapping[str, str]]) -> None:
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")


def snapshot_digest(folder: Path) -> str:
    """What `python -m data snapshot` prints of the same split."""
    command = [sys.executable, "-m", "data", "snapshot", str(folder)]
    command += ["--train", TRAIN, "--calibration", CALIBRATION, "--test", TEST]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("MINGBIAN_")}
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr
    return done.stdout.split()[-1]


def test_labels_until_a_new_model_answers(tmp_path: Path, taxonomy: Taxonomy) -> None:
    torch.set_num_threads(1)
    digest = snapshot_digest(tmp_path / "snapshot")
    assert (tmp_path / "snapshot" / "train.jsonl").stat().st_size > 0
    write_corpora(tmp_path / "corpora")
    (tmp_path / "encoder.toml").write_text(ENCODER, encoding="utf-8")
    encoder = tmp_path / "encoder"
    make_encoder(
        read_encoder_recipe(tmp_path / "encoder.toml"),
        corpora=tmp_path / "corpora",
        folder=tmp_path / "encoder-run",
        out=encoder,
    )
    (tmp_path / "recipe.toml").write_text(RECIPE.replace("ENCODER", str(encoder)), encoding="utf-8")
    signer = Ed25519PrivateKey.generate()

    out = tmp_path / "bundle"
    made = run(
        read_recipe(tmp_path / "recipe.toml"),
        external=write_messages(tmp_path / "external"),
        folder=tmp_path / "run",
        out=out,
        signer=signer,
    )

    publishers = tmp_path / "publishers.toml"
    publishers.write_text(
        f'[[publishers]]\nname = "journey"\nkey = "{public_text(signer.public_key())}"\n', encoding="utf-8"
    )
    bundle = read_bundle(out, taxonomy, publishers)
    assert bundle.digest == made
    assert bundle.versions["snapshot"] == digest
    assert bundle.versions["taxonomy"] == taxonomy.version
    assert CALIBRATION in bundle.certificate["decline"]["promises"][0]["source"]
    assert "messages" in bundle.certificate["decline"]["promises"][1]["source"]
    assert "TF-IDF" in bundle.card
    assert "0.1 % of 40 real orders" in bundle.card
    with pytest.raises(BadInput, match="bundle_corrupt"):
        read_bundle(out, taxonomy)  # a signer whom the repository does not know

    classifier = EncoderClassifier(bundle)
    readings = [read_text("", text).reading for text in ("望江路路灯不亮，请派人修好。", "要求法院改判。")]
    for prediction in classifier.classify(readings):
        for group, codes in taxonomy.groups.items():
            probabilities = getattr(prediction, group)
            assert tuple(probabilities) == codes
            assert sum(probabilities.values()) == pytest.approx(1, abs=1e-5)

    triage = Triage(classifier, bundle, None, taxonomy, Rules.load(taxonomy))
    decision = triage.decide("", "望江路路灯不亮，请派人修好。", datetime.now(UTC))
    triage.close()
    assert (decision.source, decision.versions.bundle) == ("model", made)
