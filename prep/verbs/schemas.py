"""Which schema judges a dataset: the one named, else the project's, else the one embedded when it was ingested."""

from __future__ import annotations

from pathlib import Path

from prep.blocks import DatasetSpec
from prep.errors import SchemaError, Where
from prep.schema import Schema, load_schema


def schema_for(spec: DatasetSpec, named: str | Path | None = None, *, verify: bool = False) -> Schema:
    """The schema of a dataset: ``named``, else ``schemas/<dataset>.yaml`` of the working folder, else the embedded one.

    ``verify`` also compares with vanilla pandera. Raises `SchemaError` where there is none or it is of another dataset.
    """
    place = Path(named) if named else Path("schemas") / f"{spec.name}.yaml"
    if named or place.exists():
        schema = load_schema(place, verify=verify)
    elif "schema" in spec.documents:
        schema = load_schema(spec.documents["schema"], name=f"{spec.name} (embedded)", verify=verify)
    else:
        raise SchemaError(
            f"there is no schema for dataset {spec.name!r}",
            where=Where(path=str(place), dataset=spec.name),
            allowed="schemas/<dataset>.yaml, an embedded schema, or --schema FILE",
            remedy="write the schema or name it with --schema",
        )
    if schema.name != spec.name:
        raise SchemaError(
            "this schema is of another dataset",
            where=Where(path=str(schema.path), dataset=spec.name, key="prep.dataset"),
            measured=schema.name,
            allowed=spec.name,
            remedy="name the schema of this dataset with --schema",
        )
    return schema
