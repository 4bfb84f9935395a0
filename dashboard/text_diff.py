"""Two texts as the lines that differ. Pure."""

from difflib import unified_diff

_MOST_LINES = 4_000


def diff_lines(old: str, new: str, *, old_name: str, new_name: str) -> str | None:
    """A unified diff; "" when nothing differs, None when the texts are too long to compare."""
    before, after = old.splitlines(), new.splitlines()
    if max(len(before), len(after)) > _MOST_LINES:
        return None
    return "\n".join(unified_diff(before, after, old_name, new_name, lineterm=""))
