"""What single requests are searched for, beside the filters of the bar. Pure."""

from decimal import Decimal
from typing import NamedTuple


class Search(NamedTuple):
    """Nothing given is everything; everything that is given must be true."""

    session: str = ""
    user: str = ""
    """As the caller named them."""
    model: str = ""
    """That was asked for, or that served."""
    status: int | None = None
    """Of HTTP, as it was answered."""
    cost_from: Decimal | None = None
    """In USD, inclusive, as it was recorded."""
    cost_to: Decimal | None = None
    ms_from: float | None = None
    """Whole duration, inclusive."""
    ms_to: float | None = None

    @property
    def is_anything(self) -> bool:
        """Whether something is searched for."""
        return self != ANYTHING


ANYTHING = Search()
