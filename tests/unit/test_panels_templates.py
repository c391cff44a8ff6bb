"""The templates panel, and what is concluded of templates, from traces alone."""

from __future__ import annotations

from typing import Any

import pytest

from otel_toolbar.insights import templates as insights
from otel_toolbar.insights.summary import summarize
from otel_toolbar.model import Event, Kind, Span, Status, Trace
from otel_toolbar.panels import Panel, templates, view
from otel_toolbar.panels.contract import Badge
from otel_toolbar.panels.shared import Place
from otel_toolbar.panels.templates.view import TemplatesView, Value
from otel_toolbar.settings import Settings
from otel_toolbar.web import render

MS = 1_000_000
TRACE = "a" * 32


class Made:
    """Spans of a trace, made in ms; the request lasts 100 ms."""

    def __init__(self, **server: Any) -> None:
        self.spans = [Span(TRACE, "0" * 15 + "1", None, "GET /", Kind.SERVER, 0, 100 * MS, server)]

    def span(
        self, parent: Span | None, name: str, start: float, end: float | None, **more: Any
    ) -> Span:
        attributes = {key.replace("__", "."): value for key, value in more.items()}
        rest = {key: attributes.pop(key) for key in ("status", "events") if key in attributes}
        made = Span(
            TRACE,
            f"{len(self.spans) + 1:016x}",
            (parent or self.spans[0]).span_id,
            name,
            Kind.CLIENT if "db.query.text" in attributes else Kind.INTERNAL,
            int(start * MS),
            None if end is None else int(end * MS),
            attributes,
            **rest,
        )
        self.spans.append(made)
        return made

    def template(
        self, parent: Span | None, name: str, start: float, end: float | None, **more: Any
    ) -> Span:
        role = more.pop("role", "include" if parent else "page")
        title = more.pop("title", f"render {name}")
        facts = {"template__engine": "jinja2", "template__name": name, "template__role": role}
        return self.span(parent, title, start, end, **(facts | more))

    def query(self, parent: Span, start: float, end: float, **more: Any) -> Span:
        text = {"db__query__text": "SELECT 1", "db__operation__name": "SELECT"}
        return self.span(parent, "SELECT items", start, end, **text, **more)

    @property
    def trace(self) -> Trace:
        return Trace.of(TRACE, self.spans, 200 * MS)

    def view(self) -> TemplatesView:
        return templates.PANEL.view(self.trace, Settings())

    def page(self) -> str:
        """The panel as HTML."""
        options = Settings()
        panel: Panel = templates.PANEL
        context = render.Context("/_toolbar", options)
        shown = view(panel, self.trace, options)
        summary = summarize(self.trace, options)
        return render.trace_page(context, self.trace, summary, [shown], {"panel": "templates"})


def shop() -> Made:
    made = Made()
    page = made.template(
        None,
        "page.html",
        10,
        50,
        template__path="/app/page.html",
        template__context__keys=("items", "user"),
        template__context__values=("items: list = [1: 2, = 3]", "user: app.User"),
        template__cached=False,
        template__compile__duration=0.004,
        code__file__path="/app/views.py",
        code__line__number=7,
    )
    base = made.template(page, "base.html", 12, 49, role="parent")
    block = made.template(
        base,
        "page.html",
        13,
        48,
        role="block",
        title="block content",
        template__block="content",
        template__path="/app/page.html",
    )
    for number in range(3):
        start = 14 + number * 10
        row = made.template(block, "row.html", start, start + 9 - number)
        made.query(row, start + 1, start + 3)
    return made


def test_a_page_with_all_it_says() -> None:
    found = shop().view()
    assert (found.renders, found.duration, found.share) == (5, 0.04, 0.4)
    assert (found.queries, found.query_duration) == (3, 0.006)
    assert found.own == pytest.approx(0.034)
    names = [(node.depth, node.role, node.title, node.count) for node in found.tree]
    assert names == [
        (0, "page", "page.html", 1),
        (1, "parent", "base.html", 1),
        (2, "block", "content", 1),
        (3, "include", "row.html", 3),
    ]
    page, _, block, row = found.tree
    assert (page.duration, page.own, page.cached, page.compile_duration) == (
        0.04,
        0.003,
        False,
        0.004,
    )
    assert page.context == (Value("items", "list", "[1: 2, = 3]"), Value("user", "app.User", ""))
    assert page.path == Place("/app/page.html", None, "", "vscode://file/app/page.html:1")
    assert page.place == Place("/app/views.py", 7, "", "vscode://file/app/views.py:7")
    assert (block.template, block.own) == ("page.html", pytest.approx(0.011))
    assert (row.duration, row.own, row.longest) == (0.024, 0.018, 0.009)
    assert (row.queries, row.query_duration, row.path, row.cached) == (3, 0.006, None, None)
    slowest, second, third = found.templates
    assert (slowest.name, slowest.count, slowest.queries) == ("row.html", 3, 3)
    assert (second.name, second.count, second.own) == ("page.html", 1, pytest.approx(0.014))
    assert (third.name, third.compile_duration) == ("base.html", None)
    assert [query.duration for query in slowest.made] == [0.002] * 3
    assert templates.PANEL.badge(found) == Badge("5", "warn")


def test_nothing_rendered() -> None:
    found = Made().view()
    assert not found.found
    assert templates.PANEL.badge(found) == Badge()
    assert "No templates" in Made().page()


