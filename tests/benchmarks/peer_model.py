"""`python -m tests.benchmarks.peer_model FOLDER` writes a classifier as large as ours for the torch peers.

The default recipe's encoder in float32 under a head of random weights: speed is compared, not answers.
"""

from __future__ import annotations

import json
import sys
import tomllib
from pathlib import Path

import torch
from transformers import AutoTokenizer, BertForSequenceClassification

from data.settings import ROOT

LABELS = 16
SEED = 12345


def main(folder: Path) -> None:
    """Write the folder anew; any release of transformers from 4.57 on can load it."""
    recipe = tomllib.loads((ROOT / "training" / "recipes" / "default.toml").read_text("utf-8"))
    encoder = ROOT / recipe["encoder"]
    torch.manual_seed(SEED)
    model = BertForSequenceClassification.from_pretrained(encoder, num_labels=LABELS, dtype=torch.float32)
    model.save_pretrained(folder)
    AutoTokenizer.from_pretrained(encoder).save_pretrained(folder)
    # The encoder's own description of its tokenizer: the new one names a class that older releases lack.
    described = json.loads((encoder / "tokenizer_config.json").read_text("utf-8"))
    described["model_max_length"] = recipe["finetune"]["length"]
    (folder / "tokenizer_config.json").write_text(json.dumps(described), "utf-8")


if __name__ == "__main__":
    main(Path(sys.argv[1]))
