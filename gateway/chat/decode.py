"""Bytes of a request -> `ChatRequest`: what is read is checked, all the rest is carried along."""

import re
from collections.abc import Mapping
from types import MappingProxyType

import msgspec
from msgspec import Raw, structs

from gateway.chat.canonical import to_canonical
from gateway.chat.complaints import malformed_json, wrong_value
from gateway.chat.consistency import check_consistency
from gateway.chat.conversation import Weight, weigh_messages, weigh_tools
from gateway.chat.dialects import Dialect
from gateway.chat.fields import NOT_PARAMETERS
from gateway.chat.flat_preferences import read_preferences, sent_flat
from gateway.chat.labels import read_labels
from gateway.chat.offending import fault_of
from gateway.chat.opening import digest_opening
from gateway.chat.plugins import PluginWishes, read_plugins
from gateway.chat.preferences import AutoPreferences, ProviderPreferences
from gateway.chat.provider_configs import MEMBER, ProviderConfig, read_provider_configs
from gateway.chat.reasoning import Reasoning, read_reasoning
from gateway.chat.request import ChatRequest, Need
from gateway.chat.routing_preferences import FORBIDDEN_MEMBERS, check_amount
from gateway.chat.structure import check_members_are_unique, check_size_of_structure
from gateway.chat.unsupported import warn_of_unsupported
from gateway.chat.unwrap import has_unions, unwrap
from gateway.chat.view import VIEW, View
from gateway.chat.web_search import WebSearch
from gateway.chat.wishes import can_heal, echoes_upstream_body, read_web_search
from gateway.domain.errors import InvalidRequestError

_MEMBERS = msgspec.json.Decoder(dict[str, Raw])
_ENCODER = msgspec.json.Encoder()
_NULL = Raw(b"null")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]")
_NO_HEADERS: Mapping[str, str] = MappingProxyType({})
_NO_PLUGINS = PluginWishes()
_ANY_MODEL = AutoPreferences()
_THINKING = ":thinking"
"""A model's suffix that switches reasoning on; routing takes it off."""


def decode_chat_request(
    body: bytes,
    *,
    dialect: Dialect,
    headers: Mapping[str, str] = _NO_HEADERS,
    allows_own_providers: bool = False,
) -> ChatRequest:
    """Read one request.

    Args:
        body: the JSON text.
        dialect: how it is read; the FastAPI dialect requires ``model``.
        headers: names in lower case, or a mapping that does not care; ``x-no-fallback`` and
            ``x-session-id`` are read.
        allows_own_providers: the caller's key may send ``provider_configs``.

    Raises:
        InvalidRequestError: names the field and what it should be.
    """
    try:
        return _decode(body, dialect, headers, allows_own_providers=allows_own_providers)
    except InvalidRequestError as error:
        if dialect is Dialect.FASTAPI:
            error.fault = fault_of(error, body)
        raise


def _decode(
    body: bytes, dialect: Dialect, headers: Mapping[str, str], *, allows_own_providers: bool
) -> ChatRequest:
    _check_text(body)
    try:
        members = _MEMBERS.decode(body)
    except msgspec.ValidationError as exc:
        raise InvalidRequestError("The body must be a JSON object.", code="invalid_value") from exc
    except msgspec.DecodeError as exc:
        raise malformed_json(exc) from exc
    except RecursionError as exc:
        raise _too_deep() from exc
    check_members_are_unique(body, members)
    warnings: list[str] = []
    try:
        own: tuple[ProviderConfig, ...] = ()
        if allows_own_providers and MEMBER in members:
            raw = members.pop(MEMBER)
            own = () if raw == _NULL else read_provider_configs(raw, warnings)
            # Nothing behind this line meets the credentials any more.
            body = _ENCODER.encode(members)
        return _read(body, members, dialect, headers, warnings=warnings, own=own)
    except msgspec.ValidationError as exc:
        raise wrong_value(exc) from exc
    except msgspec.DecodeError as exc:
        raise malformed_json(exc) from exc
    except RecursionError as exc:
        raise _too_deep() from exc


