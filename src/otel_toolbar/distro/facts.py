"""What only the distribution knows: which instrumentations are active, and why others are not."""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Iterator, Mapping
from functools import cache
from importlib import metadata
from typing import TYPE_CHECKING, Any

from opentelemetry.instrumentation.dependencies import get_dist_dependency_conflicts
from opentelemetry.instrumentation.environment_variables import (
    OTEL_PYTHON_DISABLED_INSTRUMENTATIONS,
)

from otel_toolbar import settings
from otel_toolbar.settings import Settings

from .distro import LIBRARIES, REPLACED, SIGNAL_OF, ToolbarDistro

if TYPE_CHECKING:
    from .runtime import Runtime

GROUP = "opentelemetry_instrumentor"

_LIBRARIES = {
    "queries": ("sqlalchemy",),
    "loads": ("sqlalchemy",),
    "templates": ("jinja2", "mako", "minijinja"),
    "cache": ("litestar", "aiocache"),
    "http": (),
    "jobs": ("saq",),
    "graphql": ("strawberry",),
    "dependencies": ("fastapi", "litestar"),
    "events": ("litestar",),
}
"""Modules that a signal of ours watches by itself, where it is not the standard library's or the server."""

_THROUGH = {
    "queries": {
        "asyncpg": "opentelemetry-instrumentation-asyncpg",
        "psycopg": "opentelemetry-instrumentation-psycopg",
        "pymysql": "opentelemetry-instrumentation-pymysql",
        "aiosqlite": "opentelemetry-instrumentation-sqlite3",
        "sqlite3": "opentelemetry-instrumentation-sqlite3",
    },
    "cache": {"redis": "opentelemetry-instrumentation-redis"},
    "http": {
        "httpx": "opentelemetry-instrumentation-httpx",
        "aiohttp": "opentelemetry-instrumentation-aiohttp-client",
    },
}
"""Modules that it sees when an instrumentation of contrib is installed; extras of ours bring these."""

_NOT_ADVISED = REPLACED | {"django", "flask", "tortoiseorm"}
"""Not advised though a library of theirs is there: requests of Django and Quart have their span already,
and the library of tortoiseorm's that is named first is pydantic."""

_NO_DISTRO = "another distribution runs, and it decides"


def instrumentations(
    runtime: Runtime, known: tuple[str, ...], off: tuple[str, ...]
) -> Mapping[str, Any]:
    """`instrumentations`: each with `name`, `by`, `active` and `note`, which says why not."""
    ours = _ours(runtime.options, known, off)
    return {"instrumentations": [*ours, *_others(runtime), *_missing()]}


def _ours(
    options: Settings, known: tuple[str, ...], off: tuple[str, ...]
) -> Iterator[dict[str, Any]]:
    wanted = settings.selected(options.signals, known, off=off)
    for name in known:
        if name not in wanted:
            reason = "off unless named" if name in off else "switched off"
            note = f"{reason}: {settings.PREFIX}SIGNALS chooses"
            yield _told(name, "otel-toolbar", False, note)
            continue
        note = _sees_nothing(name) if name in _LIBRARIES else ""
        yield _told(name, "otel-toolbar", not note, note)


def _sees_nothing(name: str) -> str:
    """Why a signal has nothing to see in this process; empty when it has."""
    by_itself, through = _LIBRARIES[name], _THROUGH.get(name, {})
    if any(module in sys.modules for module in by_itself):
        return ""
    imported = {module: package for module, package in through.items() if module in sys.modules}
    if not imported:
        return f"the app has not imported {' or '.join([*by_itself, *through])}"
    if _installed().intersection(imported.values()):
        return ""
    return "; ".join(
        f"{module} is seen with {_how(package)}" for module, package in imported.items()
    )


def _how(package: str) -> str:
    """The command that brings an instrumentation of contrib."""
    extra = _extras().get(package)
    return f"pip install 'otel-toolbar[{extra}]'" if extra else f"pip install {package}"


@cache
def _extras() -> Mapping[str, str]:
    """Our extras by the package that each brings."""
    try:
        required = metadata.requires("otel-toolbar") or []
    except metadata.PackageNotFoundError:  # run from its sources
        return {}
    found = (re.search(r"extra == ['\"]([^'\"]+)", each) for each in required)
    return {_name_of(each): extra[1] for each, extra in zip(required, found, strict=True) if extra}


@cache
def _installed() -> frozenset[str]:
    return frozenset(
        each.name.lower().replace("_", "-") for each in metadata.distributions() if each.name
    )


def _others(runtime: Runtime) -> Iterator[dict[str, Any]]:
    disabled = {
        name.strip()
        for name in os.environ.get(OTEL_PYTHON_DISABLED_INSTRUMENTATIONS, "").split(",")
    }
    for entry in _entries():
        distribution = entry.dist
        package = distribution.name if distribution is not None else "?"
        if package == "otel-toolbar":
            continue
        note = _why_not(entry, disabled, runtime)
        yield _told(entry.name, package, not note, note)


@cache
def _entries() -> tuple[metadata.EntryPoint, ...]:
    return tuple(metadata.entry_points(group=GROUP))


def _why_not(entry: metadata.EntryPoint, disabled: set[str], runtime: Runtime) -> str:
    """Why an installed instrumentation is not active; empty when it is."""
    if not ToolbarDistro.runs:
        return _NO_DISTRO
    if entry.name in disabled or "*" in disabled:
        return f"{OTEL_PYTHON_DISABLED_INSTRUMENTATIONS} names it"
    if entry.name in ToolbarDistro.loaded:
        return ""
    if entry.name in REPLACED:
        return "not loaded: otel-toolbar's own stands in its place"
    return (
        _conflict(entry)
        or _waits(entry.name, runtime)
        or "could not be loaded; the log of the start says why"
    )


@cache
def _conflict(entry: metadata.EntryPoint) -> str:
    """What an instrumentation needs that is not installed; empty when all is there."""
    conflict = None if entry.dist is None else get_dist_dependency_conflicts(entry.dist)
    return "" if conflict is None else str(conflict)


def _waits(name: str, runtime: Runtime) -> str:
    """Why one that begins with its library has not begun; empty when it should have, or is no such one."""
    if name not in LIBRARIES:
        return ""
    signal = SIGNAL_OF.get(name)
    if signal is not None and signal not in runtime.signals:
        return f"not loaded: the signal {signal} is switched off"
    library = LIBRARIES[name]
    return "" if library in sys.modules else f"the app has not imported {library}"


@cache
def _missing() -> tuple[dict[str, Any], ...]:
    return tuple(_not_installed())


def _not_installed() -> Iterator[dict[str, Any]]:
    """Instrumentations that would fit a library that is installed, as `opentelemetry-bootstrap` has them."""
    try:
        from opentelemetry.instrumentation.bootstrap_gen import libraries
    except ImportError:  # a version without the list
        return
    installed = _installed()
    told: set[str] = set()
    for each in libraries:
        library = _name_of(str(each["library"]))
        package = _name_of(str(each["instrumentation"]))
        name = package.removeprefix("opentelemetry-instrumentation-")
        if library in installed and package not in installed | told and name not in _NOT_ADVISED:
            told.add(package)
            yield _told(name, package, False, f"not installed: {_how(package)}")


def _name_of(requirement: str) -> str:
    for place, character in enumerate(requirement):
        if not (character.isalnum() or character in "-_."):
            requirement = requirement[:place]
            break
    return requirement.lower().replace("_", "-")


def _told(name: str, by: str, active: bool, note: str) -> dict[str, Any]:
    return {"name": name, "by": by, "active": active, "note": note}
