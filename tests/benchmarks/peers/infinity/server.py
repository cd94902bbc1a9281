"""Infinity's own server with its torch engine and its defaults; the peer benchmark starts it."""

from __future__ import annotations

import os

import uvicorn
from infinity_emb import EngineArgs, create_server

if __name__ == "__main__":
    engine = EngineArgs(
        model_name_or_path=os.environ["MODEL"], served_model_name="classifier", engine="torch", device="cpu"
    )
    app = create_server(engine_args_list=[engine])
    uvicorn.run(app, host="127.0.0.1", port=int(os.environ["PORT"]), log_level="warning")
