from __future__ import annotations

from dataclasses import FrozenInstanceError
from pathlib import Path

import pytest

from data.errors import BadInput
from training.recipe import read_recipe

DEFAULT = Path("training/recipes/default.toml")


def changed(tmp_path: Path, old: str, new: str) -> Path:
    text = DEFAULT.read_text(encoding="utf-8")
    assert old in text
    path = tmp_path / "recipe.toml"
    path.write_text(text.replace(old, new), encoding="utf-8")
    return path


def test_the_default_recipe_is_read_whole() -> None:
    recipe = read_recipe(DEFAULT)
    assert recipe.name == "default"
    assert recipe.split.test == ("w4",)
    assert recipe.encoder.width % recipe.encoder.heads == 0
    assert set(recipe.finetune.weights) == {"verdict", "kind", "subject"}


def test_a_recipe_cannot_change_under_a_run() -> None:
    with pytest.raises(FrozenInstanceError):
        read_recipe(DEFAULT).seed = 1  # type: ignore[misc]


@pytest.mark.parametrize(
    ("old", "new", "pointer"),
    [
        ("steps = ", "stepz = 3\nsteps = ", "/pretrain/stepz"),
        ("epochs = 12", "", "/finetune/epochs"),
        ("mask_rate = 0.15", "mask_rate = 1.5", "/pretrain/mask_rate"),
        ("layers = 4", "layers = 0", "/encoder/layers"),
        ("seed = 12345", 'seed = "many"', "/seed"),
        ('name = "default"', 'name = "../up"', "/name"),
    ],
)
def test_a_wrong_key_or_value_is_named(tmp_path: Path, old: str, new: str, pointer: str) -> None:
    with pytest.raises(BadInput) as refused:
        read_recipe(changed(tmp_path, old, new))
    assert pointer in {fault.pointer for fault in refused.value.faults}


def test_broken_toml_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "recipe.toml"
    path.write_text("name = ", encoding="utf-8")
    with pytest.raises(BadInput, match="recipe_unreadable"):
        read_recipe(path)


def test_a_digest_moves_with_its_parts_only(tmp_path: Path) -> None:
    recipe, slower = read_recipe(DEFAULT), read_recipe(changed(tmp_path, "epochs = 12", "epochs = 13"))
    assert recipe.digest("pretrain") == slower.digest("pretrain")
    assert recipe.digest("pretrain", "finetune") != slower.digest("pretrain", "finetune")
