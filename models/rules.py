"""The rule engine: reviewed expressions that find danger or a lawful route in an order; triage calls it.

A rule never changes a probability. `protect` and `transfer` rules raise a flag and always count; `route` and
`suggest` rules propose a ground and count only where no model answers.
"""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast, get_args

from data.errors import BadInput, Fault
from data.masking import MaskedText
from data.records import Effect, Field, RuleHit, Span
from data.reference_table import Entry, read_entries, read_table
from data.taxonomy import Taxonomy
from models.expression import Beside, Expression, Shortlist, compiled, expanded

RULES = Path(__file__).resolve().parent / "reference" / "rules.toml"

_ID = re.compile(r"[a-z][a-z0-9-]*")
_FRAGMENT_NAME = re.compile(r"[a-z][a-z_]*")
_NUMBER = re.compile(r"\d{3,6}")


@dataclass(frozen=True, slots=True)
class Rule:
    """One reviewed rule; `examples` fire it and `counter_examples` do not, which the tests check."""

    id: str
    effect: Effect
    flag: str | None
    ground: str | None
    route: str | None
    policies: tuple[str, ...]
    explanation: str
    fields: tuple[Field, ...]
    expression: Expression
    examples: tuple[str, ...]
    counter_examples: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Rules:
    """All rules of one file, in its order; `version` is a digest of the file's bytes."""

    version: str
    rules: tuple[Rule, ...]
    shortlist: Shortlist = field(repr=False, compare=False)

    @staticmethod
    def load(taxonomy: Taxonomy, path: Path = RULES) -> Rules:
        """Reads and checks a rule file.

        Raises:
            BadInput: with every fault found, each pointing into the file (`/rules/rule/3/any/0`).
        """
        faults: list[Fault] = []
        content, table = read_table(path, "/rules", faults)
        _refuse(faults)
        if not table.keys() <= {"fragments", "rule"}:
            faults.append(Fault("/rules", "含有未知的表。"))
        reader = _RuleReader(taxonomy, _fragments(table.get("fragments", {}), faults))
        rules = read_entries(table, "/rules", "rule", reader.rule, faults)
        if max(Counter(rule.id for rule in rules).values(), default=0) > 1:
            faults.append(Fault("/rules/rule", "有重复的规则编号。"))
        _refuse(faults)
        shortlist = Shortlist([rule.expression for rule in rules])
        return Rules("sha256:" + hashlib.sha256(content).hexdigest(), rules, shortlist)

    def hits(self, text: MaskedText) -> tuple[RuleHit, ...]:
        """Each rule's first match in each of its fields, in file order; spans are in the order as sent."""
        mapped = {"title": text.title, "content": text.content}
        listed = {name: self.shortlist.of(of.text) for name, of in mapped.items()}
        hits = []
        for place, rule in enumerate(self.rules):
            for name in rule.fields:
                if place not in listed[name]:
                    continue
                found = rule.expression.first(mapped[name].text)
                if found is not None:
                    span = Span(name, *mapped[name].span(*found))
                    hits.append(
                        RuleHit(
                            rule=rule.id,
                            effect=rule.effect,
                            span=span,
                            explanation=rule.explanation,
                            ground=rule.ground,
                            flag=rule.flag,
                            route=rule.route,
                            policies=rule.policies,
                        )
                    )
        return tuple(hits)


def _refuse(faults: list[Fault]) -> None:
    if faults:
        raise BadInput("rules_invalid", "规则文件有误。", tuple(faults))


def _fragments(table: object, faults: list[Fault]) -> Mapping[str, str]:
    """Named parts of patterns; a later one may use those before it."""
    fragments: dict[str, str] = {}
    if not isinstance(table, dict):
        faults.append(Fault("/rules/fragments", "应为名称到文字的表。"))
        return fragments
    for name, value in table.items():
        pointer = f"/rules/fragments/{name}"
        if not _FRAGMENT_NAME.fullmatch(name) or not isinstance(value, str):
            faults.append(Fault("/rules/fragments", "应为名称到文字的表。"))
            continue
        pattern = expanded(value, fragments)
        if pattern is None:
            faults.append(Fault(pointer, "引用了前面没有的片段。"))
        fragments[name] = f"(?:{pattern or value})"
    return fragments


class _RuleReader:
    def __init__(self, taxonomy: Taxonomy, fragments: Mapping[str, str]) -> None:
        self._grounds = {ground.code for ground in taxonomy.grounds}
        self._flags = {flag.code: flag for flag in taxonomy.flags}
        self._policies = {policy.id for policy in taxonomy.policies}
        self._fragments = fragments

    def rule(self, entry: Entry) -> Rule:
        rule = Rule(
            id=entry.text("id", _ID),
            effect=cast(Effect, entry.choice("effect", get_args(Effect))),
            flag=entry.optional_text("flag"),
            ground=entry.optional_text("ground"),
            route=entry.optional_text("route"),
            policies=entry.texts("policies"),
            explanation=entry.text("explanation"),
            fields=cast(tuple[Field, ...], entry.texts("fields", least=0) or get_args(Field)),
            expression=self._expression(entry),
            examples=entry.texts("examples", least=2),
            counter_examples=entry.texts("counter_examples", least=2),
        )
        self._check(entry, rule)
        return rule

    def _expression(self, entry: Entry) -> Expression:
        beside = cast(Beside, entry.choice("beside", get_args(Beside), default="sentence"))
        patterns = {
            key: tuple(
                self._pattern(entry, f"{key}/{place}", pattern)
                for place, pattern in enumerate(entry.texts(key, least=1 if key == "any" else 0))
            )
            for key in ("any", "all_of", "none", "idioms")
        }
        return Expression(
            patterns["any"],
            all_of=patterns["all_of"],
            none=patterns["none"],
            idioms=patterns["idioms"],
            beside=beside,
        )

    def _pattern(self, entry: Entry, key: str, pattern: str) -> str:
        """The pattern with its fragments filled in; an impossible one in its place where it is wrong."""
        filled = expanded(pattern, self._fragments)
        if filled is None:
            entry.fault(key, "引用了没有的片段。")
        else:
            try:
                if compiled((filled,)).search("") is None:
                    return filled
                entry.fault(key, "不能匹配空白。")
            except ValueError:
                entry.fault(key, "不是有效的RE2表达式。")
        return r"\z\A."

    def _check(self, entry: Entry, rule: Rule) -> None:
        raises = rule.effect in {"protect", "transfer"}
        if raises != (rule.flag is not None) or raises == (rule.ground is not None):
            entry.fault("effect", "护民和转送规则只写标记，引导和建议规则只写理由。")
        if rule.flag is not None and not self._raisable(rule):
            entry.fault("flag", "不是可以由此类规则提出的标记。")
        if rule.ground is not None and rule.ground not in self._grounds:
            entry.fault("ground", "不是已登记的理由。")
        if (rule.effect in {"transfer", "route"}) != (rule.route is not None):
            entry.fault("route", "转送和引导规则须写去向，其他规则不写。")
        if rule.effect == "transfer" and rule.route and not _NUMBER.fullmatch(rule.route):
            entry.fault("route", "应为转送的电话号码。")
        if not set(rule.fields) <= set(get_args(Field)):
            entry.fault("fields", "取值不在允许范围内。")
        for place, policy in enumerate(rule.policies):
            if policy not in self._policies:
                entry.fault(f"policies/{place}", "引用了未登记的政策。")

    def _raisable(self, rule: Rule) -> bool:
        flag = self._flags.get(rule.flag or "")
        if flag is None:
            return False
        return flag.transfers if rule.effect == "transfer" else flag.protective
