"""What only the distribution knows: which instrumentations are active, and why others are not."""

from __future__ import annotations

import os
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

from .distro import REPLACED, ToolbarDistro

if TYPE_CHECKING:
    from .runtime import Runtime

GROUP = "opentelemetry_instrumentor"

_LIBRARIES = {
    "queries": "sqlalchemy",
    "loads": "sqlalchemy",
    "templates": "jinja2",
    "cache": "redis",
    "jobs": "saq",
    "graphql": "strawberry",
}
"""Module that a signal of ours watches, where it is not the standard library's or the server."""

_NOT_ADVISED = REPLACED | {"django", "flask", "tortoiseorm"}
"""Not advised though a library of theirs is there: requests of Django and Quart have their span already,
and the library of tortoiseorm's that is named first is pydantic."""

_NO_DISTRO = "another distribution runs, and it decides"


def instrumentations(
    runtime: Runtime, known: tuple[str, ...], off: tuple[str, ...]
) -> Mapping[str, Any]:
    """`instrumentations`: each with `name`, `by`, `active` and `note`, which says why not."""
    return {"instrumentations": [*_ours(runtime.options, known, off), *of_others()]}


@cache
def of_others() -> tuple[dict[str, Any], ...]:
    """Those that are no part of the toolbar: what is installed and loaded stays as it was at the start."""
    return (*_others(), *_missing())


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
        library = _LIBRARIES.get(name)
        there = library is None or library in sys.modules
        note = "" if there else f"the app has not imported {library}"
        yield _told(name, "otel-toolbar", there, note)


def _others() -> Iterator[dict[str, Any]]:
    disabled = {
        name.strip()
        for name in os.environ.get(OTEL_PYTHON_DISABLED_INSTRUMENTATIONS, "").split(",")
    }
    for entry in metadata.entry_points(group=GROUP):
        distribution = entry.dist
        package = distribution.name if distribution is not None else "?"
        if package == "otel-toolbar":
            continue
        note = _why_not(entry, disabled)
        yield _told(entry.name, package, not note, note)


def _why_not(entry: metadata.EntryPoint, disabled: set[str]) -> str:
    """Why an installed instrumentation is not active; empty when it is."""
    if not ToolbarDistro.runs:
        return _NO_DISTRO
    if entry.name in disabled or "*" in disabled:
        return f"{OTEL_PYTHON_DISABLED_INSTRUMENTATIONS} names it"
    if entry.name in ToolbarDistro.loaded:
        return ""
    if entry.name in REPLACED:
        return "not loaded: otel-toolbar's own stands in its place"
    if entry.dist is not None:
        conflict = get_dist_dependency_conflicts(entry.dist)
        if conflict is not None:
            return str(conflict)
    return "could not be loaded; the log of the start says why"


def _missing() -> Iterator[dict[str, Any]]:
    """Instrumentations that would fit a library that is installed, as `opentelemetry-bootstrap` has them."""
    try:
        from opentelemetry.instrumentation.bootstrap_gen import libraries
    except ImportError:  # a version without the list
        return
    installed = {
        each.name.lower().replace("_", "-") for each in metadata.distributions() if each.name
    }
    told: set[str] = set()
    for each in libraries:
        library = _name_of(str(each["library"]))
        package = _name_of(str(each["instrumentation"]))
        name = package.removeprefix("opentelemetry-instrumentation-")
        if library in installed and package not in installed | told and name not in _NOT_ADVISED:
            told.add(package)
            yield _told(name, package, False, f"not installed: pip install {package}")


def _name_of(requirement: str) -> str:
    for place, character in enumerate(requirement):
        if not (character.isalnum() or character in "-_."):
            requirement = requirement[:place]
            break
    return requirement.lower().replace("_", "-")


def _told(name: str, by: str, active: bool, note: str) -> dict[str, Any]:
    return {"name": name, "by": by, "active": active, "note": note}
