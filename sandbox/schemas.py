"""A value that fits a JSON schema."""

import math
from random import Random
from typing import Any

from sandbox.schema_rules import referenced

FORMATS = {
    "date": "2026-01-15",
    "time": "09:30:00Z",
    "date-time": "2026-01-15T09:30:00Z",
    "duration": "P1D",
    "email": "name@example.com",
    "hostname": "example.com",
    "uri": "https://example.com/",
    "ipv4": "192.0.2.1",
    "ipv6": "2001:db8::1",
    "uuid": "3f2b8c1e-5d4a-4b6f-9c7d-0e1f2a3b4c5d",
}
DEEPEST = 6
# What a hostile schema may ask for is bounded: beyond these a value no longer fits it.
DEEPEST_REQUIRED = 24
MOST_VALUES = 2_000
LONGEST_TEXT = 2_000
Schema = dict[str, Any]


class Maker:
    """Makes values for one schema, of words of the prompt where a text is asked for."""

    def __init__(self, schema: Schema, words: list[str], draw: Random) -> None:
        self.root = schema
        self.words = words or ["example"]
        self.draw = draw
        self.left = MOST_VALUES

    def value(self, schema: Any = None, depth: int = 0) -> Any:
        self.left -= 1
        if self.left < 0 or depth > DEEPEST_REQUIRED:
            return None
        schema = self._resolved(self.root if schema is None else schema)
        if "const" in schema:
            return schema["const"]
        if schema.get("enum"):
            return self.draw.choice(schema["enum"])
        for keyword in ("anyOf", "oneOf"):
            if schema.get(keyword):
                return self.value(self._alternative(schema[keyword], depth), depth + 1)
        return self._typed(schema, depth)

    def _resolved(self, schema: Any, depth: int = 0) -> Schema:
        """Follows references and merges `allOf`; `true` and `{}` allow anything."""
        self.left -= depth > 0
        if not isinstance(schema, dict) or depth > DEEPEST or self.left < 0:
            return {}
        for _ in range(DEEPEST):
            reference = schema.get("$ref")
            if not isinstance(reference, str):
                break
            schema = referenced(self.root, reference)
        for part in schema.get("allOf", []):
            resolved = self._resolved(part, depth + 1)
            properties = {**schema.get("properties", {}), **resolved.get("properties", {})}
            required = [*schema.get("required", []), *resolved.get("required", [])]
            schema = {**schema, **resolved, "properties": properties, "required": required}
        return schema

    def _alternative(self, choices: list[Any], depth: int) -> Any:
        if depth < DEEPEST:
            return choices[0]
        flat = [choice for choice in choices if self._resolved(choice).get("type") in _FLAT]
        return (flat or choices)[0]

    def _typed(self, schema: Schema, depth: int) -> Any:
        kind = schema.get("type") or ("object" if "properties" in schema else "string")
        if isinstance(kind, list):
            kind = next((name for name in kind if name != "null"), "null")
        if kind == "object":
            return self._object(schema, depth)
        if kind == "array":
            return self._array(schema, depth)
        if kind in ("number", "integer"):
            return self._number(schema, kind == "integer")
        if kind == "boolean":
            return self.draw.random() < 0.5
        return None if kind == "null" else self._string(schema)

    def _object(self, schema: Schema, depth: int) -> Schema:
        properties = schema.get("properties", {})
        required = schema.get("required", [])
        wanted = (
            properties if depth < DEEPEST else [name for name in properties if name in required]
        )
        made = {name: self.value(properties[name], depth + 1) for name in wanted}
        return made | {name: self.draw.choice(self.words) for name in required if name not in made}

    def _array(self, schema: Schema, depth: int) -> list[Any]:
        fewest = schema.get("minItems", 0)
        most = schema.get("maxItems", max(fewest, 3))
        count = fewest if depth >= DEEPEST else max(fewest, min(most, self.draw.randint(1, 3)))
        items = [self.value(part, depth + 1) for part in schema.get("prefixItems", [])]
        while len(items) < count and self.left > 0:
            items.append(self.value(schema.get("items", {}), depth + 1))
        return items

    def _number(self, schema: Schema, whole: bool) -> float:
        step = schema.get("multipleOf") or (1 if whole else 0.01)
        low = schema.get("minimum", schema.get("exclusiveMinimum"))
        high = schema.get("maximum", schema.get("exclusiveMaximum"))
        if low is None:
            low = 0 if high is None else min(0, high - 10 * step)
        if high is None:
            high = low + 100 * step
        try:
            first = math.ceil(low / step) + ("exclusiveMinimum" in schema and low % step == 0)
            last = math.floor(high / step) - ("exclusiveMaximum" in schema and high % step == 0)
        except OverflowError:
            return int(low) if whole else low
        number = self.draw.randint(first, max(first, last)) * step
        return int(number) if whole else round(number, 6)

    def _string(self, schema: Schema) -> str:
        if schema.get("format") in FORMATS:
            return FORMATS[schema["format"]]
        text: str = self.draw.choice(self.words)
        while len(text) < min(schema.get("minLength", 0), LONGEST_TEXT):
            text = f"{text} {self.draw.choice(self.words)}"
        return text[: schema.get("maxLength", len(text))]


_FLAT = ("string", "number", "integer", "boolean", "null")
