"""Promoted bundles: kept by digest, put in force, taken back; `__main__` and `serving` call it."""

from __future__ import annotations

import shutil
from dataclasses import dataclass
from logging import getLogger
from pathlib import Path

from sqlalchemy import Connection

from data.errors import BadInput, NotFound
from data.store import promotions
from data.store.promotions import Instruction, Promotion
from data.taxonomy import Taxonomy
from models.bundle import Bundle, read_bundle
from models.encoder_classifier import EncoderClassifier

log = getLogger(__name__)

_BEFORE_THE_FIRST = "首次启用他模型之前在用的模型，随之补记"


@dataclass(frozen=True, slots=True)
class Registry:
    """The folder `kept` of promoted bundles, and `default`, which is in force until one is promoted."""

    kept: Path
    default: Path

    def folder_in_force(self, conn: Connection) -> Path:
        """Where the bundle in force lies. If its copy was lost, the folder does not exist."""
        now = promotions.current(conn)
        return self.default if now is None else self._place(now.digest)

    def promote(
        self, conn: Connection, folder: Path, taxonomy: Taxonomy, instruction: Instruction
    ) -> Promotion:
        """Verify the bundle in `folder`, run it once, keep a copy and put it in force.

        The first promotion also records what was in force until then, so that there is a way back.

        Raises:
            NotFound, BadInput: there is no bundle, or it is not to be trusted.
            Conflict: `model_in_force` already.
        """
        bundle = self._keep(folder, taxonomy)
        first = self._first(taxonomy) if promotions.current(conn) is None else None
        if first is not None and first.digest != bundle.digest:
            earlier = Instruction(instruction.who, _BEFORE_THE_FIRST, instruction.at)
            promotions.promote(conn, first.digest, first.name, earlier)
        return promotions.promote(conn, bundle.digest, bundle.name, instruction)

    def roll_back(
        self, conn: Connection, taxonomy: Taxonomy, instruction: Instruction, digest: str | None = None
    ) -> Promotion:
        """Put an earlier bundle back in force, once its copy was verified again.

        Raises:
            NotFound, BadInput: there is none to go back to, or its copy is not to be trusted.
            Conflict: `model_in_force` already.
        """
        made = promotions.roll_back(conn, instruction, digest)
        _run_once(read_bundle(self._place(made.digest), taxonomy))
        return made

    def _first(self, taxonomy: Taxonomy) -> Bundle | None:
        """What was in force before anything was promoted; a broken one is no way back and bars nothing."""
        try:
            return self._keep(self.default, taxonomy)
        except (NotFound, BadInput) as error:
            log.warning("the configured bundle is not kept as a way back: %s", error)
            return None

    def _keep(self, folder: Path, taxonomy: Taxonomy) -> Bundle:
        bundle = read_bundle(folder, taxonomy)
        _run_once(bundle)
        place = self._place(bundle.digest)
        if not place.exists():
            fresh = place.with_name(f".{place.name}.new")
            shutil.rmtree(fresh, ignore_errors=True)
            shutil.copytree(folder, fresh)
            read_bundle(fresh, taxonomy)  # the copy, not only what was copied
            fresh.rename(place)
        return bundle

    def _place(self, digest: str) -> Path:
        return self.kept / digest.replace(":", "-")


def _run_once(bundle: Bundle) -> None:
    EncoderClassifier(bundle).warm_up()
