"""What the messages and tools of a request demand of an endpoint, and how large they are.

No tokenizer runs on the event loop. A token is taken for four UTF-8 bytes (close for English, and
for Chinese, whose characters are three bytes and about one token), each message costs a few more
(OpenAI counts 3 to 4 for its frame), and an image counts 800, a mid-sized one at OpenAI (765) or
Anthropic (1,092 for 1 MP) and generous for Gemini (258).
"""

import re

import msgspec

from gateway.chat.request import Need
from gateway.chat.view import ABSENT, Message, Part, Tool, ToolChoice, View
from gateway.domain.errors import InvalidRequestError

BYTES_PER_TOKEN = 4
TOKENS_PER_MESSAGE = 4
TOKENS_PER_IMAGE = 800

_ROLES = frozenset({"developer", "system", "user", "assistant", "tool", "function"})
_MAY_BE_EMPTY = frozenset({"assistant", "function"})
_TOOL_CHOICES = frozenset({"none", "auto", "required"})


class Weight(msgspec.Struct, kw_only=True):
    """What has been counted so far."""

    text_bytes: int = 0
    image_count: int = 0
    names_addresses: bool = False
    """An image or a file is named by its address instead of sent along."""
    needs: set[Need]

    def tokens(self, message_count: int) -> int:
        """The prompt's tokens, estimated."""
        return (
            -(-self.text_bytes // BYTES_PER_TOKEN)
            + TOKENS_PER_MESSAGE * message_count
            + TOKENS_PER_IMAGE * self.image_count
        )


def weigh_messages(messages: list[Message], weight: Weight) -> None:
    """Check every message and add it to the weight.

    Raises:
        InvalidRequestError: a role is unknown, or a message lacks what its role requires.
    """
    for index, message in enumerate(messages):
        role = message.role
        if role not in _ROLES:
            raise _bad(
                f"messages.{index}.role",
                f"is {role[:64]!r}; use developer, system, user, assistant or tool",
            )
        content = message.content
        if content is None:
            if role not in _MAY_BE_EMPTY:
                raise _bad(f"messages.{index}.content", f"is required for the role `{role}`")
        elif isinstance(content, str):
            weight.text_bytes += _utf8_bytes(content)
        else:
            _weigh_parts(content, index, weight)
        if message.tool_calls:
            _weigh_tool_calls(message, index, weight)
        if message.function_call is not None:
            _weigh_function_call(message, index, weight)
        if role == "function" and not message.name:
            raise _bad(f"messages.{index}.name", "is required: it names the function that answers")
        if role == "tool" and not message.tool_call_id:
            raise _bad(
                f"messages.{index}.tool_call_id", "is required: it names the call that is answered"
            )


def _weigh_parts(parts: list[Part], index: int, weight: Weight) -> None:
    if not parts:
        raise _bad(f"messages.{index}.content", "is an empty list; send text or leave it out")
    for number, part in enumerate(parts):
        kind = part.type
        if kind == "text":
            if part.text is None:
                raise _bad(f"messages.{index}.content.{number}.text", "is required for a text part")
            weight.text_bytes += _utf8_bytes(part.text)
            continue
        if part.text is not None:
            weight.text_bytes += _utf8_bytes(part.text)
        need = _NEED_OF_PART.get(kind)
        if need is None:
            continue
        if getattr(part, kind) is ABSENT:
            raise _bad(
                f"messages.{index}.content.{number}.{kind}",
                f"is required for a part of type {kind}",
            )
        weight.needs.add(need)
        if kind == "image_url":
            weight.image_count += 1
        if kind in _FETCHABLE and _ADDRESS.search(memoryview(getattr(part, kind))):
            weight.names_addresses = True


_NEED_OF_PART: dict[str, Need] = {
    "image_url": "vision",
    "input_audio": "audio_input",
    "file": "pdf_input",
    "video_url": "video_input",
}


_FETCHABLE = frozenset({"image_url", "file"})
# Films on YouTube are watched where they are, by Gemini alone.
_ADDRESS = re.compile(rb'"https?:(?!//(?:www\.|m\.)?youtu(?:be\.com|\.be)/)', re.IGNORECASE)


def _weigh_tool_calls(message: Message, index: int, weight: Weight) -> None:
    if message.role != "assistant":
        raise _bad(f"messages.{index}.tool_calls", "belongs to messages of the role assistant only")
    for number, call in enumerate(message.tool_calls or ()):
        if call.type == "function":
            if call.function is None:
                raise _bad(f"messages.{index}.tool_calls.{number}.function", "is required")
            weight.text_bytes += _utf8_bytes(call.function.name)
            weight.text_bytes += _utf8_bytes(call.function.arguments)
        elif call.type == "custom" and call.custom is ABSENT:
            raise _bad(f"messages.{index}.tool_calls.{number}.custom", "is required")


def _weigh_function_call(message: Message, index: int, weight: Weight) -> None:
    if message.role != "assistant":
        raise _bad(
            f"messages.{index}.function_call", "belongs to messages of the role assistant only"
        )
    call = message.function_call
    if call is not None:
        weight.text_bytes += _utf8_bytes(call.name) + _utf8_bytes(call.arguments)


def weigh_tools(view: View, raw_bytes: int, weight: Weight) -> None:
    """Check tools and tool choice; ``raw_bytes`` is how long the definitions are as JSON.

    Raises:
        InvalidRequestError: a definition lacks what its type requires, or the choice is unknown.
    """
    for number, tool in enumerate(view.tools or ()):
        _check_tool(tool, number)
        # Providers' own search tools are all called something with "search".
        weight.needs.add("web_search" if "search" in tool.type else "tools")
        if tool.type == "custom":
            weight.needs.add("custom_tools")
    if view.functions:
        weight.needs.add("tools")
    weight.text_bytes += raw_bytes
    choice = view.tool_choice
    if isinstance(choice, str):
        if choice not in _TOOL_CHOICES:
            raise _bad("tool_choice", f"is {choice[:64]!r}; use none, auto, required or an object")
    elif choice is not None:
        _check_tool_choice(choice)
    is_demand = choice is not None and choice not in ("none", "auto")
    if is_demand and not view.tools and not view.functions:
        raise _bad("tool_choice", "is only allowed together with `tools`")


def _check_tool(tool: Tool, number: int) -> None:
    if tool.type == "function" and tool.function is None:
        raise _bad(f"tools.{number}.function", "is required for a tool of type function")
    if tool.type == "custom" and tool.custom is None:
        raise _bad(f"tools.{number}.custom", "is required for a tool of type custom")


def _check_tool_choice(choice: ToolChoice) -> None:
    if choice.type != "web_search" and getattr(choice, choice.type) is None:
        raise _bad(f"tool_choice.{choice.type}", f"is required for the type {choice.type}")


def _utf8_bytes(text: str) -> int:
    return len(text) if text.isascii() else len(text.encode())


def _bad(param: str, what: str) -> InvalidRequestError:
    return InvalidRequestError(f"`{param}` {what}.", param=param, code="invalid_value")
