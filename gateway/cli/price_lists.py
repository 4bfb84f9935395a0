"""Gets public price lists: from a file, or over HTTPS from the projects' own addresses."""

import asyncio
from datetime import datetime
from pathlib import Path

import httpx

from gateway.cli.printing import CommandError
from gateway.execution.egress import make_policy
from gateway.execution.transport import AiohttpTransport
from gateway.version import CODE_VERSION
from pricing.importers.listing import ListError
from pricing.importers.sources import SOURCES, PriceListRead, read_price_list

MAX_BYTES = 64 * 1024 * 1024
_TIMEOUT_S = 60.0
_OK = 200


def get_price_list(name: str, file: Path | None, at: datetime) -> PriceListRead:
    """Read a list from a file, else from its address.

    Raises:
        CommandError: there is no such list, it cannot be got, or it is something else.
    """
    source = SOURCES.get(name)
    if source is None:
        raise CommandError(f"there is no price list {name!r}; known are {', '.join(SOURCES)}")
    where = str(file) if file is not None else source.address
    content = _of_file(file) if file is not None else asyncio.run(_fetch(source.address))
    try:
        return read_price_list(name, content, at)
    except ListError as exc:
        raise CommandError(f"{where} is not the list of {name}: {exc}") from exc


def _of_file(file: Path) -> bytes:
    try:
        size = file.stat().st_size
        if size > MAX_BYTES:
            raise CommandError(f"{file} has {size} bytes; a price list has at most {MAX_BYTES}")
        return file.read_bytes()
    except OSError as exc:
        raise CommandError(f"{file} cannot be read: {exc.strerror}") from exc


async def _fetch(address: str) -> bytes:
    transport = AiohttpTransport(policy=make_policy(()))
    headers = {"user-agent": f"tollway/{CODE_VERSION}", "accept": "application/json"}
    try:
        async with (
            asyncio.timeout(_TIMEOUT_S),
            httpx.AsyncClient(transport=transport, headers=headers, trust_env=False) as client,
            client.stream("GET", address) as answer,
        ):
            if answer.status_code != _OK:
                raise CommandError(f"{address} answered {answer.status_code}; try --file")
            content = bytearray()
            async for part in answer.aiter_bytes():
                content += part
                if len(content) > MAX_BYTES:
                    raise CommandError(f"{address} sends more than {MAX_BYTES} bytes; try --file")
            return bytes(content)
    except (httpx.HTTPError, TimeoutError) as exc:
        raise CommandError(
            f"{address} cannot be read ({type(exc).__name__}); get it otherwise and use --file"
        ) from exc
