"""Says the same in other words, so that wording cannot decide; `training/finetune.py` calls it."""

from __future__ import annotations

import re
import tomllib
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np

from data.records import Reading
from training.examples import Example
from training.recipe import RewordingPlan

PHRASES = Path(__file__).resolve().parent / "reference" / "rewording.toml"

_CLAUSE_END = re.compile(r"(?<=[,。!?;])")
_PUNCTUATION = re.compile(r"[,。;:!?、]")
_FILLED = 0.3  # of the clauses of a text that gets fillers
_MISHEARD = 0.25  # of the characters that can be misheard


@dataclass(frozen=True, slots=True)
class Phrases:
    """What can be added or exchanged, in canonical text."""

    openings: tuple[str, ...]
    greetings: tuple[str, ...]
    thanks: tuple[str, ...]
    fillers: tuple[str, ...]
    outbursts: tuple[str, ...]
    asides: tuple[str, ...]
    surnames: tuple[str, ...]
    places: tuple[tuple[str, ...], ...]
    misheard: dict[str, str]


@cache
def read_phrases(path: Path = PHRASES) -> Phrases:
    """The phrases that ship with the project."""
    raw: dict[str, Any] = tomllib.loads(path.read_text(encoding="utf-8"))
    misheard = {heard[0]: heard[1] for heard in raw.pop("misheard")}
    places = tuple(map(tuple, raw.pop("places")))
    return Phrases(**{name: tuple(words) for name, words in raw.items()}, places=places, misheard=misheard)


def _plain(example: Example) -> bool:
    """A message of which the title alone says all that was decided of it."""
    return example.real and not example.flags and not example.labels.get("verdict")


class Rewording:
    """Draws rewordings by a seed; each kind comes with the share that the plan gives it."""

    def __init__(self, plan: RewordingPlan, seed: int) -> None:
        self._plan = plan
        self._phrases = read_phrases()
        self._random = np.random.default_rng((seed, 0))

    @property
    def state(self) -> Any:
        """Where the random numbers stand, as JSON can hold it."""
        return self._random.bit_generator.state

    @state.setter
    def state(self, state: Any) -> None:
        self._random.bit_generator.state = state

    def __call__(self, example: Example) -> Reading:
        """The example's reading, reworded: same matter, same request, same decision.

        Much of what comes in has no title. Of a real message the title may stand alone: it is what an
        operator in a hurry writes down, and as reasonable as the message.
        """
        plan, title, content = self._plan, example.reading.title, example.reading.content
        if _plain(example) and title and self._happens(plan.title_alone):
            title, content = "", title
        elif self._happens(plan.untitled):
            title = ""
        if self._happens(plan.misheard):
            content = self._mishear(content)
        if self._happens(plan.fillers):
            content = self._fill(content)
        content = self._within(content)
        if self._happens(plan.unpunctuated):
            content = _PUNCTUATION.sub("", content)
        return Reading(title, content)

    def _within(self, content: str) -> str:
        """What stands before and after the matter."""
        plan, phrases = self._plan, self._phrases
        if self._happens(plan.aside):
            content = self._aside() + content
        if self._happens(plan.outburst):
            content = self._one(phrases.outbursts) + content
        if self._happens(plan.courtesy):
            content = self._one(phrases.greetings) + content
        if self._happens(plan.courtesy):
            content = content + self._one(phrases.thanks)
        if self._happens(plan.opening):
            content = self._one(phrases.openings) + content
        return content

    def _aside(self) -> str:
        place = "".join(map(self._one, self._phrases.places))
        aside = self._one(self._phrases.asides).replace("%P", place)
        return aside.replace("%N", self._one(self._phrases.surnames))

    def _fill(self, content: str) -> str:
        clauses = _CLAUSE_END.split(content)
        return "".join(
            self._one(self._phrases.fillers) + clause if clause and self._happens(_FILLED) else clause
            for clause in clauses
        )

    def _mishear(self, content: str) -> str:
        heard = self._phrases.misheard
        return "".join(
            heard[character] if character in heard and self._happens(_MISHEARD) else character
            for character in content
        )

    def _happens(self, share: float) -> bool:
        return share > 0 and self._random.random() < share

    def _one(self, of: tuple[str, ...]) -> str:
        return of[self._random.integers(len(of))]
