"""Schemas become such as Gemini takes, in both of its dialects."""

import json
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from msgspec import Raw

from gateway.providers.gemini_schema import fit_schema
from gateway.simulator.gemini_fields import read_request
from gateway.simulator.gemini_schema import check_json_schema, check_openapi
from tests.properties import many


def fit(schema: Any, *, is_openapi: bool = False) -> Any:
    return json.loads(
        bytes(fit_schema(Raw(json.dumps(schema).encode()), is_openapi=is_openapi).schema)
    )


def properties(**members: Any) -> dict[str, Any]:
    return {"type": "object", "properties": members}


@pytest.mark.parametrize(
    ("given_schema", "fitted"),
    [
        pytest.param(
            {
                "$schema": "x",
                "$comment": "y",
                "uniqueItems": True,
                "type": "array",
                "items": {"type": "string"},
            },
            {"type": "array", "items": {"type": "string"}, "description": "(uniqueItems: true)"},
            id="keywords-by-allow-list",
        ),
        pytest.param({"const": "a"}, {"type": "string", "enum": ["a"]}, id="const"),
        pytest.param(
            {"enum": ["a", None]}, {"type": ["string", "null"], "enum": ["a"]}, id="enum-with-null"
        ),
        pytest.param(
            {"type": "boolean", "const": True},
            {"type": "boolean", "description": "(one of [true])"},
            id="enum-of-booleans",
        ),
        pytest.param(
            {"oneOf": [{"type": "string"}, {"type": "null"}]},
            {"anyOf": [{"type": "string"}, {"type": "null"}]},
            id="one-of",
        ),
        pytest.param(
            properties(a={"$ref": "#/$defs/a", "description": "An a"})
            | {"$defs": {"a": {"type": "integer"}}},
            properties(a={"type": "integer", "description": "An a"}),
            id="reference",
        ),
        pytest.param(
            properties(a={"$ref": "#/definitions/a~1b"})
            | {"definitions": {"a/b": {"type": "integer"}}},
            properties(a={"type": "integer"}),
            id="older-reference",
        ),
        pytest.param(
            properties(a={"$ref": "https://example.com"}),
            properties(a={"type": "object"}),
            id="nowhere",
        ),
        pytest.param(
            {"allOf": [properties(a={"type": "string"}), properties(b={"type": "string"})]},
            properties(a={"type": "string"}, b={"type": "string"}),
            id="all-of",
        ),
        pytest.param(
            {"type": "object", "properties": {"a": True}, "required": ["a", "gone"]},
            {"type": "object", "properties": {"a": {}}, "required": ["a"]},
            id="required-but-undefined",
        ),
        pytest.param(
            {"type": "string", "minLength": 2, "description": "Name"},
            {"type": "string", "description": "Name (minLength: 2)"},
            id="constraint-in-words",
        ),
    ],
)
def test_pitfall_11_a_schema_keeps_only_what_is_taken(given_schema: Any, fitted: Any) -> None:
    assert fit(given_schema) == fitted


def test_pitfall_11_recursion_ends_where_it_begins_again() -> None:
    node = properties(next={"$ref": "#/$defs/node"}, value={"type": "integer"}) | {
        "required": ["next"]
    }

    fitted = fit({"$ref": "#/$defs/node", "$defs": {"node": node}})

    assert fitted["properties"]["next"] == {"type": "object"}
    check_json_schema(fitted, "schema")


def test_references_that_multiply_do_not_grow_without_end() -> None:
    definitions = {
        f"d{n}": {
            "type": "object",
            "properties": {k: {"$ref": f"#/$defs/d{n + 1}"} for k in "abcd"},
        }
        for n in range(12)
    } | {"d12": {"type": "string"}}

    fitted = fit_schema(
        Raw(json.dumps({"$ref": "#/$defs/d0", "$defs": definitions}).encode()), is_openapi=False
    )

    assert len(bytes(fitted.schema)) < 1_000_000


