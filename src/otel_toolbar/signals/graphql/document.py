"""A GraphQL document as it stands on a span: its literals without secrets."""

from __future__ import annotations

from collections.abc import Iterator
from functools import lru_cache
from typing import Any

from otel_toolbar import semconv
from otel_toolbar.insights import graphql_document
from otel_toolbar.insights.graphql_document import Token
from otel_toolbar.insights.secrets import MASK
from otel_toolbar.signals.core import masking

LONGEST = 16_384
"""Characters that are kept."""

_AHEAD = 4096
_OPENING, _CLOSING = frozenset("([{"), frozenset(")]}")


def described(document: str, name: str) -> dict[str, Any]:
    """The attributes of a document, of which the operation of that name runs."""
    facts: dict[str, Any] = {semconv.GRAPHQL_DOCUMENT: masked(document[: LONGEST + _AHEAD])}
    found = graphql_document.complexity(document, name)
    if found is not None:
        facts[semconv.GRAPHQL_DEPTH] = found.depth
        facts[semconv.GRAPHQL_FIELDS] = found.fields
        facts[semconv.GRAPHQL_ALIASES] = found.aliases
    return facts


@lru_cache(maxsize=64)
def masked(document: str) -> str:
    """The document with `***` for what is given to a secret name, or looks like a secret."""
    shown = "".join(_shown(token, secret) for token, secret in _literals(document))
    return shown if len(shown) <= LONGEST else shown[: LONGEST - 1] + "…"


def without_literals(message: str, document: str) -> str:
    """A message about a document, which may quote what is given to a secret name."""
    for token, secret in _literals(document[: masking.MAX_TEXT]):
        bare = token.text.strip('"')
        if secret and _is_literal(token) and bare:
            message = message.replace(bare, MASK)
    return message


def _is_literal(token: Token) -> bool:
    return token.kind in ("string", "number")


def _shown(token: Token, secret: bool) -> str:
    if not _is_literal(token):
        return masking.text(token.text) if token.kind == "comment" else token.text
    if secret:
        return f'"{MASK}"' if token.kind == "string" else MASK
    return masking.text(token.text)


def _literals(document: str) -> Iterator[tuple[Token, bool]]:
    """Every token, and whether it is given to a secret name: `password: "..."`, in lists too."""
    around: list[bool] = []
    """Of each open bracket: it belongs to a secret name itself."""
    secret, named = False, ""
    for token in graphql_document.tokens(document):
        if token.text == ":":
            secret = (bool(around) and around[-1]) or masking.is_secret(named)
        elif token.text in _OPENING:
            secret = secret and token.text != "("  # what stands before is an alias
            around.append(secret)
        elif token.text in _CLOSING:
            secret = around.pop() if around else False
        elif token.kind == "name":
            named = token.text
        yield token, secret
