from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from serving.sessions import LIFETIME, Sessions

NOW = datetime(2026, 3, 2, 9, 30, tzinfo=UTC)
SECRET = bytes(range(32))
ANY_TEXT = st.text(st.characters(), max_size=40)


@pytest.fixture
def sessions() -> Sessions:
    return Sessions(SECRET)


def test_a_cookie_stands_for_its_session_until_it_expires(sessions: Sessions) -> None:
    session, cookie = sessions.issue("key-1", NOW)
    assert session.key_id == "key-1"
    assert sessions.read(cookie, NOW) == session
    assert sessions.read(cookie, NOW + LIFETIME - timedelta(seconds=1)) == session
    assert sessions.read(cookie, NOW + LIFETIME) is None


def test_a_cookie_is_safe_to_put_into_a_header(sessions: Sessions) -> None:
    _, cookie = sessions.issue("0198f0a2-7c1e-7d53-9f0e-4b1c2a3d4e5f", NOW)
    assert cookie.isascii()
    assert not set(cookie) & set(' ",;\\')


def test_another_process_with_the_same_secret_reads_it(sessions: Sessions) -> None:
    session, cookie = sessions.issue("key-1", NOW)
    assert Sessions(SECRET).read(cookie, NOW) == session
    assert Sessions(bytes(32)).read(cookie, NOW) is None


def test_every_login_is_its_own_session(sessions: Sessions) -> None:
    first, second = (sessions.issue("key-1", NOW)[0] for _ in range(2))
    assert first.id != second.id
    assert sessions.form_token(first) != sessions.form_token(second)


def test_an_altered_cookie_stands_for_nothing(sessions: Sessions) -> None:
    _, cookie = sessions.issue("key-1", NOW)
    for place in range(len(cookie) - 1):
        other = "A" if cookie[place] != "A" else "B"
        assert sessions.read(cookie[:place] + other + cookie[place + 1 :], NOW) is None, place


def test_a_cookie_cannot_be_made_to_last_longer_or_be_another_s(sessions: Sessions) -> None:
    session, cookie = sessions.issue("key-1", NOW)
    later = cookie.replace(str(session.expires_at), str(session.expires_at + 10**6))
    assert later != cookie
    assert sessions.read(later, NOW) is None
    assert sessions.read(cookie.replace("key-1", "key-2"), NOW) is None


def test_an_ended_session_stays_ended(sessions: Sessions) -> None:
    session, cookie = sessions.issue("key-1", NOW)
    other, other_cookie = sessions.issue("key-1", NOW)
    sessions.end(session, NOW)
    assert sessions.read(cookie, NOW) is None
    assert sessions.read(other_cookie, NOW) == other
    sessions.end(other, NOW + timedelta(hours=1))
    assert sessions.read(cookie, NOW) is None


def test_ended_sessions_are_forgotten_once_expired(sessions: Sessions) -> None:
    for hour in range(0, 80, 8):
        session, _ = sessions.issue("key-1", NOW + timedelta(hours=hour))
        sessions.end(session, NOW + timedelta(hours=hour))
    assert len(sessions._ended) <= 2


def test_a_form_token_is_its_session_s_alone(sessions: Sessions) -> None:
    mine, other = (sessions.issue("key-1", NOW)[0] for _ in range(2))
    token = sessions.form_token(mine)
    assert sessions.form_token_valid(mine, token)
    assert not sessions.form_token_valid(other, token)
    assert not sessions.form_token_valid(mine, "")


def test_a_login_token_must_come_twice_and_in_time(sessions: Sessions) -> None:
    token, other = sessions.login_token(NOW), sessions.login_token(NOW)
    assert token != other
    assert sessions.login_token_valid(token, token, NOW)
    assert not sessions.login_token_valid(token, other, NOW)
    assert not sessions.login_token_valid(token, "", NOW)
    assert not sessions.login_token_valid("", "", NOW)
    assert sessions.login_token_valid(token, token, NOW + timedelta(minutes=59))
    assert not sessions.login_token_valid(token, token, NOW + timedelta(hours=1))


def test_a_token_for_one_purpose_is_none_for_another(sessions: Sessions) -> None:
    session, cookie = sessions.issue("key-1", NOW)
    login = sessions.login_token(NOW)
    assert sessions.read(login, NOW) is None
    assert sessions.read(f"{session.id}.{sessions.form_token(session)}", NOW) is None
    assert not sessions.login_token_valid(cookie, cookie, NOW)
    assert not sessions.form_token_valid(session, cookie.rpartition(".")[2])


@given(ANY_TEXT, ANY_TEXT)
def test_no_made_up_text_is_a_cookie_or_a_token(left: str, right: str) -> None:
    sessions = Sessions(SECRET)
    session, _ = sessions.issue("key-1", NOW)
    assert sessions.read(f"{left}.{right}", NOW) is None
    assert sessions.read(left, NOW) is None
    assert not sessions.form_token_valid(session, left)


@given(st.text(max_size=40))
def test_no_made_up_text_is_a_login_token(text: str) -> None:
    assert not Sessions(SECRET).login_token_valid(text, text, NOW)
