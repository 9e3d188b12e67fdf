"""Which versions of what computes are installed."""

from __future__ import annotations

from importlib.metadata import PackageNotFoundError, version


def installed(*packages: str) -> dict[str, str]:
    """The version of each of ``packages`` that is there, in that order."""
    found = {}
    for package in packages:
        try:
            found[package] = version(package)
        except PackageNotFoundError:
            continue
    return found
