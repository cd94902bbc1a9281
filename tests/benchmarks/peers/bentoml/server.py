"""A transformers pipeline behind BentoML, a text at a time; the peer benchmark starts it."""

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

    # Adaptive batches were no faster on two cores.
    @bentoml.api
    def classify(self, text: str) -> dict[str, Any]:
        (best,) = self.classifier(text, truncation=True)
        return best


if __name__ == "__main__":
    bentoml.serve(
        "server:Classifier",
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        working_dir=str(Path(__file__).parent),
        blocking=True,
    )
