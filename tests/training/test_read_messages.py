from __future__ import annotations

from data.records import Prediction, Reading
from data.taxonomy import Taxonomy
from models.rules import Rules
from training.examples import Example
from training.flags import FlagFigures
from training.read_messages import read_messages

THRESHOLDS = 0.5


def example(taxonomy: Taxonomy, kind: str, subject: str, flags: tuple[int, ...] | None) -> Example:
    named = {"verdict": "reasonable", "kind": kind, "subject": subject}
    labels = {group: taxonomy.groups[group].index(code) for group, code in named.items()}
    return Example(Reading("", "来信"), labels, flags=flags, real=True)


def prediction(taxonomy: Taxonomy, kind: str, subject: str, first_flag: float) -> Prediction:
    sure = {
        group: {code: float(code == said) for code in taxonomy.groups[group]}
        for group, said in (("verdict", "reasonable"), ("kind", kind), ("subject", subject))
    }
    flags = {code: first_flag if place == 0 else 0.0 for place, code in enumerate(taxonomy.flag_codes)}
    return Prediction(**sure, flags=flags, logits={}, truncated=False)


def test_only_read_messages_are_compared(taxonomy: Taxonomy) -> None:
    thresholds = dict.fromkeys(taxonomy.flag_codes, THRESHOLDS)
    messages = [
        example(taxonomy, "help", "land", (0,)),
        example(taxonomy, "help", "land", ()),
        example(taxonomy, "praise", "land", None),  # nobody has read it
    ]
    said = [
        prediction(taxonomy, "help", "land", 0.9),
        prediction(taxonomy, "report", "land", 0.9),
        prediction(taxonomy, "help", "health", 0.9),
    ]
    read = read_messages(messages, said, thresholds, Rules.load(taxonomy), taxonomy)
    assert read is not None
    assert (read.messages, read.kind_accuracy, read.subject_accuracy) == (2, 0.5, 1.0)
    assert read.flags[taxonomy.flag_codes[0]] == FlagFigures(1, 1.0, 1.0, 1.0, 1.0)
    assert read.flags[taxonomy.flag_codes[1]] == FlagFigures(0, None, 0.0, None, 0.0)
    assert read_messages(messages[2:], said[2:], thresholds, Rules.load(taxonomy), taxonomy) is None
