"""Asks the admin API for everything that changes or computes: one place validates and audits."""

import logging
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, TypeVar

import httpx
import msgspec

T = TypeVar("T")
_log = logging.getLogger("tollway.dashboard")

_WITHIN = httpx.Timeout(15.0, connect=2.0)
_UNAUTHORIZED, _FORBIDDEN, _NOT_FOUND, _SERVER_ERRORS = 401, 403, 404, 500


class AdminError(Exception):
    """The admin API refused or does not answer. Holds what a reader is told, never a token."""

    def __init__(
        self,
        title: str,
        remedy: str,
        *,
        status: int | None = None,
        code: str | None = None,
        field: str | None = None,
        problems: tuple[Any, ...] = (),
    ) -> None:
        super().__init__(f"{title} {remedy}")
        self.title = title
        self.remedy = remedy
        self.status = status
        """Of HTTP; None when nobody answered."""
        self.code = code
        self.field = field
        """Of what was sent: where the mistake is, for a form to say it there."""
        self.problems = problems
        """Of a text of rules: everything that is wrong with it."""


class Admin:
    """A client of one gateway's admin listener; many browser sessions share it.

    ``token`` is asked for each request: who signs in brings their own.
    """

    def __init__(self, url: str, token: Callable[[], str]) -> None:
        self._token = token
        self._client = httpx.Client(
            base_url=url,
            timeout=_WITHIN,
            # Asked now and then: no connection is kept for the next time.
            limits=httpx.Limits(max_keepalive_connections=0),
            trust_env=False,
            follow_redirects=False,
        )

    def __repr__(self) -> str:
        return f"Admin({str(self._client.base_url)!r})"

    def get(self, path: str, kind: type[T], **parameters: str | int | None) -> T:
        """Ask for something; parameters that are None are left out.

        Raises:
            AdminError: it was refused, or nobody answers.
        """
        given = {name: value for name, value in parameters.items() if value is not None}
        return self._ask("GET", path, kind, parameters=given)

    def post(
        self, path: str, kind: type[T], body: object = None, **parameters: str | int | None
    ) -> T:
        """Send something that `msgspec` can write as JSON.

        Raises:
            AdminError: it was refused, or nobody answers.
        """
        given = {name: value for name, value in parameters.items() if value is not None}
        content = None if body is None else msgspec.json.encode(body)
        return self._ask("POST", path, kind, parameters=given, content=content)

    def upload(self, path: str, kind: type[T], content: bytes) -> T:
        """Send JSON as it was got from somewhere.

        Raises:
            AdminError: it was refused, or nobody answers.
        """
        return self._ask("POST", path, kind, content=content)

    def patch(self, path: str, kind: type[T], body: object) -> T:
        """Change what the body names, and nothing else.

        Raises:
            AdminError: it was refused, or nobody answers.
        """
        return self._ask("PATCH", path, kind, content=msgspec.json.encode(body))

    def delete(self, path: str, kind: type[T]) -> T:
        """Take something away.

        Raises:
            AdminError: it was refused, or nobody answers.
        """
        return self._ask("DELETE", path, kind)

    def close(self) -> None:
        """Let the connections go."""
        self._client.close()

    def _ask(
        self,
        method: str,
        path: str,
        kind: type[T],
        *,
        parameters: Mapping[str, str | int] | None = None,
        content: bytes | None = None,
    ) -> T:
        headers = {"authorization": f"Bearer {self._token()}", "content-type": "application/json"}
        try:
            answer = self._client.request(
                method, path, params=parameters, content=content, headers=headers
            )
        except httpx.TransportError as exc:
            _log.warning("the admin API does not answer: %s", exc)
            raise AdminError(
                "The gateway does not answer.",
                "Prices, rules and keys are changed through its admin listener. See that "
                "`tollway up` or `tollway serve` runs, then try again; `tollway doctor` tells "
                "more.",
            ) from exc
        if not answer.is_success:
            raise _refusal(answer)
        try:
            return msgspec.json.decode(answer.content, type=kind)
        except msgspec.DecodeError as exc:
            _log.error("%s %s answered something else: %s", method, path, exc)
            raise AdminError(
                "The gateway and the dashboard are not of the same version.",
                "Restart both with `tollway up`.",
            ) from exc


def token_in(path: Path) -> Callable[[], str]:
    """Reads the owner token whenever it is needed, so that a new one needs no restart."""

    def read() -> str:
        try:
            return path.read_text().strip()
        except OSError as exc:
            raise AdminError(
                "The owner token cannot be read.",
                f"{path}: {exc.strerror}. The dashboard has to run as the user that Tollway "
                "runs as.",
            ) from exc

    return read


class _Told(msgspec.Struct, frozen=True):
    message: str = ""
    code: str | None = None
    param: str | None = None
    metadata: dict[str, Any] | None = None


class _Failure(msgspec.Struct, frozen=True):
    error: _Told = _Told()


def _refusal(answer: httpx.Response) -> AdminError:
    status = answer.status_code
    try:
        told = msgspec.json.decode(answer.content, type=_Failure).error
    except msgspec.DecodeError:
        told = _Told()
    metadata = told.metadata or {}
    return AdminError(
        _title(status),
        told.message or f"It answered with HTTP {status}; its log says more.",
        status=status,
        code=told.code,
        field=told.param,
        problems=tuple(metadata.get("problems") or ()),
    )


def _title(status: int) -> str:
    if status == _UNAUTHORIZED:
        return "The gateway does not know who you are."
    if status == _FORBIDDEN:
        return "You may not do that."
    if status == _NOT_FOUND:
        return "That is not there."
    return "The gateway failed." if status >= _SERVER_ERRORS else "That cannot be done."
