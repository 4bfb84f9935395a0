"""Where a price comes from, told from the name of its version."""

import re

_CHANGE = re.compile(r"(?P<kind>@operator|\*(?P<factor>[0-9.]+))#(?P<number>[0-9]+)")


def origin_of(version_id: str) -> str:
    """The operator's changes that made it, as 'tollway prices history' numbers them, or tables."""
    changes = [
        f"change {one['number']}" + (f" (x {one['factor']})" if one["factor"] else "")
        for one in _CHANGE.finditer(version_id)
    ]
    return ", ".join(changes) or "tables"
