"""A training run's complete description, read from TOML; `python -m training run` calls it."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from data.errors import BadInput, Fault

_STRICT = ConfigDict(extra="forbid")

Count = Annotated[int, Field(gt=0)]
Share = Annotated[float, Field(gt=0, lt=1)]


@dataclass(frozen=True, slots=True, config=_STRICT)
class SplitPlan:
    """Which region files train, which calibrate, which test; a region stands in one of them only."""

    train: tuple[str, ...]
    calibration: tuple[str, ...]
    test: tuple[str, ...]


@dataclass(frozen=True, slots=True, config=_STRICT)
class VocabularyPlan:
    """How many wordpieces, and how often a Chinese character must occur to be one."""

    size: Count
    min_count: Count


@dataclass(frozen=True, slots=True, config=_STRICT)
class EncoderPlan:
    """The shape of the encoder, or `folder`: a Chinese BERT on disk to start from instead."""

    layers: Count
    width: Count
    heads: Count
    positions: Count
    folder: str = ""


@dataclass(frozen=True, slots=True, config=_STRICT)
class PretrainPlan:
    """Masked language modelling: `sources` maps a corpus to how many million characters of it are read."""

    steps: Count
    batch: Count
    length: Count
    mask_rate: Share
    learning_rate: float
    warmup: Share
    held_out: Share
    sources: dict[str, float]


@dataclass(frozen=True, slots=True, config=_STRICT)
class FinetunePlan:
    """Supervised training: `weights` scale the cross-entropy of each label group."""

    epochs: Count
    batch: Count
    length: Count
    learning_rate: float
    warmup: Share
    dropout: Annotated[float, Field(ge=0, lt=1)]
    weights: dict[str, float]


@dataclass(frozen=True, slots=True, config=_STRICT)
class CertificatePlan:
    """The promised bounds: shares of orders that a threshold may get wrong, at a joint confidence."""

    decline_risk: Share
    dispatch_risk: Share
    confidence: Share


@dataclass(frozen=True, slots=True, config=_STRICT)
class Recipe:
    """Everything that decides what a run makes, apart from the files it reads."""

    name: Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
    seed: int
    split: SplitPlan
    vocabulary: VocabularyPlan
    encoder: EncoderPlan
    pretrain: PretrainPlan
    finetune: FinetunePlan
    certificate: CertificatePlan

    def digest(self, *parts: str) -> str:
        """SHA-256 over the seed and the named parts: what a stage depends on in the recipe."""
        everything = asdict(self)
        chosen = {part: everything[part] for part in ("seed", *parts)}
        return hashlib.sha256(repr(sorted(chosen.items())).encode()).hexdigest()


_ADAPTER: TypeAdapter[Recipe] = TypeAdapter(Recipe)


def read_recipe(path: Path) -> Recipe:
    """Read a recipe.

    Raises:
        BadInput: the file is missing or not TOML, a key is unknown or missing, or a value is out of range.
    """
    try:
        text = path.read_text(encoding="utf-8")
        values: dict[str, Any] = tomllib.loads(text)
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput("recipe_unreadable", f"训练配方读不出来：{type(error).__name__}") from error
    try:
        return _ADAPTER.validate_python(values)
    except ValidationError as error:
        faults = tuple(
            Fault("/" + "/".join(str(step) for step in problem["loc"]), problem["msg"])
            for problem in error.errors()
        )
        listed = "；".join(f"{fault.pointer} {fault.detail}" for fault in faults)
        raise BadInput("recipe_invalid", f"训练配方有误：{listed}", faults) from error
