"""Reads what providers export of their own accounts: costs and usage, by day and model.

OpenAI: the answers of ``/v1/organization/costs`` (``group_by=line_item``) and
``/v1/organization/usage/completions`` (``group_by=model``), or CSV with their columns. Anthropic:
those of ``/v1/organizations/cost_report`` (``group_by[]=description``; amounts in cents) and
``/v1/organizations/usage_report/messages`` (``group_by[]=model``), or CSV with their columns.
"""

import csv
import io
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from decimal import Decimal
from typing import Any, cast

from pricing.reconciling import Account

PROVIDERS = ("openai", "anthropic")
_CENTS_EXPONENT = -2
_DAYS = ("date", "day", "start_time", "starting_at", "start_time_iso", "usage_date_utc")
_MODELS = ("model", "model_version", "line_item", "snapshot_id")
_PROMPT = ("input_tokens", "n_context_tokens_total", "prompt_tokens")
_PARTS = (
    "uncached_input_tokens", "usage_input_tokens_no_cache", "cache_read_input_tokens",
    "usage_input_tokens_cache_read", "cache_creation_input_tokens", "ephemeral_5m_input_tokens",
    "ephemeral_1h_input_tokens", "usage_input_tokens_cache_write_5m",
    "usage_input_tokens_cache_write_1h",
)  # fmt: skip
_COMPLETION = (
    "output_tokens", "usage_output_tokens", "n_generated_tokens_total", "completion_tokens",
)  # fmt: skip
_REQUESTS = ("num_model_requests", "n_requests", "requests")
_COSTS = ("cost_usd", "amount_value", "cost", "amount")
_YEARS = range(2020, 2100)
_MOST = Decimal(10) ** 15
"""Neither tokens nor dollars of a day come near."""


class AccountError(ValueError):
    """An export that cannot be read; names the column that is missing, or the wrong value."""


def read_account(provider: str, content: bytes) -> list[Account]:
    """What an export says, one entry for each of its rows; a fee of no model has '' for it.

    Raises:
        AccountError: it is neither form, a column is missing, or a value is wrong.
    """
    text = content.decode("utf-8-sig", "replace")
    is_json = text.lstrip()[:1] in {"{", "["}
    rows = _rows_of_json(text) if is_json else _rows_of_csv(text)
    try:
        found = [
            account
            for number, row in rows
            if (account := _account(provider, row, number)) is not None
        ]
    except csv.Error as exc:
        raise AccountError(f"not valid CSV: {exc}") from exc
    if not found:
        raise AccountError("the export has no rows")
    if not any(account.model for account in found):
        raise AccountError("no row names a model: export it by `model` or `line_item`")
    return found


Row = Mapping[str, Any]


def _rows_of_csv(text: str) -> Iterable[tuple[str, Row]]:
    reader = csv.DictReader(io.StringIO(text, newline=None))
    columns = [name.strip() for name in reader.fieldnames or ()]
    _require(columns, _DAYS, "the day")
    _require(columns, _MODELS, "the model")
    _require(columns, (*_COSTS, *_PROMPT, *_PARTS), "a cost or tokens")
    for number, row in enumerate(reader, start=2):
        yield f"line {number}", {str(name).strip(): value for name, value in row.items() if name}


def _require(columns: Iterable[str], known: tuple[str, ...], what: str) -> None:
    if not set(columns) & set(known):
        raise AccountError(
            f"no column tells {what}: one of {', '.join(known)} is needed; "
            f"the export has {', '.join(columns) or 'none'}"
        )


def _rows_of_json(text: str) -> Iterable[tuple[str, Row]]:
    """Pages of buckets with results, several pages in a list, or plain rows."""
    try:
        document: Any = json.loads(text, parse_float=Decimal)
    except (ValueError, RecursionError) as exc:
        raise AccountError(f"not valid JSON: {exc}") from exc
    pages = cast("list[Any]", document) if isinstance(document, list) else [document]
    last = cast("dict[str, Any]", pages[-1]) if pages and isinstance(pages[-1], dict) else {}
    if last.get("has_more") is True:
        raise AccountError("the last page says that there are more: put all of them into one list")
    for page in pages:
        if not isinstance(page, dict):
            raise AccountError("an entry is not an object")
        table = cast("dict[str, Any]", page)
        buckets = table.get("data", [table])
        if not isinstance(buckets, list):
            raise AccountError("`data` is not a list")
        for place, bucket in enumerate(cast("list[Any]", buckets)):
            if not isinstance(bucket, dict):
                raise AccountError(f"data[{place}] is not an object")
            yield from _results(cast("dict[str, Any]", bucket), f"data[{place}]")


