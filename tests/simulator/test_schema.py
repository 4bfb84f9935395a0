"""Values made from a schema satisfy it."""

from typing import Any

import pytest

from gateway.simulator.schema import SchemaError, instance


def word() -> str:
    return "toll"


@pytest.mark.parametrize(
    ("schema", "expected"),
    [
        pytest.param({"type": "string"}, "toll", id="string"),
        pytest.param({"type": "string", "minLength": 7}, "toll toll", id="min-length"),
        pytest.param({"type": "string", "maxLength": 2}, "to", id="max-length"),
        pytest.param({"type": "string", "format": "date"}, "2026-01-15", id="format"),
        pytest.param({"type": "integer", "minimum": 3}, 3, id="minimum"),
        pytest.param({"type": "integer", "exclusiveMinimum": 3}, 4, id="exclusive"),
        pytest.param({"type": "integer", "maximum": -5}, -5, id="maximum"),
        pytest.param({"type": "integer", "minimum": 7, "multipleOf": 5}, 10, id="multiple"),
        pytest.param({"type": "number", "minimum": 0.2, "maximum": 0.4}, 0.3, id="fraction"),
        pytest.param({"type": ["null", "boolean"]}, True, id="nullable"),
        pytest.param({"enum": ["a", "b"]}, "a", id="enum"),
        pytest.param({"const": 5}, 5, id="const"),
        pytest.param({"type": "array", "items": {"type": "null"}}, [], id="empty-array"),
        pytest.param(
            {"type": "array", "items": {"type": "boolean"}, "minItems": 2}, [True, True], id="array"
        ),
        pytest.param(
            {"properties": {"a": {"type": "integer"}, "b": {}}, "required": ["a"]},
            {"a": 1},
            id="object",
        ),
        pytest.param(
            {"allOf": [{"properties": {"a": {"const": 1}}}, {"required": ["a"]}]},
            {"a": 1},
            id="all-of",
        ),
        pytest.param(
            {"$ref": "#/$defs/one", "$defs": {"one": {"type": "boolean"}}}, True, id="ref"
        ),
    ],
)
def test_the_least_value_is_made(schema: dict[str, Any], expected: Any) -> None:
    made = instance(schema, word)

    assert made == pytest.approx(expected) if isinstance(expected, float) else made == expected


def test_a_recursive_schema_takes_the_way_that_ends() -> None:
    schema = {
        "$defs": {
            "node": {
                "type": "object",
                "properties": {
                    "next": {"anyOf": [{"$ref": "#/$defs/node"}, {"type": "null"}]},
                },
                "required": ["next"],
            }
        },
        "$ref": "#/$defs/node",
    }

    made = instance(schema, word)

    while made is not None:
        made = made["next"]


@pytest.mark.parametrize(
    "schema",
    [
        pytest.param({"$ref": "#"}, id="endless"),
        pytest.param({"$ref": "#/$defs/none"}, id="ref-to-nothing"),
        pytest.param({"$ref": "https://example.com/schema"}, id="ref-elsewhere"),
        pytest.param({"type": "strnig"}, id="unknown-type"),
        pytest.param("string", id="no-object"),
        pytest.param(
            {"anyOf": [{"$ref": "#"}, {"$ref": "#"}, {"$ref": "#"}]}, id="endless-in-many-ways"
        ),
    ],
)
def test_a_schema_without_an_instance_is_refused(schema: Any) -> None:
    with pytest.raises(SchemaError):
        instance(schema, word)
