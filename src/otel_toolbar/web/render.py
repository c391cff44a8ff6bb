"""HTML of the toolbar's own pages: Jinja2 templates over views, everything escaped.

The pages carry no inline script and no inline style, so the strictest policy fits them:
`default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'`.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from functools import cache, lru_cache
from hashlib import blake2b
from importlib.resources import files
from pathlib import Path
from urllib.parse import urlencode

from jinja2 import Environment, FunctionLoader, StrictUndefined
from markupsafe import Markup, escape

from otel_toolbar import panels
from otel_toolbar.insights import sql_text
from otel_toolbar.insights.sql_lexer import Token
from otel_toolbar.insights.summary import Summary
from otel_toolbar.model import Trace
from otel_toolbar.panels.shared import duration_text
from otel_toolbar.panels.trace.view import SpanView, span_view
from otel_toolbar.settings import Settings

from .source import Sources

STATIC = Path(__file__).parent / "static"
"""Directory of the files under `/_toolbar/static/`."""

_LONGEST_SQL = 20_000
"""Characters of a statement that are shown; nobody reads more, and a page has to stay quick."""

_CLASSES = {"keyword": "k", "string": "s", "number": "n", "parameter": "p", "comment": "c"}


@dataclass(frozen=True)
class Context:
    """What every page knows."""

    base: str
    """URL path of the site, `/_toolbar`."""
    settings: Settings
    service: str = ""
    pid: int = 0
    process_id: str = ""
    csrf: str = ""
    """For the header `X-Toolbar-CSRF` of requests that change something."""
    why_empty: str | None = None
    """Why no trace can come, if so."""
    sources: Sources = field(default_factory=Sources)
    """Lines of source beside a place."""


def history_page(
    context: Context,
    traces: Sequence[Summary],
    query: Mapping[str, str] | None = None,
    pinned: frozenset[str] = frozenset(),
) -> str:
    """The list of traces, newest first; `query` holds the page's parameters q, kind and status."""
    return _render(
        "history.html",
        context,
        traces=traces,
        query={"q": "", "kind": "", "status": "", **(query or {})},
        pinned=pinned,
    )


def trace_page(
    context: Context,
    trace: Trace,
    summary: Summary,
    views: Sequence[panels.View],
    query: Mapping[str, str] | None = None,
    recent: Sequence[Summary] = (),
    pinned: frozenset[str] = frozenset(),
) -> str:
    """One trace, with the panel that `query` names.

    Further parameters: `embed=1` for the drawer, `span` for the details of a span, `from` for the
    first item of a long list. `recent` is listed beside it.
    """
    query = query or {}
    active = next((v for v in views if v.panel.id == query.get("panel")), next(iter(views), None))
    link = _Links(context.base, trace.trace_id, embed=query.get("embed") == "1")
    return _render(
        "trace.html",
        context,
        trace_id=trace.trace_id,
        summary=summary,
        running=trace.running,
        views=views,
        active=active,
        panel=_panel(active, context, link, query),
        span=_span(trace, query, context.settings),
        embed=link.embed,
        link=link,
        recent=[] if link.embed else recent,
        pinned=pinned,
    )


def message_page(
    context: Context, title: str, text: str, advice: Sequence[str] = (), embed: bool = False
) -> str:
    """A page that says what happened and what to do: a trace that is gone, an error."""
    return _render("message.html", context, title=title, text=text, advice=advice, embed=embed)


def static_version() -> str:
    """Changes with any static file: for `?v=`, so that no browser keeps an old one."""
    digest = blake2b(digest_size=4)
    for path in sorted(STATIC.iterdir()):
        digest.update(path.read_bytes() if path.is_file() else b"")
    return digest.hexdigest()


class _Links:
    """URLs within a trace's pages."""

    def __init__(self, base: str, trace_id: str, embed: bool) -> None:
        self.path = f"{base}/t/{trace_id}"
        self.trace_id = trace_id
        self.embed = embed

    def __call__(self, panel: str, anchor: str = "", **parameters: object) -> str:
        pairs = {"panel": panel, **parameters, **({"embed": 1} if self.embed else {})}
        # `from` is a word of Python, so templates pass `from_`.
        query = urlencode({key.rstrip("_"): value for key, value in pairs.items() if value})
        return f"{self.path}?{query}" + (f"#{anchor}" if anchor else "")

    def span(self, span_id: str) -> str:
        """The span in the waterfall."""
        return self("trace", span=span_id)


