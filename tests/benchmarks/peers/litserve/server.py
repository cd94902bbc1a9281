"""A transformers pipeline behind LitServe with two workers on the CPU; the peer benchmark starts it."""

from __future__ import annotations

import os
from typing import Any

import litserve
from transformers import pipeline


class Classifier(litserve.LitAPI):
    def setup(self, device: str) -> None:
        self.classifier = pipeline("text-classification", model=os.environ["MODEL"], device=device)

    def decode_request(self, request: dict[str, str]) -> str:
        return request["text"]

    # Batches were no faster on two cores.
    def predict(self, text: str) -> dict[str, Any]:
        (best,) = self.classifier(text, truncation=True)
        return best

    def encode_response(self, output: dict[str, Any]) -> dict[str, Any]:
        return output


if __name__ == "__main__":
    server = litserve.LitServer(
        Classifier(api_path="/classify"),
        accelerator="cpu",
        workers_per_device=int(os.environ["WORKERS"]),
        timeout=60,
    )
    server.run(
        host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning", generate_client_file=False
    )
