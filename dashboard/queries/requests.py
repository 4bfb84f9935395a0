"""The list of single requests as a reader sees it, and their ids. Pure."""

from uuid import UUID

import polars as pl

from dashboard.queries.series import FAILED, RESCUED, SERVED

REFUSED, GIVEN_UP = "refused", "given up"
OUTCOME_WORDS = (SERVED, RESCUED, FAILED, REFUSED, GIVEN_UP)
"""What became of a request, in a word: the last two say nothing about any provider."""

_VERSION = 7
_YEAR_10000_MS = 253_402_300_800_000


def request_table(page: pl.DataFrame, zone: str) -> pl.DataFrame:
    """`schemas.REQUESTS` with ``path`` as the columns that a reader sees, in their order."""
    is_success = pl.col("outcome") == "success"
    return page.select(
        Id="…" + pl.col("id").str.tail(8),
        When=pl.col("received_at").dt.convert_time_zone(zone).dt.to_string("%a %-d %b %H:%M:%S"),
        Outcome=pl.concat_list(
            pl.when(is_success & pl.col("is_fallback"))
            .then(pl.lit(RESCUED))
            .when(is_success)
            .then(pl.lit(SERVED))
            .when(pl.col("outcome") == "refused")
            .then(pl.lit(REFUSED))
            .when(
                pl.col("outcome").is_in(["client_cancelled", "gateway_shutdown", "budget_exceeded"])
            )
            .then(pl.lit(GIVEN_UP))
            .otherwise(pl.lit(FAILED))
        ),
        Model=pl.coalesce("used_model", "requested_model"),
        **{
            "Served by": pl.when(pl.col("used_provider").is_not_null()).then(
                pl.concat_list("used_provider")
            ),
            "Attempts": pl.col("path").fill_null(
                pl.coalesce("error_kind", "outcome").str.replace_all("_", " ", literal=True)
            ),
            "Cost": pl.col("cost_usd"),
            "Total": pl.col("duration_ms"),
            "First token": pl.col("ttft_ms"),
            "In": pl.col("prompt_tokens"),
            "Out": pl.col("completion_tokens"),
            "Key": pl.col("key_name"),
        },
    )


def attempt_paths(attempts: pl.DataFrame) -> pl.DataFrame:
    """Each request's way in one line: ``request_id``, ``path`` ("groq: rate limited → openai")."""
    step = (
        pl.when(pl.col("outcome") == "success")
        .then(pl.col("provider"))
        .otherwise(
            pl.col("provider") + ": " + pl.col("outcome").str.replace_all("_", " ", literal=True)
        )
    )
    return (
        attempts.sort("request_id", "number")
        .group_by("request_id", maintain_order=True)
        .agg(step.str.join(" → ").alias("path"))
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
