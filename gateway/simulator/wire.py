"""What the server and a wire protocol say to each other.

A protocol is a value of `WireProtocol`: it reads a request (`Call`), and answers with an `Answer`
or raises `RefusedError`. It never touches a socket; `playback.py` sends what it returns.

To add one: a value here, a row in `ways.PROTOCOLS`, its base path in `manifest.BASE_PATHS`.
"""

from collections.abc import Callable
from typing import Any, Literal

import msgspec

from gateway.simulator.answers import PromptCache
from gateway.simulator.manifest import SimulatedModel, SimulatedProvider
from gateway.simulator.script import Behaviour

FrameKind = Literal["head", "content", "finish", "usage", "done"]


class Frame(msgspec.Struct, frozen=True, kw_only=True):
    """One event of a stream, before it is framed.

    `data` is its JSON; `produced` the number of output tokens generated once this frame is out;
    `text` the generated text inside `data`, if any; `event` the event's name in protocols that name
    events. `has_usage` marks a frame that tells the true usage beside something else; `is_error` an
    error inside the stream; `is_damaged` one whose checksum is wrong, where there are checksums.
    """

    kind: FrameKind
    data: bytes
    produced: int = 0
    text: str = ""
    event: str | None = None
    has_usage: bool = False
    is_error: bool = False
    is_damaged: bool = False


class StreamForm(msgspec.Struct, frozen=True, kw_only=True):
    """How frames become bytes.

    `encode` gets the forms asked for, which mean nothing to some; `keep_alive` are bytes that a
    client must skip; `around` gives what stands before and after that many bytes of one event.
    """

    content_type: str
    encode: Callable[[Frame, frozenset[str]], bytes]
    keep_alive: bytes
    around: Callable[[int], tuple[bytes, bytes]]


class Bill(msgspec.Struct, frozen=True, kw_only=True):
    """Tokens of a whole answer. Completion includes reasoning, prompt includes cached and written.

    `cache_write_tokens` includes `cache_write_1h_tokens`.
    """

    prompt_tokens: int
    cached_tokens: int = 0
    cache_write_tokens: int = 0
    cache_write_1h_tokens: int = 0
    completion_tokens: int = 0
    reasoning_tokens: int = 0


class Answer(msgspec.Struct, frozen=True, kw_only=True):
    """A good answer: `frames` when a stream was asked, `body` always.

    `form` is how this stream is written when not as the protocol usually does.
    """

    body: bytes
    frames: tuple[Frame, ...] | None
    bill: Bill
    text: str = ""
    is_usage_sent: bool = True
    form: StreamForm | None = None


class Arrival(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it came, for protocols that sign it. `headers` by lower-case name."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes


class Addressed(msgspec.Struct, frozen=True, kw_only=True):
    """What a path says where it names the model, and a stream, in the body's stead."""

    route: str
    model: str
    is_stream: bool


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request as a protocol sees it.

    `provider` and `offer` are None for a stand-in, which serves any model. `model` is the name
    before `!`, `asked_model` the whole of it. `target` is the path with its query.
    """

    route: str
    target: str
    headers: dict[str, str]
    body: dict[str, Any]
    raw: bytes
    model: str
    asked_model: str
    is_stream: bool
    provider: SimulatedProvider | None
    offer: SimulatedModel | None
    behaviour: Behaviour
    cache: PromptCache
    number: int
    created: int


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


def _unreadable(reason: str) -> RefusedError:
    return RefusedError(400, f"The request body is not a JSON object: {reason}")


def _no_headers(_: RefusedError) -> dict[str, str]:
    return {}


class WireProtocol(msgspec.Struct, frozen=True, kw_only=True):
    """A protocol as functions.

    `routes` are the paths below the base URL that take a POST and answer for a model, `address`
    reads those that name the model (path and query; None: not of this protocol); `list_models`
    answers a GET of `models_path` at an instant in Unix seconds; `error` writes an error body and
    `error_headers` what goes with it; `error_frame` writes it as an event of a stream (None: the
    same body as an unnamed event); `scripted` turns a status or error fault, and the credential
    presented, into the refusal the provider would give; `credential` finds the key among the
    headers; `authenticate` raises unless a request may pass, given the key that the simulator
    demands or None (without it, the credential is compared with that key); `unreadable` refuses a
    body for a reason; `headers` go on every answer; `stream` is how frames become bytes.
    """

    name: str
    routes: frozenset[str]
    address: Callable[[str], Addressed | None] = lambda _: None
    answer: Callable[[Call], Answer]
    list_models: Callable[[SimulatedProvider | None, int], bytes]
    models_path: str = "models"
    error: Callable[[RefusedError], bytes]
    error_headers: Callable[[RefusedError], dict[str, str]] = _no_headers
    error_frame: Callable[[RefusedError], Frame] | None = None
    scripted: Callable[[Behaviour, str | None], RefusedError]
    credential: Callable[[dict[str, str]], str | None]
    authenticate: Callable[[Arrival, str | None], None] | None = None
    refuse_credential: Callable[[str | None], RefusedError]
    refuse_route: Callable[[str, str], RefusedError]
    unreadable: Callable[[str], RefusedError] = _unreadable
    headers: dict[str, str]
    request_id_header: str = "x-request-id"
    stream: StreamForm
