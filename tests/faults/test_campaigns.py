"""Faults at every place: the campaigns of `make torture` with small counts."""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.torture.__main__ import attack
from tests.torture.campaign import Campaign, Order, Tally, scratch
from tests.torture.campaigns import syscalls
from tests.torture.cases import ENDINGS, STAGES
from tests.torture.shim import NoCompilerError
from tests.torture.table import CAMPAIGNS

# The calls are tried stage by stage and the states in four parts below, side by side; the guards need a run of many
# tests each.
_WHOLE = [each for each in CAMPAIGNS if each.name not in ("calls", "states", "guards")]
(_STATES,) = (each for each in CAMPAIGNS if each.name == "states")
_PARTS = 4


def assert_nothing_is_wrong(tally: Tally) -> None:
    assert tally.findings == []
    assert tally.runs > 0


@pytest.mark.parametrize("campaign", _WHOLE, ids=lambda each: each.name)
def test_a_campaign_of_faults_finds_nothing_accepted_wrongly_and_nothing_lost(campaign: Campaign):
    tally = attack(campaign, campaign.quick, 0, None)
    if tally.unable:
        pytest.skip(tally.unable)
    assert_nothing_is_wrong(tally)


@pytest.mark.parametrize("part", range(_PARTS))
def test_in_whatever_order_data_are_written_damaged_and_certified_only_certified_values_are_handed_out(part: int):
    assert_nothing_is_wrong(attack(_STATES, _STATES.quick // _PARTS, part, None))


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder for projects, in memory where there is room."""
    with tempfile.TemporaryDirectory(prefix="torture-", dir=scratch()) as name:
        yield Path(name)


def calls(folder: Path, stage: str, ending: str, *, small: bool = False) -> Tally:
    try:
        return syscalls.every_call(Order(1, folder), stages=[stage], endings=[ending], small=small)
    except NoCompilerError as reason:
        pytest.skip(str(reason))


_CALLS = [
    pytest.param(
        stage,
        ending,
        marks=[pytest.mark.long] if stage == "generate" or (stage, ending) == ("normalize", "zarr") else [],
    )
    for stage in STAGES
    for ending in ENDINGS
]


@pytest.mark.parametrize(("stage", "ending"), _CALLS)
def test_whichever_call_fails_a_stage_ends_with_code_4_and_loses_nothing(stage: str, ending: str, folder: Path):
    tally = calls(folder, stage, ending)
    assert_nothing_is_wrong(tally)
    assert tally.refused > 5


@pytest.mark.long
def test_what_helps_a_resumed_run_may_fail_too(folder: Path):
    assert_nothing_is_wrong(calls(folder, "normalize", "h5", small=True))
