"""What may be asked of a simulated provider: behaviours, and the script that hands them out.

A behaviour is written `item,item,…`, either after `!` in the model name (`fast!reset_mid@7`, as the
upstream id of an operator's endpoint) or as `do` of a rule. An item is a fault, a fault `@k`, or an
option `name=value` (percent-encode `,` `!` and `%` in values). At most one fault ends the answer;
forms and usage faults combine with anything.

`@k` counts content events sent before the fault, 0 being before any event at all. An answer with
fewer content events fails after its last. Where nothing is streamed, "mid" is half of the body.

Every protocol tells statuses and errors in its own words. Forms of lines (`crlf`, `no_space` …)
mean nothing to a binary stream, and those of tool calls nothing outside OpenAI's protocol.

| fault | what the caller sees |
| --- | --- |
| `400` … `599` | that status with an error body in the provider's shape; headers by options |
| `context_length` | 400 `context_length_exceeded` |
| `insufficient_quota` | 429 `insufficient_quota`, which waiting does not cure |
| `content_policy` | 400 `content_policy_violation` |
| `redirect` | 307 to `http://169.254.169.254/latest/meta-data/` |
| `hang` | nothing, for ever |
| `hang_headers` | headers, then nothing, for ever |
| `hang_mid@k` | stops in the middle, connection open (default 3) |
| `reset` | RST before any byte |
| `reset_mid@k` | RST in the middle (default 3) |
| `close` | FIN before any byte |
| `stale` | a good answer, then RST when the connection's next request arrives |
| `truncated@k` | FIN in the middle of a chunked body, or of one with a length (default 3) |
| `truncated_clean@k` | the same, delimited by close alone: a silent truncation (default 3) |
| `bad_chunk@k` | an invalid chunk size in the middle (default 3) |
| `length_and_chunked` | a good answer under both `content-length` and `transfer-encoding` |
| `no_done` | a stream without its end marker (`[DONE]`, `message_stop`) |
| `no_finish` | a stream without finish reason and end marker, ended cleanly |
| `endless` | a stream of content that never finishes |
| `malformed_json@k` | an event, or the body, cut inside its JSON (default 1) |
| `bad_utf8@k` | an invalid byte inside a text (default 1) |
| `bad_checksum@k` | an event whose checksum is wrong (default 1), where events have checksums |
| `error200@k` | an error object inside a 200: as event k (default 0), or as the body |
| `error_choice` | 200, an `error` inside the choice, finish reason `error` |
| `no_choices` | 200 with `choices: []` and no text |
| `json_for_stream` | the whole answer as JSON although a stream was asked |
| `html200` | 200, a proxy's HTML page |
| `empty200` | 200, no body |
| `wrong_type` | a good answer labelled `text/plain` |
| `comments_only` | a 200 stream of comments (or pings), one each `interval_ms`, for ever |
| `slow_drip` | a good answer, one byte each `interval_ms` |
| `huge_body` | `megabytes` of text in one answer or one event (default 64) |
| `huge_header` | a response header of 256 KiB |
| `gzip_bomb` | gzip that decodes to `megabytes` of blanks (default 200), asked for or not |
| form `comments` | a comment before each event |
| form `crlf`, `cr` | events with CRLF, CR line ends |
| form `no_space` | `data:` without the blank |
| form `multi_data` | each event over several `data:` lines |
| form `split_utf8` | one byte at a time, split inside characters |
| form `bom` | a byte order mark before the first event |
| form `after_done` | one more event after `[DONE]` |
| form `tool_no_index`, `tool_no_id` | tool call deltas without index, without id |
| form `tool_object` | tool call arguments as an object instead of a string |
| form `tool_whole` | each tool call in one event |
| usage `usage_missing`, `usage_zero`, `usage_negative`, `usage_huge` | no usage, 0, -1, 10^18 |
| usage `usage_string`, `usage_float` | counts as strings, as floats |
| usage `usage_twice` | an earlier, lower usage before the true one (streams) |

| option | meaning |
| --- | --- |
| `tokens` | length of the answer, before `max_tokens` |
| `text` | the answer itself |
| `finish` | the finish reason as written |
| `tool_calls` | how many calls an answer with calls makes (default 1) |
| `reasoning` | `reasoning_content`, `reasoning`, `think` (inline tags) or `hidden` |
| `cached` | cached prompt tokens reported, instead of the simulated cache |
| `first_token_ms`, `tokens_per_s` | pace, taken literally whatever the speed of the simulator |
| `interval_ms` | pace of `slow_drip` and `comments_only` (default 250) |
| `megabytes` | size for `huge_body` and `gzip_bomb`, at most 1024 |
| `retry_after` | header as given (`2`, `1e9`, `-1`, `nan`), or `date:30`: the HTTP date in 30 s |
| `retry_after_ms` | header `retry-after-ms` as given |
| `shape` | error body: `string`, `detail`, `message`, `array`, `html`, `empty` |
| `message` | the error's message |
| `geo`, `speed` | what the usage of the Messages API says instead of what was asked for |

A refused connection needs no fault: give an endpoint a port on which nobody listens.

A script is TOML: rules tried in order, the first that matches decides; the items of the model name
come on top. Conditions: `provider` and `model` (patterns with `*`; the stand-in at `/v1` is called
`stand-in`, the others by their protocol; the model is the name before `!`), `stream`, `from_s` and
`until_s` (seconds since the script was loaded), then on the count of requests that matched so far
`nth` (an integer or a list), `first`, `every`, and last `probability`.

    seed = 7

    [[rule]]
    provider = "simulated-atlas"
    model = "fast"
    first = 3
    do = "429,retry_after=2"
"""

