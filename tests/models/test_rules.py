"""Every rule fires where its file says so and not where it denies it, points at the words, stays linear."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from data.errors import BadInput
from data.masking import read_text
from data.taxonomy import load_taxonomy
from models.rules import RULES, Rule, Rules

TAXONOMY = load_taxonomy()
SHIPPED = Rules.load(TAXONOMY)

RULE = """
[fragments]
smoke = '冒烟|起火'
seen = '看见.{0,4}{smoke}'

[[rule]]
id = "smoke"
effect = "transfer"
flag = "emergency"
route = "119"
policies = ["beijing-2021-11-3-1"]
explanation = "冒烟。"
any = ['{seen}', '{smoke}了']
idioms = ['嗓子冒烟了']
none = ['去年']
all_of = ['快|赶紧']
examples = ["快来，冒烟了。", "赶紧，看见起火。"]
counter_examples = ["去年冒烟了，快忘了。", "快急得嗓子冒烟了。"]
"""


def rules_of(folder: Path, text: str) -> Rules:
    path = folder / "rules.toml"
    path.write_text(text, encoding="utf-8")
    return Rules.load(TAXONOMY, path)


def fired(rules: Rules, content: str, title: str = "") -> set[str]:
    return {hit.rule for hit in rules.hits(read_text(title, content))}


def quoted(rules: Rules, rule: str, content: str) -> str:
    hit = next(hit for hit in rules.hits(read_text("", content)) if hit.rule == rule)
    assert hit.span.field == "content"
    return content[hit.span.start : hit.span.end]


@pytest.mark.parametrize("rule", SHIPPED.rules, ids=lambda rule: rule.id)
def test_examples_fire_and_counter_examples_do_not(rule: Rule) -> None:
    for example in rule.examples:
        assert rule.id in fired(SHIPPED, example), example
    for example in rule.counter_examples:
        assert rule.id not in fired(SHIPPED, example), example


def test_every_protective_flag_has_a_rule_and_no_rule_speaks_of_rudeness() -> None:
    flags = {rule.flag for rule in SHIPPED.rules if rule.flag}
    assert flags == {flag.code for flag in TAXONOMY.flags if flag.protective}


def test_every_ground_has_a_fallback_rule() -> None:
    grounds = {rule.ground for rule in SHIPPED.rules if rule.ground}
    assert grounds == {ground.code for ground in TAXONOMY.grounds}


@pytest.mark.parametrize(
    ("content", "quote"),
    [
        ("妹妹說她不想活了，門鎖著。", "不想活"),
        ("妹妹说她不\u200b想活了，门锁着。", "不\u200b想活"),
        ("我把藥買好備好了,昨天寫了遺書。", "遺書"),
    ],
)
def test_spans_point_into_the_order_as_it_was_sent(content: str, quote: str) -> None:
    assert quoted(SHIPPED, "wish-to-die", content) == quote


def test_full_width_and_traditional_forms_fire_the_same_rules() -> None:
    plain = "老板拖欠我们3个月工资，电话关机了!请120快来,有人昏迷叫不醒。"
    wide = "老闆拖欠我們３個月工資，電話關機了！請１２０快來，有人昏迷叫不醒。"
    assert fired(SHIPPED, plain) == fired(SHIPPED, wide) >= {"wages-owed", "medical"}


def test_spans_stay_right_behind_masked_personal_data() -> None:
    content = "我的电话13812345678，身份证11010119900307109X，家里着火了，快来人！"
    assert "着火了" in quoted(SHIPPED, "fire", content)


def test_a_title_is_read_too_and_the_hit_says_so() -> None:
    hits = SHIPPED.hits(read_text("邻居要跳楼", "在六栋。"))
    assert [(hit.rule, hit.span.field) for hit in hits] == [("wish-to-die", "title")]


@pytest.mark.parametrize(
    ("content", "fires"),
    [
        ("快来，冒烟了。", True),
        ("冒烟了。快来。", False),  # all_of stands in another sentence
        ("冒烟了。快来，又冒烟了。", True),  # a later sentence counts
        ("去年冒烟了，快忘了。快来，又冒烟了。", True),  # a veto reaches no further than its sentence
        ("快，嗓子冒烟了，屋里也冒烟了。", True),  # an idiom blanks only itself
        ("快，嗓子冒烟了。", False),
        ("快来，看见东边起火。", True),
    ],
)
def test_how_the_parts_of_a_rule_work_together(tmp_path: Path, content: str, fires: bool) -> None:
    assert ("smoke" in fired(rules_of(tmp_path, RULE), content)) is fires


def test_beside_field_joins_sentences(tmp_path: Path) -> None:
    rules = rules_of(tmp_path, RULE.replace("any = [", 'beside = "field"\nany = ['))
    assert fired(rules, "冒烟了。快来。") == {"smoke"}
    assert fired(rules, "冒烟了，快来。去年也这样。") == set()


def test_a_hit_carries_what_the_decision_record_needs(tmp_path: Path) -> None:
    (hit,) = rules_of(tmp_path, RULE).hits(read_text("", "快来，冒烟了。"))
    assert (hit.effect, hit.flag, hit.ground, hit.route) == ("transfer", "emergency", None, "119")
    assert hit.policies == ("beijing-2021-11-3-1",)


def test_the_version_is_the_digest_of_the_file(tmp_path: Path) -> None:
    first = rules_of(tmp_path, RULE).version
    assert first.startswith("sha256:")
    assert rules_of(tmp_path, RULE + "\n").version != first
    assert rules_of(tmp_path, RULE).version == first
    assert Rules.load(TAXONOMY, RULES).version == SHIPPED.version


@given(title=st.text(max_size=40), content=st.text(max_size=400))
@settings(max_examples=150, deadline=None)
def test_no_text_raises_and_every_span_lies_in_its_field(title: str, content: str) -> None:
    for hit in SHIPPED.hits(read_text(title, content)):
        source = title if hit.span.field == "title" else content
        assert 0 <= hit.span.start < hit.span.end <= len(source)


WORDS = [
    "快来",
    "着火了",
    "孩子",
    "被",
    "打",
    "。",
    ",",
    "老人",
    "去年",
    "窗口",
    "骂",
    "工资",
    "没发",
    " ",
    "不想活",
    "跳楼价",
]


@given(content=st.lists(st.sampled_from(WORDS), max_size=80).map("".join))
@settings(max_examples=100, deadline=None)
def test_texts_full_of_rule_words_do_not_raise_either(content: str) -> None:
    for hit in SHIPPED.hits(read_text("", content)):
        assert 0 <= hit.span.start < hit.span.end <= len(content)


@pytest.mark.parametrize(
    "unit", ["孩子被老人窗口", "去年着火了快来。", "跳楼价,", "工资没人说发的干部,第一次,"]
)
def test_time_grows_linearly_with_the_text(unit: str) -> None:
    def seconds(repeats: int) -> float:
        text = read_text("", unit * repeats)
        best = float("inf")
        for _ in range(3):
            start = time.process_time()
            SHIPPED.hits(text)
            best = min(best, time.process_time() - start)
        return best

    # Eight times the text: quadratic work would take 64 times as long.
    assert seconds(1600) < 24 * seconds(200) + 0.02


def faults(folder: Path, text: str) -> set[str]:
    with pytest.raises(BadInput) as caught:
        rules_of(folder, text)
    assert caught.value.code == "rules_invalid"
    return {fault.pointer for fault in caught.value.faults}


@pytest.mark.parametrize(
    ("old", "new", "pointer"),
    [
        ('flag = "emergency"', 'flag = "danger"', "/rules/rule/0/flag"),
        ('flag = "emergency"', 'flag = "vulnerable"', "/rules/rule/0/flag"),
        ('flag = "emergency"', 'ground = "harassment"', "/rules/rule/0/effect"),
        ('effect = "transfer"', 'effect = "shout"', "/rules/rule/0/effect"),
        ('effect = "transfer"', 'effect = "protect"', "/rules/rule/0/route"),
        ('route = "119"', 'route = "消防队"', "/rules/rule/0/route"),
        ('route = "119"\n', "", "/rules/rule/0/route"),
        ('"beijing-2021-11-3-1"', '"somewhere-9"', "/rules/rule/0/policies/0"),
        ("'{smoke}了'", "'(冒烟'", "/rules/rule/0/any/1"),
        ("'{smoke}了'", "'(?=冒烟)了'", "/rules/rule/0/any/1"),
        ("'{smoke}了'", "'{fog}了'", "/rules/rule/0/any/1"),
        ("'{smoke}了'", "'(?:冒烟)?'", "/rules/rule/0/any/1"),
        ("none = ['去年']", "none = ['[去']", "/rules/rule/0/none/0"),
        ("seen = '看见.{0,4}{smoke}'", "seen = '看见{later}'", "/rules/fragments/seen"),
        (
            'examples = ["快来，冒烟了。", "赶紧，看见起火。"]',
            'examples = ["快来，冒烟了。"]',
            "/rules/rule/0/examples",
        ),
        ("any = [", 'fields = ["body"]\nany = [', "/rules/rule/0/fields"),
        ("any = [", 'beside = "page"\nany = [', "/rules/rule/0/beside"),
        ("any = [", 'colour = "red"\nany = [', "/rules/rule/0"),
        ('id = "smoke"', 'id = "Smoke!"', "/rules/rule/0/id"),
        ("[fragments]", "[fragment]", "/rules"),
        ("[[rule]]", "[[rule", "/rules"),
    ],
)
def test_a_broken_file_is_refused_and_the_place_named(
    tmp_path: Path, old: str, new: str, pointer: str
) -> None:
    assert old in RULE
    assert pointer in faults(tmp_path, RULE.replace(old, new, 1))


def test_all_faults_come_at_once_and_a_duplicate_id_is_one(tmp_path: Path) -> None:
    rule = RULE[RULE.index("[[rule]]") :]
    broken = rule.replace('"beijing-2021-11-3-1"', '"somewhere-9"').replace("none = ['去年']", "none = ['(']")
    assert faults(tmp_path, RULE + broken) == {
        "/rules/rule",
        "/rules/rule/1/policies/0",
        "/rules/rule/1/none/0",
    }


def test_a_missing_file_is_bad_input(tmp_path: Path) -> None:
    with pytest.raises(BadInput):
        Rules.load(TAXONOMY, tmp_path / "absent.toml")
