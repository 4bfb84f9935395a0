"""The public price lists that can be imported, and how one is read from its bytes."""

import hashlib
from datetime import datetime
from decimal import Decimal
from typing import Any

import msgspec

from pricing.importers import genai_prices, litellm_map, models_dev
from pricing.importers.listing import ListError, PriceList, Reader


class PriceListSource(msgspec.Struct, frozen=True, kw_only=True):
    """A list that can be imported."""

    name: str
    address: str
    read: Reader


SOURCES = {
    source.name: source
    for source in (
        PriceListSource(
            name="genai-prices",
            address=genai_prices.ADDRESS,
            read=genai_prices.read_genai_prices,
        ),
        PriceListSource(
            name="models-dev", address=models_dev.ADDRESS, read=models_dev.read_models_dev
        ),
        PriceListSource(name="litellm", address=litellm_map.ADDRESS, read=litellm_map.read_litellm),
    )
}


class PriceListRead(msgspec.Struct, frozen=True, kw_only=True):
    """A list that was read."""

    source: str
    version: str
    """The beginning of its SHA-256."""
    prices: PriceList


def read_price_list(name: str, content: bytes, at: datetime) -> PriceListRead:
    """Read one of `SOURCES`.

    Whoever reads it in a thread does not stop the others: it is decoded part by part.

    Raises:
        KeyError: there is no such list.
        ListError: it is something else.
    """
    source = SOURCES[name]
    try:
        document = _decode(content)
        found = source.read(document, at)
    except ListError:
        raise
    except (ValueError, RecursionError) as exc:
        raise ListError(f"not valid JSON: {exc}") from exc
    version = f"sha256:{hashlib.sha256(content).hexdigest()[:12]}"
    return PriceListRead(source=name, version=version, prices=found)


def _decode(content: bytes) -> dict[str, Any] | list[Any]:
    # Amounts must never pass through binary floats, which readers of JSON make of them.
    decode = msgspec.json.Decoder(Any, float_hook=Decimal).decode
    if content.lstrip()[:1] == b"[":
        return [decode(part) for part in msgspec.json.decode(content, type=list[msgspec.Raw])]
    named = msgspec.json.decode(content, type=dict[str, msgspec.Raw])
    return {name: decode(part) for name, part in named.items()}
