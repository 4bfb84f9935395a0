"""What somebody wished for and cannot have, told in a way that leads to what they can have."""

import unicodedata


class WishError(ValueError):
    """The text begins with the field at fault and a colon, and tells the remedy; never a secret."""

    @property
    def field(self) -> str:
        return str(self).partition(":")[0]


def is_one_line(text: str) -> bool:
    """Whether it fits into one line of a table, a log or a header, and PostgreSQL can store it."""
    return not any(unicodedata.category(one) in _BREAKING for one in text)


_BREAKING = frozenset({"Cc", "Cs", "Zl", "Zp"})
"""Controls, halves of characters, and what begins a new line."""
