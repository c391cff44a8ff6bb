"""The operation of an OpenAPI document that a request matched, and how the exchange fits it.

From the document that the process told and from the trace alone. Of bodies only the form fields that the
app read are recorded, so others are not compared. Documents may come from anywhere: what is not of the
expected type is passed over.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal, cast
from urllib.parse import parse_qsl, quote

from otel_toolbar import semconv
from otel_toolbar.model import Span, Trace

from . import process, reading
from .openapi_values import as_list, misfit

Verdict = Literal["ok", "warn", "unknown"]

_MAX_REFERENCES = 20
_MAX_DEPTH = 6
_IGNORED = frozenset({"accept", "content-type", "authorization"})
"""Header parameters that OpenAPI says are to be ignored: they are described elsewhere."""


@dataclass(frozen=True)
class Parameter:
    """One parameter; `sent` None where that is not to be known."""

    name: str
    place: str
    """`path`, `query`, `header` or `cookie`."""
    type: str
    required: bool
    description: str
    sent: bool | None
    misfit: str | None = None
    """What its value should be and is not; empty where it fits, None where no value is recorded."""


@dataclass(frozen=True)
class Body:
    """A body as documented, of one content type. `schema` in short form, a line a property."""

    content_type: str
    schema: str


@dataclass(frozen=True)
class Response:
    """A documented response. `status` as in the document: `200`, `4XX`, `default`."""

    status: str
    description: str
    bodies: tuple[Body, ...]
    answered: bool
    """It is the one that this request got."""


@dataclass(frozen=True)
class Finding:
    """How one thing fits the document."""

    verdict: Verdict
    text: str


@dataclass(frozen=True)
class Operation:
    """The matched operation."""

    id: str
    method: str
    path: str
    summary: str
    description: str
    tags: tuple[str, ...]
    deprecated: bool
    parameters: tuple[Parameter, ...]
    body_required: bool
    bodies: tuple[Body, ...]
    responses: tuple[Response, ...]
    docs: str
    """URL path of the operation in the app's own pages; empty without any."""
    findings: tuple[Finding, ...]


def matched(trace: Trace) -> Operation | None:
    """The operation that the trace's request matched; None when no document has it."""
    main = trace.main
    if main is None:
        return None
    route = reading.text(main, semconv.HTTP_ROUTE)
    method = reading.text(main, semconv.HTTP_REQUEST_METHOD, semconv.OLD_HTTP_METHOD).lower()
    for document in process.documents(trace):
        parsed = document.parsed or {}
        for path in _paths(parsed, route):
            item = _resolved(parsed, _map(_map(parsed.get("paths")).get(path)))
            found = item.get(method)
            if isinstance(found, dict):
                operation = cast("Mapping[str, Any]", found)
                return _operation(main, document, item, operation, method, path)
    return None


def _paths(document: Mapping[str, Any], route: str) -> Sequence[str]:
    """Paths of the document that a route may be: its own, or what is left below a mount."""
    known = _map(document.get("paths"))
    if route in known:
        return (route,)
    plain = _plain(route)
    same = [path for path in known if _plain(path) == plain]
    below = [path for path in known if path != "/" and route.endswith(path)]
    return same or sorted(below, key=len, reverse=True)


def _plain(path: str) -> str:
    """A path with parameters unnamed and their converters left out: `/items/{id:int}` -> `/items/{}`."""
    parts = path.rstrip("/").split("/")
    return "/".join("{}" if part[:1] == "{" and part[-1:] == "}" else part for part in parts)