def _results(bucket: dict[str, Any], place: str) -> Iterable[tuple[str, Row]]:
    results = bucket.get("results")
    if not isinstance(results, list):
        yield place, bucket
        return
    for number, result in enumerate(cast("list[Any]", results)):
        if not isinstance(result, dict):
            raise AccountError(f"{place}.results[{number}] is not an object")
        yield f"{place}.results[{number}]", {**bucket, **cast("dict[str, Any]", result)}


def _account(provider: str, row: Row, place: str) -> Account | None:
    model, cost_usd = _model(row), _cost(provider, row, place)
    if model is None:
        # Fees that belong to no model, such as those of storage.
        return Account(day=_day(row, place), model="", cost_usd=cost_usd) if cost_usd else None
    prompt = _count(row, _PROMPT, place)
    if prompt is None or provider == "anthropic":
        parts = [_count(row, (name,), place) for name in _PARTS]
        parts += [_count(_inner(row, "cache_creation"), (name,), place) for name in _PARTS]
        known = [part for part in parts if part is not None]
        prompt = sum(known) if known else prompt
    return Account(
        day=_day(row, place),
        model=model,
        cost_usd=cost_usd,
        prompt_tokens=prompt,
        completion_tokens=_count(row, _COMPLETION, place),
        requests=_count(row, _REQUESTS, place),
    )


def _inner(row: Row, name: str) -> Row:
    inner = row.get(name)
    return cast("dict[str, Any]", inner) if isinstance(inner, dict) else {}


def _first(row: Row, names: Iterable[str]) -> tuple[str, Any] | None:
    for name in names:
        value = row.get(name)
        if value is not None and value != "":
            return name, value
    return None


def _model(row: Row) -> str | None:
    found = _first(row, _MODELS)
    if found is None or not isinstance(found[1], str):
        return None
    name, text = found
    # A line item is "gpt-4o-2024-08-06, cached input": the model, and what of it.
    return text.partition(",")[0].strip() if name == "line_item" else text.strip()


def _day(row: Row, place: str) -> date:
    found = _first(row, _DAYS)
    if found is None:
        raise AccountError(f"{place}: no `{_DAYS[0]}`, and none of {', '.join(_DAYS[1:])}")
    name, value = found
    try:
        if isinstance(value, int) or str(value).isdigit():
            instant = datetime.fromtimestamp(int(value), UTC)
        else:
            instant = datetime.fromisoformat(str(value).replace(" UTC", ""))
        day = (instant if instant.tzinfo else instant.replace(tzinfo=UTC)).astimezone(UTC).date()
    except (ValueError, OverflowError, OSError) as exc:
        raise AccountError(f"{place}: `{name}` is {value!r}, not a day") from exc
    if day.year not in _YEARS:
        raise AccountError(f"{place}: `{name}` is {value!r}, not a day of a provider's account")
    return day


def _count(row: Row, names: Iterable[str], place: str) -> int | None:
    found = _first(row, names)
    if found is None:
        return None
    name, value = found
    try:
        count = Decimal(str(value))
    except ArithmeticError:
        count = Decimal(-1)
    if not count.is_finite() or not 0 <= count < _MOST or count != int(count):
        raise AccountError(f"{place}: `{name}` is {value!r}, not a count")
    return int(count)


def _cost(provider: str, row: Row, place: str) -> Decimal | None:
    found = _first(row, _COSTS)
    if found is None:
        return None
    name, value = found
    currency = row.get("currency") or row.get("amount_currency")
    if isinstance(value, dict):
        table = cast("dict[str, Any]", value)
        currency, value = table.get("currency", currency), table.get("value")
    if currency is not None and str(currency).lower() != "usd":
        raise AccountError(f"{place}: the currency is {currency!r}; only USD is compared")
    try:
        amount = Decimal(str(value))
    except ArithmeticError:
        raise AccountError(f"{place}: `{name}` is {value!r}, not an amount") from None
    if not amount.is_finite() or abs(amount) >= _MOST:
        raise AccountError(f"{place}: `{name}` is {value!r}, not an amount")
    # Anthropic's cost report counts cents, as its documentation says; `cost_usd` counts dollars.
    return (
        amount.scaleb(_CENTS_EXPONENT) if provider == "anthropic" and name == "amount" else amount
    )
