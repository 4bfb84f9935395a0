"""Request headers as plain text, read once from the server's raw pairs."""

from collections.abc import Iterable

from gateway.domain.errors import InvalidRequestError

_MAX_HEADERS = 100
_MAX_HEADER_BYTES = 32 * 1024
_SINGLE = frozenset({"authorization", "x-api-key", "host", "content-length", "content-type"})


def read_headers(pairs: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    """Headers by lower-case name; the first value stands where a name repeats.

    Raises:
        InvalidRequestError: too many or too large, or one that must be single comes twice.
    """
    headers: dict[str, str] = {}
    size = count = 0
    for raw_name, raw_value in pairs:
        name = raw_name.decode("latin-1").lower()
        size += len(raw_name) + len(raw_value)
        count += 1
        if name in headers:
            if name in _SINGLE:
                raise InvalidRequestError(f"the header {name} was sent twice")
            continue
        headers[name] = raw_value.decode("latin-1")
    if count > _MAX_HEADERS or size > _MAX_HEADER_BYTES:
        raise InvalidRequestError(
            f"the request has {count} headers of {size} bytes; at most {_MAX_HEADERS} headers of "
            f"{_MAX_HEADER_BYTES} bytes are read",
            status=431,
        )
    if "transfer-encoding" in headers and "content-length" in headers:
        raise InvalidRequestError("Transfer-Encoding and Content-Length were both sent; send one")
    return headers