def _check_text(body: bytes) -> None:
    if not body.isascii():
        try:
            body.decode()
        except UnicodeDecodeError as exc:
            raise InvalidRequestError(
                f"The body is not valid UTF-8 at byte {exc.start}.",
                code="json_invalid",
                metadata={"byte": exc.start},
            ) from exc
    check_size_of_structure(body)


def _too_deep() -> InvalidRequestError:
    return InvalidRequestError("The body is nested too deeply; flatten it.", code="too_complex")


def _read(
    body: bytes,
    members: dict[str, Raw],
    dialect: Dialect,
    headers: Mapping[str, str],
    *,
    warnings: list[str],
    own: tuple[ProviderConfig, ...],
) -> ChatRequest:
    _refuse_addresses(members)
    if has_unions(body):
        members = unwrap(members)
        body = _ENCODER.encode(members)
    if "messages" not in members or members["messages"] == _NULL:
        raise InvalidRequestError(
            "`messages` is missing; send a list of at least one message.",
            param="messages",
            code="missing",
        )
    try:
        view = VIEW.decode(body)
    except msgspec.ValidationError as exc:
        raise wrong_value(exc) from exc
    sent = {name: raw for name, raw in members.items() if raw != _NULL}
    check_consistency(view)
    warn_of_unsupported(sent, warnings)
    labels = {} if view.metadata is None else read_labels(view.metadata, dialect)
    plugins = _NO_PLUGINS if view.plugins is None else read_plugins(view.plugins, warnings)
    models = _models(view, dialect)
    search = read_web_search(view, plugins, models)
    needs: set[Need] = set()
    weight = Weight(needs=needs)
    weigh_messages(view.messages, weight)
    if view.tools is not None or view.functions is not None or view.tool_choice is not None:
        weigh_tools(view, _length(sent, "tools") + _length(sent, "functions"), weight)
    _add_needs(view, search, needs)
    carried = to_canonical(view, sent, dialect, labels, warnings)
    system_digest, opening_digest = digest_opening(view.messages)
    return ChatRequest(
        dialect=dialect,
        body=carried,
        models=models,
        stream=view.stream is True,
        include_usage=view.stream_options is not None and view.stream_options.include_usage is True,
        max_output_tokens=_output_cap(view, warnings),
        choice_count=view.n or 1,
        provider=_preferences(members, view, headers),
        flat_preferences=sent_flat(members),
        auto=_auto(view, plugins),
        needs=frozenset(needs),
        parameters=frozenset(carried) - NOT_PARAMETERS,
        prompt_bytes=weight.text_bytes,
        image_count=weight.image_count,
        names_addresses=weight.names_addresses,
        prompt_tokens_estimate=weight.tokens(len(view.messages)),
        reasoning=_reasoning(view, models, warnings),
        web_search=search,
        provider_configs=own,
        uses_legacy_functions=view.functions is not None or view.function_call is not None,
        heals_response=plugins.heals_response and can_heal(view, warnings),
        echo_upstream_body=echoes_upstream_body(view, warnings),
        explains_plan=view.debug is not None and view.debug.explain is True,
        service_tier=_clean(view.service_tier, "service_tier"),
        user=_clean(view.user, "user"),
        session_id=_session_id(view, headers),
        prompt_cache_key=view.prompt_cache_key,
        system_digest=system_digest,
        opening_digest=opening_digest,
        labels=labels,
        warnings=tuple(warnings),
    )


def _refuse_addresses(members: Mapping[str, Raw]) -> None:
    if FORBIDDEN_MEMBERS.isdisjoint(members):
        return
    name = next(name for name in members if name in FORBIDDEN_MEMBERS)
    raise InvalidRequestError(
        f"`{name}` is not accepted in a request: addresses and credentials of providers are "
        "configured by the operator.",
        param=name,
        code="not_allowed",
    )


def _models(view: View, dialect: Dialect) -> tuple[str, ...]:
    named = [] if view.model is None else [view.model]
    named += view.models or ()
    models: list[str] = []
    for name in named:
        cleaned = _clean(name.strip(), "model")
        if cleaned and cleaned not in models:
            models.append(cleaned)
    if dialect is Dialect.FASTAPI and not (view.model and view.model.strip()):
        raise InvalidRequestError(
            "`model` is missing; it is required.", param="model", code="missing"
        )
    return tuple(models)


