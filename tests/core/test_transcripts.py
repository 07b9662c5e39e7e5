"""Every scenario gives its transcript. After an intended change, `make transcripts` writes the transcripts again."""

import pytest
from transcript import FOLDER, all_scenarios, transcript

SCENARIOS = all_scenarios()


@pytest.mark.parametrize("name", SCENARIOS)
def test_a_scenario_gives_its_transcript(name: str) -> None:
    assert transcript(SCENARIOS[name]) == (FOLDER / f"{name}.txt").read_text(), "see `make transcripts`"


def test_every_transcript_has_a_scenario() -> None:
    written = {str(path.relative_to(FOLDER).with_suffix("")) for path in FOLDER.rglob("*.txt")}
    assert written == SCENARIOS.keys()
