"""The OpenAPI page: what can be asked, written out from the app's own description; it loads nothing from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from html import escape
from typing import Any

HEAD = """<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>Ensue</title>
<style>
:root { color-scheme: light dark; }
body { font: 16px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; }
code, pre { font-family: ui-monospace, monospace; font-size: .9em; }
table { border-collapse: collapse; width: 100%; display: block; overflow-x: auto; }
th, td { text-align: left; vertical-align: top; padding: .2rem .8rem .2rem 0; border-top: 1px solid #8884; }
details { border-top: 1px solid #8884; padding: .4rem 0; }
summary { cursor: pointer; }
</style>
</head>
"""


def openapi_page(description: Mapping[str, Any]) -> str:
    """The page for an OpenAPI description."""
    schemas = description["components"]["schemas"]
    parts = [
        HEAD,
        "<body>",
        f"<h1>{escape(description['info']['title'])} {escape(description['info']['version'])}</h1>",
    ]
    parts.append('<p>For programs: <a href="openapi.json">openapi.json</a></p>')
    for path, methods in description["paths"].items():
        for method, route in methods.items():
            parts.extend(_route(path, method, route, schemas))
    return "\n".join([*parts, "</body></html>"])


def _route(path: str, method: str, route: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    said = escape(route.get("description", ""))
    yield f"<details><summary><code>{method.upper()} {escape(path)}</code> {said}</summary>"
    body = route.get("requestBody", {}).get("content", {}).get("application/json", {}).get("schema")
    if body:
        yield from _fields("Body", schemas[_name(body)], schemas)
    for status, answer in route["responses"].items():
        schema = answer.get("content", {}).get("application/json", {}).get("schema", {})
        yield f"<p>{status}: {escape(answer.get('description', ''))} <code>{escape(_kind(schema))}</code></p>"
    yield "</details>"


def _fields(title: str, schema: Mapping[str, Any], schemas: Mapping[str, Any]) -> Iterator[str]:
    yield f"<p>{title}: {escape(schema.get('description', ''))}</p><table>"
    needed = schema.get("required", ())
    for name, field in schema.get("properties", {}).items():
        default = "needed" if name in needed else f"default {field.get('default')}"
        note = escape(field.get("description", ""))
        yield f"<tr><td><code>{escape(name)}</code></td><td>{escape(_kind(field))}</td>"
        yield f"<td>{escape(default)}</td><td>{note}</td></tr>"
    yield "</table>"


def _kind(schema: Mapping[str, Any]) -> str:
    """A type in few words."""
    if "$ref" in schema:
        return _name(schema)
    options = schema.get("anyOf") or schema.get("oneOf")
    if options:
        return " or ".join(dict.fromkeys(map(_kind, options)))
    if "enum" in schema or "const" in schema:
        return " or ".join(map(repr, schema.get("enum", [schema.get("const")])))
    kind = str(schema.get("type", "anything" if schema else ""))
    return f"list of {_kind(schema.get('items', {}))}" if kind == "array" else kind


def _name(schema: Mapping[str, Any]) -> str:
    return str(schema.get("$ref", "")).rsplit("/", 1)[-1]
