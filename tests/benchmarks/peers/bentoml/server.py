"""A transformers pipeline behind BentoML in adaptive batches; the peer benchmark starts it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import bentoml
from transformers import pipeline


@bentoml.service(
    workers=int(os.environ["WORKERS"]), traffic={"timeout": 60}, logging={"access": {"enabled": False}}
)
class Classifier:
    def __init__(self) -> None:
        self.classifier = pipeline("text-classification", model=os.environ["MODEL"], device="cpu")

    @bentoml.api(batchable=True, max_batch_size=8)
    def classify(self, texts: list[str]) -> list[dict[str, Any]]:
        return self.classifier(texts, truncation=True, batch_size=len(texts))


if __name__ == "__main__":
    bentoml.serve(
        "server:Classifier",
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        working_dir=str(Path(__file__).parent),
        blocking=True,
    )
