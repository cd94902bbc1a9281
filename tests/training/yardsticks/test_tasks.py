from __future__ import annotations

import json
from pathlib import Path

import pytest

from data.corpus.labels import read_folder
from data.errors import NotFound
from data.taxonomy import Taxonomy
from tests.training.conftest import TUNING
from training.yardsticks.tasks import (
    AUTHORED,
    GROUP,
    chnsenticorp,
    few_shot,
    leave_one_region_out,
    public_tasks,
    tipdm_subjects,
)


def write_rows(path: Path, rows: list[dict[str, object]]) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows), encoding="utf-8")
    return path


def test_test_texts_that_stand_in_train_are_marked(tmp_path: Path) -> None:
    (tmp_path / "train.tsv").write_text('label\ttext_a\n1\t房间很"好\n0\t太吵了\n', encoding="utf-8")
    (tmp_path / "test.tsv").write_text("label\ttext_a\n0\t太吵了\n1\t早餐不错\n", encoding="utf-8")
    task = chnsenticorp(tmp_path)
    assert [example.labels[GROUP] for example in task.train] == [1, 0]
    assert task.train[0].reading.content == '房间很"好'
    assert task.unseen == (False, True)


def test_messages_are_divided_by_text(tmp_path: Path) -> None:
    rows: list[dict[str, object]] = [
        {
            "id": str(number),
            "title": f"第{number}件",
            "content": f"内容{number // 2}",
            "subject": "ab"[number % 2],
        }
        for number in range(400)
    ]
    task = tipdm_subjects(write_rows(tmp_path / "train.jsonl", rows))
    assert task.labels == ("a", "b")
    train, test = ({example.reading.content for example in part} for part in (task.train, task.test))
    assert not train & test
    assert 0.08 < len(task.test) / 400 < 0.22
    assert len(task.train) + len(task.test) == 400


def test_a_few_shot_split_is_paired_with_the_whole_test_set(tmp_path: Path) -> None:
    write_rows(tmp_path / "train_3.json", [{"text": "甲", "label": "x"}, {"text": "乙", "label": "y"}])
    write_rows(tmp_path / "test_public.json", [{"text": "丙", "label": "y"}])
    task = few_shot(tmp_path, "toy", "text", "label", 3, TUNING)
    assert (task.name, task.labels) == ("toy-3", ("x", "y"))
    assert [example.labels[GROUP] for example in task.test] == [1]


def test_every_region_is_left_out_once(taxonomy: Taxonomy) -> None:
    everything = read_folder(taxonomy)
    tasks = list(leave_one_region_out(everything))
    orders = [order for order in everything if order.region in AUTHORED]
    assert [task.name for task in tasks] == [f"authored-w{number}" for number in range(1, 9)]
    assert sum(len(task.test) for task in tasks) == len(orders)
    for task in tasks:
        assert len(task.train) + len(task.test) == len(orders)
        pairs = [{example.pair for example in part if example.pair} for part in (task.train, task.test)]
        assert not pairs[0] & pairs[1]


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(NotFound, match=r"chnsenticorp/train\.tsv"):
        next(public_tasks(tmp_path))
