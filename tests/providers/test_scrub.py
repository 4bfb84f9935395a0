"""What providers say, without secrets."""

import pytest

from gateway.providers.scrub import scrub


@pytest.mark.parametrize(
    "secret",
    [
        "sk-proj-abcdEFGH12345678",
        "sk-ab***************yz",
        "gsk_abcdefgh12345678",
        "xai-abcdefgh12345678",
        "Bearer abc.def-ghi",
        "bearer abcdefghijk",
        "Basic dXNlcjpwYXNzd29yZA==",
        "AIzaSyA1234567890abcdefghijklmnop",
        "AKIAIOSFODNN7EXAMPLE",
        "eyJhbGciOiJIUzI1NiJ9.eyJzdWIi.abc",
        "tw_live_abcdefgh12345678",
        "someone@example.com",
        "0123456789abcdef0123456789abcdef",
        "QUJDREVGR0hJSktMTU5PUFFSU1RVVldYWVphYmNkZWZnaGlqa2w=",
    ],
)
def test_secrets_are_blotted_out(secret: str) -> None:
    result = scrub(f"you sent {secret} and it failed")

    assert secret not in result
    assert result.startswith("you sent ")
    assert result.endswith("it failed")


def test_ordinary_words_stay() -> None:
    text = "The model `openai/gpt-4o-mini-2024-07-18` does not exist; skipping a task-force of 8192"

    assert scrub(text) == text


def test_one_line_of_512_characters() -> None:
    assert scrub("a\nb\x00c") == "a b c"
    assert len(scrub("long word " * 1000)) == 512
