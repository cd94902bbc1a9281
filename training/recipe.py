"""Complete descriptions of pretrainings and training runs, read from TOML; `python -m training` calls it."""

from __future__ import annotations

import hashlib
import tomllib
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

from pydantic import ConfigDict, Field, TypeAdapter, ValidationError
from pydantic.dataclasses import dataclass

from data.errors import BadInput, Fault

_STRICT = ConfigDict(extra="forbid")

Count = Annotated[int, Field(gt=0)]
Name = Annotated[str, Field(pattern=r"^[a-z0-9-]+$")]
Fraction = Annotated[float, Field(ge=0, lt=1)]
Weight = Annotated[float, Field(ge=0)]
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
class ShapePlan:
    """The shape of a BERT; heads of dimension 64 run fastest."""

    layers: Count
    width: Count
    heads: Count
    positions: Count


@dataclass(frozen=True, slots=True, config=_STRICT)
class SourcePlan:
    """One corpus: licence tier, share of what is drawn, and at most how many million characters are read."""

    tier: str
    share: Annotated[float, Field(gt=0)]
    million_characters: Annotated[float, Field(gt=0)]


@dataclass(frozen=True, slots=True, config=_STRICT)
class PretrainPlan:
    """Masked language modelling: `steps` batches of `batch` blocks of `length` tokens.

    With `minutes` above zero the run ends after that long at the latest. The rate rises over `warmup`
    steps, stays, and falls to zero over the last share `decay` of the budget, so that a run can be made
    longer as long as it has not begun to fall. `start`, when not empty, is the folder
    of an encoder whose weights it begins with, relative to the project's root.
    """

    steps: Count
    minutes: Weight
    batch: Count
    length: Count
    mask_rate: Share
    learning_rate: Annotated[float, Field(gt=0)]
    warmup: Count
    decay: Share
    held_out: Share
    start: str
    sources: dict[str, SourcePlan]


@dataclass(frozen=True, slots=True, config=_STRICT)
class RewordingPlan:
    """How often a text is seen in other words (`rewording.py`): the share of texts for each kind of change.

    Attributes:
        untitled: the title is left out.
        title_alone: the title stands for the content; of real messages that nothing is wrong with only.
        opening, courtesy, outburst, aside: something that says nothing of the matter stands around it.
        fillers, misheard, unpunctuated: as speech recognition hands it over.
    """

    untitled: Fraction = 0.0
    title_alone: Fraction = 0.0
    opening: Fraction = 0.0
    courtesy: Fraction = 0.0
    outburst: Fraction = 0.0
    aside: Fraction = 0.0
    fillers: Fraction = 0.0
    misheard: Fraction = 0.0
    unpunctuated: Fraction = 0.0


@dataclass(frozen=True, slots=True, config=_STRICT)
class RehearsalPlan:
    """Files of labelled orders that the starting model has learned; each epoch sees a `share` of them."""

    files: tuple[str, ...]
    share: Share


@dataclass(frozen=True, slots=True, config=_STRICT)
class FinetunePlan:
    """Supervised training: `weights` scale the cross-entropy of each label group and of the flags.

    Attributes:
        dropout: of what the head reads; inside the layers there is none.
        weak_share: real messages as a share of all texts; without them the files are not needed.
        weak_weight, weak_cap: how much a real message's verdict counts, and up to which loss.
        pair_weight, pair_margin: the twins' margin loss and the log-odds it asks for.
        optimizer: `muon` takes it for the layers' matrices and AdamW for the rest.
        members: how many models are trained, of which the mean is kept.
        frozen: the lowest layers that stay as they are, and the embeddings with them; none with 0.
        rehearsal: where the start is a model that was fine-tuned before (`reopened.py`).
    """

    epochs: Count
    batch: Count
    length: Count
    learning_rate: float
    warmup: Share
    dropout: Fraction
    weak_share: Fraction
    weak_weight: Weight
    weak_cap: Weight
    pair_weight: Weight
    pair_margin: Weight
    weights: dict[str, float]
    rewording: RewordingPlan
    optimizer: Literal["adamw", "muon"] = "adamw"
    members: Count = 1
    frozen: Annotated[int, Field(ge=0)] = 0
    rehearsal: RehearsalPlan | None = None


