"""Who is compared: Mingbian as it ships, and the peers; the comparison starts, asks and stops them."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import count
from pathlib import Path
from typing import Protocol

from data.settings import ROOT
from tests.benchmarks.connection import Request
from tests.benchmarks.load import Target, ask_once
from tests.benchmarks.process_tree import ProcessTree
from tests.benchmarks.texts import Texts
from tests.journeys.real_process import Installation, free_port

PEERS = Path(__file__).resolve().parent / "peers"
WORK = ROOT / "var" / "peers"
BUNDLE = ROOT / "models" / "bundles" / "default"
START_S = 180.0


class Absent(Exception):
    """A contender that cannot be installed or started; the message is the reason."""


@dataclass(frozen=True, slots=True)
class Running:
    """A contender that has answered once. `cold_start` is in seconds, from its start to that answer."""

    target: Target
    tree: ProcessTree
    cold_start: float


class Contender(Protocol):
    """`running` starts a fresh server in an empty folder, and leaves nothing behind. Raises: Absent."""

    @property
    def name(self) -> str: ...

    def prepare(self) -> None: ...

    @contextmanager
    def running(self, texts: Texts, folder: Path) -> Iterator[Running]: ...


@dataclass(frozen=True, slots=True)
class Mingbian:
    """The whole of it: key, triage, encrypted order, decision and audit leaf in a fresh SQLite database."""

    name: str = "mingbian"
    deadline_ms: int = 60_000  # peers have no deadline after which somebody else answers

    def prepare(self) -> None:
        """Nothing: it runs from the checkout."""

    @contextmanager
    def running(self, texts: Texts, folder: Path) -> Iterator[Running]:
        url = f"sqlite:///{folder / 'mingbian.db'}"
        installation = Installation(folder, url, deadline_ms=str(self.deadline_ms), rate_limit="100000")
        authorization = {"Authorization": f"Bearer {installation.keys['intake']}"}
        numbers = count()

        def request(number: int) -> Request:
            order = {"source": "load", "number": f"GD-{next(numbers):08}", "content": texts[number]}
            return Request.post(f"{installation.url}/v1/orders", _json(order), authorization)

        def fulfilled(status: int, body: bytes) -> bool:
            return status == 201 and b'"degraded":false' in body

        began = time.perf_counter()
        installation.start()
        try:
            target = Target("127.0.0.1", installation.port, request, fulfilled)
            assert ask_once(target), installation.log()
            yield Running(target, ProcessTree(installation.pid), time.perf_counter() - began)
        finally:
            installation.stop()
        installation.run("data", "verify-audit")


@dataclass(frozen=True, slots=True)
class Peer:
    """One way to serve a model with a library of the index, in a virtual environment of its own.

    `threads` is what one worker computes with: workers times threads is the two cores.
    """

    name: str
    folder: str
    workers: int
    threads: int
    body: Callable[[str], object]
    model: Path = WORK / "model"

    def prepare(self) -> None:
        """Installs what its `requirements.txt` pins, unless that was done before."""
        if self.model == WORK / "model":
            _make_model(self.model)
        _install(PEERS / self.folder / "requirements.txt", self._home / "venv")

    @contextmanager
    def running(self, texts: Texts, folder: Path) -> Iterator[Running]:
        port = free_port()
        url = f"http://127.0.0.1:{port}/classify"
        target = Target(
            "127.0.0.1",
            port,
            lambda number: Request.post(url, _json(self.body(texts[number])), {}),
            lambda status, body: status == 200 and b'"label"' in body,
        )
        log = folder / "server.log"
        began = time.perf_counter()
        with log.open("wb") as lines:
            process = subprocess.Popen(
                [self._home / "venv" / "bin" / "python", PEERS / self.folder / "server.py"],
                cwd=self._home,  # some write where they stand
                env=self._environment(port),
                stdout=lines,
                stderr=lines,
                start_new_session=True,
            )
        tree = ProcessTree(process.pid)
        try:
            while not ask_once(target):
                if process.poll() is not None or time.perf_counter() - began > START_S:
                    raise Absent(f"it did not start:\n{_end_of(log.read_text('utf-8', 'replace'))}")
                time.sleep(0.05)
            yield Running(target, tree, time.perf_counter() - began)
        finally:
            tree.stop()
            process.wait()

    @property
    def _home(self) -> Path:
        return WORK / self.folder

    def _environment(self, port: int) -> dict[str, str]:
        kept = {name: value for name, value in os.environ.items() if not name.startswith("MINGBIAN_")}
        return {
            **kept,
            "PORT": str(port),
            "MODEL": str(self.model),
            "WORKERS": str(self.workers),
            "OMP_NUM_THREADS": str(self.threads),
            "TOKENIZERS_PARALLELISM": "false",
            # Nothing is fetched, nothing is told to anybody, nothing is written beside the sources.
            "HF_HUB_OFFLINE": "1",
            "DO_NOT_TRACK": "1",
            "BENTOML_DO_NOT_TRACK": "true",
            "BENTOML_HOME": str(self._home / "bentoml"),
            "PYTHONDONTWRITEBYTECODE": "1",
        }


def _text(text: str) -> object:
    return {"text": text}


# Where one worker on two threads and two workers on one thread each are both usual, both are measured.
PEERS_COMPARED = (
    Peer("pipeline-1", "pipeline", 1, 2, _text),
    Peer("pipeline-2", "pipeline", 2, 1, _text),
    Peer("litserve", "litserve", 2, 1, _text),
    Peer("mosec-1", "mosec", 1, 2, _text, BUNDLE),
    Peer("mosec-2", "mosec", 2, 1, _text, BUNDLE),
    Peer("infinity", "infinity", 1, 2, lambda text: {"model": "classifier", "input": [text]}),
    Peer("bentoml", "bentoml", 2, 1, _text),
)


def _json(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False).encode()


def _install(requirements: Path, venv: Path) -> None:
    """A fresh environment whenever the requirements are others than those it was made from."""
    wanted = requirements.read_text("utf-8")
    stamp = venv / "requirements.txt"
    if stamp.is_file() and stamp.read_text("utf-8") == wanted:
        return
    print(f"installing {requirements.parent.name}", flush=True)
    _run(sys.executable, "-m", "venv", "--clear", str(venv))
    _run(str(venv / "bin" / "pip"), "install", "--disable-pip-version-check", "-r", str(requirements))
    stamp.write_text(wanted, "utf-8")


def _make_model(folder: Path) -> None:
    """By a process of its own: the harness stays small while it measures."""
    sources = (PEERS.parent / "peer_model.py", ROOT / "training" / "recipes" / "default.toml")
    wanted = hashlib.sha256(b"".join(path.read_bytes() for path in sources)).hexdigest()
    stamp = folder / "made-from.txt"
    if stamp.is_file() and stamp.read_text("utf-8") == wanted:
        return
    _run(sys.executable, "-m", "tests.benchmarks.peer_model", str(folder))
    stamp.write_text(wanted, "utf-8")


def _run(*command: str) -> None:
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        raise Absent(f"`{' '.join(command[1:4])}` failed:\n{_end_of(done.stderr or done.stdout)}")


def _end_of(log: str) -> str:
    return "\n".join([line for line in log.splitlines() if line.strip()][-6:])
