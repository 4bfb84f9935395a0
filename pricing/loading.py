"""Reads a folder of price tables: TOML is the source, a cache of what it said makes it quick."""

import hashlib
import tomllib
from collections.abc import Callable
from decimal import Decimal
from pathlib import Path
from typing import Any, TypeVar, cast

import msgspec

from pricing.declaration import endpoint_from_config, read_model, read_provider
from pricing.endpoint import Endpoint, Model, Provider
from pricing.errors import CatalogueError
from pricing.price import PriceVersion
from pricing.rate_rules import check_origin

MODELS_FILE = "models.toml"

_T = TypeVar("_T")

# A cache written by other code must not be read as ours: the shape of what it holds is in its key.
_CACHE_SHAPE = repr(
    [type_.__struct_fields__ for type_ in (Provider, Model, Endpoint, PriceVersion)] + ["1"]
).encode()


class Tables(msgspec.Struct, frozen=True, kw_only=True):
    """What a folder of tables says. `digest` is the hash of its files."""

    digest: str
    providers: tuple[Provider, ...]
    models: tuple[Model, ...]
    endpoints: tuple[Endpoint, ...]


def read_tables(folder: Path, *, cache: Path | None = None) -> Tables:
    """Everything in `folder/*.toml`; raises `CatalogueError` for the first thing that is wrong.

    `cache` is read when it was made from the very same files, and written otherwise; a cache that
    is damaged or cannot be written only costs time.
    """
    texts = {path: _read_text(path) for path in sorted(folder.glob("*.toml"))}
    if not texts:
        raise CatalogueError(
            "there are no price tables",
            file=str(folder),
            remedy="the installation is incomplete: install it again",
        )
    digest = hashlib.sha256(_CACHE_SHAPE)
    for path, text in texts.items():
        digest.update(f"{path.name} {len(text)} ".encode())
        digest.update(text)
    known = _from_cache(cache, digest.hexdigest()) if cache is not None else None
    if known is not None:
        return known
    tables = _from_texts(texts, digest.hexdigest())
    if cache is not None:
        _to_cache(cache, tables)
    return tables


def _read_text(path: Path) -> bytes:
    try:
        return path.read_bytes()
    except OSError as exc:
        raise CatalogueError(
            f"cannot be read: {exc.strerror}", file=str(path), remedy="make it readable"
        ) from exc


def _from_texts(texts: dict[Path, bytes], digest: str) -> Tables:
    providers: list[Provider] = []
    models: list[Model] = []
    endpoints: list[Endpoint] = []
    for path, text in texts.items():
        document = _parse(path, text)
        try:
            if path.name == MODELS_FILE:
                models += _each(document, "models", read_model, beside=())
            else:
                provider, offers = _read_provider_table(document)
                providers.append(provider)
                endpoints += offers
        except CatalogueError as exc:
            raise exc.in_file(str(path), text.decode(errors="replace")) from None
    return Tables(
        digest=digest,
        providers=tuple(providers),
        models=tuple(models),
        endpoints=tuple(endpoints),
    )


def _parse(path: Path, text: bytes) -> dict[str, Any]:
    try:
        return tomllib.loads(text.decode(), parse_float=Decimal)
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as exc:
        raise CatalogueError(
            f"is not valid TOML: {exc}", file=str(path), remedy="correct it and try again"
        ) from exc


def _read_provider_table(document: dict[str, Any]) -> tuple[Provider, list[Endpoint]]:
    table = document.get("provider")
    if not isinstance(table, dict):
        raise CatalogueError(
            "there is no [provider] table", remedy="add [provider] with id and name"
        )
    provider = read_provider(cast(dict[str, Any], table))
    offers = _each(
        document,
        "endpoints",
        lambda item: endpoint_from_config(provider.id, item),
        beside=("provider",),
    )
    seen: set[str] = set()
    for endpoint in offers:
        check_origin(endpoint)
        if endpoint.id in seen:
            raise CatalogueError(
                "is declared twice",
                endpoint=endpoint.provider_model,
                key="id",
                remedy="remove one; a price change goes into a second [[endpoints.prices]]",
            )
        seen.add(endpoint.id)
    return provider, offers


def _each(
    document: dict[str, Any],
    key: str,
    read: Callable[[dict[str, Any]], _T],
    *,
    beside: tuple[str, ...],
) -> list[_T]:
    for name in document:
        if name != key and name not in beside:
            raise CatalogueError(
                f"unknown table `{name}`",
                key=name,
                remedy=f"known are [[{key}]]" + "".join(f" and [{other}]" for other in beside),
            )
    items = document.get(key, [])
    if not isinstance(items, list) or not all(
        isinstance(item, dict) for item in cast(list[object], items)
    ):
        raise CatalogueError(f"`{key}` is not a list of tables", key=key, remedy=f"write [[{key}]]")
    return [read(item) for item in cast(list[dict[str, Any]], items)]


def _from_cache(cache: Path, digest: str) -> Tables | None:
    try:
        content = cache.read_bytes()
    except OSError:
        return None
    checksum, body = content[:32], content[32:]
    if hashlib.sha256(body).digest() != checksum:
        return None
    try:
        tables = msgspec.msgpack.decode(body, type=Tables)
    except msgspec.DecodeError:
        return None
    return tables if tables.digest == digest else None


def _to_cache(cache: Path, tables: Tables) -> None:
    body = msgspec.msgpack.encode(tables)
    # Two processes may write at once: what they write is the same, and the checksum tells a torn
    # file from a whole one.
    draft = cache.with_name(f"{cache.name}.{tables.digest[:12]}.tmp")
    try:
        draft.write_bytes(hashlib.sha256(body).digest() + body)
        draft.replace(cache)
    except OSError:
        return
