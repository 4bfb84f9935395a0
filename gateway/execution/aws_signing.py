"""Signs requests to AWS with Signature Version 4, by botocore's signer.

A signature covers the method, the address, the host, the body and the instant, so it is made last,
when a request is ready to go. botocore is slow to import (a fifth of a second) and is imported only
where a provider needs it. Its clients are not used.
"""

from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import msgspec

from gateway.providers.base import UpstreamRequest

Sign = Callable[[UpstreamRequest], UpstreamRequest]
"""Gives a request the headers that prove who sends it."""

_SIGNED = frozenset({"content-type"})
"""Headers of ours that are signed; proxies may change the others on the way."""
_TIME = "%Y%m%dT%H%M%SZ"


class AwsCredential(msgspec.Struct, frozen=True, kw_only=True):
    """An access key and the region it is used in: never log this value."""

    access_key_id: str
    secret_access_key: str
    session_token: str | None = None
    """Of temporary credentials, which expire."""
    region: str

    def __repr__(self) -> str:
        return f"AwsCredential({self.region})"


def _now() -> datetime:
    return datetime.now(UTC)


def make_signer(
    credential: AwsCredential, *, service: str = "bedrock", now: Callable[[], datetime] = _now
) -> Sign:
    """A function that signs; ``now`` is an aware UTC clock."""
    # Untyped, and imported late on purpose; see above.
    from botocore.auth import SigV4Auth  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs]
    from botocore.awsrequest import AWSRequest  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs]
    from botocore.credentials import Credentials  # noqa: PLC0415  # pyright: ignore[reportMissingTypeStubs]

    keys = Credentials(
        credential.access_key_id, credential.secret_access_key, credential.session_token
    )
    auth: Any = SigV4Auth(keys, service, credential.region)
    make_request: Any = AWSRequest

    def sign(request: UpstreamRequest) -> UpstreamRequest:
        at = now().strftime(_TIME)
        own = [("X-Amz-Date", at)]
        if credential.session_token is not None:
            own.append(("X-Amz-Security-Token", credential.session_token))
        covered = [pair for pair in request.headers if pair[0].lower() in _SIGNED]
        outline = make_request(
            method=request.method,
            url=request.url,
            headers=dict(covered + own),
            data=request.body,
        )
        # What `add_auth` does, with a clock of ours.
        outline.context["timestamp"] = at
        canonical = auth.canonical_request(outline)
        signature = auth.signature(auth.string_to_sign(outline, canonical), outline)
        signed = auth.signed_headers(auth.headers_to_sign(outline))
        value = (
            f"AWS4-HMAC-SHA256 Credential={auth.scope(outline)}, "
            f"SignedHeaders={signed}, Signature={signature}"
        )
        headers = [*request.headers, *own, ("Authorization", value)]
        return msgspec.structs.replace(request, headers=headers)

    return sign
