"""The decision table: from columns of numbers to cause, evidence and next step."""

from __future__ import annotations

import math
import random
import subprocess
import sys

import pytest

from prep.training.advice import Advice, advise
from prep.training.learning_curves import Curves, condensed, held_to_train

SMOOTH = (1.0, 0.6, 0.4, 0.3, 0.24, 0.2, 0.17, 0.15, 0.14, 0.13)

# Train loss and validation of runs that reached their target, measured on the default scale.
TONES = (
    (0.29812, 0.20785),
    (0.096079, 0.062),
    (0.037353, 0.019227),
    (0.019066, 0.007822),
    (0.011818, 0.0092735),
    (0.007159, 0.0034922),
    (0.024705, 0.016942),
    (0.018578, 0.011403),
    (0.0073783, 0.0055647),
    (0.0045697, 0.0030967),
    (0.0060571, 0.0051047),
    (0.0038319, 0.0025046),
    (0.0032017, 0.0022689),
    (0.0025778, 0.0017698),
    (0.0022112, 0.002624),
    (0.0023812, 0.0017921),
    (0.0028097, 0.0029821),
    (0.0017932, 0.0022728),
    (0.0025147, 0.0036414),
    (0.0016904, 0.0012389),
)
PEPTIDE = (
    (-0.4271, -1.442),
    (-2.623, -3.881),
    (-3.942, -4.175),
    (-4.09, -4.183),
    (-4.169, -4.219),
    (-4.229, -4.215),
    (-4.29, -4.194),
    (-4.299, -4.168),
    (-4.352, -4.149),
    (-4.402, -4.133),
    (-4.411, -4.118),
    (-4.459, -4.091),
    (-4.488, -4.111),
    (-4.538, -4.09),
    (-4.514, -4.094),
    (-4.534, -4.095),
)


def rules(curves: Curves) -> list[str]:
    return [advice.rule for advice in advise(curves)]


def first(curves: Curves) -> Advice:
    return advise(curves)[0]


def test_a_smooth_fall_says_go_on():
    found = first(Curves(train=SMOOTH, val=SMOOTH, baseline=1.0, target=0.01))
    assert (found.rule, found.level) == ("improving", "good")
    assert "go on" in found.next_step


def test_a_rise_after_the_second_epoch_says_the_new_learning_rate():
    found = first(Curves(train=(0.2847, 0.31, 0.36, 0.41, 0.4580), learning_rate=(1e-3,) * 5))
    assert found.rule == "rising"
    assert found.learning_rate == pytest.approx(3.3e-4)
    assert "from 0.001 to 0.00033" in found.next_step


def test_a_rise_of_the_first_two_epochs_is_settling():
    assert "rising" not in rules(Curves(train=(0.9, 1.0, 0.8, 0.6, 0.5)))


def test_a_loss_that_does_not_come_down_again_stops_the_run():
    risen = (1.0, 0.5, 0.2, 0.5, 0.55, 0.5, 0.6, 0.55)
    assert first(Curves(train=risen, baseline=1.0)).level == "stop"
    assert first(Curves(train=risen[:5], baseline=1.0)).rule == "jumped"


@pytest.mark.parametrize("warmup", [0, 4])
def test_a_rise_within_the_warm_up_says_nothing(warmup: int):
    found = rules(Curves(train=(0.5, 0.4, 0.6, 0.9, 0.7), val=(0.6,) * 5, warmup=warmup))
    assert ("jumped" in found) is (warmup == 0)


def test_a_plateau_above_the_target_says_three_times_the_learning_rate():
    flat = (*SMOOTH, *(0.13,) * 10)
    found = first(Curves(train=flat, val=flat, baseline=1.0, target=0.05, learning_rate=(1e-3,) * 20))
    assert (found.rule, found.learning_rate) == ("plateau", 3e-3)


def test_a_plateau_that_the_schedule_made_is_no_warning():
    flat, rates = (*SMOOTH, *(0.13,) * 10), (*(1e-3,) * 15, *(1e-4,) * 5)
    (found,) = advise(Curves(train=flat, val=flat, baseline=1.0, target=0.05, learning_rate=rates))
    assert (found.rule, found.level) == ("plateau", "note")
    assert "train more epochs" in found.next_step


def test_a_plateau_at_the_baseline_asks_for_the_probes():
    flat = (1.0, 0.99, *(0.985,) * 12)
    found = first(Curves(train=flat, val=flat, baseline=1.0, target=0.05))
    assert found.rule == "plateau"
    assert "probes" in found.next_step


def test_a_plateau_below_the_target_is_the_end():
    flat = (*SMOOTH, *(0.04,) * 10)
    assert rules(Curves(train=flat, val=flat, baseline=1.0, target=0.05)) == ["done"]


def test_a_loss_that_swings_by_30_percent_says_half_the_learning_rate():
    found = first(Curves(train=(1.0, 0.5, 0.3, 0.5, 0.3, 0.5, 0.3), learning_rate=(4e-3,), baseline=1.0))
    assert (found.rule, found.learning_rate) == ("oscillating", 2e-3)


