"""Jinja2's templates as spans: what renders what, how long it works, where it fails; and that the app
gets the same with us and without us."""

from __future__ import annotations

import asyncio
import functools
import gc
import re
import sys
import threading
import traceback
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import jinja2
import pytest
from hypothesis import given
from hypothesis import strategies as st
from inline_snapshot import snapshot
from jinja2.nativetypes import NativeEnvironment
from jinja2.sandbox import SandboxedEnvironment
from opentelemetry import trace
from opentelemetry.trace import SpanKind

from otel_toolbar import guard
from otel_toolbar.settings import Settings
from otel_toolbar.signals import templates
from otel_toolbar.signals.templates import described, generators, jinja, work
from tests.telemetry import Telemetry, exchange, http_scope, made_global, telemetry, watched

SHOP = {
    "base.html": "<title>{% block title %}Shop{% endblock %}</title>{% block content %}{% endblock %}",
    "page.html": "{% extends 'base.html' %}\n{% from 'macros.html' import field %}\n"
    "{% block content %}{% for item in items %}{% include 'row.html' %}{% endfor %}"
    "{{ field('q') }}{{ super() }}{% endblock %}",
    "row.html": "<li>{{ item }}</li>",
    "macros.html": "{% macro field(name) %}<input name={{ name }}>{% endmacro %}",
}


class Odd:
    """Nothing of it may be asked."""

    def __repr__(self) -> str:
        raise AssertionError("called")

    __str__ = __len__ = __iter__ = __getattr__ = __bool__ = __eq__ = __hash__ = __repr__  # type: ignore[assignment]


@pytest.fixture
def signals() -> Iterator[Telemetry]:
    made = telemetry()
    templates.install(Settings())
    with made_global(made.provider):
        yield made
    templates.uninstall()


def environment(sources: dict[str, str] | None = None, **options: Any) -> jinja2.Environment:
    return jinja2.Environment(loader=jinja2.DictLoader(sources or SHOP), **options)


async def handled(signals: Telemetry, handle: Callable[[], Any], **options: Any) -> Any:
    """What `handle`, a function or a coroutine function, gives inside of a request."""
    given: list[Any] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        result = handle()
        given.append(await result if asyncio.iscoroutine(result) else result)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    done = await exchange(watched(app, Settings(**options)), http_scope())
    if done.error is not None:
        raise done.error
    return given[0]


def ended(signals: Telemetry) -> list[Any]:
    """The spans as an exporter got them."""
    return list(signals.exported())


def tree(signals: Telemetry) -> list[str]:
    """`parent > name` of each span but the server's."""
    return [f"{s['parent']} > {s['name']}" for s in signals.snapshot() if s["kind"] != "SERVER"]


