"""What the server and a wire protocol say to each other.

A protocol is a value of `WireProtocol`: it reads a request (`Call`), and answers with an `Answer`
or raises `RefusedError`. It never touches a socket; `playback.py` sends what it returns.
"""

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from gateway.simulator.answers import PromptCache
from gateway.simulator.manifest import SimulatedModel, SimulatedProvider
from gateway.simulator.script import Behaviour

FrameKind = Literal["head", "content", "finish", "usage", "done"]


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a stream.

    `produced` is the number of output tokens generated once this frame is out; `text` the
    generated text inside `data`, if any; `event` the SSE event name of protocols that use it.
    """

    kind: FrameKind
    data: bytes
    produced: int = 0
    text: str = ""
    event: str | None = None


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of a whole answer. Completion includes reasoning, prompt includes cached."""

    prompt_tokens: int
    cached_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A good answer: `frames` when a stream was asked, `body` always."""

    body: bytes
    frames: tuple[Frame, ...] | None
    bill: Bill
    text: str = ""
    is_usage_sent: bool = True


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request as a protocol sees it.

    `provider` and `offer` are None for the stand-in, which serves any model. `model` is the name
    before `!`, `asked_model` the whole of it. `target` is the path with its query.
    """

    route: str
    body: dict[str, Any]
    raw: bytes
    model: str
    asked_model: str
    provider: SimulatedProvider | None
    offer: SimulatedModel | None
    behaviour: Behaviour
    cache: PromptCache
    number: int
    created: int
    is_stream: bool = False
    target: str = ""
    headers: dict[str, str] = {}


class Addressed(msgspec.Struct, frozen=True, kw_only=True):
    """What a path says where it names the model, and a stream, in the body's stead."""

    route: str
    model: str
    is_stream: bool


class RefusedError(Exception):
    """The provider says no: a status and an error in its own words."""

    def __init__(
        self,
        status: int,
        message: str,
        *,
        kind: str = "invalid_request_error",
        code: str | None = None,
        param: str | None = None,
    ) -> None:
        super().__init__(message)
        self.status = status
        self.message = message
        self.kind = kind
        self.code = code
        self.param = param


class WireProtocol(msgspec.Struct, frozen=True, kw_only=True):
    """A protocol as functions.

    `routes` are the paths below the base URL that take a POST and answer for a model, `address`
    reads those that name the model (path and query; None: not of this protocol); `list_models`
    answers `GET /models` at an instant in Unix seconds; `error` writes an error body, also as an
    event; `scripted` turns a status or error fault, and the credential presented, into the refusal
    the provider would give; `credential` finds the key among the headers; `headers` go on
    every answer; `done` is the payload that ends a stream, empty when the protocol has none.
    """

    name: str
    routes: frozenset[str]
    answer: Callable[[Call], Answer]
    list_models: Callable[[SimulatedProvider | None, int], bytes]
    error: Callable[[RefusedError], bytes]
    scripted: Callable[[Behaviour, str | None], RefusedError]
    credential: Callable[[dict[str, str]], str | None]
    refuse_credential: Callable[[str | None], RefusedError]
    refuse_route: Callable[[str, str], RefusedError]
    headers: dict[str, str]
    done: bytes
    address: Callable[[str], Addressed | None] = lambda _: None
