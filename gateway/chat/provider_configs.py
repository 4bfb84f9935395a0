"""Reads ``provider_configs``: addresses and credentials that one request brings along.

Only what is checked here goes over the wire; which addresses a key may name is decided where they
are called. Values hold credentials: they are never logged, recorded or said again.
"""

import base64
import re
from collections.abc import Mapping
from typing import Annotated, Literal

import msgspec
from msgspec import Meta, Raw

from gateway.chat.complaints import wrong_value
from gateway.chat.routing_preferences import to_provider_slug
from gateway.chat.structure import check_members_are_unique
from gateway.domain.errors import InvalidRequestError

MEMBER = "provider_configs"
_MOST = 16
_MOST_HEADERS = 16
_HEADERS = frozenset(
    {
        "anthropic-beta",
        "anthropic-version",
        "api-key",
        "helicone-auth",
        "http-referer",
        "openai-beta",
        "openai-organization",
        "openai-project",
        "referer",
    }
)
"""What may be sent along beside ``x-…``: nothing that steers HTTP itself."""
_NEVER = ("x-forwarded-", "x-real-ip", "x-aws-", "x-google-", "x-goog-", "x-amz-", "x-original-")
"""Means something to proxies and to clouds' metadata services."""
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_-]{0,63}")
_VALUE = re.compile(r"[\x21-\x7e](?:[\x20-\x7e]{0,4094}[\x21-\x7e])?")
_SLUG = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_WITHOUT_EFFECT = ("rate_limit_rpm", "health_endpoint", "retry_config")

AuthType = Literal["bearer", "api_key", "basic", "custom"]
_Text = Annotated[str, Meta(min_length=1, max_length=4096)]


class ProviderConfig(msgspec.Struct, frozen=True, kw_only=True):
    """How one provider is reached for this request alone. Holds a credential: never log it."""

    provider: str
    base_url: str | None = None
    """None is the enabled provider's own."""
    auth: tuple[str, str] | None = None
    """A whole header; None sends ``api_key`` as the provider's protocol has it."""
    api_key: str = ""
    headers: tuple[tuple[str, str], ...] = ()
    timeout_ms: int | None = None

    def __repr__(self) -> str:
        return f"ProviderConfig({self.provider})"


class _Sent(msgspec.Struct, kw_only=True, forbid_unknown_fields=True):
    base_url: Annotated[str, Meta(min_length=1, max_length=2048)] | None = None
    api_key: _Text | None = None
    auth_type: AuthType | None = None
    auth_header_name: str | None = None
    headers: dict[str, str] | None = None
    timeout_ms: Annotated[int, Meta(ge=1_000, le=120_000)] | None = None
    rate_limit_rpm: Annotated[int, Meta(ge=1, le=100_000)] | None = None
    health_endpoint: str | None = None
    retry_config: dict[str, Raw] | None = None


_MEMBERS = msgspec.json.Decoder(dict[str, Raw])
_SENT = msgspec.json.Decoder(_Sent)


def read_provider_configs(raw: Raw, warnings: list[str]) -> tuple[ProviderConfig, ...]:
    """The providers that a request brings along, each once; none for an empty object.

    ``warnings`` receives settings without effect.

    Raises:
        InvalidRequestError: a member is unknown or wrong; the message holds no value.
    """
    try:
        members = _MEMBERS.decode(raw)
    except msgspec.ValidationError as exc:
        raise wrong_value(exc, below=f".{MEMBER}") from None
    check_members_are_unique(bytes(raw), members, below=f"{MEMBER}.")
    if len(members) > _MOST:
        raise _bad("", f"holds {len(members)} providers; at most {_MOST} are taken")
    configs: dict[str, ProviderConfig] = {}
    for name, sent in members.items():
        slug = to_provider_slug(name)
        if not _SLUG.fullmatch(slug):
            raise _bad("", "names a provider by other than letters, digits, `.`, `_` and `-`")
        if slug in configs:
            raise _bad(f".{slug}", "stands there twice, under two names; send it once")
        configs[slug] = _read(slug, sent, warnings)
    return tuple(configs.values())


def _read(slug: str, raw: Raw, warnings: list[str]) -> ProviderConfig:
    place = f".{slug}"
    try:
        sent = _SENT.decode(raw)
    except msgspec.ValidationError as exc:
        raise wrong_value(exc, below=f".{MEMBER}{place}") from None
    idle = [name for name in _WITHOUT_EFFECT if getattr(sent, name) is not None]
    if idle:
        named = ", ".join(f"`{name}`" for name in idle)
        warnings.append(f"{named} in `{MEMBER}{place}` has no effect here")
    return ProviderConfig(
        provider=slug,
        base_url=sent.base_url,
        auth=_auth(place, sent),
        api_key=_credential(place, sent.api_key),
        headers=tuple(_headers(place, sent.headers or {})),
        timeout_ms=sent.timeout_ms,
    )


def _credential(place: str, api_key: str | None) -> str:
    if api_key is not None and not _VALUE.fullmatch(api_key):
        raise _bad(f"{place}.api_key", "holds characters that no header can carry")
    return api_key or ""


def _auth(place: str, sent: _Sent) -> tuple[str, str] | None:
    """The header that carries the credential, where the request says which."""
    kind, name, key = sent.auth_type, sent.auth_header_name, _credential(place, sent.api_key)
    if name is not None and not _NAME.fullmatch(name):
        raise _bad(f"{place}.auth_header_name", "must be the name of a header")
    if name is not None and name.lower() not in {"authorization", "x-api-key"}:
        _check_name(f"{place}.auth_header_name", name)
    if not key:
        if kind is not None:
            raise _bad(f"{place}.api_key", "is missing; `auth_type` says how it is sent")
        return None
    if kind == "basic":
        if ":" not in key:
            raise _bad(f"{place}.api_key", "must be `user:password` for the `auth_type` basic")
        return name or "Authorization", f"Basic {_base64(key)}"
    if kind == "api_key":
        return name or "X-API-Key", key
    if kind == "custom":
        if name is None:
            raise _bad(f"{place}.auth_header_name", "is required for the `auth_type` custom")
        return name, key
    if kind == "bearer" or name is not None:
        return name or "Authorization", f"Bearer {key}"
    return None


def _headers(place: str, headers: Mapping[str, str]) -> list[tuple[str, str]]:
    if len(headers) > _MOST_HEADERS:
        raise _bad(f"{place}.headers", f"holds {len(headers)} headers; at most {_MOST_HEADERS}")
    for name, value in headers.items():
        if not _NAME.fullmatch(name):
            raise _bad(f"{place}.headers", "holds a name that is not a header's")
        _check_name(f"{place}.headers.{name}", name)
        if not _VALUE.fullmatch(value):
            raise _bad(f"{place}.headers.{name}", "must be printable ASCII")
    return list(headers.items())


def _check_name(place: str, name: str) -> None:
    lower = name.lower()
    if lower in _HEADERS or (lower.startswith("x-") and not lower.startswith(_NEVER)):
        return
    raise _bad(place, "may not be sent; `x-…` and " + ", ".join(sorted(_HEADERS)) + " may")


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _bad(place: str, what: str) -> InvalidRequestError:
    param = f"{MEMBER}{place}"
    # `not_allowed` keeps the value out of what FastAPI's clients are told.
    return InvalidRequestError(f"`{param}` {what}.", param=param, code="not_allowed")
