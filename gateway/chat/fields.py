"""Every top-level member of a request that this gateway knows: who names it, what it may be.

One row per member. Messages about wrong values, the names that a dialect keeps, and the page for
readers are all taken from here.
"""

from collections.abc import Mapping
from typing import Literal

import msgspec

Page = Literal["nordlys", "plain", "agentstack", "llmgateway", "openrouter"]
"""A published API: Nordlys, a plain OpenAI-compatible one, BeeAI Agent Stack, LLMGateway.io and
OpenRouter."""

Handling = Literal["carried", "rewritten", "kept", "refused"]
"""What becomes of a member: sent as it came, sent in the endpoint's own words, used here alone, or
not built yet."""

_PAGES: tuple[Page, ...] = ("nordlys", "plain", "agentstack", "llmgateway", "openrouter")


class Field(msgspec.Struct, frozen=True, kw_only=True):
    """One top-level member."""

    name: str
    accepts: str
    """Reads on from "it must be"."""
    meaning: str
    pages: tuple[Page, ...] = ()
    """Who publishes it; empty for members that only later versions of those APIs know."""
    handling: Handling = "carried"
    is_parameter: bool = True
    """Says something about what an endpoint must support, for ``require_parameters``."""


def _pages(letters: str) -> tuple[Page, ...]:
    """Pages by their place in the list: ``"02"`` is Nordlys and Agent Stack."""
    return tuple(_PAGES[int(letter)] for letter in letters)


def _carried(name: str, pages: str, accepts: str, meaning: str) -> Field:
    return Field(name=name, pages=_pages(pages), accepts=accepts, meaning=meaning)


def _rewritten(name: str, pages: str, accepts: str, meaning: str) -> Field:
    return Field(
        name=name, pages=_pages(pages), accepts=accepts, meaning=meaning, handling="rewritten"
    )


def _kept(name: str, pages: str, accepts: str, meaning: str) -> Field:
    return Field(
        name=name,
        pages=_pages(pages),
        accepts=accepts,
        meaning=meaning,
        handling="kept",
        is_parameter=False,
    )


def _plumbing(name: str, pages: str, accepts: str, meaning: str) -> Field:
    return Field(
        name=name,
        pages=_pages(pages),
        accepts=accepts,
        meaning=meaning,
        handling="rewritten",
        is_parameter=False,
    )


_AMOUNT = "a number of USD that is not negative, or the same as text"
_NAMES = "a list of names of providers"

