"""Signed cookies and form tokens for people who log in on pages; access and the login page use it."""

from __future__ import annotations

import base64
import binascii
import hashlib
import hmac
import secrets
import threading
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

LIFETIME: Final = timedelta(hours=8)
_FORM_LIFETIME: Final = timedelta(hours=1)


@dataclass(frozen=True, slots=True)
class Session:
    """One login: which key, until when. The key itself is never in the cookie."""

    id: str
    key_id: str
    expires_at: int


class Sessions:
    """Issues and checks cookies without keeping them; only ended sessions are remembered, until they expire.

    Each purpose signs under its own subkey, so that a token for one can never pass as another.
    """

    def __init__(self, secret: bytes) -> None:
        self._cookie_key = hmac.digest(secret, b"mingbian session cookie v1", hashlib.sha256)
        self._form_key = hmac.digest(secret, b"mingbian form token v1", hashlib.sha256)
        self._login_key = hmac.digest(secret, b"mingbian login token v1", hashlib.sha256)
        self._ended: dict[str, int] = {}
        self._lock = threading.Lock()

    def issue(self, key_id: str, now: datetime) -> tuple[Session, str]:
        """A fresh session and its cookie value: a login never adopts an id that came from outside."""
        expires_at = int((now + LIFETIME).timestamp())
        session = Session(secrets.token_urlsafe(24), key_id, expires_at)
        payload = f"{session.id}.{session.expires_at}.{session.key_id}"
        return session, f"{payload}.{_sign(self._cookie_key, payload)}"

    def read(self, cookie: str, now: datetime) -> Session | None:
        """The session a cookie stands for, or None when it is forged, expired or ended."""
        payload, _, signature = cookie.rpartition(".")
        if not _verify(self._cookie_key, payload, signature):
            return None
        session_id, expires_at, key_id = payload.split(".", 2)
        session = Session(session_id, key_id, int(expires_at))
        with self._lock:
            ended = session.id in self._ended
        return None if ended or session.expires_at <= now.timestamp() else session

    def end(self, session: Session, now: datetime) -> None:
        with self._lock:
            gone = [key for key, expires_at in self._ended.items() if expires_at <= now.timestamp()]
            for key in gone:
                del self._ended[key]
            self._ended[session.id] = session.expires_at

    def form_token(self, session: Session) -> str:
        """The token every form of this session carries against cross-site requests."""
        return _sign(self._form_key, session.id)

    def form_token_valid(self, session: Session, token: str) -> bool:
        return _verify(self._form_key, session.id, token)

    def login_token(self, now: datetime) -> str:
        """A token for the login form, tied to a cookie of the same value (double submit)."""
        payload = f"{secrets.token_urlsafe(16)}.{int((now + _FORM_LIFETIME).timestamp())}"
        return f"{payload}.{_sign(self._login_key, payload)}"

    def login_token_valid(self, form: str, cookie: str, now: datetime) -> bool:
        payload, _, signature = form.rpartition(".")
        same = hmac.compare_digest(form.encode(), cookie.encode())
        if not _verify(self._login_key, payload, signature) or not same:
            return False
        return int(payload.rpartition(".")[2]) > now.timestamp()


def _sign(key: bytes, payload: str) -> str:
    digest = hmac.digest(key, payload.encode(), hashlib.sha256)
    return base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def _verify(key: bytes, payload: str, signature: str) -> bool:
    """Compare the decoded digests: base64 has several spellings of its last character, a digest has one."""
    expected = hmac.digest(key, payload.encode("utf-8", "surrogatepass"), hashlib.sha256)
    try:
        given = base64.b64decode(signature.encode("ascii") + b"=", altchars=b"-_", validate=True)
    except (binascii.Error, UnicodeEncodeError):
        return False
    return hmac.compare_digest(expected, given)