@dataclass(frozen=True, slots=True, config=_STRICT)
class NgramPlan:
    """The second opinion: a linear model over at most `runs` runs of characters.

    Attributes:
        inverse_regularisation: scikit-learn's C.
    """

    runs: Count
    inverse_regularisation: Weight


@dataclass(frozen=True, slots=True, config=_STRICT)
class PrecedentPlan:
    """What a reviewer is shown beside a decision: the orders that trained, in so many `dimensions` each."""

    dimensions: Count


@dataclass(frozen=True, slots=True, config=_STRICT)
class CertificatePlan:
    """The promised bounds: shares of orders that a threshold may get wrong, at a joint confidence.

    Attributes:
        decline_risk: of reasonable look-alikes.
        real_risk: of real messages, of which the share `real_share` is kept from training for it.
        dispatch_risk: of unreasonable orders.
    """

    decline_risk: Share
    real_risk: Share
    real_share: Fraction
    dispatch_risk: Share
    confidence: Share


@dataclass(frozen=True, slots=True, config=_STRICT)
class EncoderRecipe:
    """Everything that decides what a pretraining makes, apart from the files it reads."""

    name: Name
    seed: int
    vocabulary: VocabularyPlan
    shape: ShapePlan
    pretrain: PretrainPlan


@dataclass(frozen=True, slots=True, config=_STRICT)
class SubjectRecipe:
    """Fine-tuning on the public subject task alone, once a seed; `encoder` as in `Recipe`."""

    name: Name
    seeds: tuple[int, ...]
    encoder: str
    finetune: FinetunePlan


@dataclass(frozen=True, slots=True, config=_STRICT)
class Recipe:
    """Everything that decides what a run makes, apart from the files it reads.

    `encoder` is the folder of a Chinese BERT, ours or anybody's; relative to the project's root.
    With `readings`, what readers decided about real messages trains; it always calibrates.
    Without `ngrams` the encoder decides alone; without `precedents` reviewers are shown none.
    """

    name: Name
    seed: int
    split: SplitPlan
    encoder: str
    readings: bool
    finetune: FinetunePlan
    certificate: CertificatePlan
    ngrams: NgramPlan | None = None
    precedents: PrecedentPlan | None = None

    def digest(self, *parts: str) -> str:
        """SHA-256 over the seed and the named parts: what a stage depends on in the recipe."""
        everything = asdict(self)
        chosen = {part: everything[part] for part in ("seed", *parts)}
        return hashlib.sha256(repr(sorted(chosen.items())).encode()).hexdigest()


_Kind = TypeVar("_Kind")
_RECIPE: TypeAdapter[Recipe] = TypeAdapter(Recipe)
_ENCODER: TypeAdapter[EncoderRecipe] = TypeAdapter(EncoderRecipe)
_SUBJECT: TypeAdapter[SubjectRecipe] = TypeAdapter(SubjectRecipe)


def read_recipe(path: Path) -> Recipe:
    """Read a training run's recipe.

    Raises:
        BadInput: the file is missing or not TOML, a key is unknown or missing, or a value is out of range.
    """
    return _read(path, _RECIPE)


def read_run_recipe(path: Path) -> Recipe | SubjectRecipe:
    """Read a recipe of whatever `python -m training run` can make; raises as `read_recipe` does."""
    return _read(path, _SUBJECT) if "seeds" in _parsed(path) else _read(path, _RECIPE)


def read_encoder_recipe(path: Path) -> EncoderRecipe:
    """Read a pretraining's recipe; raises as `read_recipe` does."""
    return _read(path, _ENCODER)


def _parsed(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadInput("recipe_unreadable", f"训练配方读不出来：{type(error).__name__}") from error


def _read(path: Path, adapter: TypeAdapter[_Kind]) -> _Kind:
    values = _parsed(path)
    try:
        return adapter.validate_python(values)
    except ValidationError as error:
        faults = tuple(
            Fault("/" + "/".join(str(step) for step in problem["loc"]), problem["msg"])
            for problem in error.errors()
        )
        listed = "；".join(f"{fault.pointer} {fault.detail}" for fault in faults)
        raise BadInput("recipe_invalid", f"训练配方有误：{listed}", faults) from error