def _operation(
    main: Span,
    document: process.Document,
    item: Mapping[str, Any],
    found: Mapping[str, Any],
    method: str,
    path: str,
) -> Operation:
    parsed = document.parsed or {}
    parameters = tuple(_parameters(main, parsed, item, found))
    responses = tuple(_responses(main, parsed, found))
    body = _resolved(parsed, _map(found.get("requestBody")))
    bodies = tuple(_bodies(parsed, body))
    tags = tuple(_text(tag) for tag in as_list(found.get("tags")))
    identity = _text(found.get("operationId"))
    return Operation(
        id=identity,
        method=method.upper(),
        path=_text(path),
        summary=_text(found.get("summary")),
        description=_text(found.get("description")),
        tags=tags,
        deprecated=found.get("deprecated") is True,
        parameters=parameters,
        body_required=body.get("required") is True,
        bodies=bodies,
        responses=responses,
        docs=_link(document, tags, identity, method, path),
        findings=(
            *_findings(main, found, parameters, bodies, responses),
            *_of_form(main, parsed, body),
        ),
    )


def _link(
    document: process.Document, tags: Sequence[str], identity: str, method: str, path: str
) -> str:
    """The operation's place in the app's own pages, by the anchors that these make."""
    if not document.docs.startswith("/") or document.docs.startswith("//"):
        return ""
    tag = quote(tags[0] if tags else "default", safe="")
    name = quote(identity, safe="")
    within = f"tag/{tag}/" if tags else ""
    anchor = {
        "swagger": f"#/{tag}/{name}",
        "redoc": f"#{within}operation/{name}",
        "scalar": f"#tag/{tag}/{method.upper()}{quote(path, safe='/{}')}",
        "stoplight": f"#/operations/{name}",
    }.get(document.docs_kind, "")
    return document.docs + (anchor if identity or document.docs_kind == "scalar" else "")


# What is documented.


def _parameters(
    main: Span, document: Mapping[str, Any], item: Mapping[str, Any], found: Mapping[str, Any]
) -> Iterator[Parameter]:
    """Those of the operation and of its path, which it may override."""
    seen: set[tuple[str, str]] = set()
    for given in (*as_list(found.get("parameters")), *as_list(item.get("parameters"))):
        parameter = _resolved(document, _map(given))
        name, place = _text(parameter.get("name")), _text(parameter.get("in"))
        ignored = place == "header" and name.lower() in _IGNORED
        if not name or ignored or (name, place) in seen:
            continue
        seen.add((name, place))
        yield Parameter(
            name=name,
            place=place,
            type=_short(document, _map(parameter.get("schema"))),
            required=parameter.get("required") is True,
            description=_text(parameter.get("description")),
            sent=_sent(main, name, place),
            misfit=_misfit(document, _map(parameter.get("schema")), _values(main, name, place)),
        )


def _misfit(
    document: Mapping[str, Any], schema: Mapping[str, Any], sent: Sequence[str]
) -> str | None:
    def resolve(given: Any) -> Mapping[str, Any]:
        return _resolved(document, _map(given))

    found = [misfit(resolve(schema), each, resolve) for each in sent]
    return next(filter(None, found), "") if found else None


def _values(main: Span, name: str, place: str) -> Sequence[str]:
    """What was sent under a name, as far as it is recorded."""
    if place == "query":
        return [value for key, value in _pairs(main) if key == name]
    if place == "path":
        given = main.attributes.get(semconv.REQUEST_PATH_PARAMETER + name)
        return [] if given is None else [reading.as_text(given)]
    return []


def _sent(main: Span, name: str, place: str) -> bool | None:
    if place == "query":
        return name in _query(main)
    if place == "path":
        return True  # the route matched
    headers = _headers(main, semconv.HTTP_REQUEST_HEADER)
    if not headers:
        return None  # not captured
    if place == "header":
        return name.lower().replace("-", "_") in {each.replace("-", "_") for each in headers}
    if place == "cookie":
        return name in _cookies(headers)
    return None


def _query(main: Span) -> frozenset[str]:
    return frozenset(name for name, _ in _pairs(main))


def _pairs(main: Span) -> Sequence[tuple[str, str]]:
    query = reading.text(main, semconv.URL_QUERY).lstrip("?")
    if not query:
        query = reading.text(main, semconv.OLD_HTTP_TARGET).partition("?")[2]
    try:
        return parse_qsl(query, keep_blank_values=True)
    except ValueError:
        return ()


