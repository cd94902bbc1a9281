from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from data.corpus.snapshot import Split
from data.errors import BadInput
from data.settings import ROOT
from training.recipe import SplitPlan, read_encoder_recipe, read_recipe

DEFAULT = ROOT / "training" / "recipes" / "default.toml"
ENCODER = ROOT / "training" / "recipes" / "encoder.toml"


def changed(recipe: Path, tmp_path: Path, old: str, new: str) -> Path:
    text = recipe.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "recipe.toml"
    path.write_text(text.replace(old, new, 1), encoding="utf-8")
    return path


def test_the_default_recipe_is_read_whole() -> None:
    recipe = read_recipe(DEFAULT)
    assert recipe.name == "default"
    assert "w4" in recipe.split.test
    assert recipe.split == SplitPlan(Split().train, Split().calibration, Split().test)
    assert set(recipe.finetune.weights) == {"verdict", "kind", "subject", "flags"}


def test_the_default_recipe_starts_from_the_encoder_that_the_other_makes() -> None:
    encoder = read_encoder_recipe(ENCODER)
    assert Path(read_recipe(DEFAULT).encoder) == Path("models/encoders") / encoder.name
    assert encoder.shape.width == 64 * encoder.shape.heads
    assert encoder.pretrain.length <= encoder.shape.positions


def test_a_recipe_cannot_change_under_a_run() -> None:
    with pytest.raises(FrozenInstanceError):
        read_recipe(DEFAULT).seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("old", "new", "pointer"),
    [
        ("epochs = ", "epochz = 3\nepochs = ", "/finetune/epochz"),
        ("dropout = 0.1", "", "/finetune/dropout"),
        ("seed = 12345", 'seed = "many"', "/seed"),
        ('name = "default"', 'name = "../up"', "/name"),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path: Path, old: str, new: str, pointer: str) -> None:
    with pytest.raises(BadInput) as refused:
        read_recipe(changed(DEFAULT, tmp_path, old, new))
    assert pointer in {fault.pointer for fault in refused.value.faults}


@pytest.mark.parametrize(
    ("old", "new", "pointer"),
    [
        ("steps = ", "stepz = 3\nsteps = ", "/pretrain/stepz"),
        ("mask_rate = 0.2", "mask_rate = 1.5", "/pretrain/mask_rate"),
        ("layers = ", "layers = -", "/shape/layers"),
        ('tier = "public domain"\n', "", "/pretrain/sources/laws/tier"),
    ],
)
def test_a_wrong_key_or_value_of_a_pretraining_is_named(
    tmp_path: Path, old: str, new: str, pointer: str
) -> None:
    with pytest.raises(BadInput) as refused:
        read_encoder_recipe(changed(ENCODER, tmp_path, old, new))
    assert pointer in {fault.pointer for fault in refused.value.faults}


def test_broken_toml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("name = ", encoding="utf-8")
    with pytest.raises(BadInput, match="recipe_unreadable"):
        read_recipe(path)


def test_a_digest_moves_with_its_parts_only(tmp_path: Path) -> None:
    recipe, other = (
        read_recipe(DEFAULT),
        read_recipe(changed(DEFAULT, tmp_path, "dropout = 0.1", "dropout = 0.2")),
    )
    assert recipe.digest("split") == other.digest("split")
    assert recipe.digest("split", "finetune") != other.digest("split", "finetune")
