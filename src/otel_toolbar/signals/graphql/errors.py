"""Errors of operations: GraphQL answers them with the rest of the data, so nobody sees them raised."""

from __future__ import annotations

import re
from typing import Any

from opentelemetry.trace import Span, StatusCode

from otel_toolbar import semconv
from otel_toolbar.insights.secrets import MASK
from otel_toolbar.signals.core import exceptions, masking

from . import document

MOST = 20
"""Errors of an operation that are written down; all are counted."""

_INVALID = re.compile(r"""(Variable ['"]\$(\w+)['"] (?:got|has) invalid value)(.*)""", re.DOTALL)
"""What graphql-core says of a variable; the rest holds its value, and where in it."""
_AT = re.compile(r""" at ['"]?([\w.\[\]]+)""")


def put(span: Span, error: BaseException, source: str = "") -> None:
    """Mark a span as failed by an error; `source` is the document where that may be quoted."""
    raised: BaseException = getattr(error, "original_error", None) or error
    span.set_attribute(semconv.ERROR_TYPE, exceptions.type_name(type(raised)))
    span.set_status(StatusCode.ERROR, _message(error, source))


def record(span: Span, error: Any, source: str) -> None:
    """Add an error of a result to the operation's span; `source` is the document."""
    raised: BaseException = getattr(error, "original_error", None) or error
    path = {semconv.GRAPHQL_ERROR_PATH: _path(error)} if getattr(error, "path", None) else {}
    if not is_answer(raised):
        exceptions.record(span, raised, also=path)
        return
    facts = {
        semconv.EXCEPTION_TYPE: exceptions.type_name(type(raised)),
        semconv.EXCEPTION_MESSAGE: _message(error, source),
        semconv.EXCEPTION_HANDLED: True,
    }
    span.add_event(semconv.EXCEPTION_EVENT, facts | path)


def record_raised(span: Span, error: BaseException, path: str) -> None:
    """Add what a resolver has raised. An error of GraphQL's own kind is meant as an answer."""
    also = {semconv.GRAPHQL_ERROR_PATH: path}
    exceptions.record(span, error, handled=is_answer(error), also=also)


def is_answer(error: BaseException) -> bool:
    """True for errors of GraphQL or Strawberry: the client's, and those that the app means to be told."""
    return any(
        each.__module__.partition(".")[0] in ("graphql", "strawberry")
        for each in type(error).__mro__
    )


def _message(error: BaseException, source: str) -> str:
    """What it says, without the lines of the document that the text of the error has, and no secret."""
    said = getattr(error, "message", None) if is_answer(error) else None
    if not isinstance(said, str):
        return masking.text(exceptions.message(error))
    return masking.text(document.without_literals(_INVALID.sub(_without_value, said), source))


def _without_value(found: re.Match[str]) -> str:
    said, name, rest = found.groups()
    names = [name, *(word for at in _AT.findall(rest) for word in re.split(r"[.\[\]]", at))]
    return f"{said} {MASK}" if any(map(masking.is_secret, names)) else found[0]


def _path(error: Any) -> str:
    return ".".join(map(str, error.path))
