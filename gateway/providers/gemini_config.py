"""``generationConfig`` of generateContent: sampling, limits, the form of the answer, thinking."""

from typing import Any, Final, cast

import msgspec
from msgspec import Raw

from gateway.chat.request import ChatRequest
from gateway.providers.base import Target
from gateway.providers.gemini_schema import fit_schema
from gateway.providers.gemini_tools import GeminiTools, warn_of_dropped
from gateway.providers.translation.options import Options, left_out, read_options
from gateway.providers.translation.structure import instruction_for
from gateway.providers.translation.thinking import budget_for, effort_for, warn_of_effort
from gateway.providers.translation.tools import AnswerForm
from pricing.endpoint import Thinking

Members = dict[str, Any]

TAKEN: Final = frozenset(
    {
        "audio",
        "frequency_penalty",
        "image_config",
        "logprobs",
        "modalities",
        "n",
        "presence_penalty",
        "seed",
        "service_tier",
        "stop",
        "temperature",
        "top_k",
        "top_logprobs",
        "top_p",
    }
)
"""Members that are conveyed here, or of which a warning is given here."""

_NAMES: Final = {
    "temperature": "temperature",
    "top_p": "topP",
    "top_k": "topK",
    "frequency_penalty": "frequencyPenalty",
    "presence_penalty": "presencePenalty",
}
_INT32: Final = 2**31
_MOST_STOPS: Final = 5
_MOST_CANDIDATES: Final = 8
_MOST_LOGPROBS: Final = 20
_HOTTEST: Final = 2.0
# cloud.google.com/vertex-ai/…/inference: penalties are below 2.
_HIGHEST_PENALTY: Final = 1.99
_DEFAULT_LARGEST_ANSWER: Final = 65_536
_USUAL_LEVELS: Final = ("low", "medium", "high")
_VOICES_OF_OPENAI: Final = frozenset(
    {
        "alloy",
        "ash",
        "ballad",
        "cedar",
        "coral",
        "echo",
        "fable",
        "marin",
        "nova",
        "onyx",
        "sage",
        "shimmer",
        "verse",
    }
)
_NULL: Final = Raw(b"null")


def write_config(
    request: ChatRequest,
    tools: GeminiTools,
    form: AnswerForm,
    target: Target,
    warnings: list[str],
) -> tuple[Members, str | None]:
    """``generationConfig``, and what the model has to be told because no parameter says it."""
    options = read_options(request)
    config = _sampling(options, target, warnings)
    _add_counts(config, request, options, target, warnings)
    _add_modalities(config, request, options, target, warnings)
    instruction = _add_form(config, form, tools, target, warnings)
    thinking = _thinking(request, target, warnings)
    if thinking:
        config["thinkingConfig"] = thinking
    return config, instruction


def _sampling(options: Options, target: Target, warnings: list[str]) -> Members:
    config: Members = {}
    for name, theirs in _NAMES.items():
        value = getattr(options, name)
        if value is None:
            continue
        if _is_refused(name, target):
            warnings.append(left_out(name, target.endpoint.id))
        elif name == "temperature":
            config[theirs] = min(value, _HOTTEST)
        elif name.endswith("penalty"):
            config[theirs] = min(value, _HIGHEST_PENALTY)
        else:
            config[theirs] = value
    return config


def _is_refused(name: str, target: Target) -> bool:
    known = target.endpoint.capabilities
    return known.get(name) is False or (name in _NAMES and known.get("sampling_params") is False)


def _add_counts(
    config: Members,
    request: ChatRequest,
    options: Options,
    target: Target,
    warnings: list[str],
) -> None:
    endpoint = target.endpoint
    limit = request.max_output_tokens
    if limit is not None:
        most = endpoint.max_output_tokens
        if most is not None and limit > most:
            warnings.append(
                f"`max_tokens` was lowered to {most}, the most that {endpoint.id} gives"
            )
            limit = most
        config["maxOutputTokens"] = min(limit, _INT32 - 1)
    if options.stop:
        if len(options.stop) > _MOST_STOPS:
            warnings.append(f"only the first {_MOST_STOPS} of `stop` are sent to {endpoint.id}")
        config["stopSequences"] = list(options.stop[:_MOST_STOPS])
    if options.seed is not None:
        seed = options.seed
        if not -_INT32 <= seed < _INT32:
            # The same seed still gives the same one.
            seed %= _INT32
            warnings.append(f"`seed` was sent as {seed}: {endpoint.id} takes 32 bits")
        config["seed"] = seed
    if request.choice_count > 1:
        if _is_refused("n", target):
            warnings.append(left_out("n", endpoint.id))
        else:
            config["candidateCount"] = min(request.choice_count, _MOST_CANDIDATES)
    if options.logprobs:
        config["responseLogprobs"] = True
        if options.top_logprobs:
            config["logprobs"] = min(options.top_logprobs, _MOST_LOGPROBS)


