"""Signatures of thoughts between the Messages API, which has one kind, and chat, which has several.

A signature is good at the provider that made it alone. Those of others than Anthropic are marked
with their format on the way out, so that the client's next request tells where they belong.
"""

ANTHROPIC_FORMAT = "anthropic-claude-v1"
_MARK = "tollway:"


def to_signature(form: str | None, signature: str) -> str:
    """What the client keeps and sends back; ``form`` is the format of `reasoning_details`."""
    if form is None or form == ANTHROPIC_FORMAT:
        return signature
    return f"{_MARK}{form}:{signature}"


def from_signature(kept: str) -> tuple[str, str]:
    """The format and the provider's own signature."""
    if kept.startswith(_MARK):
        form, colon, signature = kept.removeprefix(_MARK).partition(":")
        if colon:
            return form, signature
    return ANTHROPIC_FORMAT, kept
