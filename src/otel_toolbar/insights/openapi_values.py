"""Whether a text that was sent fits the JSON schema of a parameter or a form field.

Texts are read as servers read them: `7` is an integer, `on` a boolean. What cannot be told fits: a masked
or cut value, a keyword that is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from typing import Any, cast

from .secrets import MASK

Resolve = Callable[[Any], Mapping[str, Any]]
"""Gives the schema that a schema is, or refers to."""

_MAX_DEPTH = 6
_INTEGER = re.compile(r"[+-]?\d{1,400}(\.0+)?")
_BOOLEANS = frozenset({"true", "false", "1", "0", "on", "off", "yes", "no", "t", "f", "y", "n"})


def misfit(schema: Mapping[str, Any], sent: str, resolve: Resolve, depth: int = 0) -> str:
    """What the schema asks for and `sent` is not, such as `an integer`; empty when it fits."""
    if MASK in sent or sent.endswith("…") or depth == _MAX_DEPTH:
        return ""
    for key in ("anyOf", "oneOf"):
        several = as_list(schema.get(key))
        if several:
            found = [misfit(resolve(each), sent, resolve, depth + 1) for each in several]
            return "" if "" in found else " or ".join(dict.fromkeys(found))
    choices = as_list(schema.get("enum"))
    if choices:
        shown = [str(each) for each in choices]
        return "" if sent in shown else "one of " + ", ".join(f"`{each}`" for each in shown[:10])
    check = _TYPES.get(str(schema.get("type")))
    return check(schema, sent) if check is not None else ""


def as_list(value: Any) -> list[Any]:
    """The list that a document has there; empty where it is something else."""
    return cast("list[Any]", value) if isinstance(value, list) else []


def _integer(schema: Mapping[str, Any], sent: str) -> str:
    return _range(schema, sent) if _INTEGER.fullmatch(sent.strip()) else "an integer"


def _number(schema: Mapping[str, Any], sent: str) -> str:
    try:
        float(sent)
    except ValueError:
        return "a number"
    return _range(schema, sent)


def _range(schema: Mapping[str, Any], sent: str) -> str:
    value = float(sent)
    for key, fits, words in (
        ("minimum", value.__ge__, "at least"),
        ("maximum", value.__le__, "at most"),
        ("exclusiveMinimum", value.__gt__, "more than"),
        ("exclusiveMaximum", value.__lt__, "less than"),
    ):
        limit = schema.get(key)
        if isinstance(limit, (int, float)) and not isinstance(limit, bool) and not fits(limit):
            return f"{words} {limit}"
    return ""


def _boolean(_: Mapping[str, Any], sent: str) -> str:
    return "" if sent.lower() in _BOOLEANS else "a boolean"


def _string(schema: Mapping[str, Any], sent: str) -> str:
    least, most = schema.get("minLength"), schema.get("maxLength")
    if isinstance(least, int) and len(sent) < least:
        return f"at least {least} characters long"
    if isinstance(most, int) and len(sent) > most:
        return f"at most {most} characters long"
    return ""


def _null(_: Mapping[str, Any], sent: str) -> str:
    return "" if sent in ("", "null") else "null"


_TYPES: dict[str, Callable[[Mapping[str, Any], str], str]] = {
    "integer": _integer,
    "number": _number,
    "boolean": _boolean,
    "string": _string,
    "null": _null,
}
