from __future__ import annotations

from pathlib import Path

from data.corpus.readings import MessageReading, message_digest, read_readings
from data.taxonomy import load_taxonomy


def test_every_reading_uses_the_taxonomys_codes() -> None:
    taxonomy = load_taxonomy()
    readings = read_readings()
    assert len(readings) == 7879
    for reading in readings.values():
        assert reading.verdict in taxonomy.verdicts
        assert reading.kind in taxonomy.groups["kind"]
        assert reading.subject in taxonomy.groups["subject"]
        assert set(reading.flags) <= set(taxonomy.flag_codes)
    assert sum(reading.verdict != "reasonable" for reading in readings.values()) == 20


def test_a_message_is_known_by_its_digest_alone(tmp_path: Path) -> None:
    path = tmp_path / "readings.tsv"
    digest = message_digest("路灯", "路灯坏了")
    path.write_text(
        "digest\tverdict\tkind\tsubject\tflags\tsure\n"
        f"{digest}\treasonable\thelp\turban_rural\tvulnerable,emergency\tno\n",
        encoding="utf-8",
    )
    expected = MessageReading("reasonable", "help", "urban_rural", ("vulnerable", "emergency"), sure=False)
    assert read_readings(path) == {digest: expected}
    assert "路灯" not in path.read_text(encoding="utf-8")
