"""Writes the page about request members: ``python -m tests.chat.fields_doc``."""

import json
from pathlib import Path

from gateway.chat.fields import FIELDS, Field
from tests.chat.field_cases import CASES, Case

PAGE = Path(__file__).parents[2] / "docs" / "fields.md"

_NAMES = {
    "nordlys": "Nordlys",
    "plain": "plain",
    "agentstack": "Agent Stack",
    "llmgateway": "LLMGateway",
    "openrouter": "OpenRouter",
}
_HEAD = """# Request members

Everything a chat-completions request may hold, on every path. This page is written by
`python -m tests.chat.fields_doc` from the list that the gateway itself works with; each example is
also a test.

* `null` means the same as leaving a member out.
* A member that is not listed is passed on to OpenAI-compatible endpoints as it is, and left out
  under `/api/v1/openai`, always with a warning there. Inside `provider` it is refused.
* What an endpoint is known not to support is left out with a warning, in `metadata.warnings` and in
  `X-Tollway-Warnings`; under `provider.require_parameters` such an endpoint does not serve at all.
  Tools, schemas, images and sounds always exclude it.
* "Published by" names the APIs whose pages have the member; "later" means newer versions of them.

| member | it must be | meaning | published by | for example | an OpenAI-compatible endpoint gets |
| --- | --- | --- | --- | --- | --- |
"""


def render() -> str:
    """The page."""
    return _HEAD + "".join(_row(field) for field in FIELDS)


def _row(field: Field) -> str:
    cases = [case for case in CASES if case.field == field.name]
    publishers = ", ".join(_NAMES[page] for page in field.pages) or "later"
    example = _code(cases[0].sent.get(field.name)) if cases and cases[0].sent else ""
    gets = "; ".join(dict.fromkeys(_gets(case) for case in cases)) or "refused: 400"
    cells = (f"`{field.name}`", field.accepts, field.meaning, publishers, example, gets)
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _gets(case: Case) -> str:
    own = {name: value for name, value in case.upstream.items() if name != "messages"}
    if case.sent and own == case.sent:
        what = "the same"
    elif own:
        what = _code(own)
    elif case.upstream:
        what = "the conversation"
    else:
        what = "nothing"
    if case.warns_of is not None:
        what += ", with a warning"
    where = "" if case.provider == "acme" else f" ({case.provider})"
    return f"{what}{where}" + (f": {case.note}" if case.note else "")


def _code(value: object) -> str:
    return f"`{json.dumps(value, ensure_ascii=False)}`"


if __name__ == "__main__":
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(render(), encoding="utf-8")