def facts(signals: Telemetry, name: str) -> dict[str, Any]:
    """The attributes of the first span of a name."""
    return next(s["attributes"] for s in signals.snapshot() if s["name"] == name)


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_page_as_a_whole(signals: Telemetry, asynchronous: bool) -> None:
    page = environment(enable_async=asynchronous)

    async def render() -> str:
        template = page.get_template("page.html")
        values = {"items": ["a", "b"], "odd": Odd()}
        return await template.render_async(values) if asynchronous else template.render(values)

    assert await handled(signals, render) == (
        "<title>Shop</title><li>a</li><li>b</li><input name=q>"
    )
    spans = [
        {
            key: {k: v for k, v in value.items() if k != "template.compile.duration"}
            if key == "attributes"
            else value
            for key, value in span.items()
        }
        for span in signals.snapshot()
        if span["kind"] != "SERVER"
    ]
    assert spans == snapshot(
        [
            {
                "name": "compile page.html",
                "kind": "INTERNAL",
                "parent": "GET",
                "attributes": {
                    "template.engine": "jinja2",
                    "template.name": "page.html",
                    "template.role": "compile",
                },
            },
            {
                "name": "render page.html",
                "kind": "INTERNAL",
                "parent": "GET",
                "attributes": {
                    "code.file.path": "/tests/unit/test_templates.py",
                    "code.function.name": "tests.unit.test_templates.render",
                    "code.line.number": "...",
                    "template.cached": False,
                    "template.context.keys": ["items", "odd"],
                    "template.engine": "jinja2",
                    "template.name": "page.html",
                    "template.role": "page",
                },
            },
            {
                "name": "compile base.html",
                "kind": "INTERNAL",
                "parent": "render page.html",
                "attributes": {
                    "template.engine": "jinja2",
                    "template.name": "base.html",
                    "template.role": "compile",
                },
            },
            {
                "name": "compile macros.html",
                "kind": "INTERNAL",
                "parent": "render page.html",
                "attributes": {
                    "template.engine": "jinja2",
                    "template.name": "macros.html",
                    "template.role": "compile",
                },
            },
            {
                "name": "render macros.html",
                "kind": "INTERNAL",
                "parent": "render page.html",
                "attributes": {
                    "code.file.path": "<template>",
                    "code.function.name": "template page.html",
                    "code.line.number": "...",
                    "template.cached": False,
                    "template.context.keys": [],
                    "template.engine": "jinja2",
                    "template.name": "macros.html",
                    "template.role": "import",
                },
            },
            {
                "name": "render base.html",
                "kind": "INTERNAL",
                "parent": "render page.html",
                "attributes": {
                    "code.file.path": "<template>",
                    "code.function.name": "template page.html",
                    "code.line.number": "...",
                    "template.cached": False,
                    "template.engine": "jinja2",
                    "template.name": "base.html",
                    "template.role": "parent",
                },
            },
            {
                "name": "block content",
                "kind": "INTERNAL",
                "parent": "render base.html",
                "attributes": {
                    "template.block": "content",
                    "template.engine": "jinja2",
                    "template.name": "page.html",
                    "template.role": "block",
                },
            },
            {
                "name": "compile row.html",
                "kind": "INTERNAL",
                "parent": "block content",
                "attributes": {
                    "template.engine": "jinja2",
                    "template.name": "row.html",
                    "template.role": "compile",
                },
            },
            {
                "name": "render row.html",
                "kind": "INTERNAL",
                "parent": "block content",
                "attributes": {
                    "code.file.path": "<template>",
                    "code.function.name": "template page.html",
                    "code.line.number": "...",
                    "template.cached": False,
                    "template.context.keys": ["items", "odd", "field", "item", "super"],
                    "template.engine": "jinja2",
                    "template.name": "row.html",
                    "template.role": "include",
                },
            },
            {
                "name": "render row.html",
                "kind": "INTERNAL",
                "parent": "block content",
                "attributes": {
                    "code.file.path": "<template>",
                    "code.function.name": "template page.html",
                    "code.line.number": "...",
                    "template.cached": True,
                    "template.context.keys": ["items", "odd", "field", "item", "super"],
                    "template.engine": "jinja2",
                    "template.name": "row.html",
                    "template.role": "include",
                },
            },
            {
                "name": "macro field",
                "kind": "INTERNAL",
                "parent": "block content",
                "attributes": {
                    "template.engine": "jinja2",
                    "template.macro": "field",
                    "template.name": "macros.html",
                    "template.role": "macro",
                },
            },
        ]
    )


async def test_the_second_time_it_comes_from_the_cache(signals: Telemetry) -> None:
    page = environment()
    await handled(signals, lambda: page.get_template("page.html").render(items=[1]))
    first = facts(signals, "render page.html")
    assert first["template.cached"] is False
    assert first["template.compile.duration"] > 0
    signals.clear()
    await handled(signals, lambda: page.get_template("page.html").render(items=[1]))
    again = facts(signals, "render page.html")
    assert again["template.cached"] is True
    assert "template.compile.duration" not in again
    assert not [each for each in tree(signals) if "compile" in each]


async def test_code_from_a_bytecode_cache_is_loaded_not_compiled(
    signals: Telemetry, tmp_path: Path
) -> None:
    def page() -> jinja2.Environment:
        return environment(bytecode_cache=jinja2.FileSystemBytecodeCache(str(tmp_path)))

    await handled(signals, lambda: page().get_template("row.html").render(item=1))
    signals.clear()
    await handled(signals, lambda: page().get_template("row.html").render(item=1))
    assert tree(signals) == ["GET > render row.html"]
    row = facts(signals, "render row.html")
    assert row["template.cached"] is False
    assert "template.compile.duration" not in row


async def test_compiled_modules(signals: Telemetry, tmp_path: Path) -> None:
    environment().compile_templates(str(tmp_path), zip=None)
    page = jinja2.Environment(loader=jinja2.ModuleLoader(str(tmp_path)))
    assert "<li>1</li>" in await handled(
        signals, lambda: page.get_template("page.html").render(items=[1])
    )
    assert "block content > render row.html" in tree(signals)


