"""The content of a message: what is held of it while it is hot, and what is shown of it later.

While the app runs, a message's text is only referred to, or cut when it is long. It is masked and cut to
its exact size when it is first read: for an exporter, a store or somebody who looks.
"""

from __future__ import annotations

import re
from typing import Any

from otel_toolbar.signals.core import masking

AHEAD = 4096
"""Characters held beyond the limit, so that a secret cut in two is still known."""

MAX_SIZE = masking.MAX_TEXT
"""Bytes of text that are shown at most, whatever the setting says."""


def held(text: str, limit: int) -> str:
    """What has to be held of a text of which `limit` bytes will be shown."""
    longest = limit + AHEAD
    return text if len(text) <= longest else text[:longest]


def size(text: str) -> int:
    """Bytes of a text as UTF-8."""
    return len(text) if text.isascii() else len(text.encode("utf-8", "surrogatepass"))


def shown(text: str, limit: int) -> str:
    """The text with secrets masked, at most `limit` bytes of UTF-8, no character cut in two."""
    clean = masking.text(_without_nested_secrets(text))
    limit = min(limit, MAX_SIZE)
    if len(clean) <= limit and clean.isascii():
        return clean
    return clean.encode("utf-8", "replace")[:limit].decode("utf-8", "ignore")


def binary(data: Any, limit: int) -> bytes:
    """The first bytes of a binary message, as they are now."""
    return bytes(memoryview(data).cast("B")[:limit])


# In JSON a secret may be a list or an object, and JSON may stand in a string of JSON.

_NESTED = re.compile(r'(\\{0,3}")([^"\\]{1,64})\1\s{0,8}:\s{0,8}([\[{])')
_ESCAPED = re.compile(
    r'(\\{1,7}")([^"\\]{1,64})\1(\s{0,8}:\s{0,8})(?:\1.*?(?:(?<!\\)\1|\Z)|[^\s,}\]\[{\\"]+)',
    re.DOTALL,
)
_CLOSING = {"[": "]", "{": "}"}


def _without_nested_secrets(text: str) -> str:
    if '\\"' in text:
        text = _ESCAPED.sub(_mask_escaped, text)
    if "[" not in text and "{" not in text[1:]:
        return text
    parts: list[str] = []
    reached = 0
    for match in _NESTED.finditer(text):
        if match.start() >= reached and masking.is_secret(match[2]):
            parts.append(text[reached : match.start(3)] + match[1] + masking.MASK + match[1])
            reached = _end_of(text, match.start(3))
    return "".join(parts) + text[reached:] if parts else text


def _mask_escaped(match: re.Match[str]) -> str:
    quote, name, between = match.group(1, 2, 3)
    if not masking.is_secret(name):
        return match[0]
    return f"{quote}{name}{quote}{between}{quote}{masking.MASK}{quote}"


_STRUCTURE = re.compile(r'"(?:[^"\\]|\\.)*"?|[\[\]{}]', re.DOTALL)


def _end_of(text: str, start: int) -> int:
    """Where the list or object that begins at `start` ends; the text's end when it was cut."""
    depth = 0
    for match in _STRUCTURE.finditer(text, start):
        if match[0] in _CLOSING:
            depth += 1
        elif match[0] in ("]", "}"):
            depth -= 1
            if depth == 0:
                return match.end()
    return len(text)