@pytest.mark.parametrize(
    "losses",
    [[1.0 + 0.5 * math.sin(2 * math.pi * epoch / 6) for epoch in range(42)], [1.0, 1.0, 2.0, 2.0] * 10],
    ids=["sine of six epochs", "square wave of four"],
)
def test_a_loss_may_swing_slowly_too(losses: list[float]):
    found = advise(Curves(train=losses, baseline=2.0, target=0.1, learning_rate=(4e-3,)))
    assert [each.rule for each in found] == ["oscillating"]
    assert found[0].learning_rate == 2e-3


def test_a_falling_loss_with_noise_does_not_swing():
    noise = random.Random(0)
    for _ in range(200):
        losses = [(1 + epoch) ** -0.7 * math.exp(noise.gauss(0, 0.1)) for epoch in range(60)]
        assert "oscillating" not in rules(Curves(train=losses, baseline=1.0, target=1e-3))


def test_swings_below_30_percent_say_nothing():
    assert rules(Curves(train=(1.0, 0.5, 0.4, 0.5, 0.4, 0.5, 0.4), baseline=1.0)) == []


def test_train_far_below_test_says_regularise():
    found = first(Curves(train=SMOOTH, val=SMOOTH, baseline=1.0, target=0.5, seen=0.1, test=0.151))
    assert found.rule == "overfitted"
    assert "regularise" in found.next_step


def test_validation_far_above_train_says_regularise_while_the_run_goes():
    val = [1.0, 0.6, 0.5, 0.45, 0.45, 0.45, 0.45, 0.45, 0.45, 0.45]
    assert rules(Curves(train=SMOOTH, val=val, baseline=1.0)) == ["overfitted"]
    assert held_to_train(Curves(train=SMOOTH[:2], val=val[:2])) is None


def test_test_like_train_and_below_the_target_is_done():
    assert rules(Curves(train=SMOOTH, val=SMOOTH, baseline=1.0, target=0.2, seen=0.13, test=0.14)) == ["done"]


def test_a_first_loss_far_above_the_baseline_names_the_field_that_is_off():
    spreads = {"inputs": (1.02, 1.0), "targets": (72.0, 1.0)}
    found = first(Curves(first=5184.0, baseline=1.0, spreads=spreads))
    assert (found.rule, found.level, found.field) == ("first_step", "stop", "targets")
    assert "72" in found.evidence


def test_a_first_loss_far_from_the_baseline_of_fields_as_certified_is_the_loss():
    found = first(Curves(first=5184.0, baseline=1.0, spreads={"targets": (1.0, 1.0)}))
    assert not found.field
    assert "averaged" in found.next_step
    assert rules(Curves(first=0.01, baseline=1.0)) == ["first_step"]
    assert rules(Curves(first=1.2, baseline=1.0)) == []


def test_data_without_a_signal_are_blamed_and_not_the_learning_rate():
    found = advise(
        Curves(train=(0.2847, 0.31, 0.36, 0.41, 0.4580), val=(0.5,) * 5, baseline=0.5, probe=0.5, learning_rate=(1e-3,))
    )
    assert [advice.rule for advice in found] == ["unlearnable"]
    assert found[0].cause == "the data cannot be learned"
    assert found[0].learning_rate is None


def test_what_frozen_weights_have_learned_can_be_learned_whatever_the_probe_says():
    assert "unlearnable" not in rules(Curves(train=SMOOTH, val=SMOOTH, baseline=1.0, probe=1.0))


def test_frozen_weights_no_better_than_nothing_after_the_warm_up_are_said():
    assert first(Curves(train=SMOOTH, val=(1.1,) * 10, baseline=1.0, warmup=2)).rule == "worse_than_baseline"
    assert "worse_than_baseline" not in rules(Curves(train=SMOOTH[:2], val=(1.1, 1.1), baseline=1.0, warmup=2))


@pytest.mark.parametrize(("factor", "level"), [(4.9, None), (6.0, "warn"), (60.0, "stop")])
def test_gradients_beyond_the_clip_are_said(factor: float, level: str | None):
    found = [each for each in advise(Curves(train=SMOOTH, clip_factor=(factor,) * 10)) if each.rule == "clipped"]
    assert [each.level for each in found] == ([level] if level else [])


def test_a_model_that_learned_nothing_needs_a_higher_rate_unless_it_is_far_above_where_it_began():
    slow = first(Curves(train=(1.07,) * 30, val=(1.07,) * 30, baseline=1.0, target=0.05, learning_rate=(1e-7,)))
    assert (slow.rule, slow.learning_rate) == ("worse_than_baseline", 3e-7)
    assert "raise the learning rate" in slow.next_step
    wild = first(Curves(train=(13.0,) * 30, val=(13.0,) * 30, baseline=1.0, target=0.05, learning_rate=(10.0,)))
    assert (wild.rule, wild.learning_rate) == ("worse_than_baseline", 3.3)
    assert first(Curves(train=(13.0,) * 30, baseline=1.0, target=0.05, learning_rate=(10.0,))).learning_rate == 3.3


