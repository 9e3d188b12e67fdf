"""Near-field covariance matrices behind a reconfigurable surface: snapshots in, the sources' covariance out."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar

import numpy as np
from numpy.random import Generator, SeedSequence, default_rng
from numpy.typing import NDArray

from prep.blocks import SPLITS, Array, FieldSpec, Role, row_ranges
from prep.kernels.steering import steering
from prep.recipes import Produced, RecipePlan, Task, sized_field
from prep.recipes.parameters import (
    Choice,
    Flag,
    Fractions,
    Interval,
    Real,
    Rule,
    Whole,
    Wholes,
    check_parameters,
    split_rows,
)
from prep.recipes.scene import Scene, complex_normal, draw_channel, draw_codes, draw_scene

_DEFAULT: dict[str, Any] = {
    "samples": 10_000,
    "grid": [12, 12],
    "antennas": 16,
    "snapshots": 16,
    "max_sources": 5,
    "wavelength": 0.3,
    "azimuth_degrees": [-60.0, 60.0],
    "elevation_degrees": [-30.0, 30.0],
    "range": [0.5, 10.0],
    "snr_db": [-5.0, 20.0],
    "power_dbm": [-10.0, 10.0],
    "rician_factor": [0.5, 10.0],
    "plane_wave": "unit_norm",
    "phase_bits": 3,
    "scene": "fixed",
    "factor": True,
    "fractions": [0.8, 0.1, 0.1],
    "task_rows": 256,
}
_RULES: dict[str, Rule] = {
    "samples": Whole(10, 10**9),
    "grid": Wholes(1, 64, count=2),
    "antennas": Whole(1, 1024),
    "snapshots": Whole(1, 1024),
    "max_sources": Whole(1, 64),
    "wavelength": Real(0.0, 1e3, above=True),
    "azimuth_degrees": Interval(-90.0, 90.0),
    "elevation_degrees": Interval(-90.0, 90.0),
    "range": Interval(1e-3, 1e6),
    "snr_db": Interval(-100.0, 200.0),
    "power_dbm": Interval(-100.0, 100.0),
    "rician_factor": Interval(0.0, 1e6),
    "plane_wave": Choice(("unit_norm", "per_entry")),
    "phase_bits": Whole(1, 16),
    "scene": Choice(("fixed", "sample")),
    "factor": Flag(),
    "fractions": Fractions(),
    "task_rows": Whole(1, 65_536),
}


class Covariance:
    """y_l = H diag(c_l) A s_l + noise and R = A diag(p) Aᴴ for K ~ U{1..5} near-field sources (SYSTEMS section 2).

    A (N, K): steering vectors (`prep.kernels.steering`) times path loss λ/4πr. p (K,): powers in W. s_l ~ CN(0, diag p)
    is drawn anew for each of the L snapshots. H (M, N) and c_l (N,): see `prep.recipes.scene`. The noise power is the
    mean received power of the sample divided by its signal-to-noise ratio.

    Fields: ``snapshots`` (sample, M, L) and ``covariance`` (sample, N, N) complex64, exactly Hermitian, its trace as it
    is (5e-10 to 1e-4 W); ``sources`` (sample, 5, 3) float32, azimuth and elevation in rad and range in m, zero where
    ``source_mask`` is; ``num_sources``; ``snr_db``. With ``factor``: F (sample, N, 5) complex64 of unit Frobenius norm,
    so that R = tr(R)·F Fᴴ holds for the raw and for the trace-normalised R alike. ``channel`` (M, N) and ``codes``
    (L, N) are constants with ``scene: fixed`` and fields with ``scene: sample``.
    """

    name: ClassVar[str] = "covariance"
    parameters: ClassVar[Mapping[str, Mapping[str, Any]]] = {
        "smoke": {**_DEFAULT, "samples": 400, "task_rows": 128},
        "default": _DEFAULT,
        "full": {**_DEFAULT, "samples": 250_000},
    }

    def plan(self, parameters: Mapping[str, Any], seed: int) -> RecipePlan:
        """Tasks of ``task_rows`` rows; raises `ConfigError` for an unknown, missing or senseless parameter."""
        check_parameters(self.name, parameters, _RULES)
        rows = split_rows(self.name, int(parameters["samples"]), parameters["fractions"])
        scene_seed, *seeds = SeedSequence(seed).spawn(1 + len(SPLITS))
        tasks = tuple(
            task
            for split, count, root in zip(SPLITS, rows, seeds, strict=True)
            for task in _tasks(split, count, parameters, root)
        )
        scene = draw_scene(parameters, default_rng(scene_seed))
        attributes = {
            "wavelength_m": json.dumps(parameters["wavelength"]),
            "element_spacing_m": json.dumps(parameters["wavelength"] / 2),
            "element_grid": json.dumps(list(parameters["grid"])),
            "source_columns": json.dumps(["azimuth_rad", "elevation_rad", "range_m"]),
        }
        return RecipePlan(_fields(parameters), tasks, attributes, scene, _constants(scene))

    def produce(self, plan: RecipePlan, task: Task) -> Produced:
        """All fields of ``rows`` samples; arithmetic in complex128 up to the factor, stored complex64."""
        scene: Scene = plan.shared
        parameters = task.arguments
        rng = default_rng(task.seed)
        rows, most = int(parameters["rows"]), int(parameters["max_sources"])
        count = rng.integers(1, most + 1, rows)
        mask = np.arange(most) < count[:, np.newaxis]
        azimuth = np.radians(_uniform(rng, parameters["azimuth_degrees"], (rows, most)))
        elevation = np.radians(_uniform(rng, parameters["elevation_degrees"], (rows, most)))
        distance = _uniform(rng, parameters["range"], (rows, most))
        power = 10.0 ** ((_uniform(rng, parameters["power_dbm"], (rows, most)) - 30.0) / 10.0)
        snr_db = _uniform(rng, parameters["snr_db"], (rows,))
        wavelength = float(parameters["wavelength"])
        amplitude = wavelength / (4.0 * np.pi * distance) * np.sqrt(power) * mask
        vectors = steering(azimuth, elevation, distance, grid=scene.grid, wavelength=wavelength)
        factor = np.swapaxes(vectors * amplitude[..., np.newaxis], 1, 2)
        channel, codes = scene.channel, scene.codes
        if channel is None or codes is None:
            channel = draw_channel(parameters, rng, rows, scene.grid)
            codes = draw_codes(scene.sweep, rng, rows, int(parameters["snapshots"]))
        arrays: dict[str, Array] = {
            "snapshots": _snapshots(factor, channel, codes, snr_db, rng),
            "covariance": _outer(factor.astype(np.complex64)),
            "sources": np.where(mask[..., np.newaxis], np.stack([azimuth, elevation, distance], axis=-1), 0.0),
            "source_mask": mask,
            "num_sources": count,
            "snr_db": snr_db,
        }
        if parameters["factor"]:
            arrays["factor"] = factor / np.linalg.norm(factor, axis=(1, 2), keepdims=True)
        if scene.channel is None:
            arrays.update(channel=channel, codes=codes)
        return Produced({spec.name: np.ascontiguousarray(arrays[spec.name], dtype=spec.dtype) for spec in plan.fields})


def _fields(parameters: Mapping[str, Any]) -> tuple[FieldSpec, ...]:
    sizes = {
        "antenna": int(parameters["antennas"]),
        "snapshot": int(parameters["snapshots"]),
        "element": int(np.prod(parameters["grid"])),
        "element_": int(np.prod(parameters["grid"])),
        "source": int(parameters["max_sources"]),
        "coordinate": 3,
    }
    table: list[tuple[str, Any, str, Role, str, str]] = [
        ("snapshots", np.complex64, "antenna snapshot", "input", "V", "received snapshots, amplitude across 1 ohm"),
        ("covariance", np.complex64, "element element_", "target", "W", "covariance of the field on the surface"),
        ("sources", np.float32, "source coordinate", "aux", "1", "azimuth in rad, elevation in rad, range in m"),
        ("source_mask", np.uint8, "source", "mask", "1", "1 where there is a source"),
        ("num_sources", np.int8, "", "target", "1", "number of sources K"),
        ("snr_db", np.float32, "", "aux", "dB", "signal-to-noise ratio"),
    ]
    if parameters["factor"]:
        table.append(
            ("factor", np.complex64, "element source", "aux", "1", "factor F of the covariance, R = tr(R) F F^H")
        )
    if parameters["scene"] == "sample":
        table.append(("channel", np.complex64, "antenna element", "aux", "1", "channel from surface to receiver"))
        table.append(("codes", np.complex64, "snapshot element", "aux", "1", "phase codes of the surface"))
    return tuple(sized_field(sizes, *line, mask="source_mask" if line[0] == "sources" else "") for line in table)


def _constants(scene: Scene) -> tuple[tuple[FieldSpec, Array], ...]:
    if scene.channel is None or scene.codes is None:
        return ()
    named = (
        ("channel", "antenna", scene.channel, "channel from surface to receiver"),
        ("codes", "snapshot", scene.codes, "phase codes of the surface"),
    )
    return tuple(
        (FieldSpec(name, array.dtype, (lead, "element"), array.shape[1:], "constant", "1", text), array)
        for name, lead, array, text in named
    )


def _tasks(split: str, rows: int, parameters: Mapping[str, Any], root: SeedSequence) -> Iterator[Task]:
    ranges = list(row_ranges(rows, int(parameters["task_rows"])))
    for (start, stop), seed in zip(ranges, root.spawn(len(ranges)), strict=True):
        yield Task(split, seed, {**parameters, "rows": stop - start})


def _snapshots(factor: Array, channel: Array, codes: Array, snr_db: Array, rng: Generator) -> Array:
    """y (rows, M, L) for factors A√p (rows, N, K), channel ([rows,] M, N) and codes ([rows,] L, N)."""
    seen = (codes[..., np.newaxis, :, :] * channel[..., :, np.newaxis, :]).astype(np.complex128)
    antennas, snapshots = channel.shape[-2], codes.shape[-2]
    rows, elements, most = factor.shape
    response = seen.reshape(*seen.shape[:-3], antennas * snapshots, elements) @ factor
    symbols = complex_normal(rng, (rows, snapshots, most))
    clean = np.einsum("rmlk,rlk->rml", response.reshape(rows, antennas, snapshots, most), symbols)
    power = np.mean(clean.real**2 + clean.imag**2, axis=(1, 2))
    sigma = np.sqrt(power / 10.0 ** (snr_db / 10.0))
    noisy: Array = clean + sigma[:, np.newaxis, np.newaxis] * complex_normal(rng, clean.shape)
    return noisy


def _outer(factor: Array) -> Array:
    """R = F Fᴴ (rows, N, N), made exactly Hermitian because rounding does not keep it so."""
    product: NDArray[np.complex64] = np.einsum("nik,njk->nij", factor, factor.conj())
    product += np.swapaxes(product, 1, 2).conj()
    product *= np.float32(0.5)
    return product


def _uniform(rng: Generator, interval: Sequence[float], shape: tuple[int, ...]) -> Array:
    return rng.uniform(interval[0], interval[1], shape)
