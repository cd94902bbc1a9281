"""From text corpora to an encoder folder that anyone can load; `python -m training pretrain` calls it."""

from __future__ import annotations

import hashlib
import json
import shutil
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure
from tokenizers import Tokenizer
from tqdm import tqdm
from transformers import AutoTokenizer

from data.canonical import CANONICAL_VERSION, canonical_text
from data.corpus.corpora import slices
from data.errors import NotFound
from data.settings import ROOT
from training.device import hardware
from training.packing import Blocks, Document, Packed, pack
from training.pretrain import pretrain
from training.recipe import EncoderRecipe
from training.stages import Stages
from training.vocabulary import UNK, build_tokenizer, piece_id, save_tokenizer

FIGURES, YARDSTICKS = "pretraining.json", "yardsticks.json"
_SMOOTHED = 20  # points of the loss curve
# Some corpora mark no documents; pieces of this many characters can still be held out one by one.
_LONGEST = 2_000
_LOSS = "loss.png"
_SHIPPED = ("config.json", "model.safetensors", "tokenizer.json", "tokenizer_config.json", FIGURES, _LOSS)


def make_encoder(recipe: EncoderRecipe, *, corpora: Path, folder: Path, out: Path) -> dict[str, Any]:
    """Learn the vocabulary, pack the corpora, pretrain, and put what is shipped into `out`.

    Args:
        corpora: folder of `*.txt.xz`.
        folder: where the run keeps its stages and checkpoints, so that a second call goes on.

    Raises:
        NotFound: a corpus, or the encoder to start from, is missing.
        BadInput: a corpus is broken or smaller than one block.
    """
    stages = Stages(folder)
    plan = recipe.pretrain
    if plan.start:
        tokenizer, read = load_tokenizer(ROOT / plan.start), plan.start
    else:
        read = repr((recipe.vocabulary, _amounts(recipe), CANONICAL_VERSION))
        tokenizer = load_tokenizer(
            stages.once("vocabulary", read, lambda at: _learn_vocabulary(recipe, corpora, at))
        )
    packed = {}
    for name in plan.sources:
        inputs = repr((read, plan.length, plan.held_out, plan.sources[name].million_characters))
        make = partial(_pack, recipe, name, corpora, tokenizer)
        packed[name] = _load(stages.once(f"packed-{name}", inputs, make))
    at = folder / "encoder"
    at.mkdir(parents=True, exist_ok=True)
    figures = pretrain(recipe, tokenizer, packed, at)
    figures["hardware"] = hardware()
    figures["recipe"] = asdict(recipe)
    figures["before"] = _legs(ROOT / plan.start) if plan.start else []
    figures["unknown"] = {name: _figure(folder / f"packed-{name}", "unknown") for name in sorted(packed)}
    save_tokenizer(tokenizer, at)
    draw_losses(figures["losses"], at / _LOSS)
    (at / FIGURES).write_text(json.dumps(figures, ensure_ascii=False, indent=1) + "\n", encoding="utf-8")
    out.mkdir(parents=True, exist_ok=True)
    for file in _SHIPPED:
        shutil.copyfile(at / file, out / file)
    return figures


def load_tokenizer(folder: Path) -> Tokenizer:
    """The fast tokenizer in a folder, whether written here or by anybody else's BERT.

    Raises:
        NotFound: the folder holds no model.
    """
    if not (folder / "config.json").exists() and not (folder / "tokenizer.json").exists():
        raise NotFound("encoder_missing", "指定的编码器文件夹里没有模型。")
    own = folder / "tokenizer.json"
    if own.exists():
        return Tokenizer.from_file(str(own))
    loaded: Tokenizer = AutoTokenizer.from_pretrained(folder).backend_tokenizer
    return loaded


def draw_losses(losses: Sequence[tuple[int, float]], path: Path) -> None:
    """The training loss by step, each point as it was and their running mean."""
    figure = Figure(figsize=(7, 4), layout="constrained")
    axes = figure.subplots()
    steps, values = np.array(losses, dtype=np.float64).reshape(-1, 2).T
    axes.plot(steps, values, color="lightgrey")
    window = min(_SMOOTHED, len(values))
    smooth = np.convolve(values, np.ones(window) / window, mode="valid")
    axes.plot(steps[window // 2 :][: len(smooth)], smooth)
    axes.set(xlabel="step", ylabel="nats a hidden token", title="Masked language modelling")
    figure.savefig(path, dpi=100)


def folder_digest(folder: Path) -> str:
    """Hex SHA-256 over the files that decide what a model from this folder computes."""
    digest = hashlib.sha256()
    for path in sorted(folder.glob("*")):
        if path.suffix in (".json", ".safetensors", ".txt", ".bin") and path.name not in (
            FIGURES,
            YARDSTICKS,
        ):
            digest.update(path.name.encode() + b"\0" + hashlib.sha256(path.read_bytes()).digest())
    return digest.hexdigest()


def _legs(start: Path) -> list[dict[str, Any]]:
    """What was spent on the encoder that a run starts from, earliest first; empty for somebody else's."""
    path = start / FIGURES
    if not path.exists():
        return []
    figures = json.loads(path.read_text(encoding="utf-8"))
    leg = {name: figures[name] for name in ("steps", "tokens_seen", "seconds", "hardware")}
    return [*figures.get("before", []), {"recipe": figures["recipe"]["name"], **leg}]


def _amounts(recipe: EncoderRecipe) -> dict[str, int]:
    sources = recipe.pretrain.sources
    return {name: round(sources[name].million_characters * 1e6) for name in sorted(sources)}


def _documents(corpora: Path, amounts: dict[str, int]) -> Iterator[Document]:
    with tqdm(total=sum(amounts.values()), unit="char", unit_scale=True, desc=", ".join(amounts)[:30]) as bar:
        for document in slices(corpora, amounts, _LONGEST):
            bar.update(len(document))
            if paragraphs := [text for text in map(canonical_text, document.split("\n")) if text]:
                yield paragraphs


def _learn_vocabulary(recipe: EncoderRecipe, corpora: Path, at: Path) -> None:
    paragraphs = (text for document in _documents(corpora, _amounts(recipe)) for text in document)
    save_tokenizer(build_tokenizer(paragraphs, recipe.vocabulary.size, recipe.vocabulary.min_count), at)


def _pack(recipe: EncoderRecipe, name: str, corpora: Path, tokenizer: Tokenizer, at: Path) -> None:
    amounts = {name: _amounts(recipe)[name]}
    packed = pack(_documents(corpora, amounts), tokenizer, recipe.pretrain.length, recipe.pretrain.held_out)
    packed.training.save(at / "training.npz")
    packed.held_out.save(at / "held_out.npz")
    unk = piece_id(tokenizer, UNK)
    unknown = float((packed.held_out.ids == unk).mean())
    figures = {"documents": packed.documents, "mixed": packed.mixed, "unknown": unknown}
    (at / "figures.json").write_text(json.dumps(figures), encoding="utf-8")


def _load(at: Path) -> Packed:
    return Packed(
        Blocks.load(at / "training.npz"),
        Blocks.load(at / "held_out.npz"),
        documents=int(_figure(at, "documents")),
        mixed=_figure(at, "mixed"),
    )


def _figure(at: Path, name: str) -> float:
    figures: dict[str, float] = json.loads((at / "figures.json").read_text(encoding="utf-8"))
    return figures[name]
