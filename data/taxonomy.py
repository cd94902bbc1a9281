"""Reads what is decided (grounds, kinds, subjects, flags) and on which policies; every room asks here."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from dataclasses import dataclass
from datetime import date
from pathlib import Path
from typing import Literal, TypeVar, cast, get_args

from data.errors import BadInput, Fault
from data.records import REASONABLE
from data.reference_table import Entry, read_entries, read_table

REFERENCE = Path(__file__).resolve().parent / "reference"

Intake = Literal["yes", "partly", "needs_record", "no", "conduct", "ask_again"]

_CODE = re.compile(r"[a-z][a-z0-9_]*")
_POLICY_ID = re.compile(r"[a-z][a-z0-9-]*")
_REASONABLE_ZH = "合理"


@dataclass(frozen=True, slots=True)
class Policy:
    """One article of one document, or the whole document where no article is known.

    `in_force` is the first day it applied and is None only where not `verified`; `until` is the first
    day it no longer applied. `verified` says that the article was read in the published text.
    """

    id: str
    title: str
    issuer: str
    number: str | None
    article: str | None
    in_force: date | None
    until: date | None
    verified: bool
    summary: str

    @property
    def citation(self) -> str:
        """As a Chinese notice cites it: title and article, or title and number without an article."""
        if self.article is not None:
            return f"《{self.title}》{self.article}"
        return f"《{self.title}》" + (f"（{self.number}）" if self.number else "")


@dataclass(frozen=True, slots=True)
class Ground:
    """One of the 15 reasons for which a request is unreasonable.

    `intake` says whether the text alone can decide it; `route` is the sentence that tells the citizen
    which lawful channel is open instead.
    """

    code: str
    form: str
    zh: str
    en: str
    meaning: str
    intake: Intake
    policies: tuple[str, ...]
    route: str

    @property
    def decidable(self) -> bool:
        return self.intake == "yes"


@dataclass(frozen=True, slots=True)
class Label:
    """A kind of request or a subject."""

    code: str
    zh: str
    en: str


@dataclass(frozen=True, slots=True)
class Flag:
    """A circumstance: a `protective` one only makes an outcome safer, one that `transfers` sends it on."""

    code: str
    zh: str
    en: str
    protective: bool
    transfers: bool


@dataclass(frozen=True, slots=True)
class Taxonomy:
    """Everything that can be decided; the order of each tuple is the order of the model's labels."""

    version: str
    grounds: tuple[Ground, ...]
    kinds: tuple[Label, ...]
    subjects: tuple[Label, ...]
    flags: tuple[Flag, ...]
    policies: tuple[Policy, ...]

    @property
    def verdicts(self) -> tuple[str, ...]:
        return (REASONABLE, *(ground.code for ground in self.grounds))

    @property
    def groups(self) -> dict[str, tuple[str, ...]]:
        """The model's label groups, each with its codes in order."""
        return {
            "verdict": self.verdicts,
            "kind": tuple(kind.code for kind in self.kinds),
            "subject": tuple(subject.code for subject in self.subjects),
        }

    @property
    def flag_codes(self) -> tuple[str, ...]:
        """The flags in the order of the model's scores, which follow those of the groups."""
        return tuple(flag.code for flag in self.flags)

    def ground(self, code: str) -> Ground:
        """Raises KeyError for an unknown code, as do the lookups below."""
        return _found(self.grounds, code)

    def kind(self, code: str) -> Label:
        return _found(self.kinds, code)

    def subject(self, code: str) -> Label:
        return _found(self.subjects, code)

    def flag(self, code: str) -> Flag:
        return _found(self.flags, code)

    def policy(self, id: str) -> Policy:  # noqa: A002 - the field is called id
        for policy in self.policies:
            if policy.id == id:
                return policy
        raise KeyError(id)

    def name(self, code: str) -> str:
        """The Chinese name of any verdict, kind, subject or flag."""
        if code == REASONABLE:
            return _REASONABLE_ZH
        members: tuple[Ground | Label | Flag, ...] = (
            *self.grounds,
            *self.kinds,
            *self.subjects,
            *self.flags,
        )
        for member in members:
            if member.code == code:
                return member.zh
        raise KeyError(code)


Coded = TypeVar("Coded", Ground, Label, Flag)


