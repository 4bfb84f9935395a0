"""``tollway explain``: who would serve a request, in which order and why, and why not the others.

The running gateway is asked, since it alone knows the health of endpoints. Where none runs, the
decision is made here, from the configuration and the database, as if nothing had been seen yet.
"""

import secrets
import sys
from datetime import UTC, datetime
from decimal import Decimal
from pathlib import Path
from typing import Annotated, Any
from uuid import UUID

import httpx
import msgspec
from cyclopts import Parameter

from gateway.chat.decode import decode_chat_request
from gateway.chat.dialects import Dialect
from gateway.cli.catalogues import offered_tables
from gateway.cli.database import Database, ask
from gateway.cli.options import AsJson, Config, DataDir, settings_of
from gateway.cli.printing import CommandError, note, print_json, print_table, say
from gateway.cli.schema import bring_up_to_date
from gateway.domain.caller import Caller
from gateway.domain.errors import GatewayError
from gateway.processes.data_directory import DataDirectory
from gateway.routing.explain import explain as explain_request
from gateway.routing.explanation import (
    ExplainedCandidate,
    ExplainedHealth,
    Explanation,
)
from gateway.routing.plan import BalanceWeights, PlanInputs
from gateway.routing.rules.drawing import split_salt
from gateway.routing.rules.govern import govern
from gateway.routing.rules.problems import RulesError
from gateway.routing.rules.rule_set import RuleSet, compile_rules
from gateway.settings.offer import make_offer
from gateway.settings.values import Settings
from gateway.storage.engine import Connection
from gateway.storage.keys import load_callers
from gateway.storage.price_changes import load_price_changes
from gateway.storage.rule_sets import active_rule_set
from pricing.catalogue import Catalogue
from pricing.operator_layer import apply_changes

_WITHIN_S = 10.0
_UNAUTHORIZED, _WRONG = 401, 400
_SEED_BITS = 63
_HASH_KEY_BYTES = 32
_NOBODY = Caller(key_id=UUID(int=0), kid="dry-run", name="dry run")
_SHOWN_EXCLUSIONS = 40


class _Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What the database has to do with a decision."""

    catalogue: Catalogue
    callers: list[Caller]
    rules: RuleSet


def explain(
    *,
    file: Annotated[Path, Parameter(name=["--file", "-f"])],
    key: Annotated[str | None, Parameter(name="--key")] = None,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> int:
    """Show who would serve a request and why, without asking anybody; exits 1 when nobody would.

    Args:
        file: the request in JSON, as POST /v1/chat/completions takes it; '-' reads it from stdin.
        key: the public part of a key (the eight letters after 'tw_l_'), whose labels and limits
            hold; default: a key that may do everything.
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    settings = settings_of(config, data_dir)
    body = _read(file)
    told = _ask_gateway(settings, body, key)
    source = "gateway"
    if told is None:
        source = "configuration"
        note("no gateway of this installation runs: nothing is known of the health of endpoints")
        told = msgspec.json.encode(_explain_here(settings, body, key))
    explanation = msgspec.json.decode(told, type=Explanation)
    if as_json:
        print_json({"source": source, **msgspec.json.decode(told, type=dict[str, msgspec.Raw])})
    else:
        _print(explanation)
    return 0 if explanation.refusal is None else 1


def _read(file: Path) -> bytes:
    try:
        body = sys.stdin.buffer.read() if str(file) == "-" else file.read_bytes()
        msgspec.json.decode(body, type=dict[str, msgspec.Raw])
    except OSError as exc:
        raise CommandError(f"{file}: cannot be read: {exc.strerror}") from exc
    except msgspec.DecodeError as exc:
        raise CommandError(f"{file}: is not a request in JSON: {exc}") from exc
    return body


def _ask_gateway(settings: Settings, body: bytes, key: str | None) -> bytes | None:
    """What the running gateway says; None when there is none of this data directory."""
    directory = DataDirectory(settings.data_dir)
    if not directory.owner_token_file.exists():
        return None
    asked = {"request": msgspec.Raw(body), "kid": key}
    try:
        with httpx.Client(trust_env=False, timeout=_WITHIN_S) as client:
            answer = client.post(
                f"http://127.0.0.1:{settings.admin_port}/admin/explain",
                content=msgspec.json.encode(asked),
                headers={
                    "authorization": f"Bearer {directory.owner_token()}",
                    "content-type": "application/json",
                },
            )
    except httpx.TransportError:
        return None
    if answer.status_code == _UNAUTHORIZED:
        # Another installation listens there.
        return None
    if answer.status_code >= _WRONG:
        raise CommandError(_message(answer))
    return answer.content


def _message(answer: httpx.Response) -> str:
    try:
        return str(answer.json()["error"]["message"])
    except (ValueError, KeyError, TypeError):
        return f"the gateway answered {answer.status_code} to /admin/explain"


