"""What routes of the admin API share: asking the database, and telling what is not there."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from gateway.domain.errors import GatewayError, InvalidRequestError, OverloadedError
from gateway.domain.wishes import WishError
from gateway.storage.asking import Asker
from gateway.storage.engine import Connection
from gateway.storage.waiting import DatabaseUnavailableError

T = TypeVar("T")


async def ask_database(ask: Asker, work: Callable[[Connection], Awaitable[T]]) -> T:
    """Do something in one transaction.

    Raises:
        OverloadedError: the database does not answer.
        InvalidRequestError: what was wished for cannot be.
    """
    try:
        return await answered(ask(work))
    except WishError as exc:
        raise refused(exc) from exc


async def answered(asked: Awaitable[T]) -> T:
    """What the database answers, in one transaction or several.

    Raises:
        OverloadedError: it does not.
    """
    try:
        return await asked
    except DatabaseUnavailableError as exc:
        raise OverloadedError(
            "the database does not answer; try again",
            code="database_unavailable",
            retry_after_s=5,
        ) from exc


def refused(exc: WishError) -> InvalidRequestError:
    """A wish that cannot be, as an answer."""
    return InvalidRequestError(str(exc), param=exc.field)


def not_found(what: str, where: str, *, code: str) -> GatewayError:
    """A 404 that says where to look."""
    return GatewayError(
        f"there is no {what}; {where} lists them",
        status=404,
        kind="invalid_request_error",
        code=code,
    )
