"""Signatures are those that AWS computes: its published example, its own client, the simulator."""

import hashlib
import hmac
from datetime import UTC, datetime
from typing import Any

import pytest
from botocore.auth import SigV4Auth  # pyright: ignore[reportMissingTypeStubs] -- it has none
from botocore.awsrequest import AWSRequest  # pyright: ignore[reportMissingTypeStubs]
from botocore.credentials import Credentials  # pyright: ignore[reportMissingTypeStubs]

from gateway.execution.aws_signing import AwsCredential, make_signer
from gateway.providers.base import UpstreamRequest
from gateway.simulator.bedrock_signature import (
    ACCESS_KEY_ID,
    SECRET_ACCESS_KEY,
    SESSION_TOKEN,
    authenticate,
)
from gateway.simulator.wire import Arrival, RefusedError

# The key of AWS's Signature Version 4 test suite (docs.aws.amazon.com, aws-sig-v4-test-suite).
SUITE = AwsCredential(
    access_key_id="AKIDEXAMPLE",
    secret_access_key="wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY",
    region="us-east-1",
)
SUITE_AT = datetime(2015, 8, 30, 12, 36, tzinfo=UTC)
EXAMPLE = AwsCredential(
    access_key_id=ACCESS_KEY_ID, secret_access_key=SECRET_ACCESS_KEY, region="eu-west-1"
)
MODEL = "us.anthropic.claude-sonnet-4-5-20250929-v1%3A0"


def request(
    method: str = "POST",
    url: str = f"https://bedrock-runtime.eu-west-1.amazonaws.com/model/{MODEL}/converse",
    headers: list[tuple[str, str]] | None = None,
    body: bytes = b'{"messages":[]}',
) -> UpstreamRequest:
    given = [("Content-Type", "application/json"), ("User-Agent", "tollway")]
    return UpstreamRequest(
        method=method, url=url, headers=given if headers is None else headers, body=body
    )


@pytest.mark.parametrize(
    ("method", "url", "headers", "body", "signed", "signature"),
    [
        pytest.param(
            "GET",
            "https://example.amazonaws.com/",
            [],
            b"",
            "host;x-amz-date",
            "5fa00fa31553b73ebf1942676e86291e8372ff2a2260956d9b8aae1d763fbf31",
            id="get-vanilla",
        ),
        pytest.param(
            "POST",
            "https://example.amazonaws.com/",
            [],
            b"",
            "host;x-amz-date",
            "5da7c1a2acd57cee7505fc6676e4e544621c30862966e37dddb68e92efbe5d6b",
            id="post-vanilla",
        ),
        pytest.param(
            "POST",
            "https://example.amazonaws.com/",
            [("Content-Type", "application/x-www-form-urlencoded")],
            b"Param1=value1",
            "content-type;host;x-amz-date",
            "ff11897932ad3f4e8b18135d722051e5ac45fc38421b1da7b9d196a0fe09473a",
            id="post-x-www-form-urlencoded",
        ),
    ],
)
def test_the_published_vectors_are_met(  # noqa: PLR0917 -- one row of a table
    method: str,
    url: str,
    headers: list[tuple[str, str]],
    body: bytes,
    signed: str,
    signature: str,
) -> None:
    sign = make_signer(SUITE, service="service", now=lambda: SUITE_AT)

    value = dict(sign(request(method, url, headers, body)).headers)["Authorization"]

    assert value == (
        "AWS4-HMAC-SHA256 Credential=AKIDEXAMPLE/20150830/us-east-1/service/aws4_request, "
        f"SignedHeaders={signed}, Signature={signature}"
    )


