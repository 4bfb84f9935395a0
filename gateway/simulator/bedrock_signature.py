"""Who may call the simulated Bedrock: a bearer key, or a request signed with Signature Version 4.

The signature is computed anew from the request as it came, after AWS's description
(https://docs.aws.amazon.com/IAM/latest/UserGuide/reference_sigv-create-signed-request.html).
"""

import hashlib
import hmac
import re
from datetime import UTC, datetime, timedelta
from urllib.parse import parse_qsl, quote

from gateway.simulator.bedrock_errors import refuse
from gateway.simulator.wire import Arrival, RefusedError

# AWS's own example pair, which its documentation uses throughout.
ACCESS_KEY_ID = "AKIAIOSFODNN7EXAMPLE"
SECRET_ACCESS_KEY = "wJalrXUtnFEMI/K7MDENG/bPxRfiCYEXAMPLEKEY"  # noqa: S105 -- opens nothing
SESSION_TOKEN = "simulated-session-token"  # noqa: S105 -- opens nothing
SERVICE = "bedrock"
_TOLERANCE = timedelta(minutes=15)
_ALGORITHM = "AWS4-HMAC-SHA256"
_AUTHORIZATION = re.compile(
    _ALGORITHM + r" Credential=([^,\s]+),\s*SignedHeaders=([^,\s]+),\s*Signature=([0-9a-f]{64})"
)
_SCOPE_PARTS = 5


def credential(headers: dict[str, str]) -> str | None:
    """The bearer key, or the access key id of a signature; None when there is neither."""
    value = headers.get("authorization", "")
    scheme, _, token = value.partition(" ")
    if scheme.lower() == "bearer":
        return token.strip() or None
    found = _AUTHORIZATION.fullmatch(value)
    return found[1].partition("/")[0] if found else None


def authenticate(arrival: Arrival, api_key: str | None) -> None:
    """Raise `RefusedError` unless the request may pass.

    Any bearer key passes when none is demanded, else only that one; a signature must be made with
    the example pair above, whose secret is the demanded key when there is one.
    """
    value = arrival.headers.get("authorization", "")
    scheme, _, token = value.partition(" ")
    if scheme.lower() == "bearer":
        if not token.strip() or (api_key is not None and token.strip() != api_key):
            raise refuse_credential(token)
        return
    if not value:
        raise RefusedError(
            403, "Missing Authentication Token", kind="MissingAuthenticationTokenException"
        )
    found = _AUTHORIZATION.fullmatch(value)
    if found is None:
        message = "Authorization header requires 'Credential', 'SignedHeaders' and 'Signature'."
        raise RefusedError(403, message, kind="IncompleteSignatureException")
    _check_signature(arrival, found[1], found[2].split(";"), found[3], api_key)


def refuse_credential(presented: str | None) -> RefusedError:  # noqa: ARG001 -- it is not told
    """403 for a bearer key that is not valid."""
    return refuse(
        "AccessDeniedException",
        "Authentication failed: Please make sure your API Key is valid.",
    )


def _check_signature(
    arrival: Arrival, scope: str, signed: list[str], signature: str, api_key: str | None
) -> None:
    parts = scope.split("/")
    if len(parts) != _SCOPE_PARTS or parts[3:] != [SERVICE, "aws4_request"]:
        raise _mismatch(f"Credential should be scoped to correct service: '{SERVICE}'.")
    access_key_id, day, region = parts[:3]
    if access_key_id != ACCESS_KEY_ID:
        raise refuse(
            "UnrecognizedClientException", "The security token included in the request is invalid."
        )
    headers = arrival.headers
    token = headers.get("x-amz-security-token")
    if token is not None and token != SESSION_TOKEN:
        raise refuse(
            "ExpiredTokenException", "The security token included in the request is expired"
        )
    must_be_signed = {name for name in headers if name == "host" or name.startswith("x-amz-")}
    if not must_be_signed <= set(signed) or not set(signed) <= set(headers):
        raise _mismatch("'Host' or another required header is not signed, or not sent.")
    at = headers.get("x-amz-date", "")
    _check_time(at, day)
    expected = _sign(arrival, signed, at, f"{day}/{region}/{SERVICE}/aws4_request", api_key)
    if not hmac.compare_digest(expected, signature):
        raise _mismatch(
            "The request signature we calculated does not match the signature you provided. Check "
            "your AWS Secret Access Key and signing method."
        )


def _check_time(at: str, day: str) -> None:
    try:
        moment = datetime.strptime(at, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError as exc:
        raise _mismatch("Date must be in ISO-8601 'basic format'.") from exc
    if at[:8] != day:
        raise _mismatch("Date in Credential scope does not match YYYYMMDD from ISO-8601 date.")
    if abs(datetime.now(UTC) - moment) > _TOLERANCE:
        raise _mismatch(f"Signature expired: {at} is too far from the server's time.")


def _mismatch(message: str) -> RefusedError:
    return RefusedError(403, message, kind="InvalidSignatureException")


def _sign(arrival: Arrival, signed: list[str], at: str, scope: str, api_key: str | None) -> str:
    canonical = "\n".join(
        [
            arrival.method,
            # Every service but S3 encodes the path once more than it was sent.
            quote(arrival.target.partition("?")[0], safe="/-_.~"),
            _canonical_query(arrival.target.partition("?")[2]),
            *(f"{name}:{' '.join(arrival.headers[name].split())}" for name in signed),
            "",
            ";".join(signed),
            hashlib.sha256(arrival.body).hexdigest(),
        ]
    )
    to_sign = "\n".join([_ALGORITHM, at, scope, hashlib.sha256(canonical.encode()).hexdigest()])
    key = b"AWS4" + (api_key or SECRET_ACCESS_KEY).encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    return hmac.new(key, to_sign.encode(), "sha256").hexdigest()


def _canonical_query(query: str) -> str:
    pairs = sorted(
        (quote(name, safe="-_.~"), quote(value, safe="-_.~"))
        for name, value in parse_qsl(query, keep_blank_values=True)
    )
    return "&".join(f"{name}={value}" for name, value in pairs)