async def test_inheritance_of_three(signals: Telemetry) -> None:
    sources = {
        "base": "{% block a %}base a{% endblock %} {% block b %}base b{% endblock %}",
        "middle": "{% extends 'base' %}{% block a %}[{{ super() }}]{% endblock %}",
        "top": "{% extends 'middle' %}{% block a %}({{ super() }}){% endblock %}",
    }
    page = environment(sources)
    rendered = await handled(signals, lambda: page.get_template("top").render())
    assert rendered == "([base a]) base b"
    assert [each for each in tree(signals) if "compile" not in each] == [
        "GET > render top",
        "render top > render middle",
        "render middle > render base",
        "render base > block a",
    ]
    assert facts(signals, "block a")["template.name"] == "top"
    assert facts(signals, "render base")["template.role"] == "parent"


async def test_templates_without_names(signals: Telemetry) -> None:
    page = environment()

    def render() -> str:
        layout = page.from_string("<{% block x %}{% endblock %}>{% include part %}")
        own = page.from_string("{% extends layout %}{% block x %}own{% endblock %}")
        return own.render(layout=layout, part=page.from_string("part"))

    assert await handled(signals, render) == "<own>part"
    roles = [
        s["attributes"]["template.role"]
        for s in signals.snapshot()
        if s["name"].startswith(("render", "block"))
    ]
    assert roles == ["page", "parent", "block", "include"]


async def test_an_expression_and_a_module(signals: Telemetry) -> None:
    page = environment()
    assert await handled(signals, lambda: page.compile_expression("a + 1")(a=1)) == 2
    module = await handled(signals, lambda: page.get_template("macros.html").module)
    assert module.field("x") == "<input name=x>"  # outside of a request: as ever
    assert "GET > render macros.html" in tree(signals)


async def test_many_includes_share_a_span(signals: Telemetry) -> None:
    page = environment(
        {"list": "{% for item in items %}{% include 'row.html' %}{% endfor %}"} | SHOP
    )
    rendered = await handled(signals, lambda: page.get_template("list").render(items=range(250)))
    assert rendered.count("<li>") == 250
    rows = [s for s in ended(signals) if s.name == "render row.html"]
    assert len(rows) == 101
    counts = [
        row.attributes["template.render.count"]
        for row in rows
        if "template.render.count" in row.attributes
    ]
    assert counts == [150]
    (rest,) = (row for row in rows if "template.render.count" in row.attributes)
    assert rest.end_time is not None
    assert (
        0 < rest.attributes["template.render.duration"] <= (rest.end_time - rest.start_time) / 1e9
    )


async def test_queries_and_spans_inside_of_the_rest_belong_to_it(signals: Telemetry) -> None:
    def ask(item: int) -> int:
        with trace.get_tracer("app").start_as_current_span(f"ask {item}"):
            return item

    page = environment(
        {"list": "{% for item in items %}{% include 'r' %}{% endfor %}", "r": "{{ ask(item) }}"}
    )
    await handled(signals, lambda: page.get_template("list").render(items=range(103), ask=ask))
    assert "render r > ask 0" in tree(signals)
    spans = ended(signals)
    (rest,) = (s for s in spans if s.attributes.get("template.render.count"))
    inside = [s.name for s in spans if s.parent and s.parent.span_id == rest.context.span_id]
    assert inside == ["ask 100", "ask 101", "ask 102"]


async def test_a_full_trace_takes_no_more(signals: Telemetry) -> None:
    page = environment()
    rendered = await handled(
        signals, lambda: page.get_template("page.html").render(items=range(50)), max_spans=5
    )
    assert rendered.count("<li>") == 50
    spans = ended(signals)
    assert len(spans) == 6
    assert spans[-1].attributes["toolbar.dropped"] > 40


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_stream_works_only_while_it_is_read(signals: Telemetry, asynchronous: bool) -> None:
    page = environment(
        {"stream": "a{{ one }}{% include 'part' %}z", "part": "{{ one }}b{{ one }}"},
        enable_async=asynchronous,
    )
    tracer = trace.get_tracer("app")

    def between() -> None:
        with tracer.start_as_current_span("reader"):
            threading.Event().wait(0.005)

    async def read() -> str:
        pieces = []
        template = page.get_template("stream")
        if asynchronous:
            async for piece in template.generate_async(one=1):
                pieces.append(piece)
                between()
        else:
            for piece in template.generate(one=1):
                pieces.append(piece)
                between()
        return "".join(pieces)

    assert await handled(signals, read) == "a11b1z"
    by_name = {s.name: s for s in ended(signals)}
    parents = {each.split(" > ")[1]: each.split(" > ")[0] for each in tree(signals)}
    assert parents["reader"] == "GET"
    assert parents["render part"] == "render stream"
    for name in ("render stream", "render part"):
        span = by_name[name]
        lasted = (span.end_time - span.start_time) / 1e9
        assert span.attributes["template.render.duration"] < lasted - 0.004


