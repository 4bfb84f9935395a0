"""The simulated providers as data: who they are, what they serve, what it costs, how fast.

Prices are inventions that give routing a choice: the cheapest is slow, the fastest is dear.
`app.py` puts `manifest_tables` into the catalogue; nothing here is a real provider's offer.
"""

from decimal import Decimal
from typing import Any

import msgspec

STAND_IN = "stand-in"

BASE_PATHS = {"openai": "/v1", "anthropic": "/v1", "gemini": "/v1beta", "bedrock": ""}
"""By protocol, what a provider's base URL ends with after its name."""

TOOLS = ("tools", "tool_choice", "parallel_tool_calls")
TOOLS_AND_SCHEMAS = (*TOOLS, "structured_outputs", "json_mode")
# What every simulated model takes, whatever it offers besides.
EVERYWHERE = (
    "frequency_penalty",
    "logit_bias",
    "logprobs",
    "n",
    "presence_penalty",
    "seed",
    "stop",
    "temperature",
    "top_p",
)
OPTIONAL = (*TOOLS_AND_SCHEMAS, "vision", "reasoning")


class SimulatedModel(msgspec.Struct, frozen=True, kw_only=True):
    """One offer. Prices are decimal strings in USD per million tokens; None is not published."""

    id: str
    model: str
    input_usd_per_mtok: str | None
    output_usd_per_mtok: str | None
    cache_read_usd_per_mtok: str | None = None
    context_tokens: int = 128_000
    max_output_tokens: int = 16_384
    capabilities: tuple[str, ...] = TOOLS_AND_SCHEMAS


class SimulatedProvider(msgspec.Struct, frozen=True, kw_only=True):
    """One provider: its offers, its speed, and where it writes reasoning text.

    `reasoning_field` is the message field (`reasoning_content` or `reasoning`); None keeps the text
    hidden and only counts it, as OpenAI does.
    """

    id: str
    name: str
    models: tuple[SimulatedModel, ...]
    protocol: str = "openai"
    first_token_ms: float
    tokens_per_s: float
    reasoning_field: str | None = None

    def model(self, upstream_id: str) -> SimulatedModel | None:
        """The offer of that id, None when this provider does not serve it."""
        return next((model for model in self.models if model.id == upstream_id), None)