def _explain_here(settings: Settings, body: bytes, key: str | None) -> Explanation:
    directory = DataDirectory(settings.data_dir)
    directory.prepare()
    salt = split_salt(directory.pepper(settings.secret))
    stored = _stored(settings)
    offer = make_offer(settings, None)
    inputs = PlanInputs(
        catalogue=stored.catalogue,
        caller=_NOBODY if key is None else _caller(stored.callers, key),
        at=datetime.now(UTC),
        now_ms=0.0,
        health={},
        aliases=settings.aliases,
        slash_pins_provider=settings.routing.slash_pins_provider,
        expected_output_tokens=settings.routing.expected_output_tokens,
        configured_models=offer.configured_models,
        auto_pool=settings.routing.auto_models,
        fetches_media=settings.media.fetch,
        strategy=settings.routing.strategy,
        balance=BalanceWeights(**msgspec.structs.asdict(settings.routing.balance)),
        hash_key=salt[:_HASH_KEY_BYTES],
        seed=secrets.randbits(_SEED_BITS),
    )
    try:
        request = decode_chat_request(body, dialect=Dialect.OPENAI, headers={})
        ruled, inputs = govern(
            stored.rules, request, inputs, headers={}, secret_salt=salt, api="chat"
        )
        return explain_request(ruled.request, inputs, ruled)
    except GatewayError as exc:
        raise CommandError(exc.message) from exc


def _stored(settings: Settings) -> _Stored:
    tables = offered_tables(settings)
    text: str | None = None
    where = str(settings.rules_path)
    if settings.rules_path is not None:
        try:
            text = settings.rules_path.read_text("utf-8")
        except (OSError, UnicodeDecodeError) as exc:
            raise CommandError(f"{where}: cannot be read: {exc}") from exc

    async def load(connection: Connection) -> tuple[Catalogue, list[Caller], str]:
        changes = await load_price_changes(connection)
        callers = [caller for _, caller in await load_callers(connection)]
        stored = await active_rule_set(connection) if text is None else None
        return (
            apply_changes(tables, changes),
            callers,
            text if text is not None else "" if stored is None else stored.source,
        )

    with Database(settings, quiet=True) as database:
        bring_up_to_date(database.url)
        catalogue, callers, source = ask(database.url, load)
    try:
        rules = compile_rules(source, source=where if text is not None else "rule set")
    except RulesError as exc:
        raise CommandError(str(exc)) from exc
    return _Stored(catalogue=catalogue, callers=callers, rules=rules)


def _caller(callers: list[Caller], kid: str) -> Caller:
    for caller in callers:
        if caller.kid == kid:
            return caller
    raise CommandError(f"there is no key {kid!r} that works; 'tollway keys list' shows them")


def _print(told: Explanation) -> None:
    rules = told.rules
    say(
        f"{told.requested_model or '(no model)'}: {told.strategy or 'nobody'}, "
        f"about {told.prompt_tokens} tokens in and {told.expected_output_tokens} out"
    )
    if rules.applied or rules.version is not None:
        arms = "".join(f"; {one.rule}: arm {one.arm}" for one in rules.splits)
        say(f"rules {rules.version}: {', '.join(rules.applied) or 'none applied'}{arms}")
    if told.affinity.is_followed:
        say(
            f"{told.affinity.endpoint} holds the conversation in its cache ({told.affinity.source})"
        )
    if told.candidates:
        say()
        print_table(
            ["", "endpoint", "model", "USD expected", "probability", "score", "health", "price"],
            [_row(one) for one in told.candidates],
        )
    if told.exclusions or told.excluded_by:
        say()
        print_table(
            ["left out", "reason", "detail"],
            [(one.endpoint, one.reason.value, one.detail) for one in told.exclusions][
                :_SHOWN_EXCLUSIONS
            ],
        )
        counts = ", ".join(f"{count} by {reason}" for reason, count in told.excluded_by.items())
        say(f"In all {counts}.")
    say()
    if told.refusal is not None:
        say(f"{told.refusal.status} {told.refusal.code}: {told.refusal.message}")
    say(f"catalogue {told.catalogue_version}, seed {told.seed}")


def _row(one: ExplainedCandidate) -> tuple[object, ...]:
    cost: Any = msgspec.json.decode(one.expected_cost_usd, type=Decimal | None)
    score = None if one.score is None else f"{one.score.total:.4f}"
    probability = None if one.probability is None else f"{one.probability:.4f}"
    return (
        one.place,
        one.endpoint,
        one.model,
        cost,
        probability,
        score,
        ", ".join([*_words(one.health), *one.behind]) or "fine",
        None if one.price is None else one.price.version,
    )


def _words(health: ExplainedHealth) -> list[str]:
    words: list[str] = []
    if health.has_recent_outage:
        words.append("recent outage")
    if health.is_on_probation:
        words.append("on probation")
    if health.resting_for_s is not None:
        words.append(f"resting for {health.resting_for_s:.0f} s")
    if health.weight_factor < 1:
        words.append(f"weight x {health.weight_factor:.2f}")
    if health.latency_p50_ms is not None:
        words.append(f"{health.latency_p50_ms:.0f} ms")
    if health.throughput_p50_tokens_per_s is not None:
        words.append(f"{health.throughput_p50_tokens_per_s:.0f} tokens/s")
    return words
