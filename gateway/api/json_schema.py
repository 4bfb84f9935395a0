"""JSON Schemas of the types that are read and written, as OpenAPI 3.1 has them."""

import enum
import inspect
from collections.abc import Iterable
from typing import Any, cast

import msgspec
from msgspec import inspect as types

Schema = dict[str, Any]

_BOUNDS = {"ge": "minimum", "gt": "exclusiveMinimum", "le": "maximum", "lt": "exclusiveMaximum"}


class Schemas:
    """Collects the schemas of Structs by name; others refer to them."""

    def __init__(self) -> None:
        self.components: dict[str, Schema] = {}
        self._made_from: dict[str, type] = {}
        self._is_written = False

    def of(self, type_: Any, *, is_written: bool) -> Schema:  # noqa: ANN401 - what msgspec knows
        """The schema of a type; a Struct becomes a reference.

        Args:
            type_: any type that msgspec knows.
            is_written: by us, so that members with a default are there all the same.

        Raises:
            ValueError: two Structs have the same name.
        """
        self._is_written = is_written
        return self._of(types.type_info(type_))

    def _of(self, kind: types.Type) -> Schema:
        match kind:
            case types.Metadata():
                schema = self._of(kind.type)
                more = cast("Schema | None", kind.extra_json_schema)  # pyright: ignore[reportUnknownMemberType]
                return {**schema, **(more or {})}
            case types.StructType():
                return self._reference(kind)
            case types.UnionType():
                return self._union(kind.types)
            case types.NoneType():
                return {"type": "null"}
            case types.BoolType():
                return {"type": "boolean"}
            case types.IntType() | types.FloatType():
                name = "integer" if isinstance(kind, types.IntType) else "number"
                return {"type": name, **_bounds(kind)}
            case types.DecimalType():
                return {"type": "number"}
            case types.StrType():
                return {"type": "string", **_lengths(kind, "Length"), **_pattern(kind)}
            case types.ListType() | types.VarTupleType() | types.SetType() | types.FrozenSetType():
                items = self._of(kind.item_type)
                return {"type": "array", "items": items, **_lengths(kind, "Items")}
            case types.DictType():
                return {"type": "object", "additionalProperties": self._of(kind.value_type)}
            case types.LiteralType():
                return {"enum": list(kind.values)}
            case types.EnumType():
                return {"enum": [member.value for member in _members(kind.cls)]}
            case types.AnyType() | types.RawType():
                return {}
            case _:
                raise ValueError(f"{kind} has no schema here")

    def _union(self, kinds: Iterable[types.Type]) -> Schema:
        schemas = [self._of(kind) for kind in kinds]
        if {} in schemas:
            return {}
        return {"anyOf": schemas}

    def _reference(self, kind: types.StructType) -> Schema:
        cls = kind.cls
        name = cls.__name__
        known = self._made_from.setdefault(name, cls)
        if known is not cls:
            raise ValueError(f"{known} and {cls} have the same name")
        if name not in self.components:
            self.components[name] = {}
            self.components[name] = self._struct(kind)
        return {"$ref": f"#/components/schemas/{name}"}

    def _struct(self, kind: types.StructType) -> Schema:
        schema: Schema = {
            "type": "object",
            "description": inspect.cleandoc(kind.cls.__doc__ or ""),
            "properties": {field.encode_name: self._field(field) for field in kind.fields},
        }
        config = kind.cls.__struct_config__
        # What only describes an answer is not frozen, and nobody writes its defaults.
        has_all = self._is_written and config.frozen and not config.omit_defaults
        required = [field.encode_name for field in kind.fields if field.required or has_all]
        if required:
            schema["required"] = required
        if kind.forbid_unknown_fields:
            schema["additionalProperties"] = False
        return schema

    def _field(self, field: types.Field) -> Schema:
        schema = self._of(field.type)
        default = field.default
        if isinstance(default, bool | int | float | str) and "$ref" not in schema:
            schema = {**schema, "default": default}
        return schema


def _members(cls: type[enum.Enum]) -> list[enum.Enum]:
    return list(cls)


def _bounds(kind: types.IntType | types.FloatType) -> Schema:
    found = {word: getattr(kind, ours) for ours, word in _BOUNDS.items()}
    return {word: bound for word, bound in found.items() if bound is not None}


def _lengths(kind: Any, what: str) -> Schema:  # noqa: ANN401 - several kinds have both
    found = {f"min{what}": kind.min_length, f"max{what}": kind.max_length}
    return {word: bound for word, bound in found.items() if bound is not None}


def _pattern(kind: types.StrType) -> Schema:
    return {"pattern": kind.pattern} if kind.pattern is not None else {}


def encode_document(document: Schema) -> bytes:
    """A document as JSON that people can read too."""
    return msgspec.json.format(msgspec.json.encode(document), indent=1)
