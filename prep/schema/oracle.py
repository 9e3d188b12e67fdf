"""The same schema under vanilla pandera: our checks registered there, and proof that nothing is lost on the way.

pandera is the schema language and the oracle for data in memory, never the gate: it skips unknown checks with a
warning, data checks on dask arrays, and everything where ``PANDERA_VALIDATION_ENABLED`` says so.
"""

from __future__ import annotations

import inspect
import warnings
from collections.abc import Callable, Iterator, Mapping
from copy import deepcopy
from functools import wraps
from threading import Lock
from typing import Any

from prep.checks import CHECKS
from prep.errors import SchemaError, Where
from prep.schema.plan import Schema

_REGISTERING = Lock()


def to_pandera(schema: Schema) -> Any:
    """The `pandera.xarray.DatasetSchema` of ``schema``, its checks registered with pandera under their own names.

    ``.validate(dataset, lazy=True)`` on an `xarray.Dataset` in memory gives the engine's verdict on the stored one.
    """
    from pandera.io.xarray_io import deserialize_schema

    register_checks()
    body = {key: deepcopy(value) for key, value in schema.body.items() if key != "prep"}
    with warnings.catch_warnings():
        warnings.simplefilter("error", UserWarning)
        try:
            return deserialize_schema(body)  # type: ignore[no-untyped-call]
        except Exception as error:
            raise _lost(schema, f"pandera cannot read it: {error}", None) from error


def register_checks() -> None:
    """Register every check of `CHECKS` with pandera; done once in a process, later calls change nothing."""
    import pandera.xarray  # noqa: F401
    from pandera.api.checks import Check
    from pandera.api.extensions import register_check_method

    with _REGISTERING:
        for name in CHECKS:
            if name in Check.REGISTERED_CUSTOM_CHECKS:
                continue
            member = CHECKS.load(name)
            register_check_method(_named(name, member.pandera_function), statistics=list(member().statistics))


def verify_with_pandera(schema: Schema) -> None:
    """Send the schema through pandera and back; `SchemaError` for any key that does not come back as it was written."""
    from pandera.io.xarray_io import serialize_schema

    native = to_pandera(schema)
    if len(native.checks) != len(schema.checks):
        raise _lost(schema, f"{len(native.checks)} of {len(schema.checks)} checks arrive", None)
    returned = serialize_schema(native, minimal=False)
    for key in ("title", "description", "strict", "sizes"):
        if key in schema.body and returned.get(key) != schema.body[key]:
            raise _lost(schema, f"{key} does not come back from pandera", returned.get(key))
    for name, entry in schema.body["data_vars"].items():
        for key, value in entry.items():
            if returned["data_vars"].get(name, {}).get(key) != value:
                raise _lost(schema, f"data_vars.{name}.{key} does not come back", returned["data_vars"].get(name))
    for plan, entry, back in zip(schema.checks, schema.body["checks"], _checks(returned), strict=True):
        if back != (plan.name, plan.statistics, entry["options"].get("raise_warning", False)):
            raise _lost(schema, f"check {plan.name!r} does not come back", back, plan.line)


def _checks(returned: Mapping[str, Any]) -> Iterator[tuple[str, dict[str, Any], bool]]:
    for entry in returned["checks"]:
        options = entry["options"]
        statistics = {key: value for key, value in entry.items() if key != "options"}
        if list(statistics) == ["value"]:  # how pandera writes a check with one statistic
            statistics = {"var": statistics["value"]}
        yield options["check_name"], statistics, options.get("raise_warning", False)


def _named(name: str, function: Callable[..., Any]) -> Callable[..., Any]:
    @wraps(function)
    def check(dataset: Any, **statistics: Any) -> Any:
        return function(dataset, **statistics)

    check.__name__ = check.__qualname__ = name
    check.__signature__ = inspect.signature(function)  # type: ignore[attr-defined]
    return check


def _lost(schema: Schema, what: str, found: object, line: int | None = None) -> SchemaError:
    return SchemaError(
        f"the schema means something else to pandera: {what}",
        where=Where(path=schema.path, dataset=schema.name, line=line),
        measured=found,
        allowed="a schema that pandera reads and writes without loss",
        remedy="write it as the schemas in schemas/ are written; see the key or check that is named",
    )
