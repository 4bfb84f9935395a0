"""The catalogue's nouns: providers, the models they serve, and the endpoints where they do."""

from datetime import date, datetime
from typing import Literal, TypeAlias

import msgspec

from pricing.price import PriceVersion

Protocol: TypeAlias = Literal["openai", "anthropic", "gemini", "bedrock"]


ThinkingStyle: TypeAlias = Literal["none", "effort", "budget", "adaptive", "level"]
EFFORTS = ("none", "minimal", "low", "medium", "high", "xhigh", "max")
"""Every word for how much to think, least first."""


class Thinking(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How a model is told to think.

    `style`: it cannot (`none`), takes a word (`effort`), a number of tokens (`budget`), decides by
    itself and takes a word for how hard to work (`adaptive`), or takes a level (`level`).
    `efforts` are the words it takes, least first; empty when they are unknown, or none are taken.
    `min_tokens` and `max_tokens` bound a budget, inclusively. `can_be_off` None is unknown.
    """

    style: ThinkingStyle
    efforts: tuple[str, ...] = ()
    min_tokens: int | None = None
    max_tokens: int | None = None
    can_be_off: bool | None = None


class DataPolicy(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a provider does with prompts, as `source` said on `checked_on`. None is unknown."""

    source: str
    checked_on: date
    trains_on_prompts: bool | None = None
    retains_prompts: bool | None = None
    retention_days: int | None = None
    zero_data_retention: bool | None = None
    headquarters: str | None = None


class Provider(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A company's API.

    `base_url` None means that it must come from the operator (it depends on their account) or is
    not known to us. `credential_env` names the environment variable of the key, then
    `credential_env_alternatives` in order. `usage_flavour` says how its usage is normalised.
    """

    id: str
    name: str
    protocol: Protocol = "openai"
    base_url: str | None = None
    base_url_env: str | None = None
    credential_env: str | None = None
    credential_env_alternatives: tuple[str, ...] = ()
    pricing_url: str | None = None
    usage_flavour: str = "openai"
    data_policy: DataPolicy | None = None


class Endpoint(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One provider's offer of one model: what routing chooses between.

    `id` is `provider/provider_model` and stable; `provider_model` is the provider's own name.
    `model` is `author/slug`, or equals `id` when the model has no canonical name
    (`has_canonical_model` False): then it is reached by pinning the provider.
    The operator has switched it off in `[disabled_from, disabled_to)`; None of the first is never.
    `capabilities` are three-valued: a name that is absent is unknown. None is unknown everywhere.
    """

    id: str
    provider: str
    provider_model: str
    model: str
    has_canonical_model: bool = True
    name: str | None = None
    mode: str = "chat"
    context_tokens: int | None = None
    max_input_tokens: int | None = None
    max_output_tokens: int | None = None
    modalities_in: tuple[str, ...] = ("text",)
    modalities_out: tuple[str, ...] = ("text",)
    capabilities: dict[str, bool] = {}
    thinking: Thinking | None = None
    quantization: str | None = None
    open_weights: bool | None = None
    release_date: date | None = None
    deprecated_at: datetime | None = None
    retired_at: datetime | None = None
    disabled_from: datetime | None = None
    disabled_to: datetime | None = None
    status: str | None = None
    service_tiers: tuple[str, ...] = ()
    is_free: bool = False
    prices: tuple[PriceVersion, ...] = ()

    def __hash__(self) -> int:
        return hash(self.id)

    def is_disabled_at(self, at: datetime) -> bool:
        """Whether the operator has switched it off at the aware instant `at`."""
        begins, ends = self.disabled_from, self.disabled_to
        return begins is not None and begins <= at and (ends is None or at < ends)


class Model(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A language model, named `author/slug`, and the other names it is asked for by.

    `auto`: it belongs to the curated pool that `auto` routes inside.
    """

    id: str
    name: str
    author: str
    aliases: tuple[str, ...] = ()
    auto: bool = False