FIELDS: tuple[Field, ...] = (
    _plumbing("model", "01234", "a model's name", "the model, or the first one to try"),
    _kept("models", "04", "a list of up to 16 model names", "models to try in this order"),
    _plumbing("messages", "01234", "a list of at least one message", "the conversation"),
    _plumbing("stream", "01234", "true or false", "answer in pieces, as server-sent events"),
    _plumbing(
        "stream_options",
        "0124",
        "an object of `include_usage` and `include_obfuscation`",
        "what a stream carries besides the answer",
    ),
    _rewritten("max_tokens", "0234", "an integer of at least 1", "the longest answer, in tokens"),
    _rewritten(
        "max_completion_tokens",
        "0124",
        "an integer of at least 1",
        "the longest answer, reasoning included; wins over `max_tokens`",
    ),
    _carried("temperature", "01234", "a number from 0 to 2", "how much chance there is"),
    _carried("top_p", "01234", "a number from 0 to 1", "the share of likely tokens to draw from"),
    _carried("top_k", "", "an integer of at least 0", "how many likely tokens to draw from"),
    _carried("min_p", "", "a number from 0 to 1", "the least likelihood, against the likeliest"),
    _carried("top_a", "", "a number from 0 to 1", "the least likelihood, squared"),
    _carried("repetition_penalty", "", "a number from 0 to 2", "how much repeats are held back"),
    _carried("frequency_penalty", "01234", "a number from -2 to 2", "holds back what is frequent"),
    _carried("presence_penalty", "01234", "a number from -2 to 2", "holds back what occurred"),
    _carried("n", "012", "an integer from 1 to 8", "how many answers"),
    _carried("seed", "0124", "an integer within ±9007199254740991", "makes chance repeatable"),
    _rewritten(
        "stop", "0124", "a string or a list of up to 4 strings, none empty", "ends the answer"
    ),
    _carried("logprobs", "0124", "true or false", "how likely each token was"),
    _carried("top_logprobs", "0124", "an integer from 0 to 20", "how many alternatives to tell"),
    _carried(
        "logit_bias", "024", "an object of numbers from -100 to 100", "favours or bans tokens"
    ),
    _rewritten("tools", "01234", "a list of tools", "what the model may call"),
    _rewritten(
        "tool_choice",
        "01234",
        "`none`, `auto`, `required` or an object",
        "whether and what the model must call",
    ),
    _carried("parallel_tool_calls", "02", "true or false", "several calls in one answer"),
    _rewritten("functions", "2", "a list of functions", "the older form of `tools`"),
    _rewritten(
        "function_call",
        "2",
        "`none`, `auto` or an object with a `name`",
        "the older form of `tool_choice`",
    ),
    _rewritten(
        "response_format",
        "01234",
        "an object whose `type` is text, json_object or json_schema",
        "the form of the answer",
    ),
    _rewritten(
        "reasoning_effort",
        "023",
        "a word such as none, minimal, low, medium, high or xhigh",
        "how much to think before answering",
    ),
    _rewritten(
        "reasoning",
        "34",
        "an object of `effort`, `max_tokens`, `enabled`, `exclude` and `summary`",
        "how much to think; a budget of tokens wins over an effort",
    ),
    _rewritten("include_reasoning", "", "true or false", "the older form of `reasoning.exclude`"),
    _rewritten("effort", "3", "low, medium or high", "how much work goes into the answer itself"),
    _carried("verbosity", "", "a word such as low, medium or high", "how long answers are"),
    _plumbing("web_search", "3", "true or false", "let the model search the web"),
    _rewritten(
        "web_search_options",
        "02",
        "an object of `search_context_size` and `user_location`",
        "let the model search the web, and how",
    ),
    _carried("modalities", "02", "a list of `text`, `audio` and `image`", "kinds of output"),
    _carried("audio", "02", "an object of `format` and `voice`", "how spoken output sounds"),
    _carried(
        "prediction",
        "02",
        "an object of the `type` content and a `content` of text",
        "most of the answer, known in advance",
    ),
    _plumbing(
        "service_tier",
        "02",
        "auto, default, flex, scale, priority, or a word of the provider's own",
        "how soon the provider answers, and for how much",
    ),
    _plumbing("store", "02", "true or false", "let the provider keep the answer"),
    _plumbing(
        "metadata",
        "024",
        "an object of up to 16 texts, names up to 64 and values up to 512 characters",
        "your own labels; a provider gets them only to store them",
    ),
    Field(
        name="user",
        pages=_pages("0124"),
        accepts="a string of up to 512 characters",
        meaning="who is asking, on your side",
        is_parameter=False,
    ),
    _carried(
        "safety_identifier", "", "a string of up to 512 characters", "who is asking, in a hash"
    ),
    _carried("prompt_cache_key", "", "a string of up to 512 characters", "what shares a cache"),
    _carried("prompt_cache_retention", "", "a string", "how long a cache is kept"),
    _kept(
        "session_id",
        "4",
        "a string of up to 256 characters",
        "what belongs together; wins over the header `X-Session-Id`",
    ),
    _kept("provider", "4", "an object of routing preferences", "who may serve, and for how much"),
    _kept("provider_order", "0", _NAMES, "`provider.order`"),
    _kept("provider_only", "0", _NAMES, "`provider.only`"),
    _kept("provider_ignore", "0", _NAMES, "`provider.ignore`"),
    _kept("provider_sort", "0", "price, throughput or latency", "`provider.sort`"),
    _kept("provider_quantizations", "0", "a list of quantizations", "`provider.quantizations`"),
    _kept("provider_data_collection", "0", "allow or deny", "`provider.data_collection`"),
    _kept("provider_zdr", "0", "true or false", "`provider.zdr`"),
    _kept("provider_require_parameters", "0", "true or false", "`provider.require_parameters`"),
    _kept(
        "provider_enforce_distillable_text",
        "0",
        "true or false",
        "`provider.enforce_distillable_text`",
    ),
    _kept("provider_max_prompt_price", "0", _AMOUNT, "`provider.max_price.prompt`"),
    _kept("provider_max_completion_price", "0", _AMOUNT, "`provider.max_price.completion`"),
    _kept("provider_max_request_price", "0", _AMOUNT, "`provider.max_price.request`"),
    _kept("provider_max_image_price", "0", _AMOUNT, "`provider.max_price.image`"),
    Field(
        name="provider_configs",
        pages=_pages("0"),
        accepts="absent",
        meaning="addresses and credentials of the caller's own; taken from keys that the operator "
        "allows it (docs/providers.md), from all others a 400",
        handling="refused",
        is_parameter=False,
    ),
    _kept("route", "4", "fallback or sort", "how several models are ordered"),
    _kept("plugins", "34", "a list of plugins, each with an `id`", "what happens on the way"),
    _kept(
        "debug",
        "4",
        "an object of `echo_upstream_body` and `explain`",
        "show what the provider was sent; tell in `metadata.plan` who was considered, and why",
    ),
    _kept("free_models_only", "3", "true or false", "with `auto`: only models that cost nothing"),
    _kept("no_reasoning", "3", "true or false", "with `auto`: no models that reason"),
    _carried("image_config", "", "an object", "how generated images look"),
    _kept("max_cost_usd", "", _AMOUNT, "the most that one attempt may cost"),
    _kept("usage", "", "an object", "asks for usage, which always comes"),
    _kept("transforms", "", "a list of words", "shortens long prompts elsewhere; ignored here"),
    _kept("trace", "", "an object", "labels for tracing elsewhere; ignored here"),
)

BY_NAME: Mapping[str, Field] = {field.name: field for field in FIELDS}

NOT_PARAMETERS = frozenset(field.name for field in FIELDS if not field.is_parameter)
"""Members that say nothing about what an endpoint must support."""
