"""The published APIs as dialects: the path fixes the error shape and the meaning of a slash."""

from enum import StrEnum


class Dialect(StrEnum):
    """How a request is read and how its errors are shaped."""

    OPENAI = "openai"
    """``/v1/…`` and ``/chat/completions``; ``a/b`` pins provider ``a`` when it serves ``b``."""
    OPENROUTER = "openrouter"
    """``/api/v1/…``; ``a/b`` names the model."""
    ANTHROPIC = "anthropic"
    """``/v1/messages``: Anthropic's Messages API; names mean what they mean under ``/v1``."""
    FASTAPI = "fastapi"
    """``/api/v1/openai/…``; ``p:b`` pins, validation answers 422."""
