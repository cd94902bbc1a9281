"""The five errors that everything raises; `serving/errors.py` alone turns them into status codes."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Fault:
    """One thing wrong with an input: a JSON pointer to it and a Chinese sentence about it."""

    pointer: str
    detail: str


class MingbianError(Exception):
    """Base of the five: `code` is stable and for machines, `detail` is Chinese and for people.

    Neither ever repeats what the caller sent: an error travels into logs and pages.
    """

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(code, detail)
        self.code = code
        self.detail = detail

    def __str__(self) -> str:
        return f"{self.code}: {self.detail}"


class NotFound(MingbianError):
    """The thing named does not exist, or not for this caller."""


class Conflict(MingbianError):
    """The request contradicts what has happened meanwhile."""


class NotAllowed(MingbianError):
    """The caller is unknown, or may not do this."""


class BadInput(MingbianError):
    """The input is malformed; `faults` says where."""

    def __init__(self, code: str, detail: str, faults: tuple[Fault, ...] = ()) -> None:
        super().__init__(code, detail)
        self.faults = faults


class Unavailable(MingbianError):
    """Something needed is not there now; `retry_after` is in seconds."""

    def __init__(self, code: str, detail: str, retry_after: int = 5) -> None:
        super().__init__(code, detail)
        self.retry_after = retry_after
