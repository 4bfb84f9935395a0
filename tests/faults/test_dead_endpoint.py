"""A dead endpoint costs its callers nothing and gets hardly a call, however it is dead.

Every fault that the simulator knows, each at a provider of its own with a healthy alternate beside
it, 50 requests a second. ``TOLLWAY_LONG_TESTS=1`` sends 1,000 for each fault instead of a few.
"""

import asyncio
import json
import os
import time
from collections import Counter
from collections.abc import Callable, Iterator
from itertools import islice
from typing import Any

import aiohttp
import msgspec
import pytest
from sqlalchemy import func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.simulator.script import ENDINGS
from gateway.storage.tables import request_record
from tests.installation import (
    MESSAGES,
    Gateway,
    SimulatorProcess,
    closed_port,
    installation,
    provider_toml,
    wait_until,
)

IS_LONG = os.environ.get("TOLLWAY_LONG_TESTS") == "1"
REQUESTS = 1_000 if IS_LONG else 40
SIDE_BY_SIDE = 5
PER_S = 50
LATE_S = 0.3
MOST_CALLS_PER_PLANNED = 1.15

# The behaviour of the dead endpoint, and whether streams are asked. What strikes in the middle of
# a stream strikes here before its first event: after the first token nobody else may go on.
DEAD: dict[str, tuple[str, bool]] = {
    "refused": ("", False),
    "refused-stream": ("", True),
    **{f"status-{status}": (str(status), False) for status in (500, 502, 503, 504, 529, 408, 409)},
    "status-500-stream": ("500", True),
    "refused-credential": ("401", False),
    "forbidden": ("403", True),
    "no-money": ("402", False),
    "insufficient-quota": ("insufficient_quota", False),
    "unknown-model": ("404", False),
    "rate-limited": ("429", False),
    "rate-limited-for-2-s": ("429,retry_after=2", True),
    "overloaded-for-1-s": ("503,retry_after=1", False),
    "redirect": ("redirect", False),
    "hang": ("hang", False),
    "hang-stream": ("hang", True),
    "hang-headers": ("hang_headers", True),
    "hang-mid": ("hang_mid@0", True),
    "hang-mid-whole": ("hang_mid", False),
    "reset": ("reset", False),
    "reset-mid": ("reset_mid@0", True),
    "reset-mid-whole": ("reset_mid", False),
    "close": ("close", True),
    "truncated": ("truncated@0", True),
    "truncated-whole": ("truncated", False),
    "truncated-clean": ("truncated_clean@0", True),
    "truncated-clean-whole": ("truncated_clean", False),
    "bad-chunk": ("bad_chunk@0", True),
    "malformed-json": ("malformed_json@0", True),
    "malformed-json-whole": ("malformed_json", False),
    "error-in-200": ("error200", True),
    "error-in-200-whole": ("error200", False),
    "error-choice": ("error_choice", False),
    "no-choices": ("no_choices", False),
    "html": ("html200", False),
    "empty": ("empty200", True),
    "comments-only": ("comments_only", True),
    "slow-drip": ("slow_drip", False),
    "huge-body": ("huge_body,megabytes=33", False),
    "huge-header": ("huge_header", False),
    "gzip-bomb": ("gzip_bomb,megabytes=2", False),
}
# Not dead: these answer, or the fault is the request's own, or it strikes after the first token.
OTHER_ENDINGS = {
    "bad_checksum",  # of binary event streams, which the OpenAI protocol does not have
    "stale",
    "length_and_chunked",
    "no_done",
    "no_finish",
    "endless",
    "bad_utf8",
    "json_for_stream",
    "wrong_type",
    "context_length",
    "content_policy",
}


# Whoever closes connections without a word is not to be reached over those that others left open.
CLOSING = {"reset", "close"}


class Site(msgspec.Struct, frozen=True, kw_only=True):
    """A gateway of two workers; every dead provider stands beside a sound one."""

    gateway: Gateway
    key: str
    simulators: tuple[SimulatorProcess, SimulatorProcess]


class Course(msgspec.Struct, kw_only=True):
    """What became of the requests for one fault."""

    failures: Counter[str] = msgspec.field(default_factory=Counter[str])
    slowest_s: float = 0.0


def test_every_fault_of_the_simulator_is_tried() -> None:
    tried = {behaviour.partition(",")[0].partition("@")[0] for behaviour, _ in DEAD.values()}

    assert set(ENDINGS) - tried == OTHER_ENDINGS