import difflib
import re
import tomllib
from collections.abc import Callable
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import msgspec

from gateway.simulator.answers import seeded
from gateway.simulator.json_values import Json

STATUSES = frozenset(str(status) for status in range(400, 600))

# Faults that end or replace the answer, with the default of `@k`; None takes no position.
ENDINGS: dict[str, int | None] = {
    "context_length": None,
    "insufficient_quota": None,
    "content_policy": None,
    "redirect": None,
    "hang": None,
    "hang_headers": None,
    "hang_mid": 3,
    "reset": None,
    "reset_mid": 3,
    "close": None,
    "stale": None,
    "truncated": 3,
    "truncated_clean": 3,
    "bad_chunk": 3,
    "length_and_chunked": None,
    "no_done": None,
    "no_finish": None,
    "endless": None,
    "malformed_json": 1,
    "bad_utf8": 1,
    "bad_checksum": 1,
    "error200": 0,
    "error_choice": None,
    "no_choices": None,
    "json_for_stream": None,
    "html200": None,
    "empty200": None,
    "wrong_type": None,
    "comments_only": None,
    "slow_drip": None,
    "huge_body": None,
    "huge_header": None,
    "gzip_bomb": None,
}
FORMS = frozenset(
    {
        "comments",
        "crlf",
        "cr",
        "no_space",
        "multi_data",
        "split_utf8",
        "bom",
        "after_done",
        "tool_no_index",
        "tool_no_id",
        "tool_object",
        "tool_whole",
    }
)
USAGE_FAULTS = frozenset(
    {
        "usage_missing",
        "usage_zero",
        "usage_negative",
        "usage_huge",
        "usage_string",
        "usage_float",
        "usage_twice",
    }
)


class BehaviourError(ValueError):
    """A behaviour that cannot be read; the message names the known words."""


class ScriptError(ValueError):
    """A script that cannot be read; the message names file, line and key."""


class Behaviour(msgspec.Struct, frozen=True, kw_only=True):
    """How one answer is to be given; the table above says what each field means."""

    ending: str | None = None
    at: int | None = None
    forms: frozenset[str] = frozenset()
    usage_fault: str | None = None
    tokens: int | None = None
    text: str | None = None
    finish: str | None = None
    tool_calls: int = 1
    reasoning: str | None = None
    cached: int | None = None
    first_token_ms: float | None = None
    tokens_per_s: float | None = None
    interval_ms: float = 250
    megabytes: int | None = None
    retry_after: str | None = None
    retry_after_ms: str | None = None
    shape: str | None = None
    message: str | None = None
    geo: str | None = None
    speed: str | None = None

    @property
    def status(self) -> int | None:
        """The status to answer with when the ending is one, else None."""
        return int(self.ending) if self.ending is not None and self.ending.isdigit() else None


GOOD = Behaviour()


class _Reader(msgspec.Struct, frozen=True):
    """Reads an option's value; ValueError when it is not what is expected."""

    expected: str
    read: Callable[[str], int | float | str]


def _integer(least: int, most: int) -> _Reader:
    def read(value: str) -> int:
        number = int(value)
        if not least <= number <= most:
            raise ValueError
        return number

    return _Reader(f"an integer from {least} to {most}", read)


