"""The list of single requests as a reader sees it, and their ids. Pure."""

from collections.abc import Callable
from decimal import Decimal
from typing import Any
from uuid import UUID

import msgspec
import polars as pl

from dashboard import numbers
from dashboard.queries.series import FAILED, RESCUED, SERVED

REFUSED, GIVEN_UP = "refused", "given up"
OUTCOME_WORDS = (SERVED, RESCUED, FAILED, REFUSED, GIVEN_UP)
"""What became of a request, in a word: the last two say nothing about any provider."""

_VERSION = 7
_YEAR_10000_MS = 253_402_300_800_000


def outcome_word() -> pl.Expr:
    """What became of each row of `schemas.REQUESTS`, of `OUTCOME_WORDS`."""
    is_success = pl.col("outcome") == "success"
    return (
        pl.when(is_success & pl.col("is_fallback"))
        .then(pl.lit(RESCUED))
        .when(is_success)
        .then(pl.lit(SERVED))
        .when(pl.col("outcome") == "refused")
        .then(pl.lit(REFUSED))
        .when(pl.col("outcome").is_in(["client_cancelled", "gateway_shutdown"]))
        .then(pl.lit(GIVEN_UP))
        .otherwise(pl.lit(FAILED))
    )


def request_table(page: pl.DataFrame, zone: str) -> pl.DataFrame:
    """`schemas.REQUESTS` as the columns that a reader sees, in their order: texts and chips."""
    reason = pl.coalesce("error_kind", "outcome").str.replace_all("_", " ", literal=True)
    is_served = pl.col("used_provider").is_not_null()
    return page.select(
        Id="…" + pl.col("id").str.tail(8),
        When=pl.col("received_at").dt.convert_time_zone(zone).dt.to_string("%a %-d %b %H:%M:%S"),
        Outcome=pl.concat_list(outcome_word()),
        Model=pl.coalesce("used_model", "requested_model"),
        **{
            "Served by": pl.when(is_served).then(pl.concat_list("used_provider")),
            "Cost": _written("cost_usd", numbers.usd),
            "Total": _written("duration_ms", numbers.duration),
            "First": _written("ttft_ms", numbers.duration),
            "In": _written("prompt_tokens", numbers.count),
            "Out": _written("completion_tokens", numbers.count),
            "Key": pl.col("key_name"),
            "Labels": pl.col("labels").map_elements(_label_words, pl.String),
            "Reason": pl.when(~is_served).then(reason),
        },
    )


def corrected(page: pl.DataFrame, adjustments: pl.DataFrame) -> pl.DataFrame:
    """`schemas.REQUESTS` with `schemas.ADJUSTMENTS` of these requests in their costs."""
    added = (
        adjustments.filter(pl.col("request_difference_usd").is_not_null())
        .group_by("request_id")
        .agg(pl.col("request_difference_usd").sum().alias("added_usd"))
    )
    money = page.schema["cost_usd"]
    nothing = pl.lit(Decimal(0), money)
    known = (pl.col("cost_usd").fill_null(nothing) + pl.col("added_usd")).cast(money)
    return (
        page.join(added, left_on="id", right_on="request_id", how="left", maintain_order="left")
        .with_columns(
            cost_usd=pl.when(pl.col("added_usd").is_not_null())
            .then(known)
            .otherwise(pl.col("cost_usd"))
        )
        .drop("added_usd")
    )


def parse_request_id(text: str) -> str | None:
    """The UUID, as text, behind ``gen-…`` or a plain UUID; None when it is neither."""
    try:
        found = UUID(hex=text.strip().removeprefix("gen-").replace("-", ""))
    except ValueError:
        return None
    # Only a version 7 carries the time by which its row is found.
    return str(found) if found.version == _VERSION and found.int >> 80 < _YEAR_10000_MS else None


def generation_id(request_id: str) -> str:
    """The id as clients see it."""
    return f"gen-{request_id.replace('-', '')}"


def _written(column: str, write: Callable[[Any], str]) -> pl.Expr:
    return pl.col(column).map_elements(write, pl.String).fill_null(numbers.UNKNOWN)


def _label_words(labels: str) -> str:
    found = msgspec.json.decode(labels, type=dict[str, str])
    return ", ".join(f"{name}={value}" for name, value in sorted(found.items()))
