"""Makes the ids of orders, decisions, reviews and keys; called by whoever creates one."""

from __future__ import annotations

import uuid_utils


def new_id() -> str:
    """A UUIDv7 (RFC 9562) as text: later ids sort after earlier ones."""
    return str(uuid_utils.uuid7())
