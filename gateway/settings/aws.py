"""What Amazon's services need instead of a key: a region, and perhaps credentials to sign with."""

import re
from collections.abc import Mapping
from typing import Final

from gateway.execution.aws_signing import AwsCredential
from gateway.providers.bedrock_regions import region_of
from gateway.settings.load import SettingsError, read_secret
from gateway.settings.values import ProviderSettings

_REGION: Final = re.compile(r"[a-z]{2}(?:-[a-z]+)+-[0-9]")
_REGION_VARIABLES: Final = ("AWS_REGION", "AWS_DEFAULT_REGION")


def bedrock_address(
    name: str, table: ProviderSettings, environment: Mapping[str, str]
) -> str | None:
    """Where Bedrock answers in the region that is configured; None when none is.

    Raises:
        SettingsError: the region has not the form of one.
    """
    region = _region(name, table, environment)
    if region is None:
        return None
    ending = "amazonaws.com.cn" if region.startswith("cn-") else "amazonaws.com"
    return f"https://bedrock-runtime.{region}.{ending}"


def find_aws_credential(
    name: str, table: ProviderSettings, environment: Mapping[str, str], base_url: str
) -> AwsCredential | None:
    """Credentials to sign with, from the table or else the environment; None when there are none.

    Raises:
        SettingsError: they are incomplete, or the region is not known.
    """
    references = (table.aws_access_key_id, table.aws_secret_access_key, table.aws_session_token)
    if any(references):
        found = [
            read_secret(f"providers.{name}.{key}", reference, environment) if reference else ""
            for key, reference in zip(_KEYS, references, strict=True)
        ]
    else:
        found = [environment.get(key.upper(), "").strip() for key in _KEYS]
    key_id, secret, token = found
    if not key_id and not secret:
        return None
    for key, value in zip(_KEYS, found[:2], strict=False):
        if not value:
            raise SettingsError(f"providers.{name}: {key} is missing; give it beside the other")
    region = _region(name, table, environment) or region_of(base_url)
    if region is None:
        raise SettingsError(f"providers.{name}: aws_region is missing; set it, or AWS_REGION")
    return AwsCredential(
        access_key_id=key_id,
        secret_access_key=secret,
        session_token=token or None,
        region=region,
    )


_KEYS: Final = ("aws_access_key_id", "aws_secret_access_key", "aws_session_token")


def _region(name: str, table: ProviderSettings, environment: Mapping[str, str]) -> str | None:
    given = [environment.get(variable, "").strip() for variable in _REGION_VARIABLES]
    region = table.aws_region or next((one for one in given if one), None)
    if region is not None and _REGION.fullmatch(region) is None:
        raise SettingsError(
            f"providers.{name}: aws_region {region[:32]!r} is no region; write one like us-east-1"
        )
    return region
