"""The versions that the process told, those that matter first."""

from __future__ import annotations

from dataclasses import dataclass

from otel_toolbar.insights import process, reading
from otel_toolbar.model import Trace, Value
from otel_toolbar.panels.contract import Badge
from otel_toolbar.panels.shared import Field
from otel_toolbar.settings import Settings

FIRST = (
    "otel-toolbar", "fastapi", "starlette", "litestar", "quart", "django", "uvicorn", "hypercorn",
    "granian", "gunicorn", "uvloop", "sqlalchemy", "advanced-alchemy", "asyncpg", "psycopg", "aiosqlite",
    "aiomysql", "redis", "aiocache", "saq", "litestar-saq", "jinja2", "strawberry-graphql", "httpx",
    "aiohttp", "pydantic", "msgspec", "opentelemetry-api", "opentelemetry-sdk",
    "opentelemetry-instrumentation", "opentelemetry-exporter-otlp",
)  # fmt: skip
"""Packages that what is shown elsewhere depends on."""


@dataclass(frozen=True)
class InstrumentationView:
    """One instrumentation."""

    name: str
    by: str
    """Package that brings it."""
    active: bool
    note: str
    """Why it is not active, and what to do."""


@dataclass(frozen=True)
class VersionsView:
    """The panel."""

    known: bool
    """False where the process has told no facts."""
    python: str
    platform: str
    server: str
    event_loop: str
    packages: tuple[Field, ...]
    """Those that matter."""
    others: tuple[Field, ...]
    """All other packages, in order of names."""
    instrumentations: tuple[InstrumentationView, ...]
    """Active ones first."""


def view(trace: Trace, _: Settings) -> VersionsView:
    """The versions of the process that served the trace."""
    facts = process.facts(trace)
    python = facts.get("python")
    packages = [Field(*pair) for pair in process.packages(trace)]
    order = {name: place for place, name in enumerate(FIRST)}
    first = [package for package in packages if package.name in order]
    instrumentations = [
        InstrumentationView(each.name, each.by, each.active, each.note)
        for each in process.instrumentations(trace)
    ]
    return VersionsView(
        known=trace.process is not None,
        python=f"{_text(python, 'implementation')} {_text(python, 'version')}".strip(),
        platform=_text(python, "platform"),
        server=_text(dict(facts), "server"),
        event_loop=_text(dict(facts), "event_loop"),
        packages=tuple(sorted(first, key=lambda package: order[package.name])),
        others=tuple(package for package in packages if package.name not in order),
        instrumentations=tuple(sorted(instrumentations, key=lambda each: not each.active)),
    )


def badge(view: VersionsView) -> Badge:
    """The version of Python, without its name."""
    return Badge(view.python.rpartition(" ")[2] or None)


def _text(facts: Value, key: str) -> str:
    return reading.as_text(facts.get(key)) if isinstance(facts, dict) else ""
