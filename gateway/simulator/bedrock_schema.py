"""Which JSON schemas constrained decoding takes, as Bedrock's page on structured outputs says."""

from gateway.simulator.bedrock_errors import invalid
from gateway.simulator.json_values import Json, as_array, as_object

_UNKNOWN_TO_STRICT_SCHEMAS = frozenset(
    {
        "minimum",
        "maximum",
        "exclusiveMinimum",
        "exclusiveMaximum",
        "multipleOf",
        "minLength",
        "maxLength",
        "maxItems",
        "uniqueItems",
        "minProperties",
        "maxProperties",
        "patternProperties",
        "propertyNames",
        "if",
        "then",
        "else",
        "not",
        "oneOf",
    }
)
_ONE_IN_A_SCHEMA = 1


def check_strict_schema(schema: Json, where: str) -> None:
    """Refuse what constrained decoding cannot follow."""
    for one in as_array(schema) or ():
        check_strict_schema(one, where)
    found = as_object(schema)
    if found is None:
        return
    unsupported = _UNKNOWN_TO_STRICT_SCHEMAS & set(found)
    if unsupported:
        raise invalid(f"{where}: the schema keyword {min(unsupported)} is not supported")
    if found.get("minItems", 0) > _ONE_IN_A_SCHEMA:
        raise invalid(f"{where}: minItems above 1 is not supported")
    if found.get("type") == "object" and found.get("additionalProperties") is not False:
        raise invalid(
            f"{where}: For 'object' type, 'additionalProperties' must be explicitly set to false"
        )
    for name in ("properties", "$defs", "definitions"):
        for inner in (as_object(found.get(name)) or {}).values():
            check_strict_schema(inner, where)
    for name in ("items", "anyOf", "allOf", "prefixItems"):
        check_strict_schema(found.get(name), where)
