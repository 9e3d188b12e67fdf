"""What a verb needs beyond the base installation, asked for before it begins."""

from __future__ import annotations

from prep.errors import UsageError


def training() -> None:
    """`UsageError` unless the libraries of the extra `train` are installed."""
    try:
        import prep.training  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "models need libraries that are not installed",
            measured=f"no {error.name}",
            allowed="the extra `train`: torch, Lightning, matplotlib",
            remedy="pip install 'prep-certified[train]'",
        ) from error


def drawing() -> None:
    """`UsageError` unless matplotlib is installed."""
    try:
        import matplotlib  # noqa: F401
    except ImportError as error:
        raise UsageError(
            "pictures need a library that is not installed",
            measured=f"no {error.name}",
            allowed="matplotlib, of the extra `train`",
            remedy="pip install 'prep-certified[train]' (matplotlib alone will do), or leave -o out to see it here",
        ) from error