def _found(members: tuple[Coded, ...], code: str) -> Coded:
    for member in members:
        if member.code == code:
            return member
    raise KeyError(code)


def load_taxonomy(folder: Path = REFERENCE) -> Taxonomy:
    """Reads `taxonomy.toml` and `policies.toml`; `version` is a digest over both files' bytes.

    Raises:
        BadInput: with every fault found, each pointing into its file (`/taxonomy/ground/0/code`).
    """
    faults: list[Fault] = []
    digest = hashlib.sha256()
    content, decided = read_table(folder / "taxonomy.toml", "/taxonomy", faults)
    digest.update(len(content).to_bytes(8, "big") + content)
    content, cited = read_table(folder / "policies.toml", "/policies", faults)
    digest.update(len(content).to_bytes(8, "big") + content)
    _refuse(faults)
    if not decided.keys() <= {"ground", "kind", "subject", "flag"}:
        faults.append(Fault("/taxonomy", "含有未知的表。"))
    if not cited.keys() <= {"policy"}:
        faults.append(Fault("/policies", "含有未知的表。"))
    taxonomy = Taxonomy(
        version="sha256:" + digest.hexdigest(),
        grounds=read_entries(decided, "/taxonomy", "ground", _ground, faults),
        kinds=read_entries(decided, "/taxonomy", "kind", _label, faults),
        subjects=read_entries(decided, "/taxonomy", "subject", _label, faults),
        flags=read_entries(decided, "/taxonomy", "flag", _flag, faults),
        policies=read_entries(cited, "/policies", "policy", _policy, faults),
    )
    faults.extend(_contradictions(taxonomy))
    _refuse(faults)
    return taxonomy


def _refuse(faults: list[Fault]) -> None:
    if faults:
        raise BadInput("taxonomy_invalid", "分类或政策文件有误。", tuple(faults))


def _contradictions(taxonomy: Taxonomy) -> list[Fault]:
    faults = []
    known = {policy.id for policy in taxonomy.policies}
    for place, ground in enumerate(taxonomy.grounds):
        for cited, policy in enumerate(ground.policies):
            if policy not in known:
                faults.append(Fault(f"/taxonomy/ground/{place}/policies/{cited}", "引用了未登记的政策。"))
    if len(known) < len(taxonomy.policies):
        faults.append(Fault("/policies", "有重复的政策编号。"))
    # One namespace for all codes: pages look a name up without saying which group its code is in.
    codes = Counter(
        [
            *taxonomy.verdicts,
            *(label.code for label in (*taxonomy.kinds, *taxonomy.subjects)),
            *(flag.code for flag in taxonomy.flags),
        ]
    )
    if max(codes.values()) > 1:
        faults.append(Fault("/taxonomy", "有重复的代码。"))
    return faults


def _policy(entry: Entry) -> Policy:
    policy = Policy(
        id=entry.text("id", _POLICY_ID),
        title=entry.text("title"),
        issuer=entry.text("issuer"),
        number=entry.optional_text("number"),
        article=entry.optional_text("article"),
        in_force=entry.day("in_force"),
        until=entry.day("until"),
        verified=entry.truth("verified"),
        summary=entry.text("summary"),
    )
    if policy.verified and (policy.in_force is None or policy.article is None):
        entry.fault("verified", "已核对的政策须写明条文和施行日期。")
    if policy.in_force is not None and policy.until is not None and policy.until <= policy.in_force:
        entry.fault("until", "失效日期须晚于施行日期。")
    return policy


def _ground(entry: Entry) -> Ground:
    return Ground(
        code=entry.text("code", _CODE),
        form=entry.text("form"),
        zh=entry.text("zh"),
        en=entry.text("en"),
        meaning=entry.text("meaning"),
        intake=cast(Intake, entry.choice("intake", get_args(Intake))),
        policies=entry.texts("policies"),
        route=entry.text("route"),
    )


def _label(entry: Entry) -> Label:
    return Label(code=entry.text("code", _CODE), zh=entry.text("zh"), en=entry.text("en"))


def _flag(entry: Entry) -> Flag:
    return Flag(
        code=entry.text("code", _CODE),
        zh=entry.text("zh"),
        en=entry.text("en"),
        protective=entry.truth("protective"),
        transfers=entry.truth("transfers"),
    )
