"""Which of the published APIs a path belongs to: the path alone fixes the dialect."""

from gateway.chat.dialects import Dialect

CHAT_PATHS: dict[str, Dialect] = {
    "/v1/chat/completions": Dialect.OPENAI,
    "/chat/completions": Dialect.OPENAI,
    "/api/v1/chat/completions": Dialect.OPENROUTER,
    "/api/v1/openai/chat/completions": Dialect.FASTAPI,
}
"""Where chat requests are answered."""

BASES: dict[str, Dialect] = {
    "/v1": Dialect.OPENAI,
    "": Dialect.OPENAI,
    "/api/v1": Dialect.OPENROUTER,
    "/api/v1/openai": Dialect.FASTAPI,
}
"""What stands before ``/models`` and its like."""


_MESSAGES = ("/v1/messages", "/api/v1/messages")


def dialect_of(path: str) -> Dialect:
    """The dialect in which anything about this path is answered, unknown paths included."""
    if path.startswith(_MESSAGES):
        return Dialect.ANTHROPIC
    if path.startswith("/api/v1/openai/"):
        return Dialect.FASTAPI
    return Dialect.OPENROUTER if path.startswith("/api/") else Dialect.OPENAI