def _panel(
    active: panels.View | None, context: Context, link: _Links, query: Mapping[str, str]
) -> Markup | None:
    """The active panel as HTML; None when it failed."""
    if active is None or active.data is None:
        return None
    template = _environment().get_template(active.panel.template)
    first = query.get("from", "1")
    return Markup(  # noqa: S704 - rendered by Jinja2 with escaping on
        template.render(
            view=active.data,
            context=context,
            link=link,
            query=query,
            first=int(first) if first.isdecimal() and len(first) < 9 else 1,
        )
    )


def _span(trace: Trace, query: Mapping[str, str], settings: Settings) -> SpanView | None:
    return span_view(trace, query["span"], settings) if "span" in query else None


def _render(name: str, context: Context, **values: object) -> str:
    text = _environment().get_template(name).render(context=context, **values)
    # A lone surrogate in some captured value must not cost the page.
    return text.encode("utf-8", "replace").decode()


@cache
def _environment() -> Environment:
    environment = Environment(
        loader=FunctionLoader(_source),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
        auto_reload=False,
    )
    environment.filters.update(_FILTERS)  # pyright: ignore[reportUnknownMemberType]
    environment.globals["version"] = static_version()  # pyright: ignore[reportUnknownMemberType]
    return environment


def _source(name: str) -> str | None:
    """`package/file` for panels; a bare name is one of ours."""
    package, _, file = name.rpartition("/")
    folder = files(package) if package else files("otel_toolbar.web") / "templates"
    return (folder / file).read_text(encoding="utf-8")


def size_text(size: int | None) -> str:
    """Bytes as people read them."""
    if size is None:
        return ""
    if abs(size) < 1000:
        return f"{size} B"
    amount, unit = size / 1024, "KiB"
    for larger in ("MiB", "GiB", "TiB"):
        if abs(amount) < 1000:
            break
        amount, unit = amount / 1024, larger
    return f"{amount:.1f} {unit}"


def clock_text(time: float) -> str:
    """Local time of day with ms; of another day, with the date."""
    moment = _moment(time)
    if moment is None:
        return ""
    form = "%H:%M:%S" if moment.date() == datetime.now().astimezone().date() else "%m-%d %H:%M:%S"
    return f"{moment:{form}}.{moment.microsecond // 1000:03d}"


def iso_text(time: float) -> str:
    moment = _moment(time)
    return moment.isoformat() if moment else ""


def _moment(time: float) -> datetime | None:
    try:
        return datetime.fromtimestamp(time).astimezone()
    except (OverflowError, OSError, ValueError):
        return None  # a clock of another planet


def status_level(summary: Summary) -> str:
    """ok, warn or error, by the status."""
    if isinstance(summary.status, int):
        return "error" if summary.status >= 500 else "warn" if summary.status >= 400 else "ok"
    return "error" if summary.status == "error" else "ok"


def prose(text: str) -> Markup:
    """Text with what stands in backticks as code."""
    parts = [
        Markup("<code>{}</code>").format(part) if number % 2 else escape(part)
        for number, part in enumerate(text.split("`"))
    ]
    return Markup("").join(parts)


@lru_cache(maxsize=256)
def sql(statement: str, system: str = "") -> Markup:
    """A statement with colours and line breaks."""
    found = sql_text.lines(statement[:_LONGEST_SQL], system in sql_text.MYSQL)
    return _coloured(found) + (" …" if len(statement) > _LONGEST_SQL else "")


@lru_cache(maxsize=512)
def sql_line(statement: str, system: str = "") -> Markup:
    """A statement's beginning in one line, with colours."""
    return _coloured(sql_text.one_line(statement, system in sql_text.MYSQL))


def _coloured(found: Iterable[Token]) -> Markup:
    parts: list[str] = []
    for token in found:
        css = _CLASSES.get(token.kind)
        text = str(escape(token.text))
        parts.append(f'<span class="{css}">{text}</span>' if css else text)
    return Markup("".join(parts))  # noqa: S704 - each text is escaped above


def count_text(number: int) -> str:
    return f"{number:,}"


def percent_text(share: float) -> str:
    return f"{share * 100:.0f} %"


_FILTERS: dict[str, Callable[..., str]] = {
    "duration": duration_text,
    "size": size_text,
    "clock": clock_text,
    "iso": iso_text,
    "count": count_text,
    "percent": percent_text,
    "status_level": status_level,
    "sql": sql,
    "sql_line": sql_line,
    "prose": prose,
}