async def test_two_streams_in_turn(signals: Telemetry) -> None:
    page = environment({"s": "{{ ask(n) }}{{ ask(n) }}{{ ask(n) }}"})
    tracer = trace.get_tracer("app")

    def ask(n: int) -> str:
        with tracer.start_as_current_span(f"ask {n}"):
            return str(n)

    def read() -> list[tuple[str, str]]:
        template = page.get_template("s")
        one, two = template.generate(n=1, ask=ask), template.stream(n=2, ask=ask)
        return list(zip(one, two, strict=True))

    assert await handled(signals, read) == [("1", "2")] * 3
    spans = ended(signals)
    renders = [s for s in spans if s.name == "render s"]
    for render in renders:
        inside = {s.name for s in spans if s.parent and s.parent.span_id == render.context.span_id}
        assert len(inside) == 1
    assert len(renders) == 2
    assert {s["parent"] for s in signals.snapshot() if s["name"] == "render s"} == {"GET"}


async def test_a_stream_within_a_stream(signals: Telemetry) -> None:
    page = environment(
        {"out": "{% for piece in inner() %}{{ piece }}{% endfor %}", "in": "a{{ one }}"}
    )

    def read() -> str:
        inner = functools.partial(page.get_template("in").generate, one=1)
        return "".join(page.get_template("out").generate(inner=inner))

    assert await handled(signals, read) == "a1"
    assert "render out > render in" in tree(signals)


async def test_a_stream_read_in_threads(signals: Telemetry) -> None:
    """As Starlette reads a synchronous iterator: each piece in a thread, in a copy of the context."""
    page = environment({"s": "a{{ one }}{% include 'p' %}", "p": "x{{ one }}y"})

    async def read() -> str:
        stream = page.get_template("s").generate(one=1)
        pieces = []
        while (piece := await asyncio.to_thread(next, stream, None)) is not None:
            pieces.append(piece)
        return "".join(pieces)

    assert await handled(signals, read) == "a1x1y"
    assert "render s > render p" in tree(signals)


@pytest.mark.parametrize("asynchronous", [False, True])
async def test_a_stream_that_is_left(signals: Telemetry, asynchronous: bool) -> None:
    page = environment({"s": "a{{ one }}b"}, enable_async=asynchronous)

    async def read() -> Any:
        template = page.get_template("s")
        if asynchronous:
            never, left = template.generate_async(), template.generate_async()
            await left.__anext__()
            await left.aclose()
            await never.aclose()
        else:
            never: Any = template.generate()
            left: Any = template.generate()
            next(left)
            left.close()
            never.close()
        unread: Any = template.root_render_func(template.new_context())
        await unread.aclose() if asynchronous else unread.close()
        return trace.get_current_span().get_span_context().span_id

    current = await handled(signals, read)
    spans = ended(signals)
    assert [s.name for s in spans] == ["GET", "compile s", "render s"] or {
        s.name for s in spans
    } == {"GET", "compile s", "render s"}
    assert current == next(s for s in spans if s.kind is SpanKind.SERVER).context.span_id
    assert all(s.status.is_unset for s in spans)


async def test_a_stream_that_is_forgotten(signals: Telemetry) -> None:
    page = environment({"s": "a{{ one }}b"})

    def read() -> None:
        function = page.get_template("s").root_render_func
        stream = function(page.get_template("s").new_context())
        next(stream)
        del stream, function
        gc.collect()

    await handled(signals, read)
    assert "GET > render s" in tree(signals)


VALUES = {"a": 1, "b": 2, "c": 3}


async def test_values_and_errors_sent_into_a_stream(signals: Telemetry) -> None:
    page = environment({"s": "{{ a }}{{ b }}{{ c }}"})
    page_async = environment({"s": "{{ a }}{{ b }}{{ c }}"}, enable_async=True)

    async def read() -> list[str]:
        template = page.get_template("s")
        stream: Any = template.root_render_func(template.new_context(dict(VALUES)))
        found = [next(stream), stream.send(None)]
        with pytest.raises(KeyError):
            stream.throw(KeyError("x"))
        template = page_async.get_template("s")
        stream = template.root_render_func(template.new_context(dict(VALUES)))
        found += [await stream.__anext__(), await stream.asend(None)]
        with pytest.raises(KeyError):
            await stream.athrow(KeyError("x"))
        return found

    assert await handled(signals, read) == ["1", "2"] * 2