def _headers(main: Span, prefix: str) -> dict[str, tuple[str, ...]]:
    return {name.lower(): reading.strings(value) for name, value in main.below(prefix).items()}


def _cookies(headers: Mapping[str, Sequence[str]]) -> frozenset[str]:
    pairs = [pair for line in headers.get("cookie", ()) for pair in line.split(";")]
    return frozenset(pair.partition("=")[0].strip() for pair in pairs)


def _responses(
    main: Span, document: Mapping[str, Any], found: Mapping[str, Any]
) -> Iterator[Response]:
    status = _status(main)
    known = _map(found.get("responses"))
    answered = _documented(status, known)
    for code, given in known.items():
        response = _resolved(document, _map(given))
        yield Response(
            status=_text(code),
            description=_text(response.get("description")),
            bodies=tuple(_bodies(document, response)),
            answered=code == answered,
        )


def _status(main: Span) -> int | None:
    return reading.integer(main, semconv.HTTP_RESPONSE_STATUS_CODE, semconv.OLD_HTTP_STATUS_CODE)


def _documented(status: int | None, known: Mapping[str, Any]) -> str | None:
    """The documented response that a status is: itself, its class, or the default."""
    if status is None:
        return None
    wanted = (str(status), f"{str(status)[:1]}XX", f"{str(status)[:1]}xx", "default")
    return next((each for each in wanted if each in known), None)


def _bodies(document: Mapping[str, Any], owner: Mapping[str, Any]) -> Iterator[Body]:
    for content_type, media in _map(owner.get("content")).items():
        schema = _map(_map(media).get("schema"))
        yield Body(_text(content_type), "\n".join(_lines(document, schema)))


def _lines(document: Mapping[str, Any], schema: Mapping[str, Any]) -> Iterator[str]:
    """A schema in short: a line for each property of an object, else its type."""
    resolved = _resolved(document, schema)
    properties = _map(resolved.get("properties"))
    if not properties:
        yield _short(document, schema)
        return
    required = {_text(name) for name in as_list(resolved.get("required"))}
    for name, given in list(properties.items())[:100]:
        optional = "" if name in required else "?"
        yield f"{_text(name)}{optional}: {_short(document, _map(given))}"


def _short(document: Mapping[str, Any], schema: Mapping[str, Any], depth: int = 0) -> str:
    """The type of a schema in a word or two; a model by its name."""
    reference = _text(schema.get("$ref"))
    if reference:
        return reference.rpartition("/")[2]
    if depth == _MAX_DEPTH:
        return "…"
    for key, between in (("anyOf", " | "), ("oneOf", " | "), ("allOf", " & ")):
        several = as_list(schema.get(key))[:10]
        if several:
            return between.join(_short(document, _map(each), depth + 1) for each in several)
    kind = schema.get("type")
    if isinstance(kind, list):
        return " | ".join(_text(each) for each in cast("list[Any]", kind)[:10])
    if kind == "array":
        return f"{_short(document, _map(schema.get('items')), depth + 1)}[]"
    return " ".join(filter(None, (_text(kind) or "any", _text(schema.get("format")))))


# How it fits.


def _findings(
    main: Span,
    found: Mapping[str, Any],
    parameters: Sequence[Parameter],
    bodies: Sequence[Body],
    responses: Sequence[Response],
) -> Iterator[Finding]:
    if found.get("deprecated") is True:
        yield Finding("warn", "The operation is deprecated.")
    yield from _of_parameters(main, parameters)
    if bodies:
        yield from _of_request_type(main, bodies)
    yield from _of_answer(main, responses)


def _of_parameters(main: Span, parameters: Sequence[Parameter]) -> Iterator[Finding]:
    missing = [each for each in parameters if each.required and each.sent is False]
    for each in missing:
        yield Finding("warn", f"The required {each.place} parameter `{each.name}` was not sent.")
    unfit = [each for each in parameters if each.misfit]
    for each in unfit:
        yield Finding("warn", f"The {each.place} parameter `{each.name}` is not {each.misfit}.")
    known = {each.name for each in parameters if each.place == "query"}
    unknown = sorted(_query(main) - known)
    for name in unknown[:20]:
        yield Finding("warn", f"The query parameter `{_text(name)}` is not documented.")
    if any(each.required and each.sent is None for each in parameters):
        yield Finding("unknown", "Headers were not recorded, so they are not compared.")
    if not missing and not unknown:
        yield Finding("ok", "All required parameters were sent, and no unknown query parameter.")
    if not unfit and any(each.misfit is not None for each in parameters):
        yield Finding("ok", "What was sent in path and query fits its schema.")