@pytest.fixture(scope="module")
def site(
    tmp_path_factory: pytest.TempPathFactory, postgres_dsn: Callable[..., str]
) -> Iterator[Site]:
    with (
        SimulatorProcess("--speed", "0") as simulator,
        SimulatorProcess("--speed", "0") as closing,
    ):
        base_url = f"{simulator.base_url}/v1"
        late = (f"first_token_s = {LATE_S}", f"whole_answer_s = {LATE_S}")
        toml = "workers = 2\n"
        for fault, (behaviour, _) in DEAD.items():
            url = base_url if behaviour else f"http://127.0.0.1:{closed_port()}/v1"
            url = f"{closing.base_url}/v1" if behaviour in CLOSING else url
            dead = {f"case/{fault}": f"{fault}!{behaviour}" if behaviour else fault}
            toml += provider_toml(f"dead-{fault}", url, dead, options=late)
        sound = {f"case/{fault}": f"sound-{fault}" for fault in DEAD}
        toml += provider_toml("sound", base_url, sound)
        home = tmp_path_factory.mktemp("dead-endpoint") / "home"
        with (
            installation(home, toml=toml, TOLLWAY_DATABASE_URL=postgres_dsn()) as place,
            place.serve() as gateway,
        ):
            yield Site(gateway=gateway, key=gateway.make_key(), simulators=(simulator, closing))


@pytest.mark.timeout(1_800 if IS_LONG else 180)
def test_callers_are_served_and_the_dead_are_left_alone(site: Site) -> None:
    calls: Counter[str] = Counter()
    seen = dict.fromkeys(site.simulators, 0)
    courses: dict[str, Course] = {}
    left = iter(DEAD)
    while faults := tuple(islice(left, SIDE_BY_SIDE)):
        courses |= asyncio.run(send_all(site, faults))
        for simulator in site.simulators:
            entries = simulator.ledger(since=seen[simulator])
            seen[simulator] += len(entries)
            calls.update(str(entry["model"]) for entry in entries)

    planned = planned_first(site, REQUESTS * len(DEAD))
    assert planned.total() == REQUESTS * len(DEAD)
    problems: list[str] = []
    for fault, course in courses.items():
        behaviour, _ = DEAD[fault]
        failed = sum(course.failures.values())
        received = calls[f"{fault}!{behaviour}"] if behaviour else 0
        meant = planned[
            f"dead-{fault}/{fault}!{behaviour}" if behaviour else f"dead-{fault}/{fault}"
        ]
        told = (
            f"{fault:24} failed {failed}, planned {meant}, called {received} "
            f"({received / meant if meant else 0:.2f}), slowest {course.slowest_s:.2f} s"
        )
        print(told, dict(course.failures) or "")
        if failed > REQUESTS // 1_000 or not meant or received > MOST_CALLS_PER_PLANNED * meant:
            problems.append(f"{told} {dict(course.failures)}")
    assert not problems, "\n".join(problems)


async def send_all(site: Site, faults: tuple[str, ...]) -> dict[str, Course]:
    headers = {"authorization": f"Bearer {site.key}"}
    async with aiohttp.ClientSession(
        site.gateway.url, headers=headers, connector=aiohttp.TCPConnector(limit=0)
    ) as session:
        courses = await asyncio.gather(*[send(session, fault) for fault in faults])
    return dict(zip(faults, courses, strict=True))


async def send(session: aiohttp.ClientSession, fault: str) -> Course:
    """Requests at their times, whether or not earlier ones are answered."""
    course = Course()
    began_s = time.monotonic()
    async with asyncio.TaskGroup() as tasks:
        for number in range(REQUESTS):
            await asyncio.sleep(max(0.0, began_s + number / PER_S - time.monotonic()))
            tasks.create_task(ask(session, fault, course))
    return course


async def ask(session: aiohttp.ClientSession, fault: str, course: Course) -> None:
    is_stream = DEAD[fault][1]
    body = {
        "model": f"case/{fault}",
        "messages": MESSAGES,
        "stream": is_stream,
        "max_tokens": 4,
        "provider": {"order": [f"dead-{fault}", "sound"]},
    }
    began_s = time.monotonic()
    async with session.post("/v1/chat/completions", json=body) as answer:
        text = await answer.text()
        served = answer.status == 200 and is_whole(text, is_stream=is_stream)
        if not served:
            course.failures[f"{answer.status} {text[:160]}"] += 1
    course.slowest_s = max(course.slowest_s, time.monotonic() - began_s)


def is_whole(text: str, *, is_stream: bool) -> bool:
    if not is_stream:
        return bool(json.loads(text)["choices"][0]["message"]["content"])
    events = [line.removeprefix("data: ") for line in text.split("\n\n") if line]
    chunks: list[dict[str, Any]] = [json.loads(event) for event in events[:-1]]
    return events[-1] == "[DONE]" and not any("error" in chunk for chunk in chunks)


def planned_first(site: Site, expected: int) -> Counter[str]:
    """How often each endpoint stood first in the plan of a record."""
    drawn = request_record.c.plan["drawn_endpoint"].astext

    async def look(connection: AsyncConnection) -> Counter[str] | None:
        rows = await connection.execute(select(drawn, func.count()).group_by(drawn))
        planned = Counter({str(row[0]): int(row[1]) for row in rows})
        return planned if planned.total() >= expected else None

    return wait_until(
        "all requests are recorded",
        lambda: site.gateway.ask(look),
        within_s=120 if IS_LONG else 20,
    )
