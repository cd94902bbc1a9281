"""What a new encoder knows before its first step; `training/pretrain.py` calls it.

A small post-norm BERT with the usual random weights spends its first hours guessing every hidden
character from character frequency alone: attention that is uniform gives no reason to look anywhere.
So we start where that phase would end, with standard weights of a standard model:

- word embeddings are a factorised co-occurrence matrix of the corpus (PPMI, Levy & Goldberg 2014),
- position embeddings are sinusoids in a subspace of their own (Vaswani et al. 2017, 3.5),
- in each layer all heads but one look at a neighbour at a fixed distance, which such sinusoids make a
  rotation between queries and keys (compare mimetic initialisation, Trockman & Kolter 2023),
- the output bias is the log-frequency of each piece.

Every weight is trained from there on.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from scipy.sparse import coo_array, csr_array
from sklearn.utils.extmath import randomized_svd
from torch import Tensor
from transformers import BertForMaskedLM

from training.packing import Blocks

_WINDOW = 4  # tokens to each side that count as company, the nearer the more
_SMOOTHING = 0.75  # of context counts, as in word2vec
_NOISE = 0.1  # keeps pieces that were never seen apart
_WORD_SCALE = 0.04  # standard deviation of a word embedding's entries
_POSITION_SHARE = 0.45  # of an embedding's squared length
_FASTEST, _SLOWEST = 2.0, 0.01  # radians a token
_SHARPNESS = 12.0  # attention logit of a head at the very place it looks for
# Where the local heads of a layer look; the last head of each layer stays random.
_OFFSETS = ((-1, 1, -2, 2), (-1, 1, -3, 3), (-1, 1, -4, 4), (-1, 1, -2, 2), (-1, 1, -3, 3), (-1, 1, -5, 5))


def set_starting_weights(model: BertForMaskedLM, sample: Blocks, seed: int) -> None:
    """Overwrite the random weights of `model`; `sample` is the text whose statistics it starts from."""
    config = model.config
    width = config.hidden_size
    head = width // config.num_attention_heads
    random = torch.Generator().manual_seed(seed)

    def normal(*shape: int) -> Tensor:
        return torch.randn(*shape, generator=random) / math.sqrt(width)

    basis, _ = torch.linalg.qr(normal(width, width))
    where, what = basis[:, :head].T, basis[:, head:].T  # the subspaces of positions and of words
    frequencies = torch.exp(torch.linspace(math.log(_FASTEST), math.log(_SLOWEST), head // 2))
    company = torch.from_numpy(company_embeddings(sample, config.vocab_size, width - head, seed))
    words = _WORD_SCALE * (company + _NOISE * math.sqrt(width) * normal(*company.shape))
    waves = sinusoids(config.max_position_embeddings, frequencies)
    length = _WORD_SCALE * math.sqrt((width - head) * _POSITION_SHARE / (1 - _POSITION_SHARE) / (head // 2))

    with torch.no_grad():
        embeddings = model.bert.embeddings
        embeddings.word_embeddings.weight.copy_(words @ what)
        embeddings.position_embeddings.weight.copy_(length * waves @ where)
        embeddings.token_type_embeddings.weight.zero_()
        # After the norm an embedding has squared length `width`; this makes q·k/√head the sharpness.
        gain = math.sqrt(_SHARPNESS * math.sqrt(head) / (_POSITION_SHARE * width))
        layers: Any = model.bert.encoder.layer
        for number, layer in enumerate(layers):
            attention = layer.attention.self
            for linear in (attention.query, attention.key, attention.value, layer.attention.output.dense):
                linear.weight.copy_(normal(width, width))
            layer.intermediate.dense.weight.copy_(normal(config.intermediate_size, width))
            layer.output.dense.weight.copy_(normal(width, config.intermediate_size) / 2)
            offsets = _OFFSETS[number % len(_OFFSETS)][: config.num_attention_heads - 1]
            for place, offset in enumerate(offsets):
                rows = slice(place * head, (place + 1) * head)
                attention.query.weight[rows] = gain * rotation(offset, frequencies) @ where
                attention.key.weight[rows] = gain * where
        predictions = model.cls.predictions
        predictions.transform.dense.weight.copy_(normal(width, width))
        counts = np.bincount(sample.ids.ravel(), minlength=config.vocab_size) + 0.5
        predictions.bias.copy_(torch.from_numpy(np.log(counts / counts.sum())))


def sinusoids(positions: int, frequencies: Tensor) -> Tensor:
    """(positions, 2 × frequencies): cosine and sine in turn."""
    angles = torch.arange(positions)[:, None] * frequencies
    return torch.stack([angles.cos(), angles.sin()], dim=-1).flatten(1)


def rotation(offset: int, frequencies: Tensor) -> Tensor:
    """The square matrix that takes the sinusoid of any position to that of the position `offset` further."""
    cos, sin = (frequencies * offset).cos(), (frequencies * offset).sin()
    turns = torch.stack([torch.stack([cos, -sin], -1), torch.stack([sin, cos], -1)], -2)
    square: Tensor = torch.block_diag(*turns)  # type: ignore[no-untyped-call]
    return square


def company_embeddings(sample: Blocks, pieces: int, width: int, seed: int) -> NDArray[np.float32]:
    """(pieces, width): rows of length √width, alike when two pieces keep like company; unseen ones zero."""
    ids = sample.ids.astype(np.int64)
    counts = csr_array((pieces, pieces), dtype=np.float64)
    for distance in range(1, min(_WINDOW, ids.shape[1] - 1) + 1):
        left, right = ids[:, :-distance].ravel(), ids[:, distance:].ravel()
        weight = np.full(left.size, 1 / distance)
        once = coo_array((weight, (left, right)), shape=(pieces, pieces)).tocsr()
        counts = counts + once + once.T
    together = counts.tocoo()
    alone = counts.sum(axis=1)
    context = alone**_SMOOTHING
    rows, columns = together.coords
    surprise = np.log(together.data / alone[rows] / (context[columns] / context.sum()))
    likelier = surprise > 0
    pmi = csr_array((surprise[likelier], (rows[likelier], columns[likelier])), shape=(pieces, pieces))
    rank = min(width, pieces - 1)
    left, strengths, _ = randomized_svd(pmi, rank, n_iter=3, random_state=seed)
    vectors = np.zeros((pieces, width), dtype=np.float32)
    vectors[:, :rank] = left * np.sqrt(strengths)
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    scaled: NDArray[np.float32] = np.where(
        lengths > 1e-6, vectors / np.maximum(lengths, 1e-6) * math.sqrt(width), 0
    ).astype(np.float32)
    return scaled