MANIFEST: tuple[SimulatedProvider, ...] = (
    SimulatedProvider(
        id="simulated-atlas",
        name="Simulated Atlas",
        first_token_ms=350,
        tokens_per_s=60,
        reasoning_field="reasoning_content",
        models=(
            SimulatedModel(
                id="fast",
                model="simulated/fast",
                input_usd_per_mtok="0.10",
                output_usd_per_mtok="0.40",
                cache_read_usd_per_mtok="0.05",
            ),
            SimulatedModel(
                id="smart",
                model="simulated/smart",
                input_usd_per_mtok="1.10",
                output_usd_per_mtok="4.40",
                cache_read_usd_per_mtok="0.275",
                context_tokens=200_000,
                max_output_tokens=65_536,
                capabilities=(*TOOLS_AND_SCHEMAS, "reasoning"),
            ),
            SimulatedModel(
                id="long",
                model="simulated/long",
                input_usd_per_mtok="0.30",
                output_usd_per_mtok="1.20",
                cache_read_usd_per_mtok="0.03",
                context_tokens=1_000_000,
                max_output_tokens=32_768,
            ),
            SimulatedModel(
                id="nano",
                model="simulated/nano",
                input_usd_per_mtok="0.04",
                output_usd_per_mtok="0.16",
                cache_read_usd_per_mtok="0.01",
            ),
            SimulatedModel(
                id="code",
                model="simulated/code",
                input_usd_per_mtok="0.80",
                output_usd_per_mtok="3.20",
                cache_read_usd_per_mtok="0.20",
                context_tokens=256_000,
                max_output_tokens=65_536,
            ),
            SimulatedModel(
                id="translate",
                model="simulated/translate",
                input_usd_per_mtok="0.12",
                output_usd_per_mtok="0.36",
            ),
        ),
    ),
    SimulatedProvider(
        id="simulated-birch",
        name="Simulated Birch",
        first_token_ms=120,
        tokens_per_s=180,
        reasoning_field="reasoning",
        models=(
            SimulatedModel(
                id="fast",
                model="simulated/fast",
                input_usd_per_mtok="0.15",
                output_usd_per_mtok="0.60",
                cache_read_usd_per_mtok="0.075",
            ),
            SimulatedModel(
                id="smart",
                model="simulated/smart",
                input_usd_per_mtok="1.25",
                output_usd_per_mtok="10",
                cache_read_usd_per_mtok="0.125",
                context_tokens=400_000,
                max_output_tokens=128_000,
                capabilities=(*TOOLS_AND_SCHEMAS, "reasoning"),
            ),
            SimulatedModel(
                id="vision",
                model="simulated/vision",
                input_usd_per_mtok="0.50",
                output_usd_per_mtok="1.50",
                capabilities=(*TOOLS_AND_SCHEMAS, "vision"),
            ),
            SimulatedModel(
                id="chat",
                model="simulated/chat",
                input_usd_per_mtok="0.25",
                output_usd_per_mtok="1.00",
                cache_read_usd_per_mtok="0.025",
            ),
            SimulatedModel(
                id="code",
                model="simulated/code",
                input_usd_per_mtok="1.50",
                output_usd_per_mtok="7.50",
                cache_read_usd_per_mtok="0.15",
                context_tokens=200_000,
                max_output_tokens=64_000,
                capabilities=(*TOOLS_AND_SCHEMAS, "reasoning"),
            ),
            SimulatedModel(
                id="reason",
                model="simulated/reason",
                input_usd_per_mtok="2.50",
                output_usd_per_mtok="10",
                cache_read_usd_per_mtok="0.625",
                context_tokens=200_000,
                max_output_tokens=100_000,
                capabilities=("json_mode", "reasoning"),
            ),
        ),
    ),
    SimulatedProvider(
        id="simulated-cedar",
        name="Simulated Cedar",
        first_token_ms=60,
        tokens_per_s=600,
        models=(
            SimulatedModel(
                id="fast",
                model="simulated/fast",
                input_usd_per_mtok="0.29",
                output_usd_per_mtok="0.79",
                context_tokens=32_768,
                max_output_tokens=8_192,
                capabilities=TOOLS,
            ),
            SimulatedModel(
                id="smart",
                model="simulated/smart",
                input_usd_per_mtok="2",
                output_usd_per_mtok="8",
                cache_read_usd_per_mtok="0.50",
                context_tokens=200_000,
                max_output_tokens=100_000,
                capabilities=(*TOOLS_AND_SCHEMAS, "reasoning"),
            ),
            SimulatedModel(
                id="nano",
                model="simulated/nano",
                input_usd_per_mtok="0.05",
                output_usd_per_mtok="0.08",
                context_tokens=32_768,
                max_output_tokens=8_192,
                capabilities=(),
            ),
            SimulatedModel(
                id="chat",
                model="simulated/chat",
                input_usd_per_mtok="0.35",
                output_usd_per_mtok="0.75",
                context_tokens=65_536,
                max_output_tokens=16_384,
            ),
            SimulatedModel(
                id="extract",
                model="simulated/extract",
                input_usd_per_mtok="0.22",
                output_usd_per_mtok="0.66",
                context_tokens=65_536,
                max_output_tokens=8_192,
            ),
        ),
    ),
    SimulatedProvider(
        id="simulated-dune",
        name="Simulated Dune",
        first_token_ms=700,
        tokens_per_s=35,
        models=(
            SimulatedModel(
                id="fast",
                model="simulated/fast",
                input_usd_per_mtok="0.06",
                output_usd_per_mtok="0.24",
                capabilities=TOOLS,
            ),
            SimulatedModel(
                id="vision",
                model="simulated/vision",
                input_usd_per_mtok="0.35",
                output_usd_per_mtok="1.05",
                cache_read_usd_per_mtok="0.0875",
                capabilities=(*TOOLS_AND_SCHEMAS, "vision"),
            ),
            SimulatedModel(
                id="long",
                model="simulated/long",
                input_usd_per_mtok="0.20",
                output_usd_per_mtok="0.80",
                context_tokens=1_000_000,
                max_output_tokens=32_768,
                capabilities=(),
            ),
            SimulatedModel(
                id="writer",
                model="simulated/writer",
                input_usd_per_mtok="0.45",
                output_usd_per_mtok="1.80",
                cache_read_usd_per_mtok="0.09",
            ),
            SimulatedModel(
                id="extract",
                model="simulated/extract",
                input_usd_per_mtok="0.14",
                output_usd_per_mtok="0.42",
            ),
            SimulatedModel(
                id="translate",
                model="simulated/translate",
                input_usd_per_mtok="0.08",
                output_usd_per_mtok="0.24",
                context_tokens=32_768,
                max_output_tokens=8_192,
                capabilities=(),
            ),
        ),
    ),
    SimulatedProvider(
        id="simulated-elm",
        name="Simulated Elm",
        first_token_ms=220,
        tokens_per_s=110,
        reasoning_field="reasoning_content",
        models=(
            SimulatedModel(
                id="nano",
                model="simulated/nano",
                input_usd_per_mtok="0.03",
                output_usd_per_mtok="0.12",
                cache_read_usd_per_mtok="0.0075",
            ),
            SimulatedModel(
                id="chat",
                model="simulated/chat",
                input_usd_per_mtok="0.20",
                output_usd_per_mtok="0.90",
                cache_read_usd_per_mtok="0.02",
            ),
            SimulatedModel(
                id="code",
                model="simulated/code",
                input_usd_per_mtok="1.00",
                output_usd_per_mtok="4.50",
                cache_read_usd_per_mtok="0.10",
                context_tokens=200_000,
                max_output_tokens=64_000,
                capabilities=(*TOOLS_AND_SCHEMAS, "reasoning"),
            ),
            SimulatedModel(
                id="reason",
                model="simulated/reason",
                input_usd_per_mtok="1.80",
                output_usd_per_mtok="7.20",
                cache_read_usd_per_mtok="0.18",
                context_tokens=200_000,
                max_output_tokens=64_000,
                capabilities=("json_mode", "reasoning"),
            ),
            SimulatedModel(
                id="writer",
                model="simulated/writer",
                input_usd_per_mtok="0.60",
                output_usd_per_mtok="2.10",
                cache_read_usd_per_mtok="0.06",
            ),
            SimulatedModel(
                id="extract",
                model="simulated/extract",
                input_usd_per_mtok="0.18",
                output_usd_per_mtok="0.50",
                cache_read_usd_per_mtok="0.018",
            ),
            # Nobody says what it costs: what is not known belongs to the picture.
            SimulatedModel(
                id="preview",
                model="simulated/preview",
                input_usd_per_mtok=None,
                output_usd_per_mtok=None,
                context_tokens=200_000,
                max_output_tokens=32_768,
                capabilities=(*TOOLS_AND_SCHEMAS, "reasoning"),
            ),
        ),
    ),
)


