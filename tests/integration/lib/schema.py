# SPDX-License-Identifier: ISC
"""Just as much of JSON Schema as the admin API's needs: type, enum, pattern, minimum, required, properties, items, $ref.

Objects are closed: what the schema does not list is a mistake.
"""
import re

from lib import tap

TYPES = {"object": dict, "array": list, "string": str, "number": (int, float), "integer": int, "boolean": bool,
         "null": type(None)}


def _is(value, name):
    if isinstance(value, bool):
        return name == "boolean"
    return isinstance(value, TYPES[name])


def _check(root, schema, value, where):
    if "$ref" in schema:
        schema = root["definitions"][schema["$ref"].rpartition("/")[2]]
    unknown = set(schema) - {"type", "enum", "pattern", "minimum", "required", "properties", "items", "description",
                             "additionalProperties", "$schema", "definitions"}
    tap.check(not unknown, f"{where}: the checker knows nothing of {unknown}")
    types = schema.get("type", [])
    types = [types] if isinstance(types, str) else types
    if types:
        tap.check(any(_is(value, name) for name in types), f"{where}: {value!r} is none of {types}")
    if "enum" in schema:
        tap.check(value in schema["enum"], f"{where}: {value!r} is none of {schema['enum']}")
    if "pattern" in schema and isinstance(value, str):
        tap.check(re.search(schema["pattern"], value), f"{where}: {value!r} is not like {schema['pattern']}")
    if "minimum" in schema and value is not None:
        tap.check(value >= schema["minimum"], f"{where}: {value!r} is under {schema['minimum']}")
    if isinstance(value, dict):
        properties = schema.get("properties", {})
        missing = [name for name in schema.get("required", properties) if name not in value]
        tap.check(not missing, f"{where}: {missing} are missing")
        for name, inner in value.items():
            more = schema.get("additionalProperties", False)
            tap.check(name in properties or more, f"{where}: {name} is not in the schema")
            _check(root, properties.get(name, more), inner, f"{where}.{name}")
    if isinstance(value, list):
        for number, inner in enumerate(value):
            _check(root, schema.get("items", {}), inner, f"{where}[{number}]")


def check(root, name, value):
    """Fails where a value is not as definition `name` of the schema says."""
    _check(root, {"$ref": f"#/definitions/{name}"}, value, name)
