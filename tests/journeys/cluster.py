"""A PostgreSQL server of the tests' own, to be stopped, frozen and restarted at will; fault tests call it."""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text

from tests.journeys.real_process import free_port

_DEBIAN = Path("/usr/lib/postgresql")  # where Debian keeps each version's programs, off the path
_USER = "postgres"


class Cluster:
    """One server in its own folder and on its own port, with an empty database `mingbian`."""

    def __init__(
        self, folder: Path, programs: Path, host: str = "127.0.0.1", within: Sequence[str] = ()
    ) -> None:
        """`host` is the address it listens on, `within` the command that runs its programs where that is."""
        self._folder = folder
        self._programs = programs
        self._host = host
        self._within = within
        self._port = free_port()
        self.url = f"postgresql+psycopg://{_USER}@{host}:{self._port}/mingbian"
        if os.geteuid() == 0:
            shutil.chown(folder, _USER, _USER)
        self._run("initdb", "-D", self._data, "-U", _USER, "-A", "trust", "-E", "UTF8", "--no-locale", "-N")
        with (folder / "data" / "pg_hba.conf").open("a") as access:
            access.write("host all all samenet trust\n")
        self.start()
        self.ask("CREATE DATABASE mingbian", "postgres")

    def start(self) -> None:
        """Until it takes connections."""
        options = (
            f"-p {self._port} -c listen_addresses={self._host} -c unix_socket_directories={self._folder}"
        )
        log = str(self._folder / "log")
        self._run("pg_ctl", "start", "-w", "-D", self._data, "-l", log, "-o", options)

    def crash(self) -> None:
        """As its machine fails: no session is asked, nothing is written that was not written already."""
        self._run("pg_ctl", "stop", "-D", self._data, "-m", "immediate")

    def freeze(self) -> None:
        """It keeps its connections and answers nothing, as when its disk hangs."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self._signal(signal.SIGCONT)

    def ask(self, statement: str, database: str = "mingbian", **values: Any) -> Sequence[Any]:
        """The rows that a statement gives; it runs by itself, outside any transaction."""
        engine = create_engine(self.url.removesuffix("mingbian") + database, isolation_level="AUTOCOMMIT")
        try:
            with engine.connect() as conn:
                done = conn.execute(text(statement), values)
                return done.all() if done.returns_rows else []
        finally:
            engine.dispose()

    def cut_connections(self) -> int:
        """How many there were: every session on the database but this one ends where it is."""
        sessions = "FROM pg_stat_activity WHERE datname = 'mingbian' AND pid <> pg_backend_pid()"
        return len(self.ask(f"SELECT pg_terminate_backend(pid) {sessions}"))

    @property
    def _data(self) -> str:
        return str(self._folder / "data")

    def _signal(self, what: signal.Signals) -> None:
        postmaster = int((self._folder / "data" / "postmaster.pid").read_text("ascii").split()[0])
        children = Path(f"/proc/{postmaster}/task/{postmaster}/children").read_text("ascii").split()
        for pid in (postmaster, *map(int, children)):
            os.kill(pid, what)

    def _run(self, program: str, *arguments: str) -> None:
        # The server refuses to run as root.
        other = ("runuser", "-u", _USER, "--") if os.geteuid() == 0 else ()
        command = [*self._within, *other, str(self._programs / program), *arguments]
        # Not a pipe: the server would inherit it, and reading it would wait for the server's end.
        with (self._folder / f"{program}.txt").open("w+") as said:
            done = subprocess.run(
                command, cwd=self._folder, stdout=said, stderr=said, check=False, timeout=120
            )
            said.seek(0)
            assert done.returncode == 0, f"{command}\n{said.read()}"


def programs() -> Path | None:
    """Where the newest PostgreSQL's programs lie; None where there are none, or nobody to run them as."""
    if os.geteuid() == 0 and not (shutil.which("runuser") and _known(_USER)):
        return None
    on_path = shutil.which("initdb")
    versions = sorted(_DEBIAN.glob("*/bin/initdb"), key=lambda found: int(found.parts[-3]))
    found = versions[-1] if versions else on_path and Path(on_path)
    return Path(found).parent if found else None


def _known(user: str) -> bool:
    import pwd

    try:
        pwd.getpwnam(user)
    except KeyError:
        return False
    return True