def _one_of(*known: str) -> _Reader:
    def read(value: str) -> str:
        if value not in known:
            raise ValueError
        return value

    return _Reader("one of " + ", ".join(known), read)


def _read_number(value: str) -> float:
    number = float(value)
    if not 0 <= number < float("inf"):
        raise ValueError
    return number


_number = _Reader("a number, 0 or more", _read_number)
_text = _Reader("a text", str)

OPTIONS: dict[str, _Reader] = {
    "tokens": _integer(0, 1_000_000),
    "text": _text,
    "finish": _text,
    "tool_calls": _integer(1, 64),
    "reasoning": _one_of("reasoning_content", "reasoning", "think", "hidden"),
    "cached": _integer(0, 10_000_000),
    "first_token_ms": _number,
    "tokens_per_s": _number,
    "interval_ms": _number,
    "megabytes": _integer(1, 1024),
    "retry_after": _text,
    "retry_after_ms": _text,
    "shape": _one_of("string", "detail", "message", "array", "html", "empty"),
    "message": _text,
    "geo": _text,
    "speed": _text,
}


def parse_behaviour(text: str, base: Behaviour = GOOD) -> Behaviour:
    """`base` with the items of `text` on top. Raises BehaviourError."""
    changes: dict[str, Any] = {}
    for raw in re.split("[,!]", text):
        item = raw.strip()
        if item:
            changes |= _parse_item(item, changes, base)
    return msgspec.structs.replace(base, **changes)


def split_model(name: str) -> tuple[str, str]:
    """A model name as received -> the name before `!` and the items after it."""
    model, _, items = name.partition("!")
    return model, items


def _parse_item(item: str, changes: dict[str, Any], base: Behaviour) -> dict[str, Any]:
    name, is_option, value = item.partition("=")
    if is_option:
        return {name: _parse_option(name, unquote(value))}
    name, has_position, position = item.partition("@")
    if name in FORMS and not has_position:
        return {"forms": changes.get("forms", base.forms) | {name}}
    if name in USAGE_FAULTS and not has_position:
        return {"usage_fault": name}
    if not _is_ending(name):
        raise BehaviourError(_unknown("fault", name, [*ENDINGS, *FORMS, *USAGE_FAULTS]))
    if "ending" in changes:
        raise BehaviourError(f"`{changes['ending']}` and `{name}` both end the answer; give one")
    default = ENDINGS.get(name)
    if has_position and (default is None or not position.isdigit()):
        remedy = "it takes no position" if default is None else f"write `{name}@7`"
        raise BehaviourError(f"`{item}`: {remedy}")
    return {"ending": name, "at": int(position) if has_position else default}


def _parse_option(name: str, value: str) -> int | float | str:
    if name not in OPTIONS:
        raise BehaviourError(_unknown("option", name, list(OPTIONS)))
    try:
        return OPTIONS[name].read(value)
    except ValueError:
        expected = OPTIONS[name].expected
        raise BehaviourError(f"`{name}={value}`: expected {expected}") from None


def _is_ending(name: str) -> bool:
    return name in ENDINGS or name in STATUSES


def _unknown(what: str, name: str, known: list[str]) -> str:
    near = difflib.get_close_matches(name, known, n=1)
    hint = f"; did you mean `{near[0]}`?" if near else "."
    also = "400 to 599, " if what == "fault" else ""
    return f"unknown {what} `{name}`{hint} Known: {also}{', '.join(sorted(known))}"


