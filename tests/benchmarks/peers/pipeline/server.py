"""A transformers pipeline behind FastAPI and uvicorn; the peer benchmark starts it."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import uvicorn
from fastapi import FastAPI, Request
from pydantic import BaseModel
from transformers import pipeline


class Message(BaseModel):
    text: str


@asynccontextmanager
async def lifespan(app: FastAPI) -> AsyncIterator[None]:
    app.state.classifier = pipeline("text-classification", model=os.environ["MODEL"], device="cpu")
    yield


app = FastAPI(lifespan=lifespan)


# No coroutine: one that computes would stop the event loop, and was slower.
@app.post("/classify")
def classify(message: Message, request: Request) -> dict[str, Any]:
    (best,) = request.app.state.classifier(message.text, truncation=True)
    return best


if __name__ == "__main__":
    uvicorn.run(
        "server:app",
        host="127.0.0.1",
        port=int(os.environ["PORT"]),
        workers=int(os.environ["WORKERS"]),
        access_log=False,
        # The default of 5 s kills workers that still load the model, or are busy with it.
        timeout_worker_healthcheck=60,
    )
