"""Original values beside normalised ones: what checks in physical units look at, computed back block by block."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace

import numpy as np

from prep.blocks import Array, DatasetSpec, FieldSpec
from prep.errors import IntegrityError, Where
from prep.transforms.pipeline import BoundTransform, bound_transforms

SUFFIX = ".original"


def original_of(field: FieldSpec) -> FieldSpec:
    """The variable ``<field>.original``: the same dims in float64 or complex128, raw."""
    dtype = np.dtype(np.complex128 if field.dtype.kind == "c" else np.float64)
    return replace(field, name=field.name + SUFFIX, dtype=dtype, transform_state="raw")


@dataclass(frozen=True, slots=True)
class Originals:
    """Adds variables ``<field>.original`` to the rows of a dataset, by the inverse of the transforms embedded in it; of
    a raw dataset they are the values as they are.
    """

    spec: DatasetSpec
    inverses: Mapping[str, BoundTransform | None]

    @classmethod
    def bind(cls, spec: DatasetSpec, names: Iterable[str]) -> Originals:
        """For those of ``names`` that end in ``.original`` and whose field the dataset has; others are left out.

        Raises `KeyError`, `ValueError` or `TypeError` where the embedded transforms are not as `prep` writes them.
        """
        document = json.loads(spec.documents.get("transforms", "{}"))
        wanted = [name.removesuffix(SUFFIX) for name in dict.fromkeys(names) if name.endswith(SUFFIX)]
        fields = [spec[name] for name in wanted if name in spec]
        bound = bound_transforms({each.name: document[each.name] for each in fields if each.name in document})
        extended = spec.with_fields((*spec.fields, *map(original_of, fields)))
        return cls(extended, {each.name: bound.get(each.name) for each in fields})

    def __call__(self, arrays: Mapping[str, Array]) -> dict[str, Array]:
        """All arrays of the same rows and the originals; `DataError` where a transform cannot be undone, and
        `IntegrityError` where its parameters are not as `prep` writes them.
        """
        result = dict(arrays)
        for name, bound in self.inverses.items():
            dtype = self.spec[name + SUFFIX].dtype
            if bound is None:
                result[name + SUFFIX] = arrays[name].astype(dtype)
                continue
            try:
                values = bound.invert(arrays[name], **{each: arrays[each] for each in bound.reads})
            except (KeyError, ValueError, TypeError, IndexError, AttributeError) as error:
                raise IntegrityError(
                    f"the embedded transform of {name} cannot be undone: {error!r}",
                    where=Where(dataset=self.spec.name, field=name),
                    remedy="write the dataset again with `prep normalize`; what is in the file is damaged",
                ) from error
            result[name + SUFFIX] = values.astype(dtype, copy=False)
        return result
