"""``tollway requests``: what became of a request, attempt by attempt, line by line."""

import time
from collections.abc import Sequence
from typing import cast
from uuid import UUID

from cyclopts import App

from gateway.cli.database import Database, ask
from gateway.cli.options import AsJson, Config, DataDir, settings_of
from gateway.cli.printing import CommandError, print_json, print_table, say
from gateway.domain.ids import day_of, parse_generation_id, to_generation_id
from gateway.domain.plain_json import plain
from gateway.domain.records import AttemptRecord, RequestRecord
from gateway.storage.adjustments import Adjustment, adjustments_of, effective_request_usd
from gateway.storage.queries import read_record
from pricing.cost import difference_usd, drift_of
from pricing.price import STANDARD_SERVICE_TIERS
from pricing.usage import METERS

requests = App(name="requests", help="Look into recorded requests.")
_WAIT_S = 2.0
_PAUSE_S = 0.1


@requests.command
def show(
    generation_id: str,
    /,
    *,
    config: Config = None,
    data_dir: DataDir = None,
    as_json: AsJson = False,
) -> None:
    """Show a request with its attempts, usage, cost lines and price versions.

    Args:
        generation_id: the answer's id, gen-… (also in the header X-Generation-Id).
        config: the tollway.toml to read.
        data_dir: where data lies.
        as_json: print JSON, for programs.
    """
    try:
        request_id = parse_generation_id(generation_id)
    except ValueError as exc:
        raise CommandError(str(exc)) from exc
    with Database(settings_of(config, data_dir), quiet=as_json) as database:
        record = _await_record(database.url, request_id)
        adjustments = _adjustments(database.url, record)
    if record is None:
        raise CommandError(
            f"there is no request {generation_id}; it may belong to another installation "
            "(--data-dir, TOLLWAY_DATABASE_URL), or lie in the spool of a gateway that is down"
        )
    if as_json:
        told = {"generation_id": to_generation_id(record.id), **_as_dict(record)}
        print_json({**told, "adjustments": adjustments})
    else:
        _print(record, adjustments)


def _await_record(database_url: str, request_id: UUID) -> RequestRecord | None:
    """The record; one that was just answered may need a moment on its way from the spool."""
    until_s = time.monotonic() + _WAIT_S
    while True:
        record = ask(database_url, lambda connection: read_record(connection, request_id))
        if record is not None or time.monotonic() >= until_s:
            return record
        time.sleep(_PAUSE_S)


def _adjustments(database_url: str, record: RequestRecord | None) -> list[Adjustment]:
    if record is None:
        return []
    found, day = record.id, day_of(record.id)
    return ask(database_url, lambda connection: adjustments_of(connection, found, day))


def _as_dict(record: RequestRecord) -> dict[str, object]:
    return {field: getattr(record, field) for field in record.__struct_fields__}


def _print(record: RequestRecord, adjustments: Sequence[Adjustment]) -> None:
    say(f"{to_generation_id(record.id)}  {record.received_at:%Y-%m-%d %H:%M:%S.%f} UTC")
    asked = record.requested_model
    if record.requested_provider:
        asked += f" (pinned to {record.requested_provider})"
    say(f"asked for    {asked}")
    answered = f"{record.used_model} by {record.used_provider}" if record.used_model else "nobody"
    say(f"answered by  {answered}{' (fallback)' if record.is_fallback else ''}")
    kind = f", {record.error_kind}" if record.error_kind else ""
    say(f"outcome      {record.outcome} (status {record.status_code}{kind})")
    cost = "unknown" if record.cost_usd is None else f"${plain(record.cost_usd)}"
    paid = ", paid by its caller" if record.is_paid_by_caller else ""
    say(f"cost         {cost} ({record.cost_status}{paid})")
    if adjustments:
        now = effective_request_usd(record.cost_usd, adjustments)
        corrected = "unknown" if now is None else f"${plain(now)}"
        say(f"corrected    {corrected}, since prices were corrected")
    if record.baseline_cost_usd is not None:
        say(f"baseline     ${plain(record.baseline_cost_usd)} for the same answer")
    say(f"took         {record.duration_ms:.1f} ms, of it ours {record.overhead_ms or 0:.2f} ms")
    if record.labels:
        pairs = sorted(record.labels.items())
        say("labels       " + ", ".join(f"{name}={value}" for name, value in pairs))
    if record.tags:
        pairs = sorted(record.tags.items())
        say("metadata     " + ", ".join(f"{name}={value}" for name, value in pairs))
    if record.rule_version is not None:
        applied = cast("list[str]", record.plan.get("rules", []))
        say(f"rules        version {record.rule_version}: {', '.join(applied) or 'none applied'}")
    for warning in record.warnings:
        say(f"warning      {warning}")
    for attempt in record.attempts:
        say()
        _print_attempt(attempt)
        for one in adjustments:
            if one.number == attempt.number:
                say(
                    f"  corrected to {plain(one.new_cost_usd)} USD ({one.cost_status}, price "
                    f"version {one.price_version}) on {one.recorded_at:%Y-%m-%d %H:%M} UTC by "
                    f"{one.recorded_by}: {one.reason}"
                )
    _print_exclusions(record.plan)


def _print_attempt(attempt: AttemptRecord) -> None:
    say(
        f"attempt {attempt.number} ({attempt.kind})  {attempt.endpoint}  {attempt.outcome}"
        f"  status {attempt.status_code}  {attempt.duration_ms:.1f} ms"
    )
    if attempt.error_message:
        say(f"  {attempt.error_message}")
    say(f"  price version  {attempt.cost.price_version or 'none'}")
    if attempt.service_tier is not None and attempt.service_tier not in STANDARD_SERVICE_TIERS:
        say(f"  service tier   {attempt.service_tier}")
    if attempt.served_region is not None:
        say(f"  processed in   {attempt.served_region}")
    usage = attempt.usage
    if usage is None:
        say("  nothing was metered")
        return
    rows = [
        (meter, getattr(usage, meter), attempt.cost.lines.get(meter))
        for meter in METERS
        if getattr(usage, meter)
    ]
    cost = attempt.cost
    total = cost.total_usd
    drift = drift_of(cost)
    print_table(
        [f"  usage ({attempt.usage_source})", "quantity", "USD"],
        [(f"  {meter}", quantity, line) for meter, quantity, line in rows]
        + [(f"  total ({cost.status}, {cost.source})", "", total)],
    )
    if drift is not None and cost.computed_usd is not None:
        off = format(difference_usd(total, cost.computed_usd), "+f")
        share = "at most" if drift == "within" else "more than"
        say(f"  the provider told its cost: {off} USD on our own figure, {share} 1 % of it")


def _print_exclusions(plan: dict[str, object]) -> None:
    counts = plan.get("excluded_by")
    if isinstance(counts, dict) and counts:
        counted = cast("dict[str, object]", counts)
        say()
        say("excluded     " + ", ".join(f"{reason}: {count}" for reason, count in counted.items()))
