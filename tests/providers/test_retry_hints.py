"""How long a provider asks us to wait."""

import pytest

from gateway.providers.retry_hints import parse_duration_ms, retry_after_ms

NOW = "Sat, 21 Nov 2026 10:00:00 GMT"


@pytest.mark.parametrize(
    ("headers", "wait_ms"),
    [
        pytest.param({}, None, id="nothing"),
        pytest.param({"retry-after": "2"}, 2000, id="seconds"),
        pytest.param({"retry-after": "0.5"}, 500, id="fraction"),
        pytest.param({"retry-after": "1000000000"}, 1e12, id="absurd-but-said"),
        pytest.param({"retry-after": "-1"}, None, id="minus"),
        pytest.param({"retry-after": "NaN"}, None, id="nan"),
        pytest.param({"retry-after": "inf"}, None, id="infinite"),
        pytest.param({"retry-after": "1e308"}, None, id="beyond-numbers"),
        pytest.param({"retry-after": "soon"}, None, id="words"),
        pytest.param({"retry-after-ms": "150", "retry-after": "9"}, 150, id="ms-first"),
        pytest.param(
            {"x-ms-retry-after-ms": "70", "retry-after": "9"}, 70, id="azure-before-seconds"
        ),
        pytest.param({"retry-after-ms": "x", "retry-after": "9"}, 9000, id="ms-unreadable"),
        pytest.param(
            {"retry-after": "Sat, 21 Nov 2026 10:00:07 GMT", "date": NOW}, 7000, id="http-date"
        ),
        pytest.param(
            {"retry-after": "Sat, 21 Nov 2026 09:00:00 GMT", "date": NOW}, 0, id="past-date"
        ),
        pytest.param({"retry-after": "Sat, 21 Nov 2026 10:00:07 GMT"}, None, id="date-alone"),
        pytest.param({"x-ratelimit-reset-requests": "6m0s"}, 360_000, id="reset"),
        pytest.param(
            {
                "x-ratelimit-remaining-requests": "5",
                "x-ratelimit-reset-requests": "6m0s",
                "x-ratelimit-remaining-tokens": "0",
                "x-ratelimit-reset-tokens": "20ms",
            },
            20,
            id="only-the-limit-that-is-used-up",
        ),
    ],
)
def test_headers_say_how_long(headers: dict[str, str], wait_ms: float | None) -> None:
    assert retry_after_ms(headers) == wait_ms


@pytest.mark.parametrize(
    ("text", "ms"),
    [
        ("1s", 1000),
        ("6m0s", 360_000),
        ("20ms", 20),
        ("1h2m3.5s", 3_723_500),
        ("1d", 86_400_000),
        ("7.66s", 7660),
        ("2", 2000),
        ("", None),
        (None, None),
        ("x", None),
    ],
)
def test_durations(text: str | None, ms: float | None) -> None:
    assert parse_duration_ms(text) == ms