def test_a_path_is_encoded_once_more_than_it_is_sent() -> None:
    """By hand, as AWS's documentation describes the canonical request."""
    at = "20261121T120000Z"
    canonical = "\n".join(
        [
            "POST",
            f"/model/{MODEL.replace('%', '%25')}/converse",
            "",
            "content-type:application/json",
            "host:bedrock-runtime.eu-west-1.amazonaws.com",
            f"x-amz-date:{at}",
            "",
            "content-type;host;x-amz-date",
            hashlib.sha256(b'{"messages":[]}').hexdigest(),
        ]
    )
    scope = "20261121/eu-west-1/bedrock/aws4_request"
    to_sign = "\n".join(
        ["AWS4-HMAC-SHA256", at, scope, hashlib.sha256(canonical.encode()).hexdigest()]
    )
    key = b"AWS4" + SECRET_ACCESS_KEY.encode()
    for part in scope.split("/"):
        key = hmac.digest(key, part.encode(), "sha256")
    expected = hmac.new(key, to_sign.encode(), "sha256").hexdigest()

    sign = make_signer(EXAMPLE, now=lambda: datetime(2026, 11, 21, 12, tzinfo=UTC))

    assert dict(sign(request()).headers)["Authorization"].endswith(f"Signature={expected}")


def test_the_signature_is_that_of_botocores_whole_signer() -> None:
    signed = dict(make_signer(EXAMPLE)(request()).headers)
    theirs: Any = AWSRequest(
        method="POST",
        url=request().url,
        headers={"Content-Type": "application/json"},
        data=request().body,
    )
    theirs.context["timestamp"] = signed["X-Amz-Date"]
    auth: Any = SigV4Auth(Credentials(ACCESS_KEY_ID, SECRET_ACCESS_KEY), "bedrock", "eu-west-1")

    auth._modify_request_before_signing(theirs)
    expected = auth.signature(auth.string_to_sign(theirs, auth.canonical_request(theirs)), theirs)

    assert signed["Authorization"].endswith(expected)


def arrival_of(sent: UpstreamRequest, **changes: Any) -> Arrival:
    host, _, path = sent.url.removeprefix("https://").partition("/")
    headers = {name.lower(): value for name, value in sent.headers} | {"host": host}
    values: dict[str, Any] = {
        "method": sent.method,
        "target": f"/{path}",
        "headers": headers,
        "body": sent.body,
    }
    return Arrival(**values | changes)


def test_the_simulator_which_computes_for_itself_takes_it() -> None:
    authenticate(arrival_of(make_signer(EXAMPLE)(request())), None)


def test_a_session_token_goes_along_and_is_signed() -> None:
    credential = AwsCredential(
        access_key_id=ACCESS_KEY_ID,
        secret_access_key=SECRET_ACCESS_KEY,
        session_token=SESSION_TOKEN,
        region="eu-west-1",
    )

    sent = make_signer(credential)(request())

    assert ("X-Amz-Security-Token", SESSION_TOKEN) in sent.headers
    assert "x-amz-security-token" in dict(sent.headers)["Authorization"]
    authenticate(arrival_of(sent), None)


@pytest.mark.parametrize(
    "changes",
    [
        {"body": b'{"messages":[1]}'},
        {"target": "/model/other/converse"},
        {"method": "PUT"},
    ],
    ids=["body", "path", "method"],
)
def test_what_was_changed_on_the_way_is_refused(changes: dict[str, Any]) -> None:
    sent = make_signer(EXAMPLE)(request())

    with pytest.raises(RefusedError) as caught:
        authenticate(arrival_of(sent, **changes), None)

    assert caught.value.kind == "InvalidSignatureException"


def test_an_old_signature_is_refused() -> None:
    sign = make_signer(EXAMPLE, now=lambda: datetime(2026, 1, 1, tzinfo=UTC))

    with pytest.raises(RefusedError, match="Signature expired"):
        authenticate(arrival_of(sign(request())), None)


def test_credentials_are_not_shown() -> None:
    assert SECRET_ACCESS_KEY not in repr(EXAMPLE)
    assert ACCESS_KEY_ID not in repr(EXAMPLE)
    signed = make_signer(EXAMPLE)(request())
    assert "Signature" not in repr(signed)