def test_a_model_that_learned_its_training_samples_only_needs_no_other_rate():
    found = first(Curves(train=SMOOTH, val=(1.1,) * 10, baseline=1.0, learning_rate=(1e-3,)))
    assert (found.rule, found.learning_rate) == ("worse_than_baseline", None)
    assert "regularise" in found.next_step


def test_a_rate_of_0_cannot_be_raised_threefold():
    found = first(Curves(train=(1.0,) * 30, baseline=1.0, target=0.05, learning_rate=(0.0,) * 30))
    assert found.rule == "plateau"
    assert found.next_step.endswith("set a learning rate: it is 0")
    assert found.learning_rate is None


def test_validation_is_judged_by_what_predicting_nothing_scores_on_its_own_rows():
    curves = Curves(train=(1.0, 0.97, 0.98), val=(0.95, 0.98, 0.987), baseline=1.0, nothing=0.92)
    assert rules(curves) == ["worse_than_baseline"]


def test_scores_that_are_no_numbers_any_more_are_said():
    (found,) = advise(Curves(train=SMOOTH, val=(*SMOOTH[:5], *(math.nan,) * 5), baseline=1.0))
    assert (found.rule, found.level) == ("not_finite", "stop")
    assert found.evidence == "nan in epoch 6, and ever after"
    assert rules(Curves(val=(1.0, math.inf, math.nan))) == ["not_finite"]
    assert rules(Curves(train=SMOOTH, seen=0.1, test=math.nan, target=1.0)) == ["not_finite"]
    # None was taken, or one came out whole again.
    assert rules(Curves(train=SMOOTH, val=(0.9, None, math.nan, *SMOOTH[3:9], None))) == ["improving"]


def test_what_stands_still_is_not_told_to_go_on():
    assert rules(Curves(train=[1.0 - 1e-4 * epoch for epoch in range(40)])) == ["plateau"]


def test_a_training_loss_below_the_target_is_no_more_than_a_note():
    (found,) = advise(Curves(train=(0.01,) * 30, target=0.05))
    assert (found.rule, found.level) == ("done", "note")
    assert "score what is not trained on" in found.next_step


def test_a_loss_that_jumped_above_where_it_began_has_too_high_a_rate():
    found = first(Curves(train=(1.0, 10.0, 100.0, 1000.0), learning_rate=(0.1,)))
    assert found.cause.startswith("the learning rate is too high")
    assert found.learning_rate == 0.033


def test_to_go_on_with_a_rate_that_has_come_to_its_end_takes_a_longer_schedule():
    rates = [1e-3 * (1 - epoch / 10) for epoch in range(10)]
    assert first(Curves(train=SMOOTH, learning_rate=rates)).next_step.endswith("with a schedule as long")


def test_evidence_counts_in_what_a_value_stands_for():
    found = first(Curves(train=(1.0, 0.5, math.nan), unit="block of 50 rows"))
    assert found.evidence == "nan in block 3, a block of 50 rows"


def test_a_loss_that_is_not_finite_comes_first():
    found = advise(Curves(train=(1.0, 0.5, math.nan), baseline=1.0, learning_rate=(1e-2,)))
    assert found[0].rule == "not_finite"
    assert "epoch 3" in found[0].evidence
    assert found[0].learning_rate == 1e-3


@pytest.mark.parametrize(
    ("pairs", "baseline", "target"), [(TONES, 0.5, 0.002), (PEPTIDE, 0.0, 0.0)], ids=["tones", "peptide"]
)
def test_runs_that_reached_their_target_are_never_warned_of(
    pairs: tuple[tuple[float, float], ...], baseline: float, target: float
):
    for epochs in range(1, len(pairs) + 1):
        train, val = zip(*pairs[:epochs], strict=True)
        found = advise(Curves(train=train, val=val, baseline=baseline, target=target, warmup=1))
        assert [each for each in found if each.level in ("warn", "stop")] == [], f"epoch {epochs}"


def test_a_flow_that_loses_what_it_gained_has_jumped():
    train = (-0.4, -2.6, -3.9, -4.1, -3.0)
    assert rules(Curves(train=train, val=train, baseline=0.0, target=0.0)) == ["jumped"]


def test_a_flow_that_gains_on_train_only_is_overfitted():
    found = Curves(train=(-1.0, -2.0, -3.0, -4.0), val=(-0.9, -1.0, -1.0, -1.0), baseline=0.0)
    assert held_to_train(found) == pytest.approx(3.0)
    assert "overfitted" in rules(found)


def test_a_noisy_log_of_steps_is_seen_as_its_course():
    steps = [1.0 / (1 + step / 100) + 0.3 * (-1) ** step for step in range(1000)]
    assert len(condensed(steps)) == 40
    assert rules(Curves(train=condensed(steps))) == ["improving"]
    assert condensed([1.0, 2.0]) == (1.0, 2.0)


def test_nothing_is_said_of_nothing():
    assert advise(Curves()) == ()


def test_the_table_needs_no_torch():
    code = "import sys, prep.training.advice; assert not {'torch', 'lightning', 'numpy'} & set(sys.modules)"
    subprocess.run([sys.executable, "-c", code], check=True)
