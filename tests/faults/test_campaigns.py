"""Faults at every place: the campaigns of `make torture` with small counts."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.torture.__main__ import attack
from tests.torture.campaign import Campaign, Order, Tally, Unable
from tests.torture.campaigns import syscalls
from tests.torture.cases import ENDINGS, STAGES
from tests.torture.shim import NoCompilerError
from tests.torture.table import CAMPAIGNS

# The calls are tried stage by stage below, side by side.
_WHOLE = [each for each in CAMPAIGNS if each.name != "calls"]


def assert_nothing_is_wrong(tally: Tally) -> None:
    assert tally.findings == []
    assert tally.runs > 0


@pytest.mark.parametrize("campaign", _WHOLE, ids=lambda each: each.name)
def test_a_campaign_of_faults_finds_nothing_accepted_wrongly_and_nothing_lost(campaign: Campaign):
    tally = attack(campaign, campaign.quick, 0, None)
    if tally.unable:
        pytest.skip(tally.unable)
    assert_nothing_is_wrong(tally)


@pytest.mark.parametrize("ending", ENDINGS)
@pytest.mark.parametrize("stage", STAGES)
def test_whichever_call_fails_a_stage_ends_with_code_4_and_loses_nothing(stage: str, ending: str, tmp_path: Path):
    try:
        tally = syscalls.every_call(Order(1, tmp_path), stages=[stage], endings=[ending])
    except NoCompilerError as reason:
        pytest.skip(str(reason))
    assert_nothing_is_wrong(tally)
    assert tally.refused > 5


@pytest.mark.parametrize("stage", ["normalize", "stats"])
def test_what_helps_a_resumed_run_may_fail_too(stage: str, tmp_path: Path):
    try:
        tally = syscalls.every_call(Order(1, tmp_path), stages=[stage], endings=["h5"], small=True)
    except (NoCompilerError, Unable) as reason:
        pytest.skip(str(reason))
    assert_nothing_is_wrong(tally)