@pytest.mark.parametrize(
    ("given_schema", "fitted"),
    [
        pytest.param({"type": ["string", "null"]}, {"type": "STRING", "nullable": True}, id="null"),
        pytest.param(
            {"anyOf": [{"type": "integer"}, {"type": "null"}]},
            {"type": "INTEGER", "nullable": True},
            id="or-null",
        ),
        pytest.param(
            {"type": "integer", "enum": [1, 2]},
            {"type": "INTEGER", "description": "(one of [1,2])"},
            id="numbers-cannot-be-listed",
        ),
        pytest.param(
            {"type": "string", "format": "uri"},
            {"type": "STRING", "description": "(format: uri)"},
            id="format",
        ),
        pytest.param(
            {"type": ["string", "integer"]},
            {"anyOf": [{"type": "STRING"}, {"type": "INTEGER"}]},
            id="several-types",
        ),
    ],
)
def test_older_models_get_the_openapi_subset(given_schema: Any, fitted: Any) -> None:
    assert fit(given_schema, is_openapi=True) == fitted


def test_what_had_to_go_is_named() -> None:
    fitted = fit_schema(Raw(b'{"type":"string","pattern":"a+","title":"T"}'), is_openapi=False)

    assert fitted.dropped == ("pattern",)


@pytest.mark.parametrize("is_openapi", [False, True])
@pytest.mark.parametrize(
    "schema",
    [
        pytest.param(
            {
                "allOf": [{"$ref": "#/$defs/a"}],
                "$defs": {"a": {"allOf": [{"$ref": "#/$defs/a"}] * 3, "type": "object"}},
            },
            id="parts-that-name-themselves",
        ),
        pytest.param(
            properties(x={"allOf": [{"$ref": "#"}, {"$ref": "#/properties/x"}]}),
            id="parts-that-name-what-is-around-them",
        ),
        pytest.param(
            properties(x={"$ref": "#/$defs/0"})
            | {
                "$defs": {
                    str(n): {"type": ["array"] * 4, "items": {"$ref": f"#/$defs/{n + 1}"}}
                    for n in range(20)
                }
            },
            id="types-named-again-and-again",
        ),
        pytest.param(
            properties(**{f"p{n}": {"$ref": "#"} for n in range(50)})
            | {f"x-{n}": "y" * 50 for n in range(500)},
            id="many-keywords-referred-to-often",
        ),
    ],
)
@pytest.mark.timeout(10)
def test_a_schema_that_would_grow_without_end_does_not(schema: Any, *, is_openapi: bool) -> None:
    assert len(json.dumps(fit(schema, is_openapi=is_openapi))) < 5_000_000


leaves: st.SearchStrategy[Any] = st.sampled_from(
    [
        {"type": "string"},
        {"type": "integer", "minimum": 1, "exclusiveMaximum": 5},
        {"type": ["number", "null"]},
        {"enum": ["a", 1, None, True, ""]},
        {"const": {"a": 1}},
        {"type": "string", "format": "date-time", "pattern": "x"},
        {"$ref": "#/$defs/one"},
        {"$ref": "#/$defs/gone"},
        {"$ref": "#"},
        dict[str, Any](),
        True,
        False,
        {"type": "object"},
        {"type": "array"},
        {"type": "file"},
    ]
)


def _object_of(members: dict[str, Any], more: Any) -> Any:
    return {
        "type": "object",
        "properties": members,
        "required": [*members, "absent"],
        "additionalProperties": more,
    }


def _array_of(items: Any) -> Any:
    return {"type": "array", "items": items, "uniqueItems": True}


def _choice_of(keyword: str, options: list[Any]) -> Any:
    return {keyword: options, "title": "T"}


def _around(inner: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    members = st.dictionaries(st.sampled_from("abc"), inner, max_size=3)
    keywords = st.sampled_from(["anyOf", "oneOf", "allOf", "items"])
    return st.one_of(
        st.builds(_object_of, members, st.one_of(st.booleans(), inner)),
        st.builds(_array_of, inner),
        st.builds(_choice_of, keywords, st.lists(inner, min_size=1, max_size=3)),
    )


schemas: st.SearchStrategy[Any] = st.recursive(leaves, _around, max_leaves=8)


@given(schemas, schemas)
@settings(max_examples=many(200), suppress_health_check=[HealthCheck.too_slow])
def test_any_schema_becomes_one_that_is_taken(schema: Any, definition: Any) -> None:
    root = {"type": "object", "properties": {"x": schema}, "$defs": {"one": definition}}

    check_json_schema(fit(root), "schema")

    config = {"responseSchema": fit(root, is_openapi=True)}
    transcoded = read_request({"generationConfig": config}, is_vertex=False)
    check_openapi(transcoded["generationConfig"]["responseSchema"], "schema")
