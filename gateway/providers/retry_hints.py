"""How long a provider asks us to wait, from the headers of its refusal.

OpenAI sends ``retry-after-ms`` and durations like ``6m0s`` in ``x-ratelimit-reset-*``; Azure
``x-ms-retry-after-ms``; the standard is ``retry-after`` with seconds or a date. Anthropic also
tells instants in ``anthropic-ratelimit-*-reset``.
"""

import math
import re
from collections.abc import Mapping
from datetime import datetime
from email.utils import parsedate_to_datetime

_MS = ("retry-after-ms", "x-ms-retry-after-ms")
_RESETS = ("requests", "tokens")
_ANTHROPIC = ("requests", "tokens", "input-tokens", "output-tokens")
_DURATION = re.compile(
    r"(?:(\d+)d)?(?:(\d+)h)?(?:(\d+)m(?!s))?(?:(\d+(?:\.\d+)?)s)?(?:(\d+(?:\.\d+)?)ms)?"
)
_PARTS_MS = (86_400_000.0, 3_600_000.0, 60_000.0, 1_000.0, 1.0)
_MS_PER_S = 1000.0


def retry_after_ms(headers: Mapping[str, str]) -> float | None:
    """Milliseconds to wait; None when the headers do not say, or say nonsense.

    A date is compared with the response's own ``Date``, so that no clock is needed here. Reset
    headers count only for limits that are used up. Large values are passed on as they are: how long
    an endpoint rests at most is not decided here.
    """
    for name in _MS:
        wait = _number(headers.get(name))
        if wait is not None:
            return wait
    text = headers.get("retry-after")
    if text is not None:
        seconds = _number(text)
        wait = _until_date(text, headers.get("date")) if seconds is None else seconds * _MS_PER_S
        if wait is not None and math.isfinite(wait):
            return wait
    wait = _longest_reset(headers)
    return _latest_instant(headers) if wait is None else wait


def _number(text: str | None) -> float | None:
    """A finite number that is not negative."""
    if text is None:
        return None
    try:
        value = float(text)
    except ValueError:
        return None
    return value if math.isfinite(value) and value >= 0 else None


def _until_date(text: str, now: str | None) -> float | None:
    if now is None:
        return None
    try:
        wait_s = (parsedate_to_datetime(text) - parsedate_to_datetime(now)).total_seconds()
    except (ValueError, TypeError, OverflowError):
        return None
    return max(0.0, wait_s * _MS_PER_S)


def _longest_reset(headers: Mapping[str, str]) -> float | None:
    waits = [
        wait
        for kind in _RESETS
        if headers.get(f"x-ratelimit-remaining-{kind}", "0").strip() == "0"
        and (wait := parse_duration_ms(headers.get(f"x-ratelimit-reset-{kind}"))) is not None
    ]
    return max(waits, default=None)


def _latest_instant(headers: Mapping[str, str]) -> float | None:
    """Until the last of Anthropic's used up limits is whole again."""
    waits: list[float] = []
    for kind in _ANTHROPIC:
        name = f"anthropic-ratelimit-{kind}"
        if headers.get(f"{name}-remaining", "").strip() != "0":
            continue
        try:
            at = datetime.fromisoformat(headers.get(f"{name}-reset", ""))
            now = parsedate_to_datetime(headers.get("date", ""))
            waits.append(max(0.0, (at - now).total_seconds() * _MS_PER_S))
        except (ValueError, TypeError, OverflowError):
            continue
    return max(waits, default=None)


def parse_duration_ms(text: str | None) -> float | None:
    """Milliseconds of a duration such as ``1s``, ``6m0s``, ``20ms`` or ``1.5`` (seconds)."""
    if not text:
        return None
    seconds = _number(text)
    if seconds is not None:
        return seconds * _MS_PER_S
    found = _DURATION.fullmatch(text.strip())
    if found is None or not any(found.groups()):
        return None
    total = sum(
        float(part) * unit for part, unit in zip(found.groups(), _PARTS_MS, strict=True) if part
    )
    return total if math.isfinite(total) else None
