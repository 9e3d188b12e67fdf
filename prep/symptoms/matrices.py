"""Covariance-like fields: Hermitian, positive semidefinite, of what trace, and how ill-conditioned."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from prep.blocks import Array, FieldSpec
from prep.checks.hermitian import hermitian_residual
from prep.errors import counted
from prep.folds import Fold, Scope
from prep.folds.rowwise import Rowwise, RowwiseResult
from prep.folds.scales import Scales, ScalesResult
from prep.folds.spectra import Spectra, SpectraResult
from prep.importers.names import words
from prep.symptoms import Diagnostic, Guess
from prep.symptoms.columns import fields_of, is_square
from prep.symptoms.words import normalise, number, places, rebuild, square, times, verb

_HINTS = ("cov", "corr", "gram", "scm", "psd")
_NAMES = frozenset({"cov", "covs", "covariance", "covariances", "gram", "scm"})
# Eigenvalue work of one pass, N³ a matrix: about a second of LAPACK.
_WORK = 1 << 30
# A matrix made in the precision of its type: some roundings of its largest entries (N. Higham, Accuracy and Stability
# of Numerical Algorithms, 2002, ch. 3: a product of K columns errs by K·ε at most).
_ROUNDINGS = 64


@dataclass(frozen=True, slots=True)
class _Measured:
    hermitian: RowwiseResult
    diagonal: RowwiseResult
    traces: ScalesResult
    spectra: SpectraResult


class Matrices:
    """Square matrices taken for covariances: nearly all have a real, non-negative diagonal, and at least half are
    Hermitian to 64 roundings, or they are complex, or the name says so (cov, corr, gram, scm, psd). A name that ends in
    cov, covariance, gram or scm is enough whatever they hold, but for ``cross``. Auxiliary fields are looked at too,
    where they are complex or named so, but for their traces. Real matrices that no name calls so may be symmetric for
    any reason: of them, negative eigenvalues and traces are notes.

    A negative eigenvalue is one below −64ε·Σ|λ|, which rounding the entries to their type cannot make. Eigenvalues are
    those of every k-th sample, so that the work is bounded; evidence says how many.
    """

    name = "matrices"

    def folds(self, guess: Guess) -> tuple[Fold, ...]:
        return tuple(fold for field in _fields(guess) for fold in _folds(guess, field))

    def diagnose(self, guess: Guess, measured: Mapping[str, Any]) -> Iterator[Diagnostic]:
        for field in _fields(guess):
            found = _Measured(*(measured[fold.key] for fold in _folds(guess, field)))
            if not _is_covariance(field, found):
                continue
            if found.hermitian.failing:
                yield _not_hermitian(guess, field, found)
            for each in _of_covariances(guess, field, found):
                yield each if _called_covariance(field) or each.severity == "note" else _as_note(each)


def _of_covariances(guess: Guess, field: FieldSpec, found: _Measured) -> Iterator[Diagnostic]:
    if not found.hermitian.failing:
        yield from _definiteness(guess, field, found)
    if not found.hermitian.failing and not found.spectra.negative and found.spectra.rows:
        yield _sound(field, found)
    if field.role != "aux" and _has_traces(found):
        yield from _trace(guess, field, found)


def _called_covariance(field: FieldSpec) -> bool:
    return field.dtype.kind == "c" or _hinted(field)


def _hinted(field: FieldSpec) -> bool:
    return any(hint in field.name.lower() for hint in _HINTS)


def _as_note(each: Diagnostic) -> Diagnostic:
    means = f"nothing, unless they are meant as covariances: {each.consequence}"
    return replace(each, severity="note", consequence=means, command="")


def _fields(guess: Guess) -> Iterator[FieldSpec]:
    return (
        field for field in fields_of(guess, "input target aux", "fc") if is_square(field) and field.shape[0] <= 2048
    )


def _epsilon(field: FieldSpec) -> float:
    return float(np.finfo(field.dtype).eps)


def _folds(guess: Guess, field: FieldSpec) -> tuple[Rowwise, Rowwise, Scales, Spectra]:
    scope, limit = Scope.of(guess.spec), _ROUNDINGS * _epsilon(field)
    stride = max(1, -(-guess.spec.rows * field.shape[0] ** 3 // _WORK))
    return (
        Rowwise("hermitian", (field.name,), hermitian_residual, limit, scope),
        Rowwise("diagonal", (field.name,), odd_diagonal, limit, scope),
        Scales(field, scope, "trace"),
        Spectra(field, scope, limit, stride),
    )


def odd_diagonal(arrays: Mapping[str, Array]) -> Array:
    """How far the diagonal of each matrix is from real and non-negative, over its largest entry; (rows,)."""
    (matrices,) = arrays.values()
    diagonal = np.diagonal(matrices, axis1=1, axis2=2).astype(np.complex128)
    off = np.maximum(np.abs(diagonal.imag), -diagonal.real).max(axis=1)
    return np.asarray(np.maximum(off, 0.0) / np.maximum(np.abs(diagonal).max(axis=1), 1e-300))


def _is_covariance(field: FieldSpec, found: _Measured) -> bool:
    rows = found.hermitian.rows
    some = found.traces.rows > 0.5 * rows
    hermitian = found.hermitian.failing <= 0.5 * rows
    diagonal = found.diagonal.failing <= 0.01 * rows
    if _is_named(field):
        return True
    meant = _called_covariance(field)
    if field.role == "aux" and not meant:
        return False
    return (hermitian and meant) or (some and diagonal and (hermitian or meant))


def _has_traces(found: _Measured) -> bool:
    """Not where most have neither the triangles nor the diagonal of a covariance: their traces mean nothing."""
    rows = found.hermitian.rows
    return found.hermitian.failing <= 0.5 * rows or found.diagonal.failing <= 0.5 * rows


def _is_named(field: FieldSpec) -> bool:
    """Whether the name is one of a covariance and of nothing else (a spectrogram, a cross-covariance, its factor)."""
    last = words(field.name)[-1:]
    return bool(_NAMES.intersection(last)) and "cross" not in words(field.name)


def _not_hermitian(guess: Guess, field: FieldSpec, found: _Measured) -> Diagnostic:
    return Diagnostic(
        code="not-hermitian",
        severity="harmful",
        field=field.name,
        evidence=f"{found.hermitian.failing} of {found.hermitian.rows} matrices of {field.name} "
        f"{verb(found.hermitian.failing, 'are')} not Hermitian "
        f"(‖R − Rᴴ‖/‖R‖ up to {number(found.hermitian.worst)}): "
        f"{places(guess, found.hermitian.samples, found.hermitian.failing)}",
        consequence="they are no covariances: a model whose output is Hermitian by construction can never reach "
        f"them, and its loss stays above {number(square(found.hermitian.worst / 2))} of their square",
        remedy="build the matrices as A Aᴴ; if only one triangle was stored, fill the other with its conjugate",
        command=rebuild(guess),
        samples=found.hermitian.samples,
        measured={"failing": found.hermitian.failing, "worst": found.hermitian.worst},
    )


def _definiteness(guess: Guess, field: FieldSpec, found: _Measured) -> Iterator[Diagnostic]:
    spectra = found.spectra
    of = _looked_at(found)
    if spectra.negative:
        named = _hinted(field)
        yield Diagnostic(
            code="not-positive-semidefinite",
            severity="harmful" if named or (found.diagonal.failing == 0 and field.dtype.kind == "c") else "doubtful",
            field=field.name,
            evidence=f"{counted(spectra.negative, 'matrix', 'matrices')} of {field.name} ({of}) "
            f"{verb(spectra.negative, 'have')} a negative eigenvalue, down to "
            f"{number(spectra.worst)} of Σ|λ|: {places(guess, spectra.samples, spectra.negative)}",
            consequence="they are no covariances: a Cholesky factor or a log-determinant of them is NaN, and a model "
            "that outputs A Aᴴ cannot reach them",
            remedy="do not centre or edit covariances entry by entry; build them as A Aᴴ and scale by the trace",
            command=rebuild(guess),
            samples=spectra.samples,
            measured={"negative": spectra.negative, "worst": spectra.worst},
        )
    elif spectra.rows and (spectra.singular or spectra.condition > 1 / _epsilon(field)):
        what = f"{spectra.singular} of {spectra.rows} are singular to rounding" if spectra.singular else ""
        what = what or f"condition numbers reach {number(spectra.condition)}"
        yield Diagnostic(
            code="ill-conditioned",
            severity="note",
            field=field.name,
            evidence=f"matrices of {field.name}: {what} ({of})",
            consequence=f"inverses and Cholesky factors of them mean nothing in {field.dtype}",
            remedy="load the diagonal where an inverse is needed (both sides of a loss alike), or work with factors",
            measured={"singular": spectra.singular, "condition": spectra.condition},
        )


def _sound(field: FieldSpec, found: _Measured) -> Diagnostic:
    spectra, traces = found.spectra, found.traces
    regular = spectra.rows - spectra.singular
    conditions = [f"condition numbers up to {number(spectra.condition)}"] if regular else []
    conditions += [f"{spectra.singular} of {spectra.rows} singular to rounding"] if spectra.singular else []
    equal = number(traces.low) == number(traces.high)
    residual = found.hermitian.worst
    hermitian = f"Hermitian (‖R − Rᴴ‖/‖R‖ up to {number(residual)})" if residual else "exactly Hermitian"
    span = number(traces.low) if equal else f"{number(traces.low)} to {number(traces.high)}"
    return Diagnostic(
        code="sound-covariances",
        severity="note",
        field=field.name,
        evidence=f"matrices of {field.name} are {hermitian} and positive semidefinite "
        f"({_looked_at(found)}), their trace is {span} and their size {field.shape[0]}, {', '.join(conditions)}",
        consequence="nothing bad: a model that outputs A Aᴴ can reach them all",
        remedy="none is needed",
        measured={
            "hermitian": residual,
            "least_eigenvalue": spectra.worst,
            "trace_low": traces.low,
            "trace_high": traces.high,
            "condition": spectra.condition,
            "singular": spectra.singular,
        },
    )


def _looked_at(found: _Measured) -> str:
    some, rows = found.spectra.rows, found.hermitian.rows
    return f"{some} of {rows} looked at" if some < rows else "all looked at"


def _trace(guess: Guess, field: FieldSpec, found: _Measured) -> Iterator[Diagnostic]:
    traces, size = found.traces, field.shape[0]
    if traces.bad:
        yield Diagnostic(
            code="trace-not-positive",
            severity="harmful",
            field=field.name,
            evidence=f"{traces.bad} of {traces.rows + traces.bad} matrices of {field.name} "
            f"{verb(traces.bad, 'have')} no positive trace "
            f"({', '.join(number(value) for value in traces.values[:3])}): {places(guess, traces.samples, traces.bad)}",
            consequence="divided by their trace they become NaN or infinite, and a relative loss with them",
            remedy="drop these samples: a zero matrix is what is left of a caught exception",
            command=rebuild(guess),
            samples=traces.samples,
            measured={"bad": traces.bad},
        )
    if not traces.rows:
        return
    typical, spread = float(np.exp(traces.mean)), traces.high / traces.low
    constant = spread - 1 < 1e-3
    if constant and abs(typical / size - 1) < 1e-3:
        if field.transform_state != "normalized":
            yield Diagnostic(
                code="already-trace-n",
                severity="note",
                field=field.name,
                evidence=f"every matrix of {field.name} has trace {size}, its size",
                consequence="dividing by the trace again does nothing; the scale of each sample is gone unless it "
                "was kept",
                remedy="do not normalise again; keep the traces that were divided by",
            )
    elif constant:
        factor = typical / size
        yield Diagnostic(
            code="trace-not-n",
            severity="doubtful",
            field=field.name,
            evidence=f"every matrix of {field.name} has trace {number(typical)}, {times(factor)} its size {size}",
            consequence=f"compared with a prediction of trace {size}, the loss stays at "
            f"{number(square(1 - 1 / factor))} of "
            "the target's square or more, however well the model fits: one side is scaled or loaded, the other not",
            remedy="divide both sides of the loss by their traces, and load both or none",
            command=normalise(guess),
            harm=square(max(factor, 1 / factor)),
            measured={"trace": typical, "size": size},
        )
    elif spread >= 10:
        yield Diagnostic(
            code="trace-varies",
            severity="doubtful",
            field=field.name,
            evidence=f"traces of {field.name} go from {number(traces.low)} to {number(traces.high)}",
            consequence=f"the largest matrix weighs up to {times(square(spread))} what the smallest does in a squared "
            "error: the loss is that of the loudest samples",
            remedy="divide each matrix by its trace (transform trace_n) and keep the logarithm of the trace as a field",
            command=normalise(guess),
            harm=square(spread),
            measured={"low": traces.low, "high": traces.high},
        )
