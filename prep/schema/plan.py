"""What a schema says, as frozen values: variables, fields, checks, and what statistics and transforms depend on."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Literal

import numpy as np

from prep.blocks import DatasetSpec, FieldSpec, Role
from prep.canonical import blake3_hex, value_digest
from prep.transforms import TRANSFORMS, settle
from prep.transforms.original import original_of

Severity = Literal["error", "warning"]
_LONGEST = 40  # characters of a statistic that tells checks apart
_ROWS = {"train": (0, 1), "val": (1, 2), "test": (2, 3)}


@dataclass(frozen=True, slots=True)
class VariablePlan:
    """Structure of one variable. ``dims`` starts with ``"sample"`` unless the field is a constant; ``line`` is where
    the schema states it (1-based).
    """

    dtype: np.dtype[Any]
    dims: tuple[str, ...]
    required: bool = True
    line: int = 1


@dataclass(frozen=True, slots=True)
class FieldPlan:
    """Meaning of one variable. ``transform`` is empty where none is stated; ``options`` are those of the transform.

    ``units`` are those of the normalised dataset. ``companion_of`` names the field whose transform adds this one.
    """

    role: Role
    units: str = "1"
    long_name: str = ""
    mask: str = ""
    features: tuple[str, ...] = ()
    transform: str = ""
    options: Mapping[str, Any] = field(default_factory=dict)
    companion_of: str = ""


@dataclass(frozen=True, slots=True)
class CheckPlan:
    """One check with all its statistics; ``line`` is where the schema states it (1-based)."""

    name: str
    statistics: Mapping[str, Any]
    severity: Severity = "error"
    line: int = 1

    @property
    def about(self) -> str:
        """The field or fields that it is about, as reports name them."""
        var = self.statistics["var"]
        return ", ".join(var) if isinstance(var, list | tuple) else str(var)


@dataclass(frozen=True, slots=True)
class Schema:
    """A schema that was loaded strictly. ``name`` is the dataset's id, ``text`` the YAML as it was read from ``path``.

    ``body`` is the parsed YAML; ``sizes`` gives every dimension but ``sample``. ``learnability`` states, for a target
    that no probe can judge, the score that is expected of one and why: {target: {floor, why}}. ``drift`` holds the
    limits of `prep diff`: {limits, fields, ignore, groups}, empty where none are stated.
    """

    name: str
    text: str
    path: str
    variables: Mapping[str, VariablePlan]
    sizes: Mapping[str, int]
    strict: bool
    fields: Mapping[str, FieldPlan]
    checks: tuple[CheckPlan, ...]
    body: Mapping[str, Any]
    loss: Mapping[str, Any] | None = None
    learnability: Mapping[str, Any] = field(default_factory=dict)
    drift: Mapping[str, Any] = field(default_factory=dict)

    @property
    def digest(self) -> str:
        """``blake3:…`` of the text."""
        return blake3_hex(self.text.encode())

    def variants(self) -> tuple[str, ...]:
        """What tells each check from the others of its name on its field, such as the split; empty where it is alone.

        A statistic with a text stands for itself, any other with its name: ``val``, ``tolerance 0.1``.
        """
        return tuple(_variant(plan, self.checks) for plan in self.checks)

    def line_of(self, field: str) -> int:
        """Where the schema states a field (1-based), 0 where it does not."""
        return self.variables[field].line if field in self.variables else 0

    def transform_plan(self) -> dict[str, Any]:
        """What statistics and transforms need of each field with a transform, JSON-ready.

        {field: {name, options, mask, features, units, role, long_name}}; companions come with another field. Options
        are complete, so that leaving a default out and writing it are one plan.
        """
        return {
            name: {
                "name": plan.transform,
                "options": self._options(name),
                "mask": plan.mask,
                "features": list(plan.features),
                "units": plan.units,
                "role": plan.role,
                "long_name": plan.long_name,
            }
            for name, plan in self.fields.items()
            if plan.transform and not plan.companion_of
        }

    def _options(self, name: str) -> dict[str, Any]:
        plan = self.fields[name]
        raw = replace(self._planned_field(name), transform_state="raw")
        return settle(TRANSFORMS.load(plan.transform)(), raw, plan.options)

    def transform_digest(self) -> str:
        """Digest of what `stats` and `normalize` depend on: `transform_plan`, and every field's role, mask and
        features.
        """
        fields = {
            name: [plan.role, plan.mask, list(plan.features)]
            for name, plan in self.fields.items()
            if not plan.companion_of
        }
        return value_digest("transform-plan", {"transforms": self.transform_plan(), "fields": fields})

    def planned_spec(self) -> DatasetSpec:
        """The normalised dataset that the schema describes, one row a split."""
        specs = {name: self._planned_field(name) for name in self.variables}
        return DatasetSpec(
            name=self.name,
            fields=tuple(spec for spec in specs.values() if spec.role != "constant"),
            splits=dict(_ROWS),
            constants=tuple(spec for spec in specs.values() if spec.role == "constant"),
        )

    def judged_spec(self) -> DatasetSpec:
        """What checks may name: the planned dataset and ``<field>.original`` of every field with a transform."""
        spec = self.planned_spec()
        return spec.with_fields(
            (*spec.fields, *(original_of(field) for field in spec.fields if self.fields[field.name].transform))
        )

    def _planned_field(self, name: str) -> FieldSpec:
        variable, plan = self.variables[name], self.fields[name]
        parent = self.fields[plan.companion_of] if plan.companion_of else plan
        return FieldSpec(
            name=name,
            dtype=variable.dtype,
            dims=variable.dims,
            shape=tuple(self.sizes[dim] for dim in variable.dims[1:]),
            role=plan.role,
            units=plan.units,
            long_name=plan.long_name,
            mask=plan.mask,
            features=plan.features,
            transform=parent.transform or "identity",
            transform_state="normalized" if parent.transform else "raw",
        )


def _variant(plan: CheckPlan, checks: tuple[CheckPlan, ...]) -> str:
    alike = [each.statistics for each in checks if (each.name, each.about) == (plan.name, plan.about)]
    own = [(key, value) for key, value in plan.statistics.items() if any(each[key] != value for each in alike)]
    return ", ".join(_told(key, value) for key, value in own)


def _told(key: str, value: Any) -> str:
    if isinstance(value, str) and value:
        return value
    words = f"{key} {'none' if value in ('', []) else value}"
    return words if len(words) <= _LONGEST else key