def _of_request_type(main: Span, bodies: Sequence[Body]) -> Iterator[Finding]:
    sent = _content_type(main, semconv.HTTP_REQUEST_HEADER)
    if not sent:
        yield Finding("unknown", "The request names no content type for its body.")
    elif _fits(sent, bodies):
        yield Finding("ok", f"The body's content type `{sent}` is documented.")
    else:
        yield Finding("warn", f"The body's content type `{sent}` is not documented.")


def _of_form(main: Span, document: Mapping[str, Any], body: Mapping[str, Any]) -> Iterator[Finding]:
    """The form fields that the app read, where the body is documented as a form."""
    sent = {
        name: reading.as_text(value) for name, value in main.below(semconv.REQUEST_FORM).items()
    }
    media = _map(_map(body.get("content")).get(_content_type(main, semconv.HTTP_REQUEST_HEADER)))
    schema = _resolved(document, _map(media.get("schema")))
    properties = _map(schema.get("properties"))
    if not sent or not properties:
        return
    unfit = False
    for name in map(_text, as_list(schema.get("required"))):
        if name not in sent:
            unfit = True
            yield Finding("warn", f"The required form field `{name}` was not sent.")
    for name, value in sent.items():
        wrong = _misfit(document, _map(properties.get(name)), [value])
        if wrong:
            unfit = True
            yield Finding("warn", f"The form field `{name}` is not {wrong}.")
    if not unfit:
        yield Finding("ok", "The form fields fit their schema.")


def _of_answer(main: Span, responses: Sequence[Response]) -> Iterator[Finding]:
    status = _status(main)
    if status is None:
        yield Finding("unknown", "There is no response yet.")
        return
    response = next((each for each in responses if each.answered), None)
    if response is None:
        yield Finding("warn", f"The status {status} is not documented.")
        return
    yield Finding("ok", f"The status {status} is documented as `{response.status}`.")
    answered = _content_type(main, semconv.HTTP_RESPONSE_HEADER)
    if not answered or not response.bodies:
        return
    if _fits(answered, response.bodies):
        yield Finding("ok", f"The response's content type `{answered}` is documented.")
    else:
        yield Finding("warn", f"The response's content type `{answered}` is not documented.")


def _content_type(main: Span, prefix: str) -> str:
    headers = _headers(main, prefix)
    values = headers.get("content-type") or headers.get("content_type") or ()
    return values[0].partition(";")[0].strip().lower() if values else ""


def _fits(content_type: str, bodies: Sequence[Body]) -> bool:
    main_type = content_type.partition("/")[0]
    wanted = (content_type, f"{main_type}/*", "*/*")
    return any(body.content_type.partition(";")[0].strip().lower() in wanted for body in bodies)


# Walking the document.


def _resolved(document: Mapping[str, Any], given: Mapping[str, Any]) -> Mapping[str, Any]:
    """What a local `$ref` names; references elsewhere are not followed."""
    for _ in range(_MAX_REFERENCES):
        reference = given.get("$ref")
        if not isinstance(reference, str) or not reference.startswith("#/"):
            return given
        target: Any = document
        for part in reference[2:].split("/"):
            target = _map(target).get(part.replace("~1", "/").replace("~0", "~"))
        given = _map(target)
    return {}


def _map(value: Any) -> Mapping[str, Any]:
    return cast("Mapping[str, Any]", value) if isinstance(value, dict) else {}


def _text(value: Any) -> str:
    return reading.as_text(value if isinstance(value, (str, int, float)) else None)
