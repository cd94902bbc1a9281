"""`python -m serving run | openapi | bulk`: serves, describes itself, or re-scores a file; for operators."""

from __future__ import annotations

import argparse
import gc
import json
import logging
import os
import signal
import sys
import threading
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from data.errors import BadInput, MingbianError
from serving import bulk_command

if TYPE_CHECKING:
    from data.settings import Settings
    from data.store.database import Database
    from data.store.keyring import Keyring

_LANES = "lane-"  # what their threads' names begin with
_LANES_END_S = 0.5


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0, or 1 when it cannot start, which standard error explains in Chinese."""
    parser = argparse.ArgumentParser(prog="python -m serving", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="start the service 启动服务")
    run.set_defaults(work=_run)
    describe = commands.add_parser("openapi", help="write serving/openapi.json 写出接口描述")
    describe.set_defaults(work=_describe)
    bulk = commands.add_parser("bulk", help=bulk_command.HELP)
    bulk_command.describe(bulk)
    bulk.set_defaults(work=_bulk)
    parsed = parser.parse_args(arguments)
    work: Callable[[argparse.Namespace], int] = parsed.work
    try:
        return work(parsed)
    except MingbianError as error:
        print(f"{error.detail} ({error.code})", file=sys.stderr)
        if error.code == "migrations_pending":
            print("请先执行：python -m data migrate", file=sys.stderr)
        return 1


def _run(_parsed: argparse.Namespace) -> int:
    """Serve until told to stop: requests under way are answered, then parts are closed."""
    import uvicorn

    from data.settings import Settings
    from data.store.database import Database
    from serving.app import create_app
    from serving.connections import BoundedProtocol
    from serving.heaps import few_heaps
    from serving.logs import configure
    from serving.reloading import open_in_force

    few_heaps()
    settings = Settings()
    configure(settings.log_level)
    keyring = _opened(settings.keys)
    database = Database(settings.database_url)
    try:
        database.check()
        _refuse_another_signer(settings, database, keyring)
        folder, triage = open_in_force(settings, database)
        try:
            # Tables of characters and patterns are made on first use: not at the first caller's expense.
            triage.decide("", "", datetime.now(UTC))
            app = create_app(settings, database, keyring, triage, triage.taxonomy, folder)
            # What was made until now lives as long as the process: no later collection needs to walk it.
            gc.collect()
            gc.freeze()
            # uvicorn raises the signal again once it has shut down; whoever asked it to stop sees status 0.
            signal.signal(signal.SIGTERM, _leave)
            uvicorn.run(
                app,
                host=settings.host,
                port=settings.port,
                http=BoundedProtocol,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_keep_alive=75,  # longer than a load balancer's, which would ask on a closed one
                timeout_graceful_shutdown=20,
            )
        finally:
            triage.close()
    finally:
        database.close()
    return 0


def _opened(folder: Path) -> Keyring:
    """Raises:
    BadInput: `keys_exposed`, `keys_damaged`, or `keys_unreadable`.
    """
    from data.store.keyring import Keyring

    try:
        return Keyring.open(folder)
    except OSError as error:
        detail = f"密钥文件夹无法读写（{type(error).__name__}），请检查 MINGBIAN_KEYS 的位置、属主与权限。"
        raise BadInput("keys_unreadable", detail) from error


def _refuse_another_signer(settings: Settings, database: Database, keyring: Keyring) -> None:
    """Two signers under one origin, and auditors could trust neither: a lost one is restored, or named anew.

    Raises:
        BadInput: `signer_changed`.
    """
    from data.store import checkpoints

    with database.reading() as conn:
        newest = checkpoints.newest(conn)
    if newest is None or newest.note.partition("\n")[0] != settings.log_origin:
        return
    if not checkpoints.is_signed(newest.note, keyring.audit_public, settings.log_origin):
        detail = (
            "审计签名密钥不是签署本审计日志的那一把，服务不启动：请从备份恢复密钥文件夹里的 audit.pem。"
            "确已丢失的，须换用新的 MINGBIAN_LOG_ORIGIN，让审计员看得出签名人已换。"
        )
        raise BadInput("signer_changed", detail)


def _leave(_signal: int, _frame: FrameType | None) -> None:
    raise SystemExit(0)


def _end(status: int) -> None:
    """At once if a lane still hangs in the runtime: an orderly end of the interpreter would abort there."""
    lanes = [thread for thread in threading.enumerate() if thread.name.startswith(_LANES)]
    for lane in lanes:
        lane.join(_LANES_END_S)
    if any(lane.is_alive() for lane in lanes):
        logging.shutdown()
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(status)
    sys.exit(status)


def _describe(_parsed: argparse.Namespace) -> int:
    from serving.app import describe
    from serving.pages.reference import OPENAPI

    text = json.dumps(describe(), ensure_ascii=False, indent=2) + "\n"
    OPENAPI.write_text(text, encoding="utf-8")
    return 0


def _bulk(parsed: argparse.Namespace) -> int:
    from data.settings import Settings

    return bulk_command.execute(parsed, Settings())


if __name__ == "__main__":
    try:
        exit_status = main()
    except SystemExit as told:
        exit_status = told.code if isinstance(told.code, int) else 0
    _end(exit_status)
