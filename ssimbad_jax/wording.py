"""Wordings that messages of all parts share."""

from collections.abc import Sequence


def list_some(names: Sequence[str], limit: int = 10) -> str:
    """Joins the first names for an error message."""
    more = f" and {len(names) - limit} more" if len(names) > limit else ""
    return (", ".join(names[:limit]) or "none") + more
