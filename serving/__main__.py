"""`python -m serving run | openapi`: starts the service, or writes its description; for operators."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable
from datetime import UTC, datetime

from data.errors import MingbianError


def main(arguments: list[str] | None = None) -> int:
    """The exit status: 0, or 1 when it cannot start, which standard error explains in Chinese."""
    parser = argparse.ArgumentParser(prog="python -m serving", description=__doc__)
    commands = parser.add_subparsers(dest="command", required=True)
    run = commands.add_parser("run", help="start the service 启动服务")
    run.set_defaults(work=_run)
    describe = commands.add_parser("openapi", help="write serving/openapi.json 写出接口描述")
    describe.set_defaults(work=_describe)
    work: Callable[[], int] = parser.parse_args(arguments).work
    try:
        return work()
    except MingbianError as error:
        print(f"{error.detail} ({error.code})", file=sys.stderr)
        if error.code == "migrations_pending":
            print("请先执行：python -m data migrate", file=sys.stderr)
        return 1


def _run() -> int:
    """Serve until told to stop: requests under way are answered, then parts are closed."""
    import uvicorn

    from data.settings import Settings
    from data.store.database import Database
    from data.store.keyring import Keyring
    from serving.app import create_app
    from serving.logs import configure
    from serving.reloading import open_in_force

    settings = Settings()
    configure(settings.log_level)
    keyring = Keyring.open(settings.keys)
    database = Database(settings.database_url)
    try:
        database.check()
        folder, triage = open_in_force(settings, database)
        try:
            # Tables of characters and patterns are made on first use: not at the first caller's expense.
            triage.decide("", "", datetime.now(UTC))
            app = create_app(settings, database, keyring, triage, triage.taxonomy, folder)
            uvicorn.run(
                app,
                host=settings.host,
                port=settings.port,
                log_config=None,
                access_log=False,
                server_header=False,
                proxy_headers=False,
                timeout_graceful_shutdown=20,
            )
        finally:
            triage.close()
    finally:
        database.close()
    return 0


def _describe() -> int:
    from serving.app import describe
    from serving.pages.reference import OPENAPI

    text = json.dumps(describe(), ensure_ascii=False, indent=2) + "\n"
    OPENAPI.write_text(text, encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())
