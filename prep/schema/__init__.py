"""Dataset schemas: pandera's xarray YAML plus a section ``prep``, loaded strictly, compiled into plans.

`load_schema` reads `schemas/*.yaml` and refuses whatever pandera would let pass in silence (``load``: syntax and form,
``rules``: what the parts mean together, ``oracle``: nothing is lost on the way through pandera). The result, a frozen
`Schema` (``plan``), is what the engine runs; `to_pandera` gives the same schema to vanilla pandera for data in memory.
`structure` compares a dataset's description with it, `draft_schema` writes a first one for data that came without.
"""

from __future__ import annotations

from prep.schema.draft import draft_schema
from prep.schema.load import load_schema
from prep.schema.oracle import to_pandera, verify_with_pandera
from prep.schema.plan import CheckPlan, FieldPlan, Schema, VariablePlan
from prep.schema.structure import structure

__all__ = [
    "CheckPlan",
    "FieldPlan",
    "Schema",
    "VariablePlan",
    "draft_schema",
    "load_schema",
    "structure",
    "to_pandera",
    "verify_with_pandera",
]
