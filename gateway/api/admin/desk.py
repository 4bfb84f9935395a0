"""What routes of the admin API share: asking the database, and telling what is not there."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

from gateway.domain.errors import GatewayError, InvalidRequestError, OverloadedError
from gateway.storage.asking import Asker
from gateway.storage.engine import Connection
from gateway.storage.waiting import DatabaseUnavailableError

T = TypeVar("T")


async def ask_database(ask: Asker, work: Callable[[Connection], Awaitable[T]]) -> T:
    """Do something in one transaction.

    Raises:
        OverloadedError: the database does not answer.
        InvalidRequestError: what was wished for cannot be, by a ``ValueError`` whose text begins
            with the name of the field.
    """
    try:
        return await ask(work)
    except DatabaseUnavailableError as exc:
        raise OverloadedError(
            "the database does not answer; try again",
            code="database_unavailable",
            retry_after_s=5,
        ) from exc
    except ValueError as exc:
        raise refused(exc) from exc


def refused(exc: ValueError) -> InvalidRequestError:
    """A wish that cannot be; the error's text begins with the name of the field."""
    return InvalidRequestError(str(exc), param=str(exc).partition(":")[0])


def not_found(what: str, where: str, *, code: str) -> GatewayError:
    """A 404 that says where to look."""
    return GatewayError(
        f"there is no {what}; {where} lists them",
        status=404,
        kind="invalid_request_error",
        code=code,
    )