def test_several_on_one_span_and_a_stream() -> None:
    made = Made(**{"toolbar.dropped": 3})
    page = made.template(None, "page.html", 0, 80, template__render__duration=0.05)
    made.template(page, "row.html", 1, 2)
    made.template(
        page, "row.html", 2, 70, template__render__count=150, template__render__duration=0.03
    )
    found = made.view()
    page_node, row = found.tree
    assert (page_node.duration, page_node.own) == (0.05, pytest.approx(0.019))
    assert (row.count, row.duration, row.longest) == (151, 0.031, 0.001)
    assert (found.renders, found.dropped) == (152, 3)
    (hint,) = found.hints
    assert hint.rule == "template-include-loop"
    assert hint.severity == "info"
    assert hint.evidence == "`page.html` included `row.html` 151 times, 31.0 ms together."


def test_slow_includes_are_a_warning() -> None:
    made = Made()
    page = made.template(None, "page.html", 0, 80)
    made.template(page, "row.html", 1, 79, template__render__count=50)
    (hint,) = made.view().hints
    assert hint.severity == "warn"


def test_a_template_that_queries() -> None:
    made = shop()
    (hint,) = made.view().hints
    assert (hint.rule, hint.severity) == ("template-queries", "warn")
    assert hint.evidence == "`row.html` asked the database 3 times, 6.0 ms together."
    assert len(hint.spans) == 3


def test_compiled_again_and_again() -> None:
    made = Made()
    made.template(None, "<template>", 1, 2, role="compile", title="compile <template>")
    made.template(None, "row.html", 2, 3, role="compile", title="compile row.html")
    made.template(None, "row.html", 3, 4, role="compile", title="compile row.html")
    made.template(None, "once.html", 4, 5, role="compile", title="compile once.html")
    found = made.view()
    assert (found.found, found.renders, found.compiled) == (True, 0, 4)
    assert found.compile_duration == pytest.approx(0.004)
    assert [hint.evidence for hint in found.hints] == [
        "A template made from a string was compiled once in this request, 1.0 ms.",
        "`row.html` was compiled 2 times in this request, 2.0 ms.",
    ]
    assert templates.PANEL.badge(found) == Badge(None, "ok")


def test_errors_are_told_where_they_were_raised() -> None:
    event = Event(
        "exception", 5 * MS, {"exception.type": "UndefinedError", "exception.message": "no 'a'"}
    )
    made = Made()
    page = made.template(None, "page.html", 1, 9, status=Status.ERROR, template__error__line=2)
    made.template(
        page,
        "row.html",
        2,
        8,
        status=Status.ERROR,
        events=(event,),
        template__error__line=7,
        template__path="/app/row.html",
    )
    made.template(
        page, "bad.html", 8, 9, role="compile", status=Status.ERROR, events=(event,),
        template__error__line=4,
    )  # fmt: skip
    row, bad = made.view().failures
    assert (row.template, row.message) == ("row.html", "UndefinedError: no 'a'")
    assert row.place == Place("/app/row.html", 7, "", "vscode://file/app/row.html:7")
    assert bad.place == Place("bad.html", 4, "", "")
    assert templates.PANEL.badge(made.view()) == Badge("2", "error")
    page_html = made.page()
    assert "UndefinedError: no &#39;a&#39;" in page_html
    assert "vscode://file/app/row.html:7" in page_html


def test_running_and_from_another_sdk() -> None:
    made = Made()
    page = made.span(None, "Twig page", 10, None, template__name="page.twig")
    made.span(page, "Twig part", 20, 30, template__name="part.twig", template__render__duration="x")
    found = made.view()
    assert found.running
    outer, inner = found.tree
    assert (outer.role, outer.running, outer.duration) == ("page", True, 0.19)
    assert (inner.role, inner.duration) == ("include", 0.01)


def test_detached_work_is_not_its_parents_time() -> None:
    made = Made()
    page = made.template(None, "page.html", 10, 20)
    made.span(page, "task mail", 11, 90, toolbar__detached=True)
    assert made.view().tree[0].own == 0.01


def test_the_page_shows_all_and_escapes_it() -> None:
    made = shop()
    made.template(None, "<script>alert(1)</script>", 90, 91, template__engine="mako")
    html = made.page()
    assert "<script>alert" not in html
    assert "&lt;script&gt;alert(1)" in html
    for text in (
        "A template asks the database",
        "\u00d7 3",
        "of page.html",
        "compiled 4.00 ms",
        "mako",
    ):
        assert text in html
    assert "app.User" in html


def test_names_only_says_how_to_get_values() -> None:
    made = Made()
    made.template(
        None, "page.html", 1, 2, template__context__keys=("a", "b"), template__cached=True
    )
    html = made.page()
    assert "OTEL_TOOLBAR_CAPTURE=templates" in html
    assert "a, b" in html
    assert "from the cache" in html


def test_long_ones_are_cut_on_the_page_only() -> None:
    made = Made()
    for number in range(320):
        made.template(None, f"t{number}.html", number / 10, number / 10 + 0.1)
    html = made.page()
    assert "The first 300 of 320" in html
    assert "The first 100;" in html
    assert len(made.view().tree) == 320


def test_a_rule_that_fails(monkeypatch: pytest.MonkeyPatch, caplog: Any) -> None:
    from otel_toolbar import guard

    guard.forget()
    monkeypatch.setattr(insights, "tree", lambda trace: 1 / 0)
    assert insights.find(Made().trace) == ()
    assert "hints of the rule template-queries failed" in caplog.text
    guard.forget()