async def test_a_task_that_is_cancelled_is_no_error(signals: Telemetry) -> None:
    page = environment({"slow": "{{ wait() }}"}, enable_async=True)

    async def read() -> None:
        render = asyncio.create_task(
            page.get_template("slow").render_async(wait=lambda: asyncio.sleep(9))
        )
        await asyncio.sleep(0.01)
        render.cancel()
        with suppress(asyncio.CancelledError):
            await render

    await handled(signals, read)
    (span,) = (s for s in ended(signals) if s.name == "render slow")
    assert span.status.is_unset
    assert not span.events


async def test_concurrent_renders_keep_to_their_own(signals: Telemetry) -> None:
    page = environment(
        {"p": "{{ ask(n) }}{% include 'q' %}", "q": "{{ ask(n) }}"}, enable_async=True
    )
    tracer = trace.get_tracer("app")

    async def ask(n: int) -> int:
        await asyncio.sleep(0)
        with tracer.start_as_current_span(f"ask {n}"):
            await asyncio.sleep(0)
        return n

    async def read() -> list[str]:
        template = page.get_template("p")
        return await asyncio.gather(*(template.render_async(n=n, ask=ask) for n in range(20)))

    assert await handled(signals, read) == [f"{n}{n}" for n in range(20)]
    spans = {s.context.span_id: s for s in ended(signals)}
    for span in [s for s in spans.values() if s.name == "render q"]:
        (asked,) = (
            s for s in spans.values() if s.parent and s.parent.span_id == span.context.span_id
        )
        outer = spans[span.parent.span_id]
        beside = [
            s for s in spans.values() if s.parent and s.parent.span_id == outer.context.span_id
        ]
        assert {s.name for s in beside if s is not span} - {"compile q"} == {asked.name}


async def test_values_on_demand(signals: Telemetry) -> None:
    described.configure(Settings(capture=("templates",)))
    page = environment({"p": "{{ a }}"})
    values = {"a": 1, "password": "hunter2", "odd": Odd(), "long": "x" * 999, "items": [Odd()]}
    await handled(signals, lambda: page.get_template("p").render(values))
    here = "tests.unit.test_templates.Odd"
    told = facts(signals, "render p")["template.context.values"]
    assert told == [
        "a: int = 1",
        "password: str = ***",
        f"odd: {here}",
        "long: str = " + "x" * 199 + "…",
        f"items: list = [<{here}>]",
    ]


# Errors.

BROKEN = {
    "base.html": "<b>\n{% block content %}{% endblock %}",
    "page.html": "{% extends 'base.html' %}\n{% block content %}\n{% include 'row.html' %}{% endblock %}",
    "row.html": "\n\n{{ a.b.c }}",
    "macro.html": "{% macro m() %}\n{{ 1 / 0 }}{% endmacro %}\n{{ m() }}",
    "syntax.html": "\n{% if %}",
    "include_syntax.html": "\n\n{% include 'syntax.html' %}",
    "missing.html": "\n{% include 'nowhere.html' %}",
    "import.html": "{% import 'row.html' as row with context %}",
}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, source in BROKEN.items():
        (tmp_path / name).write_text(source)
    return tmp_path


def error_of(page: jinja2.Environment, name: str) -> Callable[[], Any]:
    """Renders; gives the error's traceback, which is as long as the frames around this function."""

    async def render() -> str:
        try:
            template = page.get_template(name)
            if page.is_async:
                await template.render_async()
            else:
                template.render()
        except Exception:
            return traceback.format_exc()
        raise AssertionError("no error")

    return render


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("name", sorted(set(BROKEN) - {"base.html", "syntax.html"}))
async def test_the_traceback_is_the_same(
    signals: Telemetry, folder: Path, name: str, asynchronous: bool
) -> None:
    loader = jinja2.FileSystemLoader(folder)
    with_us = await handled(
        signals, error_of(jinja2.Environment(loader=loader, enable_async=asynchronous), name)
    )
    assert any(s.events for s in ended(signals))
    templates.uninstall()
    without = await handled(
        signals, error_of(jinja2.Environment(loader=loader, enable_async=asynchronous), name)
    )
    assert with_us == without


