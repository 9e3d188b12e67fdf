"""Laws of every check: silent on good data, fires on its planted defect, says in memory what it says out of core."""

from __future__ import annotations

import inspect
import json
import operator
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from prep.blocks import SPLITS, Block, DatasetSpec, FieldSpec
from prep.checks import CHECKS, Finding
from prep.checks.slopes import GAS_CONSTANT
from prep.errors import SchemaError
from prep.kernels.alignment import align
from prep.kernels.steering import steering
from prep.schema.oracle import register_checks

ROWS = 40
SIDE = 9
Arrays = dict[str, Any]


@dataclass(frozen=True)
class Case:
    """A dataset on which a check holds, and what breaks it. ``dims`` are without ``sample``."""

    statistics: Mapping[str, Any]
    dims: Mapping[str, str]
    make: Callable[[np.random.Generator], Arrays]
    defect: Callable[[Arrays], None]


def vectors(rng: np.random.Generator, columns: int = 3) -> Any:
    return rng.standard_normal((ROWS, columns))


def standardised(values: Any, rows: slice = slice(0, ROWS * 3 // 5)) -> Any:
    return ((values - values[rows].mean(axis=0)) / values[rows].std(axis=0)).astype(np.float32)


def masked(rng: np.random.Generator) -> Arrays:
    """Two systems, the second without the last feature; standardised per system, padding 0."""
    system = np.arange(ROWS) % 2
    mask = np.ones((ROWS, 3), np.uint8)
    mask[system == 1, 2] = 0
    x = np.zeros((ROWS, 3), np.float32)
    for code in (0, 1):
        rows = np.flatnonzero(system == code)
        train = slice(0, int((rows < ROWS * 3 // 5).sum()))
        x[rows] = standardised(rng.standard_normal((len(rows), 3)) * 10.0**code, train)
    return {"x": x * mask, "mask": mask, "system": system.astype(np.int32)}


def unit_rms(rng: np.random.Generator) -> Arrays:
    data = masked(rng)
    rms = np.sqrt((data["x"] ** 2).sum(axis=1) / data["mask"].sum(axis=1))
    return {**data, "x": data["x"] / rms[:, np.newaxis]}


def sources(rng: np.random.Generator) -> Arrays:
    """Covariances of one or two sources on a 3 x 3 surface, trace 9, with the factor."""
    count = rng.integers(1, 3, ROWS)
    mask = (np.arange(2) < count[:, np.newaxis]).astype(np.uint8)
    places = np.stack(
        [rng.uniform(-1, 1, (ROWS, 2)), rng.uniform(-0.5, 0.5, (ROWS, 2)), rng.uniform(1, 9, (ROWS, 2))], -1
    )
    places = (places * mask[..., np.newaxis]).astype(np.float32)
    safe = np.where(mask[..., np.newaxis] != 0, places.astype(np.float64), 1.0)
    a = steering(safe[..., 0], safe[..., 1], safe[..., 2], grid=(3, 3), wavelength=0.3, spacing=0.15)
    factor = np.swapaxes(a * mask[..., np.newaxis] * rng.uniform(0.5, 1, (ROWS, 2, 1)), 1, 2)
    factor = factor / np.linalg.norm(factor, axis=(1, 2), keepdims=True)
    matrices = SIDE * factor @ np.conj(np.swapaxes(factor, 1, 2))
    matrices = (matrices + np.conj(np.swapaxes(matrices, 1, 2))) / 2
    return {
        "r": matrices.astype(np.complex64),
        "factor": factor.astype(np.complex64),
        "sources": places,
        "mask": mask,
        "count": count.astype(np.int8),
    }


def received(rng: np.random.Generator, constant: bool = False) -> Arrays:
    """Snapshots of unit RMS of the sources by four antennas under eight codes, every sample with a scene of its own; 30
    dB, of every fourth sample 5 dB.
    """
    data = sources(rng)
    channel, codes = (
        (rng.standard_normal((ROWS, size, SIDE)) + 1j * rng.standard_normal((ROWS, size, SIDE))) for size in (4, 8)
    )
    symbols = rng.standard_normal((ROWS, 1 if constant else 8, 2, 2)).view(np.complex128)[..., 0]
    fields = np.broadcast_to(np.einsum("bnk,blk->bln", data["factor"], symbols), (ROWS, 8, SIDE))
    clean = np.einsum("bmn,bln,bln->bml", channel, codes, fields)
    noise = rng.standard_normal((*clean.shape, 2)).view(np.complex128)[..., 0]
    snr = np.where(np.arange(ROWS) % 4 == 3, 5.0, 30.0).astype(np.float32)
    power = np.mean(np.abs(clean) ** 2, axis=(1, 2)) / 10.0 ** (snr / 10)
    y = clean + noise * np.sqrt(power / 2)[:, np.newaxis, np.newaxis]
    return {
        **data,
        "y": (y / np.sqrt(np.mean(np.abs(y) ** 2, axis=(1, 2), keepdims=True))).astype(np.complex64),
        "snr": snr,
        "channel": channel.astype(np.complex64),
        "codes": codes.astype(np.complex64),
    }


def one_draw(arrays: Arrays) -> None:
    arrays.update(received(np.random.default_rng(9), constant=True))


def decaying(rng: np.random.Generator) -> Arrays:
    """Windows of four steps that shrink by a tenth a step."""
    data = masked(rng)
    start = rng.standard_normal((ROWS, 1, 3)) * data["mask"][:, np.newaxis]
    return {**data, "x": (start * 0.9 ** np.arange(4)[:, np.newaxis]).astype(np.float32)}


def windows(rng: np.random.Generator) -> Arrays:
    """Windows of six steps, four apart, of walks that give four windows each and stay in one split."""
    walks = rng.standard_normal((ROWS // 4, 18, 2)).cumsum(axis=1).astype(np.float32)
    return {"x": np.stack([walks[:, start : start + 6] for start in range(0, 16, 4)], axis=1).reshape(ROWS, 6, 2)}


def bits(rng: np.random.Generator) -> Arrays:
    n_u, n_x = rng.integers(1, 7, ROWS), rng.integers(2, 13, ROWS)
    text = [f"{u:03b}{x:04b}" for u, x in zip(n_u, n_x, strict=True)]
    return {
        "e": np.array([[int(sign) for sign in line] for line in text], np.float32),
        "states": (np.arange(12) < n_x[:, None]).astype(np.uint8),
        "controls": (np.arange(6) < n_u[:, None]).astype(np.uint8),
    }


def linear(rng: np.random.Generator) -> Arrays:
    """u = -K x of the last of four steps, another K for each system."""
    data = masked(rng)
    x = rng.standard_normal((ROWS, 4, 3)).astype(np.float32)
    gains = rng.standard_normal((2, 3, 2))
    u = np.einsum("ns,nsu->nu", x[:, -1] * data["mask"], gains[data["system"]]).astype(np.float32)
    return {"x": x, "mask": data["mask"], "system": data["system"], "u": u}


def sequences(rng: np.random.Generator) -> Arrays:
    """Sequences of 24 steps and what a filter makes of them, another filter for each of two tones."""
    tone = rng.permutation(np.arange(ROWS) % 2).astype(np.int32)
    signal = rng.standard_normal((ROWS, 24)).astype(np.float32)
    delayed = np.stack([np.roll(signal, lag, axis=1) for lag in (0, 2, 4)], -1)
    echo = np.einsum("nsl,nl->ns", delayed, rng.standard_normal((2, 3))[tone]) + 0.1 * rng.standard_normal((ROWS, 24))
    reset = np.zeros((ROWS, 24), np.uint8)
    reset[:, 0] = 1
    return {
        "signal": signal,
        "echo": echo.astype(np.float32),
        "selector": (tone[:, np.newaxis] == np.arange(2)).astype(np.uint8),
        "time": np.tile(np.arange(24, dtype=np.float32) / 1000, (ROWS, 1)),
        "reset": reset,
        "tone": tone,
    }


TETRAHEDRON = np.array([[1.0, 1.0, 1.0], [1.0, -1.0, -1.0], [-2.0, 2.0, -2.0], [-3.0, -3.0, 3.0]])


def molecules(rng: np.random.Generator) -> Arrays:
    """Four points that shake a little about a reference, aligned to it."""
    return {"p": align(TETRAHEDRON + 0.05 * rng.standard_normal((ROWS, 4, 3)), TETRAHEDRON)}


def trajectories(rng: np.random.Generator) -> Arrays:
    """Two simulations with a frame each unit of time, cut into three blocks of time; four frames before a block are
    dropped.
    """
    order = np.arange(ROWS) // 2
    dropped = 4.0 * ((order >= ROWS * 3 // 10) * 1 + (order >= ROWS * 4 // 10))
    return {"time": order + dropped, "replica": (np.arange(ROWS) % 2).astype(np.int32)}


def frames_at_random(arrays: Arrays) -> None:
    order = np.random.default_rng(2).permutation(ROWS)
    arrays.update({name: arrays[name][order] for name in ("time", "replica")})


def canonical(rng: np.random.Generator) -> Arrays:
    """Energies of two simulations at each of two temperatures: normal, with the exact slope of the densities' ratio."""
    replica = np.arange(ROWS) % 4
    hot, spread = replica % 2, 15.0
    shift = (1 / 300 - 1 / 450) / GAS_CONSTANT * spread**2
    order = np.stack([rng.permutation(ROWS // 4) for _ in range(4)])
    shape = np.sqrt(2) * erfinv((np.arange(ROWS // 4) + 0.5) / (ROWS // 8) - 1)
    energy = np.empty(ROWS)
    for each in range(4):
        energy[replica == each] = spread * shape[order[each]] + shift * (each % 2) - 540.0
    return {"u": energy, "t": np.where(hot, 450.0, 300.0), "replica": replica.astype(np.int32)}


def erfinv(x: Any) -> Any:
    """Inverse error function, as good as it has to be here (Winitzki)."""
    log = np.log1p(-(x**2))
    half = 2 / (np.pi * 0.147) + log / 2
    return np.sign(x) * np.sqrt(np.sqrt(half**2 - log / 0.147) - half)


def set_to(name: str, rows: Any, value: Any) -> Callable[[Arrays], None]:
    def defect(arrays: Arrays) -> None:
        arrays[name][rows] = value

    return defect


def changed(name: str, change: Callable[[Any], Any]) -> Callable[[Arrays], None]:
    def defect(arrays: Arrays) -> None:
        arrays[name] = change(arrays[name]).astype(arrays[name].dtype)

    return defect


MATRICES = {"r": "a b", "factor": "a k", "sources": "source three", "mask": "source", "count": ""}
RECEIVED = {**MATRICES, "y": "antenna snapshot", "snr": "", "channel": "antenna a", "codes": "snapshot a"}
MASKED = {"x": "feature", "mask": "feature", "system": ""}
SEQUENCES = {"signal": "step", "echo": "step", "selector": "choice", "time": "step", "reset": "step", "tone": ""}
PROBE = {"input": "x", "input_mask": "", "last": ["time"], "group": "system", "mask": "", "var": "u"}
PROBED = {"x": "time state", "mask": "state", "system": "", "u": "control"}

CANONICAL = {"u": "", "t": "", "replica": ""}

CASES: dict[str, Case] = {
    "aligned": Case(
        {"var": "p", "reference": TETRAHEDRON.ravel().tolist(), "tolerance": 1e-6},
        {"p": "atom axis"},
        molecules,
        set_to("p", 5, TETRAHEDRON[:, [1, 0, 2]] * [1, -1, 1]),
    ),
    "boltzmann_slope": Case(
        {
            "var": "u",
            "temperature": "t",
            "group": "replica",
            "temperatures": [300.0, 450.0],
            "tolerance": 0.2,
            "sigmas": 1.0,
            "group_sigmas": 1.0,
            "max_lag": 4,
        },
        CANONICAL,
        canonical,
        changed("t", lambda t: np.where(np.arange(ROWS) % 4 == 1, 300.0, t)),
    ),
    "bond_lengths": Case(
        {"var": "p", "bonds": [0, 1, 2.4, 3.3, 1, 2, 3.9, 4.9]},
        {"p": "atom axis"},
        molecules,
        changed("p", lambda p: p * 10),
    ),
    "effective_sample_size": Case(
        {"var": "u", "group": "replica", "split": "train", "max_lag": 8, "minimum": 6.0},
        {"u": "", "replica": ""},
        lambda rng: {"u": rng.standard_normal(ROWS), "replica": np.zeros(ROWS, np.int32)},
        changed("u", lambda u: np.arange(ROWS) ** 2.0),
    ),
    "binary": Case(
        {"var": "e"}, {"e": "bit", "states": "state", "controls": "control"}, bits, changed("e", lambda e: e * 1.7)
    ),
    "chirality": Case(
        {"var": "p", "centres": [0, 1, 2, 3, 1, 3, 2, 0]},
        {"p": "atom axis"},
        molecules,
        changed("p", lambda p: p * [1, 1, -1]),
    ),
    "constant_feature": Case(
        {"var": "x", "mask": "mask", "group": "system", "features": ["feature"], "split": "train"},
        MASKED,
        masked,
        set_to("x", np.s_[0 : ROWS * 3 // 5 : 2, 1], 4.0),
    ),
    "count_matches": Case({"var": "count", "mask": "mask"}, MATRICES, sources, changed("count", lambda n: n + 1)),
    "encoding": Case(
        {"var": "e", "state_mask": "states", "control_mask": "controls"},
        {"e": "bit", "states": "state", "controls": "control"},
        bits,
        changed("e", lambda e: e[:, ::-1]),
    ),
    "factorised": Case(
        {"var": "r", "factor": "factor", "tolerance": 1e-5}, MATRICES, sources, changed("factor", lambda f: f[::-1])
    ),
    "finite": Case({"var": "x"}, MASKED, masked, set_to("x", np.s_[33, 1], np.nan)),
    "fresh_symbols": Case(
        {
            "var": "y",
            "sources": "sources",
            "source_mask": "mask",
            "snr": "snr",
            "channel": "channel",
            "codes": "codes",
            "grid": [3, 3],
            "wavelength": 0.3,
            "spacing": 0.15,
            "snr_min": 10.0,
            "share_max": 0.98,
        },
        RECEIVED,
        received,
        one_draw,
    ),
    "group_count": Case(
        {"var": "system", "count": 2, "balance_min": 0.8}, MASKED, masked, set_to("system", np.s_[32:], 1)
    ),
    "fir_probe": Case(
        {
            "var": "echo",
            "input": "signal",
            "group": "tone",
            "split": "val",
            "taps": 3,
            "spacing": 2,
            "ridge": 1e-6,
            "nmse_max": 0.0125,
        },
        SEQUENCES,
        sequences,
        changed("signal", lambda signal: np.roll(signal, 3, axis=1)),
    ),
    "groups_disjoint": Case(
        {"var": "trajectory", "with_fields": ["system"]},
        {"trajectory": "", "system": ""},
        lambda rng: {"trajectory": np.arange(ROWS) // 4, "system": np.zeros(ROWS, np.int64)},
        set_to("trajectory", 39, 0),
    ),
    "growth": Case(
        {"var": "x", "mask": "mask", "group": "system", "dim": "time", "split": "train", "max_ratio": 1.5},
        {"x": "time feature", "mask": "feature", "system": ""},
        decaying,
        lambda arrays: arrays["x"].__imul__(np.float32(1.4) ** np.arange(4, dtype=np.float32)[:, np.newaxis]) is None,
    ),
    "held_out": Case(
        {
            "var": "x",
            "mask": "mask",
            "group": "system",
            "features": ["feature"],
            "split": "val",
            "shift_max": 4.0,
            "ratio_max": 30.0,
        },
        MASKED,
        masked,
        set_to("x", np.s_[24:32, 1], 0.0),
    ),
    "hermitian": Case({"var": "r", "tolerance": 1e-6}, MATRICES, sources, set_to("r", np.s_[7, 0, 1], 2j)),
    "in_bounds": Case({"var": "x", "low": -9.0, "high": 9.0}, MASKED, masked, changed("x", lambda x: x * 60)),
    "learnability": Case(
        {**PROBE, "split": "val", "judged": "each", "ridge": 1e-6, "nmse_max": 0.2},
        PROBED,
        linear,
        changed("u", lambda u: np.roll(u, 3, axis=0)),
    ),
    "linear_fit": Case(
        {**PROBE, "split": "train", "r2_min": 0.999}, PROBED, linear, changed("u", lambda u: np.roll(u, 2, axis=0))
    ),
    "loss_share": Case(
        {"var": "x", "mask": "mask", "group": "system", "split": "train", "max_ratio": 1.5},
        MASKED,
        masked,
        set_to("x", np.s_[1::2, :2], 30.0),
    ),
    "mask_prefix": Case({"var": "mask"}, MATRICES, sources, set_to("mask", 3, [0, 1])),
    "mean_probe": Case(
        {"var": "signal", "group": "tone", "split": "val", "mse_min": 0.5},
        SEQUENCES,
        sequences,
        changed("signal", lambda signal: signal[:1] + 0.01 * signal),
    ),
    "near_unique_rows": Case(
        {"var": "x", "tolerance": 1e-4},
        MASKED,
        masked,
        lambda arrays: arrays["x"].__setitem__(38, np.nextafter(arrays["x"][2], np.float32(9))),
    ),
    "norm_bounds": Case({"var": "r", "slack": 1e-5}, MATRICES, sources, changed("r", lambda r: r * 72)),
    "one_hot": Case(
        {"var": "selector", "index": "tone"}, SEQUENCES, sequences, changed("selector", lambda s: s[:, ::-1])
    ),
    "psd": Case({"var": "r", "tolerance": 1e-5}, MATRICES, sources, set_to("r", np.s_[11, 4, 4], -0.5)),
    "rank": Case(
        {"var": "r", "count": "count", "tolerance": 1e-6},
        MATRICES,
        sources,
        changed("r", lambda r: r + 0.01 * np.eye(SIDE)),
    ),
    "separated": Case(
        {"var": "time", "group": "replica", "gap": 5.0},
        {"time": "", "replica": ""},
        trajectories,
        frames_at_random,
    ),
    "split_flags": Case({"var": "split"}, {}, lambda rng: {}, set_to("split", 5, 2)),
    "standardised": Case(
        {
            "var": "x",
            "mask": "mask",
            "group": "system",
            "features": ["feature"],
            "split": "train",
            "mean_limit": 0.05,
            "std_limit": 0.05,
            "constant": "refuse",
        },
        MASKED,
        masked,
        changed("x", lambda x: (x - x.mean(axis=0)) / x.std(axis=0) * 1.2),
    ),
    "steering_span": Case(
        {
            "var": "r",
            "sources": "sources",
            "source_mask": "mask",
            "grid": [3, 3],
            "wavelength": 0.3,
            "spacing": 0.15,
            "tolerance": 1e-3,
        },
        MATRICES,
        sources,
        changed("sources", lambda s: s * [1, 0.5, 1]),
    ),
    "time_steps": Case(
        {"var": "time", "reset": "reset", "step": 0.001, "tolerance": 0.01},
        SEQUENCES,
        sequences,
        changed("time", lambda time: np.concatenate([time[:, 8:16], time[:, :8], time[:, 16:]], axis=1)),
    ),
    "trace_n": Case({"var": "r", "tolerance": 1e-5}, MATRICES, sources, set_to("r", 20, 0)),
    "unique_rows": Case(
        {"var": "x", "with_fields": ["system"]},
        MASKED,
        masked,
        lambda arrays: [array.__setitem__(38, array[2]) for name, array in arrays.items() if name != "split"] and None,
    ),
    "unit_rms": Case(
        {"var": "x", "mask": "mask", "tolerance": 1e-5},
        MASKED,
        unit_rms,
        changed("x", lambda x: x * 3),
    ),
    "whitened_power": Case(
        {
            "var": "y",
            "factor": "factor",
            "snr": "snr",
            "channel": "channel",
            "codes": "codes",
            "low": 0.3,
            "high": 2.5,
            "surprise_max": 12.0,
        },
        RECEIVED,
        received,
        changed("y", lambda y: np.roll(y, 1, axis=0)),
    ),
    "windows_disjoint": Case(
        {"var": "x", "dim": "time", "overlap": 2},
        {"x": "time feature"},
        windows,
        lambda arrays: arrays["x"].__setitem__([23, 24], arrays["x"][[24, 23]]),
    ),
    "zero_baseline": Case(
        {"var": "x", "mask": "mask", "split": "train", "low": 0.95, "high": 1.05},
        MASKED,
        masked,
        changed("x", lambda x: x * 5),
    ),
    "zero_padding": Case({"var": "x", "mask": "mask"}, MASKED, masked, set_to("x", np.s_[1, 2], 1e-30)),
}


def made(case: Case, seed: int = 0) -> Arrays:
    split = np.repeat(np.arange(3, dtype=np.uint8), (ROWS * 3 // 5, ROWS // 5, ROWS // 5))
    return {**{name: array.copy() for name, array in case.make(np.random.default_rng(seed)).items()}, "split": split}


def describe(case: Case, arrays: Arrays) -> DatasetSpec:
    dims = {**{name: ("sample", *text.split()) for name, text in case.dims.items()}, "split": ("sample",)}
    fields = tuple(
        FieldSpec(name, array.dtype, dims[name], array.shape[1:], "split" if name == "split" else "aux")
        for name, array in arrays.items()
    )
    stops = np.cumsum([ROWS * 3 // 5, ROWS // 5, ROWS // 5]).tolist()
    return DatasetSpec("d", fields, dict(zip(SPLITS, zip([0, *stops], stops, strict=False), strict=True)))


def examine(name: str, case: Case, arrays: Arrays, cuts: Sequence[int] = (13, 26), rows: int = ROWS) -> Finding:
    """The check's finding as the engine gets it: segments absorbed one by one, merged in order, finished, judged."""
    check, spec = CHECKS.load(name)(), describe(case, arrays)
    measured = {}
    for fold in check.folds(spec, case.statistics):
        state = fold.empty()
        for start, stop in zip([0, *cuts], [*cuts, rows], strict=True):
            if stop > start:
                block = Block(start, stop, {field: arrays[field][start:stop].copy() for field in fold.fields})
                state = fold.merge(state, fold.absorb(fold.empty(), block))
        measured[fold.key] = fold.finish(state)
    return check.judge(spec, case.statistics, measured)


def in_memory(name: str, case: Case, arrays: Arrays) -> tuple[bool, list[int] | None]:
    """Vanilla pandera's verdict on the same data, and the failing samples where it names samples."""
    import pandera.xarray as pa
    import xarray as xr
    from pandera.api.checks import Check

    register_checks()
    spec = describe(case, arrays)
    variables = {field.name: (field.dims, arrays[field.name]) for field in spec.fields}
    dataset = xr.Dataset(variables, attrs={"splits": json.dumps(dict(spec.splits))})
    schema = pa.DatasetSchema(checks=[getattr(Check, name)(**case.statistics)])
    try:
        schema.validate(dataset, lazy=True)
    except pa.errors.SchemaErrors as failure:
        (error,) = failure.schema_errors
        assert error.reason_code.name == "DATAFRAME_CHECK", error
        output = error.check_output
        return False, np.flatnonzero(~output.values).tolist() if hasattr(output, "dims") else None
    return True, []


def test_every_check_has_a_case_and_every_case_a_check():
    assert set(CASES) == set(CHECKS.names())


@pytest.mark.parametrize("name", CASES)
def test_check_is_silent_on_good_data(name):
    finding = examine(name, CASES[name], made(CASES[name]))

    assert finding.passed, finding
    assert finding.examined == finding.present > 0
    assert finding.failing == 0


@pytest.mark.parametrize("name", CASES)
def test_check_fires_on_its_planted_defect_and_says_what_to_do(name):
    arrays = made(CASES[name])
    CASES[name].defect(arrays)

    finding = examine(name, CASES[name], arrays)

    assert not finding.passed
    assert finding.message
    assert finding.remedy
    assert finding.limit
    assert len(finding.splits) == len(finding.samples)


def keeps(worst: float, limit: str) -> bool:
    """Whether a reader who compares the worst value with the first limit that is stated says that it is kept."""
    if limit.startswith(("0 ", "no ")):
        return worst == 0
    number = r"([-−]?[\d.]+(?:e[-+]?\d+)?)"
    found = re.search(rf"(?:{number} ≤ [^,≤]*)?([≤<≥>]) {number}", limit)
    assert found, limit
    low, sign, bound = found.groups()
    first, second = (float((each or "-inf").replace("−", "-")) for each in (low, bound))
    return first <= worst and {"≤": operator.le, "<": operator.lt, "≥": operator.ge, ">": operator.gt}[sign](
        worst, second
    )


@pytest.mark.parametrize("name", CASES)
def test_the_worst_value_is_one_that_the_limit_is_about(name):
    for spoil in (False, True):
        arrays = made(CASES[name])
        if spoil:
            CASES[name].defect(arrays)
        finding = examine(name, CASES[name], arrays)
        if finding.worst is not None:
            assert keeps(finding.worst, finding.limit) is not spoil, (finding.worst, finding.limit)


@pytest.mark.parametrize("name", CASES)
def test_check_never_passes_when_part_of_the_data_was_not_examined(name):
    case = CASES[name]

    assert not examine(name, case, made(case), cuts=(), rows=ROWS // 2).passed
    assert not examine(name, case, made(case), cuts=(), rows=0).passed


@pytest.mark.parametrize("name", CASES)
def test_check_takes_in_memory_exactly_the_statistics_it_declares(name):
    check = CHECKS.load(name)
    parameters = inspect.signature(check.pandera_function).parameters

    assert next(iter(check.statistics)) == "var"
    assert set(parameters) == {"ds", *check.statistics}
    assert set(CASES[name].statistics) == set(check.statistics)


@pytest.mark.parametrize("name", CASES)
def test_check_reads_only_the_fields_it_names(name):
    check, case = CHECKS.load(name)(), CASES[name]
    named = set(check.fields(case.statistics))

    assert {
        field for fold in check.folds(describe(case, made(case)), case.statistics) for field in fold.fields
    } <= named


def corrupt(arrays: Arrays, kind: str, rng: np.random.Generator) -> None:
    name = str(rng.choice([each for each in arrays if each != "split"] or ["split"]))
    array, rows = arrays[name], rng.choice(ROWS, int(rng.integers(1, 4)), replace=False)
    real = array.dtype.kind in "fc"
    place = (rows, *(int(rng.integers(size)) for size in array.shape[1:])) if rng.random() < 0.5 else rows
    if kind == "scale":
        array[place] = array[place] * 10 ** rng.uniform(-7, 3) if real else array[place] ^ 1
    elif kind == "noise":
        size = 10 ** rng.uniform(-9, 1)
        array[place] += (size * rng.standard_normal(array[place].shape)).astype(array.dtype) if real else 1
    elif kind == "hole":
        array[place] = rng.choice([np.nan, np.inf, 0.0]) if real else 0
    elif kind == "copy":
        others = rng.choice(ROWS, len(rows), replace=False)
        for each in arrays:
            if each != "split":
                arrays[each][rows] = arrays[each][others]
    elif kind == "shuffle":
        arrays[name] = array[rng.permutation(ROWS)]


@pytest.mark.parametrize("name", CASES)
@settings(max_examples=25, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    seed=st.integers(0, 2**32 - 1),
    kinds=st.lists(st.sampled_from(["scale", "noise", "hole", "copy", "shuffle"]), max_size=3),
    cuts=st.lists(st.integers(1, ROWS - 1), max_size=4).map(sorted),
)
def test_check_gives_the_verdict_and_the_samples_that_pandera_gives_in_memory(name, seed, kinds, cuts):
    case, rng = CASES[name], np.random.default_rng(seed)
    arrays = made(case, seed)
    for kind in kinds:
        corrupt(arrays, kind, rng)

    finding = examine(name, case, arrays, cuts)
    passed, samples = in_memory(name, case, arrays)

    assert finding.passed == passed, finding
    if samples is not None:
        assert finding.failing == len(samples)
        assert list(finding.samples) == samples[:10]


@pytest.mark.parametrize("name", ["hermitian", "psd", "rank", "trace_n", "norm_bounds"])
def test_matrix_check_on_a_vector_is_an_error_in_the_schema(name):
    case = Case({**CASES[name].statistics, "var": "x"}, {**MASKED, "count": ""}, masked, lambda arrays: None)
    spec = describe(case, {**made(case), "count": np.zeros(ROWS, np.int8)})

    with pytest.raises(SchemaError, match="makes no sense"):
        CHECKS.load(name)().folds(spec, case.statistics)
