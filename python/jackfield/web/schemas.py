"""The schemas of the API: a few words that make JSON Schema, and the check of a value against one.

Owns the subset of JSON Schema 2020-12 that the API is described in, so that what is checked and what is
published cannot differ. Pure.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from typing import Any, Final

Schema = dict[str, Any]
_KINDS: Final[dict[str, Any]] = {
    "string": str,
    "integer": int,
    "number": (int, float),
    "boolean": bool,
    "array": list,
    "object": dict,
    "null": type(None),
}
_CALLED: Final = {
    "string": "a text",
    "integer": "a whole number",
    "number": "a number",
    "boolean": "true or false",
    "array": "a list",
    "object": "an object",
    "null": "null",
}
LONGEST_TEXT: Final = 65_536  # characters


class Invalid(ValueError):
    """A value is not what its schema says; the message names the place."""


def text(about: str = "", *, choices: tuple[str, ...] = (), most: int = LONGEST_TEXT) -> Schema:
    """A text of at most `most` characters, one of `choices` if there are any."""
    found: Schema = {"type": "string", "maxLength": most}
    if choices:
        found = {"type": "string", "enum": list(choices)}
    return _about(found, about)


def told(about: str = "") -> Schema:
    """A text of any length, in an answer."""
    return _about({"type": "string"}, about)


def data(about: str = "") -> Schema:
    """Bytes as base64."""
    return _about({"type": "string", "contentEncoding": "base64"}, about)


def whole(about: str = "", *, least: int = 0, most: int = 2**53 - 1) -> Schema:
    return _about({"type": "integer", "minimum": least, "maximum": most}, about)


def number(about: str = "") -> Schema:
    return _about({"type": "number"}, about)


def seconds(about: str = "") -> Schema:
    """A time span of at most a day."""
    return _about({"type": "number", "minimum": 0, "maximum": 86_400}, about)


def flag(about: str = "") -> Schema:
    return _about({"type": "boolean"}, about)


def listing(of: Schema, about: str = "") -> Schema:
    return _about({"type": "array", "items": of}, about)


def nullable(schema: Schema) -> Schema:
    """That, or null."""
    return {**schema, "type": [schema["type"], "null"]}


def record(
    required: Mapping[str, Schema] | None = None,
    optional: Mapping[str, Schema] | None = None,
    *,
    about: str = "",
    more: bool = False,
) -> Schema:
    """An object with these members; `more`: and others that are not described."""
    found: Schema = {"type": "object", "properties": {**(required or {}), **(optional or {})}}
    if required:
        found["required"] = list(required)
    found["additionalProperties"] = more
    return _about(found, about)


def counts(about: str = "") -> Schema:
    """An object of whole numbers under any names."""
    return _about({"type": "object", "additionalProperties": {"type": "integer"}}, about)


def _about(schema: Schema, about: str) -> Schema:
    return {**schema, "description": about} if about else schema


def check(value: Any, schema: Schema, where: str = "the request") -> None:
    """Raise `Invalid` unless `value` is what `schema` says."""
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    if not any(_is(value, kind) for kind in kinds):
        raise Invalid(f"{where} must be {' or '.join(_CALLED[kind] for kind in kinds)}")
    if isinstance(value, str):
        _check_text(value, schema, where)
    elif isinstance(value, (int, float)) and not isinstance(value, bool):
        if value < schema.get("minimum", value) or value > schema.get("maximum", value):
            raise Invalid(f"{where} must be from {schema.get('minimum')} to {schema.get('maximum')}")
    elif isinstance(value, list):
        for place, item in enumerate(value):
            check(item, schema["items"], f"{where}[{place}]")
    elif isinstance(value, dict):
        _check_members(value, schema, where)


def _is(value: Any, kind: str) -> bool:
    if isinstance(value, bool):
        return kind == "boolean"
    return isinstance(value, _KINDS[kind])


def _check_text(value: str, schema: Schema, where: str) -> None:
    if "enum" in schema and value not in schema["enum"]:
        raise Invalid(f"{where} must be one of {', '.join(map(str, schema['enum']))}")
    if len(value) > schema.get("maxLength", len(value)):
        raise Invalid(f"{where} is longer than {schema['maxLength']} characters")
    if schema.get("contentEncoding") == "base64":
        try:
            base64.b64decode(value, validate=True)
        except (binascii.Error, ValueError):
            raise Invalid(f"{where} must be base64") from None


def _check_members(value: dict[str, Any], schema: Schema, where: str) -> None:
    properties = schema.get("properties", {})
    for name in schema.get("required", ()):
        if name not in value:
            raise Invalid(f"{where} needs {name!r}")
    for name, item in value.items():
        inside = properties.get(name, schema.get("additionalProperties", True))
        if inside is False:
            known = ", ".join(properties) or "nothing"
            raise Invalid(f"{where} has no {name[:80]!r}; it takes {known}")
        if isinstance(inside, dict):
            check(item, inside, f"{name!r}")


def from_query(pairs: Mapping[str, str], schema: Schema) -> dict[str, Any]:
    """The arguments that a query string says, each of the type that the schema gives it. Raises `Invalid`."""
    found: dict[str, Any] = {}
    for name, value in pairs.items():
        kind = schema.get("properties", {}).get(name, {}).get("type", "string")
        found[name] = _from_text(name, value, kind)
    check(found, schema, "the query")
    return found


def _from_text(name: str, value: str, kind: Any) -> Any:
    try:
        if kind == "integer":
            return int(value) if len(value) < 20 else value
        if kind == "number":
            return float(value)
    except ValueError:
        raise Invalid(f"{name!r} must be {_CALLED[kind]}") from None
    if kind == "boolean":
        if value not in ("true", "false"):
            raise Invalid(f"{name!r} must be true or false")
        return value == "true"
    if kind == "array":
        return value.split(",") if value else []
    return value