def _add_modalities(
    config: Members,
    request: ChatRequest,
    options: Options,
    target: Target,
    warnings: list[str],
) -> None:
    audio = _object_of(request, "audio")
    wanted = [name for name in options.modalities if name in {"text", "image", "audio"}]
    if audio or "audio" in wanted or target.endpoint.modalities_out == ("audio",):
        # The models that speak write nothing beside it.
        config["responseModalities"] = ["AUDIO"]
        voice = audio.get("voice")
        if isinstance(voice, str) and voice in _VOICES_OF_OPENAI:
            warnings.append(
                f"the voice {voice!r} is OpenAI's and is not known to {target.endpoint.id}"
            )
        elif isinstance(voice, str):
            prebuilt = {"prebuiltVoiceConfig": {"voiceName": voice}}
            config["speechConfig"] = {"voiceConfig": prebuilt}
    elif "image" in wanted:
        config["responseModalities"] = [
            name.upper() for name in ("text", "image") if name in wanted
        ]
    image = _object_of(request, "image_config")
    sizes = {"aspect_ratio": "aspectRatio", "image_size": "imageSize"}
    found = {theirs: image[ours] for ours, theirs in sizes.items() if image.get(ours)}
    if found:
        config["imageConfig"] = found


def _object_of(request: ChatRequest, name: str) -> Members:
    raw = request.body.get(name, _NULL)
    if bytes(raw)[:1] != b"{":
        return {}
    return cast("Members", msgspec.json.decode(raw))


def _add_form(
    config: Members, form: AnswerForm, tools: GeminiTools, target: Target, warnings: list[str]
) -> str | None:
    if form.kind == "text":
        return None
    endpoint = target.endpoint
    if tools.tools and endpoint.capabilities.get("mixed_tools") is not True:
        # Refused: a response mime type of JSON together with functions, or with a search.
        warnings.append(
            f"`response_format` is only described to {endpoint.id}, which cannot enforce it beside "
            "tools"
        )
        return instruction_for(form)
    config["responseMimeType"] = "application/json"
    if form.kind == "json_schema" and form.schema is not None:
        is_openapi = endpoint.capabilities.get("json_schema") is False
        fitted = fit_schema(form.schema, is_openapi=is_openapi)
        warn_of_dropped(fitted, "`response_format`", warnings)
        if not fitted.is_empty_object:
            config["responseSchema" if is_openapi else "responseJsonSchema"] = fitted.schema
    return None


def _thinking(request: ChatRequest, target: Target, warnings: list[str]) -> Members:
    wish, endpoint = request.reasoning, target.endpoint
    if wish is None:
        return {}
    thinking = endpoint.thinking
    if thinking is None or thinking.style not in {"budget", "level"}:
        if not wish.is_off and (wish.effort is not None or wish.max_tokens is not None):
            field = "reasoning_effort" if "reasoning_effort" in request.body else "reasoning"
            warnings.append(left_out(field, endpoint.id))
        return {}
    if wish.summary is not None and wish.summary != "auto":
        warnings.append(left_out("reasoning.summary", endpoint.id))
    shows = {"includeThoughts": True} if not wish.is_excluded else {}
    if wish.is_off:
        return _least(thinking, target, warnings)
    largest = request.max_output_tokens or endpoint.max_output_tokens or _DEFAULT_LARGEST_ANSWER
    says_how_much = wish.effort is not None or wish.max_tokens is not None
    if thinking.style == "level":
        if not says_how_much:
            return shows
        level = effort_for(wish, thinking.efforts or _USUAL_LEVELS, largest)
        warn_of_effort(wish, level, endpoint.id, warnings)
        return {"thinkingLevel": level.upper(), **shows}
    if not says_how_much:
        return {"thinkingBudget": -1, **shows}
    least = thinking.min_tokens or 1
    budget = budget_for(wish, largest, thinking, least=least)
    if budget is None:
        warnings.append(f"`max_tokens` leaves {endpoint.id} no room to think")
        return {"thinkingBudget": 0} if thinking.can_be_off else {"thinkingBudget": least, **shows}
    return {"thinkingBudget": budget, **shows}


def _least(thinking: Thinking, target: Target, warnings: list[str]) -> Members:
    """As little as the model can."""
    endpoint = target.endpoint
    if thinking.style == "budget" and thinking.can_be_off:
        return {"thinkingBudget": 0}
    warnings.append(f"{endpoint.id} cannot stop thinking; it is asked to think the least it can")
    if thinking.style == "budget":
        return {"thinkingBudget": thinking.min_tokens or 1}
    return {"thinkingLevel": (thinking.efforts or _USUAL_LEVELS)[0].upper()}