async def test_where_it_failed(signals: Telemetry, folder: Path) -> None:
    page = jinja2.Environment(loader=jinja2.FileSystemLoader(folder))
    await handled(signals, error_of(page, "page.html"))
    spans = {s.name: s for s in ended(signals)}
    lines = {name: s.attributes.get("template.error.line") for name, s in spans.items()}
    assert {k: v for k, v in lines.items() if v} == {
        "render page.html": 3,
        "render base.html": 2,
        "block content": 3,
        "render row.html": 3,
    }
    assert [name for name, s in spans.items() if s.events] == ["render row.html"]
    (event,) = spans["render row.html"].events
    assert event.attributes["exception.type"] == "jinja2.exceptions.UndefinedError"
    assert f'File "{folder}/row.html", line 3, in top-level template code' in str(
        event.attributes["exception.stacktrace"]
    )
    assert all(spans[name].status.status_code.name == "ERROR" for name in lines if lines[name])


async def test_a_syntax_error(signals: Telemetry, folder: Path) -> None:
    page = jinja2.Environment(loader=jinja2.FileSystemLoader(folder))
    shown = await handled(signals, error_of(page, "syntax.html"))
    assert f'File "{folder}/syntax.html", line 2, in template' in shown
    compiling = facts(signals, "compile syntax.html")
    assert compiling["error.type"] == "jinja2.exceptions.TemplateSyntaxError"
    assert (compiling["template.error.line"], compiling["template.role"]) == (2, "compile")


async def test_an_error_in_a_macro(signals: Telemetry, folder: Path) -> None:
    for asynchronous in (False, True):
        loader = jinja2.FileSystemLoader(folder)
        page = jinja2.Environment(loader=loader, enable_async=asynchronous)
        signals.clear()
        await handled(signals, error_of(page, "macro.html"))
        spans = {s.name: s for s in ended(signals)}
        assert spans["macro m"].attributes["template.error.line"] == 2
        assert spans["macro m"].events
        assert not spans["render macro.html"].events
        assert spans["render macro.html"].attributes["template.error.line"] == 2


# Where nothing is to be seen, and what stays as it is.


async def test_outside_of_requests_nothing_stands_between(signals: Telemetry) -> None:
    template = environment().get_template("row.html")
    assert template.root_render_func is vars(template)["root_render_func"]
    assert template.render(item=1) == "<li>1</li>"
    assert ended(signals) == []


async def test_in_an_excluded_request_nothing_is_seen(signals: Telemetry) -> None:
    from otel_toolbar.signals.core import record as records

    page = environment()

    async def app(scope: Any, receive: Any, send: Any) -> None:
        token = records.enter(records.EXCLUDED)
        assert page.get_template("page.html").render(items=[1])
        records.leave(token)
        await send({"type": "http.response.start", "status": 200, "headers": []})
        await send({"type": "http.response.body", "body": b"ok"})

    await exchange(watched(app), http_scope())
    assert tree(signals) == []


async def test_under_a_span_of_a_job(signals: Telemetry) -> None:
    page = environment()
    with trace.get_tracer("jobs").start_as_current_span("process mail", kind=SpanKind.CONSUMER):
        assert page.get_template("page.html").render(items=[1, 2])
    found = [each for each in tree(signals) if "compile" not in each]
    assert found[:2] == ["None > process mail", "process mail > render page.html"]
    assert found.count("block content > render row.html") == 2


async def test_after_the_response(signals: Telemetry) -> None:
    page, tasks = environment(), []

    async def later() -> None:
        await asyncio.sleep(0.02)
        page.get_template("row.html").render(item=1)

    await handled(signals, lambda: tasks.append(asyncio.create_task(later())))
    await asyncio.gather(*tasks)
    assert facts(signals, "render row.html")["toolbar.detached"] is True


async def test_the_attribute_is_what_it_was(signals: Telemetry) -> None:
    page = environment()
    template = page.get_template("row.html")
    with pytest.raises(AttributeError, match="root_render_func"):
        _ = jinja2.Template.root_render_func
    with pytest.raises(AttributeError):
        _ = object.__new__(jinja2.Template).root_render_func
    template.root_render_func = lambda context: iter(["own"])
    assert template.render() == "own"
    assert await handled(signals, template.render) == "own"
    del template.root_render_func
    with pytest.raises(AttributeError):
        del template.root_render_func
    templates.uninstall()
    assert "root_render_func" not in vars(jinja2.Template)


