"""The shipped graph on ONNX Runtime behind mosec, in padded dynamic batches; the peer benchmark starts it."""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from mosec import Server, Worker
from tokenizers import Tokenizer

MODEL = Path(os.environ["MODEL"])
WORKERS = int(os.environ["WORKERS"])
THREADS = int(os.environ["OMP_NUM_THREADS"])
MAX_BATCH = 8
MAX_WAIT_MS = 10


class Classifier(Worker):
    def __init__(self) -> None:
        super().__init__()
        settings = json.loads((MODEL / "settings.json").read_text("utf-8"))
        self.codes = settings["label_groups"]["verdict"]
        self.tokenizer = Tokenizer.from_file(str(MODEL / "tokenizer.json"))
        self.tokenizer.enable_truncation(settings["max_tokens"])
        self.tokenizer.enable_padding()
        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = THREADS
        options.inter_op_num_threads = 1
        self.session = onnxruntime.InferenceSession(
            MODEL / "model.onnx", options, providers=["CPUExecutionProvider"]
        )

    def forward(self, data: list[dict[str, str]]) -> list[dict[str, Any]]:
        encodings = self.tokenizer.encode_batch([message["text"] for message in data])
        inputs = {
            "input_ids": np.array([encoding.ids for encoding in encodings]),
            "attention_mask": np.array([encoding.attention_mask for encoding in encodings]),
            "token_type_ids": np.array([encoding.type_ids for encoding in encodings]),
        }
        (scores,) = self.session.run(["logits"], inputs)
        return [{"label": self.codes[int(row[: len(self.codes)].argmax())]} for row in scores]


if __name__ == "__main__":
    # mosec is configured by its own variables; its default gives up on a request after 3 s.
    os.environ |= {"MOSEC_ADDRESS": "127.0.0.1", "MOSEC_PORT": os.environ["PORT"], "MOSEC_TIMEOUT": "60000"}
    server = Server()
    server.append_worker(
        Classifier, num=WORKERS, max_batch_size=MAX_BATCH, max_wait_time=MAX_WAIT_MS, route="/classify"
    )
    server.run()
