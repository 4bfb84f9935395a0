"""Makes what a provider says fit for records and clients: no secrets, no addresses, one short line.

Providers echo parts of keys in their messages (OpenAI: "Incorrect API key provided: sk-ab***yz").
"""

import re

MAX_MESSAGE_CHARACTERS = 512
# Longer input is cut before it is searched, so that a hostile body costs no time.
_READ_AT_MOST = 4096
HIDDEN = "[redacted]"

_KEYS = r"""
    \b(?i:bearer)\s+[A-Za-z0-9._~+/=*-]{6,}                         # whole authorization values
    | \bBasic\s+[A-Za-z0-9+/=]{8,}
    | \b(?:sk|pk|rk|gsk|xai|fw|tgp|nvapi|hf|pplx|csk|r8|tw|ghp)
      [-_][-_.A-Za-z0-9*]{6,}                                       # keys by their maker's prefix
    | \b(?:AIza|AKIA|ASIA|eyJ|ya29\.)[-_.A-Za-z0-9*]{8,}
    | (?<=[?&]key=)[^&\s"'\\]+                                      # keys in addresses
"""
KEYS = re.compile(_KEYS, re.VERBOSE)
"""Credentials by their form alone; what it matches holds neither quotes nor backslashes."""

_SECRETS = re.compile(
    _KEYS
    + r"""
    | [A-Za-z0-9._%+-]+@[A-Za-z0-9-]+(?:\.[A-Za-z0-9-]+)+           # mail addresses
    | [A-Za-z0-9+/_=]{40,}                                          # long base64 runs
    | \b[0-9a-fA-F]{24,}\b
    """,
    re.VERBOSE,
)
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


def scrub(text: str) -> str:
    """One line of at most 512 characters with everything that looks like a secret blotted out."""
    text = _CONTROL.sub(" ", text[:_READ_AT_MOST]).strip()
    text = _SECRETS.sub(HIDDEN, text)
    if len(text) > MAX_MESSAGE_CHARACTERS:
        text = text[: MAX_MESSAGE_CHARACTERS - 1] + "…"
    return text
