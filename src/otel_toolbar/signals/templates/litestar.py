"""Mako and MiniJinja, as far as Litestar's template engines show them: a name, what was given, the time.

What such a template includes or inherits is not seen. Litestar's Jinja2 engine needs nothing here: that
is Jinja2.
"""

from __future__ import annotations

import functools
import sys
from collections.abc import Callable, Mapping
from typing import Any, cast

import wrapt

from otel_toolbar import guard

from . import described, work
from .work import Work

_MODULES = (
    "litestar.plugins.mako",
    "litestar.contrib.mako",  # where they were before Litestar 2.22
    "litestar.plugins.minijinja",
    "litestar.contrib.minijinja",
)

_wanted = _registered = False
_replaced: list[tuple[Any, str, Any]] = []


def install() -> None:
    """Watch the engines from their import on."""
    global _wanted, _registered
    _wanted, first, _registered = True, not _registered, True
    for name in _MODULES:
        if first:
            wrapt.register_post_import_hook(_hook, name)
        elif name in sys.modules:
            _hook(sys.modules[name])


def uninstall() -> None:
    """Leave Litestar as it was."""
    global _wanted
    _wanted = False
    while _replaced:
        owner, name, real = _replaced.pop()
        setattr(owner, name, real)


def _hook(module: Any) -> None:
    if not _wanted:
        return
    try:
        for (name, method), (engine, named) in _HOOKS.items():
            # Not `getattr`: the old modules hand the classes on with a warning.
            owner: Any = cast("dict[str, Any]", vars(module)).get(name)
            if owner is not None and owner.__module__ == module.__name__:
                _replace(owner, method, engine, named)
    except Exception:
        guard.failed("watching Litestar's template engines")


def _replace(owner: Any, method: str, engine: str, named: Callable[..., Any]) -> None:
    real: Any = cast("dict[str, Any]", vars(owner))[method]
    if (owner, method) not in [each[:2] for each in _replaced]:
        setattr(owner, method, _watching(real, engine, named))
        _replaced.append((owner, method, real))


def _watching(real: Any, engine: str, named: Callable[..., Any]) -> Any:
    @functools.wraps(real)
    def render(self: Any, *args: Any, **kwargs: Any) -> Any:
        piece = None
        try:
            if work.watching():
                piece = _Render(engine, *named(self, *args, **kwargs))
        except Exception:
            guard.failed("watching a template of Litestar")
        if piece is None:
            return real(self, *args, **kwargs)
        return work.call(piece, real, self, *args, **kwargs)

    return render


class _Render(Work):
    __slots__ = ("_engine", "_given", "_name", "_path")

    def __init__(self, engine: str, name: Any, path: Any, given: Mapping[str, Any]) -> None:
        super().__init__(f"render {described.shown(name)}")
        self._engine = engine
        self._name = name
        self._path = path
        self._given: Mapping[str, Any] = given

    def attributes(self) -> dict[str, Any]:
        attributes = described.identity(self._engine, self._name, self._path, "page")
        described.put_context(attributes, self._given)
        described.put_caller(attributes)
        self._given = {}  # the app's: not to be kept longer
        return attributes


def _mako(template: Any, *_: Any, **context: Any) -> tuple[Any, Any, Mapping[str, Any]]:
    return template.template.uri, template.template.filename, context


def _minijinja(template: Any, *_: Any, **context: Any) -> tuple[Any, Any, Mapping[str, Any]]:
    return template.template_name, None, context


def _string(
    _engine: Any, _template_string: str, context: Mapping[str, Any]
) -> tuple[Any, Any, Mapping[str, Any]]:
    return None, None, context


_HOOKS: dict[tuple[str, str], tuple[str, Callable[..., Any]]] = {
    ("MakoTemplate", "render"): ("mako", _mako),
    ("MakoTemplateEngine", "render_string"): ("mako", _string),
    ("MiniJinjaTemplate", "render"): ("minijinja", _minijinja),
    ("MiniJinjaTemplateEngine", "render_string"): ("minijinja", _string),
}
"""By class and method: the engine, and what finds the name, the file and the context in a call."""
