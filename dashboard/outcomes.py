"""What became of a request, in the words that readers choose from, as conditions of SQL."""

from collections.abc import Iterable
from typing import Any

from sqlalchemy import ColumnElement, and_, false, not_, or_

from dashboard.queries import FAILED, GIVEN_UP, REFUSED, RESCUED, SERVED

SUCCESS = "success"
REFUSED_OUTCOME = "refused"
NOT_JUDGED = ("client_cancelled", "gateway_shutdown", "budget_exceeded")
"""Outcomes that say nothing about how well anybody served."""


def of_outcomes(
    words: Iterable[str], outcome: ColumnElement[Any], is_fallback: ColumnElement[Any]
) -> ColumnElement[bool]:
    """Requests of which any of the words is true; a word that is none is true of none.

    Args:
        words: of `dashboard.queries.OUTCOME_WORDS`.
        outcome: the column with its code.
        is_fallback: whether another endpoint answered than the one tried first.
    """
    conditions: dict[str, ColumnElement[bool]] = {
        SERVED: and_(outcome == SUCCESS, not_(is_fallback)),
        RESCUED: and_(outcome == SUCCESS, is_fallback),
        FAILED: outcome.not_in([SUCCESS, REFUSED_OUTCOME, *NOT_JUDGED]),
        REFUSED: outcome == REFUSED_OUTCOME,
        GIVEN_UP: outcome.in_(NOT_JUDGED),
    }
    return or_(*(conditions.get(word, false()) for word in words))
