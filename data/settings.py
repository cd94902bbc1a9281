"""Where things are on this machine: read from the environment once, in each `__main__`, and passed down."""

from __future__ import annotations

from pathlib import Path
from typing import Literal

from pydantic import Field
from pydantic_settings import BaseSettings, SettingsConfigDict

ROOT = Path(__file__).resolve().parent.parent


class Settings(BaseSettings):
    """The machine's configuration, each field an environment variable with the prefix `MINGBIAN_`.

    What a city decides (taxonomy, policies, rules) and what a model carries (thresholds,
    temperatures) live elsewhere, in reviewed files.
    """

    model_config = SettingsConfigDict(env_prefix="MINGBIAN_", frozen=True, extra="forbid")

    environment: Literal["development", "production"] = Field(
        default="development", description="Production refuses what only development may be lax about."
    )
    database_url: str = Field(
        default=f"sqlite:///{ROOT / 'var' / 'mingbian.db'}", description="SQLite file or PostgreSQL server."
    )
    bundle: Path = Field(
        default=ROOT / "models" / "bundles" / "default", description="Folder of the model that answers."
    )
    promoted: Path = Field(
        default=ROOT / "var" / "bundles", description="Folder of the bundles that were promoted, by digest."
    )
    keys: Path = Field(
        default=ROOT / "var" / "keys",
        description="Folder of secret keys (vault, audit signer, bundle signer, cookies), mode 0700.",
    )
    corpora: Path = Field(
        default=ROOT / "var" / "corpora",
        description="Folder of the texts that encoders are pretrained on.",
    )
    external: Path = Field(
        default=ROOT / "var" / "external", description="Folder of public test sets and of real messages."
    )
    host: str = Field(default="127.0.0.1", description="Address the server listens on.")
    port: int = Field(
        default=8000, ge=0, le=65535, description="Port the server listens on; 0 takes a free one."
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="Least severe entries that are logged; none ever holds an order's text."
    )
    log_origin: str = Field(default="mingbian.local/audit", description="Origin line of audit checkpoints.")
    auto_decline: bool = Field(
        default=False, description="Whether a certified bundle may decline an order without a person."
    )
    base_rate: float | None = Field(
        default=None,
        gt=0,
        lt=1,
        description="The city's share of unreasonable orders, if known: probabilities are stated at it.",
    )
    deadline_ms: int = Field(default=800, gt=0, description="Longer than this, and the rules answer.")
    body_limit: int = Field(default=262_144, gt=0, description="Largest request body in bytes.")
    text_limit: int = Field(default=20_000, gt=0, description="Most code points of one order's content.")
    rate_limit: int = Field(
        default=500, gt=0, description="Calls a second that one API key may make of one server process."
    )
    lease_seconds: int = Field(default=900, gt=0, description="How long a claimed review stays claimed.")
    idempotency_hours: int = Field(
        default=48, ge=24, description="How long a repeated request gets its first answer."
    )