def find_provider(provider_id: str) -> SimulatedProvider | None:
    """The provider of that id, None when there is none."""
    return next((provider for provider in MANIFEST if provider.id == provider_id), None)


def manifest_tables(base_url: str) -> dict[str, dict[str, Any]]:
    """Each provider as the table `[providers.X]` of a `tollway.toml`, prices as Decimal.

    `base_url` is the simulator's own address without a path, `http://127.0.0.1:9102`.
    """
    return {provider.id: _provider_table(provider, base_url) for provider in MANIFEST}


def _provider_table(provider: SimulatedProvider, base_url: str) -> dict[str, Any]:
    return {
        "protocol": provider.protocol,
        "base_url": f"{base_url.rstrip('/')}/{provider.id}{BASE_PATHS[provider.protocol]}",
        "allow_private": True,
        "endpoints": [_endpoint_table(model) for model in provider.models],
    }


def _endpoint_table(model: SimulatedModel) -> dict[str, Any]:
    table: dict[str, Any] = {
        "model": model.model,
        "id": model.id,
        "context_tokens": model.context_tokens,
        "max_output_tokens": model.max_output_tokens,
        "modalities_in": ["text", "image"] if "vision" in model.capabilities else ["text"],
        "capabilities": {name: name in model.capabilities for name in OPTIONAL}
        | dict.fromkeys(EVERYWHERE, True),
    }
    amounts = {
        "input_usd_per_mtok": model.input_usd_per_mtok,
        "output_usd_per_mtok": model.output_usd_per_mtok,
        "cache_read_usd_per_mtok": model.cache_read_usd_per_mtok,
    }
    return table | {name: Decimal(text) for name, text in amounts.items() if text is not None}
