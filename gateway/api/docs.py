"""``/openapi.json`` and ``/docs``: the published description, for machines and for people."""

import functools
from html import escape
from typing import Any, cast

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler

from gateway.api.json_schema import Schema, encode_document
from gateway.api.openapi import make_document

_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; frame-ancestors 'none'"
_STYLE = """
:root { color-scheme: light dark; }
body { font: 15px/1.5 system-ui, sans-serif; margin: 0 auto; max-width: 62rem; padding: 1.5rem; }
h2 { border-bottom: 1px solid #8886; margin-top: 2.5rem; padding-bottom: .25rem; }
code, pre { font: 13px/1.45 ui-monospace, monospace; }
pre { background: #8881; overflow-x: auto; padding: .75rem; }
table { border-collapse: collapse; display: block; overflow-x: auto; }
td, th { border-bottom: 1px solid #8884; padding: .3rem .75rem .3rem 0; }
td, th { text-align: left; vertical-align: top; }
summary { cursor: pointer; }
.path { display: block; }
"""


def docs_routes() -> list[HTTPRouteHandler]:
    """Neither needs a key, and neither asks another host for anything."""

    # On a thread: the first one to ask has it made, for which no stream should wait.
    @get("/openapi.json", operation_id="getOpenApi", sync_to_thread=True)
    def openapi() -> Response[bytes]:
        """The OpenAPI document."""
        return Response(_document(), media_type="application/json")

    @get("/docs", operation_id="getDocs", sync_to_thread=True)
    def docs() -> Response[bytes]:
        """The same as a page."""
        headers = {"content-security-policy": _POLICY, "x-content-type-options": "nosniff"}
        return Response(_page(), media_type="text/html; charset=utf-8", headers=headers)

    return [openapi, docs]


@functools.cache
def _document() -> bytes:
    return encode_document(make_document())


@functools.cache
def _page() -> bytes:
    return render_page(make_document()).encode()


def render_page(document: Schema) -> str:
    """The document as one page of HTML."""
    info = document["info"]
    sections = "".join(_section(document, tag["name"]) for tag in document["tags"])
    schemas = "".join(
        _schema(name, schema) for name, schema in document["components"]["schemas"].items()
    )
    return (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(info['title'])}</title><style>{_STYLE}</style></head><body>"
        f"<h1>{escape(info['title'])} {escape(info['version'])}</h1>"
        f"<p>{_text(info['description'])}</p>"
        '<p><a href="/openapi.json">openapi.json</a></p>'
        f"{sections}<h2>Schemas</h2>{schemas}</body></html>\n"
    )


def _section(document: Schema, tag: str) -> str:
    operations: dict[str, list[tuple[str, str, Schema]]] = {}
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if tag in operation["tags"]:
                name = operation["operationId"].partition("_")[0]
                operations.setdefault(name, []).append((method, path, operation))
    return f"<h2>{escape(tag.capitalize())}</h2>" + "".join(map(_operation, operations.values()))


def _operation(places: list[tuple[str, str, Schema]]) -> str:
    _, _, first = places[0]
    paths = "".join(
        f'<code class="path">{method.upper()} {escape(path)}</code>' for method, path, _ in places
    )
    parts = [f"<h3>{escape(first['summary'])}</h3>", paths]
    if "description" in first:
        parts.append(f"<p>{_text(first['description'])}</p>")
    if "security" in first:
        parts.append("<p>Needs no key.</p>")
    rows = [
        (f"{one['name']} ({one['in']})", one.get("description", "")) for one in first["parameters"]
    ]
    parts.append(_table(("parameter", "meaning"), rows))
    body = first.get("requestBody")
    if body is not None:
        content = body["content"]["application/json"]
        parts.append(f"<p>Body: {_shape(content['schema'])}</p>")
        for name, example in content.get("examples", {}).items():
            parts.append(_example(f"Example: {name}", example["value"]))
    answers: list[tuple[str, str]] = []
    for status, response in first["responses"].items():
        content = response["content"].get("application/json", {})
        answers.append((status, f"{response['description']}"))
        if "example" in content:
            parts.append(_example(f"Answer {status}", content["example"]))
    parts.append(_table(("status", "meaning"), answers))
    answer = first["responses"].get("200")
    if answer is not None:
        parts.append(f"<p>Answer: {_shape(answer['content']['application/json']['schema'])}</p>")
    return "".join(parts)


def _schema(name: str, schema: Schema) -> str:
    required = set(cast("list[str]", schema.get("required", [])))
    rows = [
        (f"{member}{'' if member in required else '?'}", _shape(kind), kind)
        for member, kind in schema.get("properties", {}).items()
    ]
    lines = "".join(
        f"<tr><td><code>{escape(member)}</code></td><td>{shape}</td>"
        f"<td>{_text(kind.get('description', ''))}</td></tr>"
        for member, shape, kind in rows
    )
    about = _text(schema.get("description", ""))
    return (
        f'<details id="{escape(name)}"><summary><code>{escape(name)}</code></summary>'
        f"<p>{about}</p><table>{lines}</table></details>"
    )


def _shape(schema: Schema) -> str:
    """A schema in a few words of HTML."""
    if "$ref" in schema:
        name = escape(schema["$ref"].rpartition("/")[2])
        return f'<a href="#{name}">{name}</a>'
    if "anyOf" in schema:
        return " or ".join(_shape(one) for one in schema["anyOf"])
    if "enum" in schema:
        return " or ".join(f"<code>{escape(str(one))}</code>" for one in schema["enum"])
    kind = schema.get("type", "anything")
    if kind == "array":
        return f"list of {_shape(schema['items'])}"
    words = " or ".join(cast("list[str]", kind)) if isinstance(kind, list) else str(kind)
    bounds = [
        f"{sign} {schema[name]}"
        for name, sign in (("minimum", "≥"), ("maximum", "≤"))
        if name in schema
    ]
    return escape(" ".join([words, *bounds]))


def _table(names: tuple[str, str], rows: list[tuple[str, str]]) -> str:
    head = "".join(f"<th>{escape(name)}</th>" for name in names)
    lines = "".join(
        f"<tr><td><code>{escape(left)}</code></td><td>{_text(right)}</td></tr>"
        for left, right in rows
    )
    return f"<table><tr>{head}</tr>{lines}</table>" if rows else ""


def _example(title: str, value: Any) -> str:  # noqa: ANN401 - any JSON
    text = msgspec.json.format(msgspec.json.encode(value), indent=2).decode()
    return f"<details><summary>{escape(title)}</summary><pre>{escape(text)}</pre></details>"


def _text(text: str) -> str:
    """Escaped, with what stands between backquotes as code."""
    parts = escape(text).split("`")
    return "".join(
        f"<code>{part}</code>" if number % 2 else part for number, part in enumerate(parts)
    )
