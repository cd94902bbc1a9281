"""Starts, kills and asks the service as an operator would: real processes and ports; the journeys call it."""

from __future__ import annotations

import copy
import os
import re
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import httpx

from data.settings import ROOT

START_S = 90.0
_KEY = re.compile(r"^\s+([a-z]+)\s+(mb_\S+)$", re.MULTILINE)


class Installation:
    """One installation in its own folder: migrated, a key for each role, started and stopped at will."""

    def __init__(
        self, folder: Path, database_url: str, publishers: Path | None = None, **settings: str
    ) -> None:
        """`publishers` are trusted in place of the project's."""
        self.folder = folder
        trusting = () if publishers is None else ("tests.journeys.with_publishers", str(publishers))
        self._python = (sys.executable, "-m", *trusting)
        self.port = free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        inherited = {name: value for name, value in os.environ.items() if not name.startswith("MINGBIAN_")}
        self.environment = {
            **inherited,
            "MINGBIAN_DATABASE_URL": database_url,
            "MINGBIAN_KEYS": str(folder / "keys"),
            "MINGBIAN_PORT": str(self.port),
            "MINGBIAN_LOG_LEVEL": "warning",
            **{f"MINGBIAN_{name.upper()}": value for name, value in settings.items()},
        }
        self._process: subprocess.Popen[bytes] | None = None
        self.keys = self._prepared()

    def run(self, room: str, *arguments: str) -> str:
        """What `python -m ROOM ...` prints; it must succeed."""
        done = self._done(room, *arguments)
        assert done.returncode == 0, f"{done.args}\n{done.stdout}\n{done.stderr}"
        return done.stdout

    def refusal_to_start(self) -> str:
        """What the service says on standard error, when it must not start."""
        done = self._done("serving", "run")
        assert done.returncode == 1, f"{done.returncode}\n{done.stderr}"
        return done.stderr

    def start(self) -> None:
        """Until it answers."""
        with (self.folder / "service.log").open("ab") as log:
            self._process = subprocess.Popen(
                [*self._python, "serving", "run"],
                cwd=ROOT,
                env=self.environment,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_S
        while time.monotonic() < deadline and self._process.poll() is None:
            try:
                if httpx.get(f"{self.url}/livez", timeout=5).status_code == 200:
                    return
            except httpx.TransportError:
                time.sleep(0.05)
        raise AssertionError(f"the service did not start:\n{self.log()}")

    @property
    def pid(self) -> int:
        assert self._process is not None, "it was not started"
        return self._process.pid

    def kill(self) -> None:
        """As the power fails: no handler runs."""
        self._end(signal.SIGKILL)

    def stop(self) -> int | None:
        """As an operator stops it; its exit status, or None where it did not run."""
        return self._end(signal.SIGTERM)

    def beside(self) -> Installation:
        """Another server on the same database, with the same keys."""
        other = copy.copy(self)
        other.port = free_port()
        other.url = f"http://127.0.0.1:{other.port}"
        other.environment = {**self.environment, "MINGBIAN_PORT": str(other.port)}
        other._process = None
        return other

    def log(self) -> str:
        return (self.folder / "service.log").read_text("utf-8", "replace")

    def caller(self, role: str) -> httpx.Client:
        """A client with the role's key; the caller closes it."""
        headers = {"Authorization": f"Bearer {self.keys[role]}"}
        return httpx.Client(base_url=self.url, headers=headers, timeout=60)

    def _prepared(self) -> dict[str, str]:
        """Migrates, and returns a key for each role."""
        self.run("data", "migrate")
        return dict(_KEY.findall(self.run("data", "keys", "bootstrap")))

    def _done(self, room: str, *arguments: str) -> subprocess.CompletedProcess[str]:
        command = [*self._python, room, *arguments]
        return subprocess.run(
            command,
            cwd=ROOT,
            env=self.environment,
            capture_output=True,
            text=True,
            check=False,
            timeout=START_S,
        )

    def _end(self, how: signal.Signals) -> int | None:
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return None
        os.killpg(process.pid, how)
        return process.wait(60)


def free_port() -> int:
    """A port that nobody listens on now."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port


def answered(response: httpx.Response, status: int = 200) -> Any:
    """The body of an answer that must have this status."""
    assert response.status_code == status, f"{response.request.url}: {response.status_code} {response.text}"
    return response.json()