def _output_cap(view: View, warnings: list[str]) -> int | None:
    newer, older = view.max_completion_tokens, view.max_tokens
    if newer is None:
        return None if older is None else int(older)
    if older is not None and older != newer:
        warnings.append(
            f"`max_tokens` ({older}) and `max_completion_tokens` ({newer}) differ; "
            "the latter is used"
        )
    return int(newer)


def _add_needs(view: View, search: WebSearch | None, needs: set[Need]) -> None:
    if view.response_format is not None:
        if view.response_format.type == "json_schema":
            needs.add("structured_outputs")
        elif view.response_format.type == "json_object":
            needs.add("json_mode")
    if view.modalities is not None:
        if "audio" in view.modalities:
            needs.add("audio_output")
        if "image" in view.modalities:
            needs.add("image_output")
    if view.logprobs or view.top_logprobs:
        needs.add("logprobs")
    if search is not None:
        needs.add("web_search")
    # An effort is advice that a plain model may ignore; `enabled` asks for reasoning itself.
    if view.reasoning is not None and view.reasoning.enabled:
        needs.add("reasoning")


def _reasoning(view: View, models: tuple[str, ...], warnings: list[str]) -> Reasoning | None:
    wish = read_reasoning(view.reasoning, view.reasoning_effort, view.include_reasoning, warnings)
    if any(model.endswith(_THINKING) for model in models):
        if wish is None:
            return Reasoning(effort="medium")
        if wish.effort is None and wish.max_tokens is None:
            return structs.replace(wish, effort="medium")
    return wish


def _auto(view: View, plugins: PluginWishes) -> AutoPreferences:
    if not (
        view.free_models_only
        or view.no_reasoning
        or plugins.allowed_models
        or plugins.excluded_models
    ):
        return _ANY_MODEL
    return AutoPreferences(
        free_models_only=view.free_models_only is True,
        no_reasoning=view.no_reasoning is True,
        allowed_models=plugins.allowed_models,
        excluded_models=plugins.excluded_models,
    )


def _preferences(
    members: Mapping[str, Raw], view: View, headers: Mapping[str, str]
) -> ProviderPreferences:
    preferences = read_preferences(members)
    if view.route is not None:
        partition = "none" if view.route == "sort" else "model"
        if preferences.partition not in {None, partition}:
            raise InvalidRequestError(
                f"`route` is `{view.route}`, `provider.sort.partition` is "
                f"`{preferences.partition}`; send one of them.",
                param="route",
                code="contradiction",
            )
        preferences = structs.replace(preferences, partition=partition)
    if view.max_cost_usd is not None:
        limit = check_amount(view.max_cost_usd, "max_cost_usd")
        if preferences.max_cost_usd not in {None, limit}:
            raise InvalidRequestError(
                "`max_cost_usd` and `provider.max_cost_usd` differ; send one of them.",
                param="max_cost_usd",
                code="contradiction",
            )
        preferences = structs.replace(preferences, max_cost_usd=limit)
    if headers and headers.get("x-no-fallback", "").strip().lower() in {"true", "1"}:
        return structs.replace(preferences, allow_fallbacks=False)
    return preferences


def _session_id(view: View, headers: Mapping[str, str]) -> str | None:
    if view.session_id is not None:
        return _clean(view.session_id, "session_id") or None
    session_id = headers.get("x-session-id") if headers else None
    if session_id is not None and len(session_id) > 256:  # noqa: PLR2004
        raise InvalidRequestError(
            "The header x-session-id is longer than 256 characters; shorten it.",
            param="session_id",
            code="invalid_value",
        )
    return _clean(session_id, "session_id") or None


def _clean(text: str | None, param: str) -> str | None:
    """The text itself; it goes into records, where control characters have no place."""
    if text is not None and _CONTROL.search(text):
        raise InvalidRequestError(
            f"`{param}` holds a control character; remove it.", param=param, code="invalid_value"
        )
    return text


def _length(members: Mapping[str, Raw], name: str) -> int:
    raw = members.get(name)
    return 0 if raw is None else len(memoryview(raw))
