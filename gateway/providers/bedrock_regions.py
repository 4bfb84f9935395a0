"""Which of Bedrock's endpoints can be reached from one region.

A model is offered under its plain id and, for use across regions, under profiles whose prefix names
a geography: ``us.`` is invoked from American regions, ``eu.`` from European ones, ``global.`` from
all commercial ones.
https://docs.aws.amazon.com/bedrock/latest/userguide/inference-profiles-support.html
"""

import re
from collections.abc import Iterable
from typing import Final
from urllib.parse import urlsplit

_REGION: Final = re.compile(r"\b[a-z]{2}(?:-[a-z]+)+-[0-9]\b")
_GEOGRAPHIES: Final[dict[str, re.Pattern[str]]] = {
    "us": re.compile(r"us-(?!gov)"),
    "us-gov": re.compile(r"us-gov-"),
    "eu": re.compile(r"eu-"),
    "apac": re.compile(r"ap-"),
    "jp": re.compile(r"ap-northeast-[13]"),
    "au": re.compile(r"ap-southeast-[246]"),
    "in": re.compile(r"ap-south-"),
    "ca": re.compile(r"ca-"),
    "global": re.compile(r"(?!us-gov|cn-)"),
}


def region_of(base_url: str) -> str | None:
    """The region that an address of AWS names; None for any other."""
    found = _REGION.search(urlsplit(base_url).hostname or "")
    return found[0] if found else None


def unreached_models(provider_models: Iterable[str], base_url: str) -> frozenset[str]:
    """Those that are not asked at this address.

    Offers of other APIs of Bedrock (``invoke/…``) never are, profiles of other geographies are not,
    and a plain id is not where a profile of the region's own geography stands for it: many models
    cannot be called by their plain id. Nothing is known of an address without a region, so that all
    profiles stay.
    """
    models = frozenset(provider_models)
    region = region_of(base_url)
    unreached = {model for model in models if "/" in model and not model.startswith("arn:")}
    if region is None:
        return frozenset(unreached)
    for model in models - unreached:
        geography, _, plain = model.partition(".")
        pattern = _GEOGRAPHIES.get(geography)
        if pattern is None:
            continue
        if pattern.match(region) is None:
            unreached.add(model)
        elif geography != "global":
            unreached.add(plain)
    return frozenset(unreached & models)