async def test_uninstalled_in_the_middle_of_a_request(signals: Telemetry) -> None:
    page = environment()

    def render() -> str:
        first = page.get_template("page.html").render(items=[1])
        templates.uninstall()
        assert page.get_template("page.html").render(items=[1]) == first
        return first

    await handled(signals, render)
    assert tree(signals).count("GET > render page.html") == 1
    assert not {
        each for each in generators.CODES if each in sys.modules["jinja2.utils"].internal_code
    }


def test_installing_twice_hooks_once() -> None:
    real = vars(jinja2.Environment)["compile"]
    templates.install(Settings())
    templates.install(Settings())
    templates.uninstall()
    templates.uninstall()
    assert vars(jinja2.Environment)["compile"] is real


def test_a_version_that_is_not_known(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    guard.forget()
    monkeypatch.delattr(jinja2.runtime.Macro, "_async_invoke")
    templates.install(Settings())
    assert "this version of Jinja2 is not one that the toolbar knows" in caplog.text
    assert "root_render_func" not in vars(jinja2.Template)
    templates.uninstall()
    guard.forget()


# Generated templates give the same with us and without us.

NAMES = ("a", "b", "c")
EXPRESSIONS = st.sampled_from(
    [
        "x",
        "x + 1",
        "nothing",
        "nothing.at.all",
        "1 / 0",
        "items|join('-')",
        "m(x)",
        "self.block()",
        "'<&>'",
    ]
)
STATEMENTS = st.deferred(
    lambda: st.one_of(
        st.text("ab<\n", max_size=4),
        EXPRESSIONS.map(lambda e: "{{ " + e + " }}"),
        st.sampled_from(NAMES).map(lambda n: "{% include '" + n + "' %}"),
        st.sampled_from(NAMES).map(lambda n: "{% include '" + n + "' without context %}"),
        st.sampled_from(NAMES).map(lambda n: "{% include ['no', '" + n + "'] ignore missing %}"),
        st.sampled_from(NAMES).map(lambda n: "{% import '" + n + "' as other %}{{ other }}"),
        BODIES.map(lambda body: "{% for item in items %}" + body + "{% endfor %}"),
        BODIES.map(lambda body: "{% set x %}" + body + "{% endset %}"),
        BODIES.map(lambda body: "{% filter upper %}" + body + "{% endfilter %}"),
        BODIES.map(lambda body: "{% call m(x) %}" + body + "{% endcall %}"),
    )
)
BODIES = st.lists(STATEMENTS, max_size=3).map("".join)
TEMPLATES = st.tuples(
    st.sampled_from(["", "", "{% extends 'layout' %}"]), BODIES, BODIES, st.booleans()
).map(
    lambda parts: (
        parts[0]
        + "{% macro m(v) %}<{{ v }}{% if caller %}{{ caller() }}{% endif %}>{% endmacro %}"
        + parts[1]
        + "{% block block scoped %}"
        + parts[2]
        + ("{{ super() }}" if parts[3] else "")
        + "{% endblock %}"
    )
)
SOURCES = st.fixed_dictionaries(dict.fromkeys(NAMES, TEMPLATES))
KINDS = (jinja2.Environment, SandboxedEnvironment, NativeEnvironment)


async def outcome(page: jinja2.Environment, how: str) -> tuple[str, Any]:
    """What rendering gives, or how it fails; frames that only recursion's depth decides left out."""
    try:
        template = page.get_template("a")
        values: dict[str, Any] = {"x": 1, "items": [1, 2]}
        if page.is_async:
            if how == "whole":
                return "ok", await template.render_async(values)
            return "ok", [piece async for piece in template.generate_async(values)]
        return "ok", template.render(values) if how == "whole" else list(template.generate(values))
    except RecursionError:
        return "recursion", None
    except Exception as error:
        frames = traceback.extract_tb(error.__traceback__)
        places = [(f.filename, f.lineno, f.name) for f in frames if f.filename == "<template>"]
        return type(error).__name__, (str(error), places)


def plain(found: object) -> str:
    """Without addresses: an include without context gives a generator's where there is a buffer."""
    return re.sub(r"0x[0-9a-f]+", "0x", repr(found), flags=re.IGNORECASE)  # filters write 0X


@given(SOURCES, st.sampled_from(KINDS), st.booleans(), st.sampled_from(["whole", "pieces"]))
def test_generated_templates_render_the_same(
    sources: dict[str, str], kind: type[jinja2.Environment], asynchronous: bool, how: str
) -> None:
    async def compared() -> None:
        sources["layout"] = "[{% block block %}layout{% endblock %}]"
        made = telemetry()

        def page() -> jinja2.Environment:
            loader = jinja2.DictLoader(sources)
            return kind(loader=loader, enable_async=asynchronous, autoescape=True)

        with made_global(made.provider):
            without = await handled(made, lambda: outcome(page(), how))
            templates.install(Settings())
            try:
                with_us = await handled(made, lambda: outcome(page(), how))
            finally:
                templates.uninstall()
        assert plain(with_us) == plain(without)
        assert all(span.end_time for span in ended(made))

    # A generator that is closed at the limit fails once more, where nobody can catch it. pytest's
    # hook for that is in Python and needs frames that are not there; a list's `append` is not.
    untold: list[sys.UnraisableHookArgs] = []
    limit, hook = sys.getrecursionlimit(), sys.unraisablehook
    sys.unraisablehook = untold.append
    sys.setrecursionlimit(400)  # templates that include themselves: soon enough
    try:
        asyncio.run(compared())
    finally:
        sys.setrecursionlimit(limit)
        sys.unraisablehook = hook
    assert all(issubclass(each.exc_type, RecursionError) for each in untold)


# Faults of ours.


class Fault(Exception):
    pass


def raising(*_: Any, **__: Any) -> Any:
    raise Fault


@pytest.mark.parametrize("asynchronous", [False, True])
@pytest.mark.parametrize("stream", [False, True])
@pytest.mark.parametrize(
    ("owner", "name"),
    [
        (work, "watching"),
        (jinja, "_made"),
        (jinja, "_watched"),
        (jinja, "_watch_blocks"),
        (jinja, "_put_making"),
        (jinja, "_Compiling"),
        (jinja._Compiling, "attributes"),
        (jinja._Page, "attributes"),
        (jinja, "_BlockWork"),
        (jinja, "_MacroWork"),
        (work.Work, "_start"),
        (work.Work, "_inside"),
        (work.Work, "_leave"),
        (work.Work, "_finish"),
        (work.Templates, "of"),
        (described, "put_caller"),
        (described, "put_template_line"),
        (described, "identity"),
        (described, "put_context"),
        (described.callsite, "stack"),
        (generators, "watched"),
        (generators.time, "perf_counter_ns"),
        (generators.otel_context, "attach"),
        (generators.otel_context, "get_current"),
    ],
)
async def test_a_fault_costs_a_fact_only(
    signals: Telemetry,
    monkeypatch: pytest.MonkeyPatch,
    owner: Any,
    name: str,
    asynchronous: bool,
    stream: bool,
) -> None:
    guard.forget()
    page = environment(enable_async=asynchronous)

    async def render() -> str:
        with monkeypatch.context() as patch:
            patch.setattr(owner, name, raising)
            template = page.get_template("page.html")
            if stream and asynchronous:
                return "".join([piece async for piece in template.generate_async(items=[1])])
            if stream:
                return "".join(template.generate(items=[1]))
            return (
                await template.render_async(items=[1])
                if asynchronous
                else template.render(items=[1])
            )

    assert await handled(signals, render) == "<title>Shop</title><li>1</li><input name=q>"
    guard.forget()


@pytest.mark.parametrize("name", ["put_error", "_line", "_stacktrace", "_entries"])
async def test_a_fault_while_an_error_is_written_down(
    signals: Telemetry, monkeypatch: pytest.MonkeyPatch, folder: Path, name: str
) -> None:
    guard.forget()
    monkeypatch.setattr(described, name, raising)
    page = jinja2.Environment(loader=jinja2.FileSystemLoader(folder))
    shown = await handled(signals, error_of(page, "page.html"))
    assert shown.endswith("jinja2.exceptions.UndefinedError: 'a' is undefined\n")
    guard.forget()


async def iterate(items: list[int]) -> AsyncIterator[int]:
    for item in items:
        await asyncio.sleep(0)
        yield item


async def test_awaits_in_a_template(signals: Telemetry) -> None:
    page = environment(
        {"p": "{% for item in items %}{% include 'row.html' %}{% endfor %}{{ wait() }}"} | SHOP,
        enable_async=True,
    )

    async def wait() -> str:
        await asyncio.sleep(0.001)
        return "done"

    async def render() -> str:
        return await page.get_template("p").render_async(items=iterate([1, 2]), wait=wait)

    assert await handled(signals, render) == "<li>1</li><li>2</li>done"
    assert tree(signals).count("render p > render row.html") == 2
