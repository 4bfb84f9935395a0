"""How answers outside of chat are written: exact amounts, UTC instants, one JSON encoder."""

from datetime import datetime
from decimal import Context, Decimal
from typing import Annotated, Any, TypeAlias

import msgspec
from litestar import Response
from msgspec import Meta, Raw

from gateway.chat.usage_report import MaybeUsd, usd
from gateway.domain.plain_json import plain

Usd: TypeAlias = Annotated[
    Raw, Meta(description="Exact USD.", extra_json_schema={"type": "number"})
]

_EXACT = Context(prec=60)
_ENCODER = msgspec.json.Encoder(decimal_format="number")


__all__ = ["MaybeUsd", "Usd", "encode", "iso", "json_response", "per_token", "plain", "usd"]


def per_token(rate_usd_per_mtok: Decimal | None) -> str | None:
    """A rate per million tokens as the exact USD of one token, in text; None stays None."""
    return None if rate_usd_per_mtok is None else plain(_EXACT.scaleb(rate_usd_per_mtok, -6))


def iso(instant: datetime | None) -> str | None:
    """An aware instant as text in UTC."""
    return None if instant is None else instant.isoformat().replace("+00:00", "Z")


def encode(value: Any) -> bytes:  # noqa: ANN401 - whatever msgspec encodes
    """JSON, money as numbers."""
    return _ENCODER.encode(value)


def json_response(body: bytes, status: int = 200) -> Response[bytes]:
    """An answer whose JSON is ready."""
    return Response(body, status_code=status, media_type="application/json")
