from __future__ import annotations

from dataclasses import replace

from tests.training.test_card import facts
from training.public_record import write_public_record
from training.style_leak import StyleLeak


def test_the_record_says_what_the_card_says_in_chinese() -> None:
    record = write_public_record(facts())
    assert "| 合理与不合理的区分度（AUC） | 0.912 | 0.845 |" in record
    assert "5000 件真实工单）时找出的不合理工单 | 0.700 | – |" in record
    assert "不超过 2.0%（校准中 400 件出现 0 件）" in record
    assert "不经审核直接派单：**没有凭证**" in record
    assert "来源泄漏检验**未通过**" in record
    assert "规则与模型合计找出：emergency 99%" in record


def test_a_gate_that_passes_is_said() -> None:
    assert "来源泄漏检验通过" in write_public_record(replace(facts(), leak=StyleLeak(0.5, None)))
