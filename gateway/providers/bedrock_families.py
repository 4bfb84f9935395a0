"""How the families of models behind Converse want to be told what Converse has no word for.

Converse is one form for all models, with ``additionalModelRequestFields`` for the rest. Which rest
a model takes follows from who made it, and stands here as data.
"""

from typing import Any, Final, Literal

import msgspec

from pricing.endpoint import Endpoint

ReasoningForm = Literal["claude", "nova", "effort", "none"]


class Family(msgspec.Struct, frozen=True, kw_only=True):
    """What the models of one maker have in common on Bedrock. The defaults promise nothing."""

    reasoning: ReasoningForm = "none"
    """Claude's ``thinking``, Nova's ``reasoningConfig``, or the plain ``reasoning_effort``."""
    top_k: tuple[str, ...] = ()
    """Where ``top_k`` stands inside the additional fields; empty where it is not taken."""
    caches_tools: bool = False
    """A cache point may follow the tools."""
    cache_ttls: frozenset[str] = frozenset()
    """Times to keep that may be asked for besides the default."""
    takes_status: bool = False
    """Results of tools may say that they are errors."""
    reasoning_format: str = "bedrock-v1"
    """The ``format`` of reasoning details; only those of the same one are sent back."""


# docs.aws.amazon.com/bedrock/latest/userguide/prompt-caching.html,
# …/APIReference/API_runtime_ToolResultBlock.html; docs.aws.amazon.com/nova/latest/nova2-userguide.
FAMILIES: Final[dict[str, Family]] = {
    "anthropic": Family(
        reasoning="claude",
        top_k=("top_k",),
        caches_tools=True,
        cache_ttls=frozenset({"5m", "1h"}),
        takes_status=True,
        # Signatures are good on Anthropic's own API, Bedrock and Vertex alike.
        reasoning_format="anthropic-claude-v1",
    ),
    "amazon": Family(
        reasoning="nova",
        top_k=("inferenceConfig", "topK"),
        takes_status=True,
        reasoning_format="amazon-nova-v1",
    ),
    "openai": Family(reasoning="effort"),
    "moonshotai": Family(reasoning="effort"),
    "moonshot": Family(reasoning="effort"),
    "deepseek": Family(reasoning_format="deepseek-v1"),
    "mistral": Family(top_k=("top_k",)),
}
_PLAIN: Final = Family()


def family_of(endpoint: Endpoint) -> Family:
    """The family by the maker's name in the model id, or by the model's author.

    ``us.anthropic.claude-…`` and the ARN of an inference profile name the maker; the ARN of an
    application's profile does not, so that the operator's ``model`` must.
    """
    name = endpoint.provider_model.rpartition("/")[2]
    for part in name.split(".")[:2]:
        if part in FAMILIES:
            return FAMILIES[part]
    return FAMILIES.get(endpoint.model.partition("/")[0], _PLAIN)


def put(fields: dict[str, Any], path: tuple[str, ...], value: object) -> None:
    """Set a member that may stand inside others."""
    for name in path[:-1]:
        fields = fields.setdefault(name, {})
    fields[path[-1]] = value
