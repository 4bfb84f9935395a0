"""What a client gets: a whole answer or a stream, settled and remembered before it ends.

A record is written before the answer ends, with no ``await`` between settling and writing.
"""

import asyncio
from collections.abc import AsyncGenerator, Callable

import msgspec

from gateway.chat.answer import Frame
from gateway.chat.shaping import Shape, shape_of, shape_whole
from gateway.chat.usage_report import to_json_number
from gateway.domain.errors import BudgetExceededError, OverloadedError
from gateway.domain.outcomes import Outcome
from gateway.exchange import Exchange
from gateway.execution.attempt import Attempt
from gateway.execution.drains import Drains, Shielded
from gateway.execution.failures import FailedAttempt, error_of
from gateway.execution.relay import Relay
from gateway.execution.runner import Served
from gateway.ledger.spool import SpoolUnwritableError
from gateway.providers.base import Completion, Fault, FaultError, StreamEvent

_OK = 200
_BUDGET = "budget"
"""Why a choice ended: its caller's budget is used up."""
_MAX_WARNINGS_HEADER = 1024
_CONTROLS = dict.fromkeys((*range(32), 127), " ")
"""No server sends a header that holds one of them."""


class WholeAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer in one piece."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes


class StreamedAnswer(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that has begun; close the generator whatever happens."""

    headers: list[tuple[str, str]]
    first: bytes
    """To be sent before the events; often nothing."""
    events: AsyncGenerator[bytes]


def answer_whole(exchange: Exchange, served: Served, completion: Completion) -> WholeAnswer:
    """Settle, remember, and only then render what the client gets."""
    exchange.upstream_model = completion.upstream_model
    exchange.warn(served.attempt.warnings)
    exchange.close(Outcome.SUCCESS, _OK)
    answered = exchange.answered
    choices, exchange.repairs = shape_whole(completion.choices, exchange.request)
    body = exchange.api.render(
        id=exchange.id,
        created=exchange.created,
        model=exchange.shown_model(answered.model),
        provider=answered.provider,
        choices=choices,
        usage=_usage(exchange, served),
        metadata=exchange.metadata(),
        extras=completion.extras,
        service_tier=completion.service_tier,
    )
    return WholeAnswer(status=_OK, headers=headers_of(exchange, served), body=body)


async def stream(
    exchange: Exchange,
    served: Served,
    drains: Drains | None,
    remember: Callable[[bytes], None] | None,
) -> AsyncGenerator[bytes]:
    """Nothing at first; then the events as the client sees them, the last ones with the cost."""
    relay, attempt = served.relay, served.attempt
    if relay is None:
        raise RuntimeError("a streamed answer has a relay")
    exchange.warn(attempt.warnings)
    exchange.journal.first_content_s = attempt.first_content_s
    endpoint = attempt.candidate.endpoint
    frame = exchange.api.frame(
        id=exchange.id,
        created=exchange.created,
        model=exchange.shown_model(endpoint.model),
        provider=endpoint.provider,
        prompt_tokens=exchange.request.prompt_tokens_estimate,
    )
    shape = shape_of(exchange.request)
    source = relay if drains is None else Shielded(relay)
    guard = exchange.guard(attempt.start)
    held: StreamEvent | None = None
    try:
        yield b"".join(map(frame.echo, exchange.echoes_with(attempt.echo)))
        while (events := await source.next()) is not None:
            if remember is not None:
                for event in events:
                    remember(event.choices)
            shown, held = _shown(events, held, frame, shape)
            if shown:
                yield shown
            if guard is not None and held is None and attempt.text_bytes > guard.until_bytes:
                await guard.extend()
        attempt.end(Outcome.SUCCESS)
        exchange.close(Outcome.SUCCESS, _OK)
        yield _closing(exchange, served, frame, held, shape)
    except FaultError as exc:
        yield _broken_off(exchange, served, frame, exc.fault)
    except BudgetExceededError as error:
        yield _cut_off(exchange, served, frame, error)
    except asyncio.CancelledError:
        interruption = exchange.interruption
        if not interruption.is_told or exchange.journal.is_closed:
            raise
        _stay_alive()
        attempt.end(interruption.outcome)
        exchange.close_interrupted()
        error = interruption.farewell()
        told = f"{error.message}; the answer is not complete"
        yield frame.error(told, error.kind, error.code) + frame.done
    except SpoolUnwritableError:
        error = unrecordable()
        yield frame.error(error.message, error.kind, error.code) + frame.done
    except Exception:
        attempt.end(Outcome.GATEWAY_ERROR)
        exchange.close_broken()
        raise
    finally:
        await _leave(exchange, attempt, source, drains)


def _broken_off(exchange: Exchange, served: Served, frame: Frame, fault: Fault) -> bytes:
    """The end of a stream that its provider did not bring to one."""
    endpoint = served.attempt.candidate.endpoint
    served.attempt.fail(fault)
    failed = FailedAttempt(endpoint=endpoint.id, provider=endpoint.provider, fault=fault)
    error = error_of([failed])
    exchange.close(fault.outcome, _OK, error_kind=error.code or error.kind)
    metadata = {**error.metadata, "usage": _usage_of_broken(exchange, served)}
    return frame.error(error.message, error.kind, error.code, metadata) + frame.done


def _cut_off(exchange: Exchange, served: Served, frame: Frame, error: BudgetExceededError) -> bytes:
    """The end of a stream that costs more than its caller's budget holds."""
    attempt = served.attempt
    attempt.finish_reason = _BUDGET
    attempt.end(Outcome.BUDGET_EXCEEDED)
    exchange.close(Outcome.BUDGET_EXCEEDED, _OK, error_kind=error.code)
    metadata = {**error.metadata, "usage": _usage_of_broken(exchange, served)}
    told = f"the answer is not complete: {error.message}"
    return frame.error(told, error.kind, error.code, metadata, finish_reason=_BUDGET) + frame.done


async def _leave(
    exchange: Exchange, attempt: Attempt, source: Relay | Shielded, drains: Drains | None
) -> None:
    """The stream is over, or its caller is gone: record what has none, and stop the provider."""
    if drains is not None and isinstance(source, Shielded) and exchange.is_abandoned:
        drains.start(_read_on(exchange, attempt, source))
        return
    attempt.end(exchange.interruption.outcome)
    if not exchange.journal.is_closed:
        exchange.close_interrupted()
    await source.aclose()


async def _read_on(exchange: Exchange, attempt: Attempt, source: Shielded) -> None:
    """The caller is gone, the provider bills on: its last event tells what it counted."""
    try:
        while await source.next() is not None:
            pass
    except FaultError:
        # What was seen until here is all there will be.
        pass
    finally:
        attempt.end(exchange.interruption.outcome)
        exchange.close_interrupted()
        await source.aclose()


def _shown(
    events: list[StreamEvent], held: StreamEvent | None, frame: Frame, shape: Shape | None
) -> tuple[bytes, StreamEvent | None]:
    """What of these events goes out now, and the finish that waits for the usage behind it."""
    shown: list[bytes] = []
    for event in events:
        if event.finish_reason is not None:
            if held is not None:
                choices = held.choices if shape is None else shape(held.choices)
                shown.append(frame.chunk(choices, held.extras))
            held = event
            continue
        choices = event.choices if shape is None else shape(event.choices)
        if choices != b"[]":
            shown.append(frame.chunk(choices, event.extras))
    return b"".join(shown), held


def _closing(
    exchange: Exchange,
    served: Served,
    frame: Frame,
    held: StreamEvent | None,
    shape: Shape | None,
) -> bytes:
    """The finish and the accounts: apart when the client asked for usage, else in one chunk."""
    choices, extras = (held.choices, held.extras) if held is not None else (b"[]", b"")
    choices = choices if shape is None else shape(choices)
    usage, metadata = _usage(exchange, served), exchange.metadata()
    if exchange.request.include_usage:
        accounts = frame.with_usage(b"[]", b"", usage, metadata)
        return frame.chunk(choices, extras) + accounts + frame.done
    return frame.with_usage(choices, extras, usage, metadata) + frame.done


def _usage(exchange: Exchange, served: Served) -> bytes:
    answered = exchange.answered
    return exchange.api.render_usage(
        answered.usage,
        answered.cost,
        is_estimated=answered.usage_source == "estimated",
        details=served.attempt.usage_details,
        **({"is_byok": True} if exchange.is_of_caller else {}),
    )


def _usage_of_broken(exchange: Exchange, served: Served) -> msgspec.Raw:
    """What a stream that broke off used and cost; the provider bills it all the same."""
    number = served.attempt.start.number
    broken = next(one for one in exchange.journal.attempts if one.number == number)
    return msgspec.Raw(
        exchange.api.render_usage(
            broken.usage, broken.cost, is_estimated=broken.usage_source == "estimated"
        )
    )


def headers_of(exchange: Exchange, served: Served) -> list[tuple[str, str]]:
    """Who answers, at which attempt, and, once it is known, for how much."""
    plan, journal, record = exchange.plan, exchange.journal, exchange.record
    endpoint = served.attempt.candidate.endpoint
    headers = [
        ("content-type", "text/event-stream" if exchange.request.stream else "application/json"),
        ("cache-control", "no-cache"),
        # Reverse proxies would otherwise hold a stream back until their buffer is full.
        ("x-accel-buffering", "no"),
        ("x-generation-id", exchange.id),
        ("x-tollway-attempts", str(len(journal.attempts) + (record is None))),
        ("x-tollway-provider", endpoint.provider),
        ("x-tollway-model", endpoint.model),
    ]
    if record is not None:
        headers.append(("x-tollway-cost-usd", to_json_number(record.cost_usd)))
    if exchange.warnings:
        text = "; ".join(exchange.warnings)[:_MAX_WARNINGS_HEADER].translate(_CONTROLS)
        headers.append(("x-tollway-warnings", text.encode("ascii", "replace").decode()))
    if plan is not None:
        headers.append(("x-tollway-strategy", plan.strategy))
    if exchange.toll is not None:
        headers += exchange.toll.headers
    return headers


def unrecordable() -> OverloadedError:
    """The refusal while nothing can be remembered."""
    return OverloadedError(
        "requests cannot be recorded now (the spool is full, or its disk fails)",
        code="spool_unwritable",
        retry_after_s=5,
    )


def _stay_alive() -> None:
    """Take back the cancellation that asked for a farewell, so that it can be said."""
    task = asyncio.current_task()
    if task is not None:
        task.uncancel()
