"""Keys and sizes of what is cached. Nothing here calls code of the app."""

from __future__ import annotations

import hashlib
import os
import re
from collections.abc import Iterable
from itertools import islice
from typing import Any, cast

from otel_toolbar import semconv
from otel_toolbar.insights.secrets import MASK
from otel_toolbar.signals.core import masking

MOST = 32
"""Keys or commands that are kept of one command or pipeline."""

LONGEST = 256
"""Characters kept of a key."""

_LOOKED_AT = 1024
_MANY = 1000
"""Items whose sizes are added up; of more than that no size is told."""

_RANDOM_LENGTH = 32
"""From here on what looks like a token is taken for one wherever it stands in a key."""

_SEPARATORS = re.compile(r"([:/|])")
_salt = os.urandom(16)


def shown(given: Any) -> str:
    """A key as text. A secret in it is masked with a tag, so that different keys stay different.

    A secret is what follows a part like `session`, and what looks like a token.
    """
    text = _text(given)[:_LOOKED_AT]
    if "://" in text or "?" in text:  # of a cached response it is the URL
        return _cut(masking.url(text))
    parts = _SEPARATORS.split(text)
    announced = False
    for place in range(0, len(parts), 2):
        part = parts[place]
        if part and (announced or _is_token(part, alone=len(parts) == 1)):
            parts[place] = _masked(part)
        else:
            parts[place] = masking.text(part)
        announced = announced or masking.is_secret(part)
    return _cut("".join(parts))


def described(keys: Iterable[Any], count: int) -> dict[str, Any]:
    """The attributes of the keys of one command."""
    kept = [shown(key) for key in islice(keys, MOST)]
    if not kept:
        return {}
    if count == 1:
        return {semconv.CACHE_KEY: kept[0]}
    return {
        semconv.CACHE_KEY: _cut(", ".join(kept)),
        semconv.CACHE_KEYS: kept,
        semconv.CACHE_KEY_COUNT: count,
    }


def size(given: Any) -> int | None:
    """Bytes of a value of text and bytes; None for objects, which are not looked into."""
    kind = cast("type[Any]", type(given))
    if kind is str:
        return len(given) if given.isascii() else len(given.encode("utf-8", "replace"))
    if kind in (bytes, bytearray):
        return len(given)
    if kind is memoryview:
        return given.nbytes
    if kind in (int, float):
        return len(str(given)) if abs(given) < 2**63 else None
    if kind in (list, tuple, set):
        return _sum(given, len(given))
    if kind is dict:
        return _sum((each for pair in given.items() for each in pair), len(given))
    return None


def _sum(items: Iterable[Any], count: int) -> int | None:
    if count > _MANY:
        return None
    sizes = [size(item) for item in items if type(item) in (str, bytes, int, float)]
    return sum(each for each in sizes if each is not None)


def _text(given: Any) -> str:
    kind = cast("type[Any]", type(given))
    if kind in (bytes, bytearray, memoryview):
        return bytes(given[:_LOOKED_AT]).decode("utf-8", "replace")
    return str.__str__(given) if issubclass(kind, str) else masking.clean(given)


def _is_token(part: str, *, alone: bool) -> bool:
    return (alone or len(part) >= _RANDOM_LENGTH) and masking.is_token(part)


def _masked(part: str) -> str:
    # The salt makes the tag useless for finding out a short secret by trying.
    tag = hashlib.blake2b(part.encode("utf-8", "replace"), digest_size=4, key=_salt).hexdigest()
    return f"{MASK}#{tag}"


def _cut(text: str) -> str:
    return text if len(text) <= LONGEST else text[: LONGEST - 1] + "…"
