"""What the API refuses in a JSON schema, for any tool and for structured outputs."""

from collections.abc import Callable, Iterator
from typing import Any

from sandbox.errors import invalid

TYPES = ("array", "boolean", "integer", "null", "number", "object", "string")
OPTIONAL_MOST, UNIONS_MOST, STRICT_MOST = 24, 16, 20
UNSUPPORTED = {
    "array": ("maxItems", "uniqueItems"),
    "string": ("minLength", "maxLength"),
    "number": ("minimum", "maximum", "exclusiveMinimum", "exclusiveMaximum", "multipleOf"),
    "object": ("minProperties", "maxProperties"),
}
UNSUPPORTED["integer"] = UNSUPPORTED["number"]
NAMED = ("properties", "$defs", "definitions", "patternProperties")
LISTED = ("anyOf", "oneOf", "allOf", "prefixItems")
SINGLE = ("items", "additionalProperties", "not", "contains")

Schema = dict[str, Any]


def check_schema(schema: Any, place: str) -> None:
    """Refuses what is not a JSON schema of draft 2020-12."""
    if not _is_schema(schema):
        raise invalid(f"{place}: JSON schema is invalid. It must match JSON Schema draft 2020-12")


def check_structured(schema: Schema, place: str) -> None:
    """Refuses what structured outputs cannot keep to: open objects, bounds, recursion."""
    optional = unions = 0
    for part in _walk(schema):
        _check_part(part, place)
        optional += len(part.get("properties", {}).keys() - set(part.get("required", [])))
        unions += "anyOf" in part or isinstance(part.get("type"), list)
    if optional > OPTIONAL_MOST or unions > UNIONS_MOST:
        raise too_complex()
    _check_recursion(schema, place)


def too_complex() -> Exception:
    return invalid("Schema is too complex for compilation.")


def _check_part(part: Schema, place: str) -> None:
    kind = part.get("type")
    if kind == "object" and part.get("additionalProperties") is not False:
        raise invalid(
            f"{place}: For 'object' type, 'additionalProperties' must be explicitly set to false"
        )
    for name in [kind] if isinstance(kind, str) else kind or []:
        found = [keyword for keyword in UNSUPPORTED.get(name, ()) if keyword in part]
        if name == "array" and part.get("minItems", 0) > 1:
            found.append("minItems")
        if found:
            listed = ", ".join(sorted(found))
            raise invalid(f"{place}: For '{name}' type, properties {listed} are not supported")
    if not part.get("$ref", "#").startswith("#"):
        raise invalid(f"{place}: External $ref is not supported: {part['$ref']}")


def _check_recursion(root: Schema, place: str) -> None:
    """Follows every reference once: those it is inside of are opened, those done are closed."""
    opened: set[str] = {"#"}
    closed: set[str] = set()

    def follow(schema: Schema) -> None:
        for reference in {part["$ref"] for part in _walk(schema) if "$ref" in part} - closed:
            if reference in opened:
                raise invalid(f"{place}: Recursive schemas are not supported: {reference}")
            opened.add(reference)
            follow(referenced(root, reference))
            opened.remove(reference)
            closed.add(reference)

    follow(root)


def referenced(root: Schema, reference: str) -> Schema:
    """What a `$ref` inside the same schema names; `{}`, which allows anything, for nothing."""
    target: Any = root
    for part in reference.removeprefix("#").strip("/").split("/"):
        name = part.replace("~1", "/").replace("~0", "~")
        target = target.get(name, {}) if name and isinstance(target, dict) else target
    return target if isinstance(target, dict) else {}


def _walk(schema: Any) -> Iterator[Schema]:
    """The schema and all inside of it; the names of properties are no keywords."""
    if isinstance(schema, dict):
        yield schema
        for part in _parts(schema):
            yield from _walk(part)


def _parts(schema: Schema) -> Iterator[Any]:
    for keyword in NAMED:
        yield from schema.get(keyword, {}).values()
    for keyword in LISTED:
        yield from schema.get(keyword, [])
    for keyword in SINGLE:
        if keyword in schema:
            yield schema[keyword]


def _is_schema(value: Any) -> bool:
    if isinstance(value, bool):
        return True
    if not isinstance(value, dict):
        return False
    fits = all(FITS[keyword](part) for keyword, part in value.items() if keyword in FITS)
    return fits and all(map(_is_schema, _parts(value)))


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_count(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


def _is_text(value: Any) -> bool:
    return isinstance(value, str)


def _is_type(value: Any) -> bool:
    names = [value] if isinstance(value, str) else value
    return isinstance(names, list) and bool(names) and all(name in TYPES for name in names)


FITS: dict[str, Callable[[Any], bool]] = {
    **dict.fromkeys(NAMED, lambda value: isinstance(value, dict)),
    **dict.fromkeys(LISTED, lambda value: isinstance(value, list) and bool(value)),
    **dict.fromkeys(UNSUPPORTED["number"], _is_number),
    **dict.fromkeys(("minItems", "maxItems", "minLength", "maxLength"), _is_count),
    **dict.fromkeys(("minProperties", "maxProperties"), _is_count),
    **dict.fromkeys(("$ref", "format", "pattern", "title", "description"), _is_text),
    "multipleOf": lambda value: _is_number(value) and value > 0,
    "type": _is_type,
    "enum": lambda value: isinstance(value, list),
    "required": lambda value: isinstance(value, list) and all(map(_is_text, value)),
}