class Rule(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One rule of a script; every condition given must hold."""

    do: str
    provider: str = "*"
    model: str = "*"
    stream: bool | None = None
    from_s: float = 0
    until_s: float | None = None
    nth: int | list[int] | None = None
    first: int | None = None
    every: int | None = None
    probability: float | None = None


class Script:
    """Rules with their counters and their seeded chance."""

    def __init__(self, rules: tuple[Rule, ...] = (), *, seed: int = 0) -> None:
        """Raises BehaviourError when a rule's `do` cannot be read."""
        self.rules = rules
        self._behaviours = tuple(parse_behaviour(rule.do) for rule in rules)
        self._counts = [0] * len(rules)
        self._chance = seeded(seed)

    def behaviour(
        self, *, provider: str, model: str, is_stream: bool, elapsed_s: float
    ) -> Behaviour:
        """What the first matching rule asks; counts this request in the rules it reaches."""
        for index, rule in enumerate(self.rules):
            if not _applies(rule, provider, model, elapsed_s, is_stream=is_stream):
                continue
            self._counts[index] += 1
            if self._is_turn(rule, self._counts[index]):
                return self._behaviours[index]
        return GOOD

    def _is_turn(self, rule: Rule, count: int) -> bool:
        nth = [rule.nth] if isinstance(rule.nth, int) else rule.nth
        if nth is not None and count not in nth:
            return False
        if rule.first is not None and count > rule.first:
            return False
        if rule.every is not None and count % rule.every != 0:
            return False
        return rule.probability is None or self._chance.random() < rule.probability


def _applies(rule: Rule, provider: str, model: str, elapsed_s: float, *, is_stream: bool) -> bool:
    return (
        fnmatchcase(provider, rule.provider)
        and fnmatchcase(model, rule.model)
        and rule.stream in (None, is_stream)
        and rule.from_s <= elapsed_s
        and (rule.until_s is None or elapsed_s < rule.until_s)
    )


def load_script(path: Path) -> Script:
    """The script in a file. Raises ScriptError naming file, line and key."""
    try:
        text = path.read_text(encoding="utf-8")
    except OSError as exc:
        raise ScriptError(f"{path}: cannot be read: {exc.strerror}") from exc
    except UnicodeDecodeError as exc:
        raise ScriptError(f"{path}: is not UTF-8 at byte {exc.start}") from exc
    return parse_script(text, str(path))


def parse_script(text: str, name: str) -> Script:
    """A script from its text; `name` stands for the file in errors. Raises ScriptError."""
    try:
        tables = tomllib.loads(text)
    except tomllib.TOMLDecodeError as exc:
        found = re.search(r"at line (\d+)", str(exc))
        where = f":{found[1]}" if found else ""
        raise ScriptError(f"{name}{where}: is not valid TOML: {exc}") from exc
    for key in tables:
        if key not in ("seed", "rule"):
            where = _line(text, 0, key)
            raise ScriptError(f"{name}:{where}: {_unknown('key', key, ['seed', 'rule'])}")
    seed = tables.get("seed", 0)
    if not isinstance(seed, int):
        raise ScriptError(f"{name}:{_line(text, 0, 'seed')}: `seed` must be an integer")
    rules = tables.get("rule", [])
    if not isinstance(rules, list):
        raise ScriptError(f"{name}:{_line(text, 0, 'rule')}: write rules as `[[rule]]`")
    read = tuple(
        _read_rule(rule, number, text, name)
        for number, rule in enumerate(rules, 1)  # pyright: ignore[reportUnknownArgumentType, reportUnknownVariableType] -- TOML's own list
    )
    return Script(read, seed=seed)


def _read_rule(table: Json, number: int, text: str, name: str) -> Rule:
    def fail(key: str, why: str) -> ScriptError:
        return ScriptError(f"{name}:{_line(text, number, key)}: rule {number}, `{key}`: {why}")

    try:
        rule = msgspec.convert(table, Rule)
    except msgspec.ValidationError as exc:
        found = re.search(r"field `(\w+)`|`\$\.(\w+)", str(exc))
        key = (found[1] or found[2]) if found else "do"
        if key not in Rule.__struct_fields__:
            raise fail(key, _unknown("key", key, list(Rule.__struct_fields__))) from exc
        raise fail(key, str(exc)) from exc
    try:
        parse_behaviour(rule.do)
    except BehaviourError as exc:
        raise fail("do", str(exc)) from exc
    for key in ("first", "every"):
        value = getattr(rule, key)
        if value is not None and value < 1:
            raise fail(key, f"expected 1 or more, not {value}")
    if rule.probability is not None and not 0 <= rule.probability <= 1:
        raise fail("probability", f"expected 0 to 1, not {rule.probability}")
    return rule


def _line(text: str, rule: int, key: str) -> int:
    """The line of a key in the nth rule (0: before any), the rule's own when it has no such key."""
    seen = 0
    header = 1
    for number, line in enumerate(text.splitlines(), 1):
        stripped = line.strip()
        if re.match(r"\[\[\s*rule\s*\]\]", stripped):
            seen += 1
            if seen == rule:
                header = number
        elif seen == rule and re.match(rf"[\"']?{re.escape(key)}[\"']?\s*=|\[+\s*{key}", stripped):
            return number
    return header
