"""The settings of the app, of the toolbar and of OpenTelemetry, masked.

A setting is masked by its name and by what it looks like (`masking`); objects of the app's own types are
named by their type, and nothing of theirs is called.
"""

# Objects of frameworks that need not be installed.
# pyright: reportUnknownMemberType=false, reportUnknownArgumentType=false, reportUnknownVariableType=false

from __future__ import annotations

import os
import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any

from otel_toolbar.signals.core import masking
from otel_toolbar.signals.core.framework import framework_of, layers

MAX_SETTINGS = 500
"""Settings of one group."""

_LENGTH = 500

_OF_APPS = {
    "fastapi": (
        "debug", "title", "version", "openapi_version", "openapi_url", "docs_url", "redoc_url",
        "root_path", "servers", "separate_input_output_schemas", "strict_content_type",
    ),
    "starlette": ("debug",),
    "litestar": (
        "debug", "allowed_hosts", "compression_config", "cors_config", "csrf_config",
        "logging_config", "multipart_form_part_limit", "openapi_config", "path", "pdb_on_exception",
        "request_max_body_size", "response_cache_config", "static_files_config", "template_engine",
        "websocket_class", "experimental_features",
    ),
}  # fmt: skip
"""Attributes that are settings, by framework."""

Group = dict[str, Any]


def facts(apps: Sequence[Any], toolbar: Mapping[str, Any]) -> dict[str, Any]:
    """`settings`: groups of `title` and `values`, pairs of a name and a masked text."""
    groups = [group for app in apps for group in _of_app(app)]
    groups += _of_django()
    groups += _of_pydantic()
    groups.append(_group("otel-toolbar", toolbar.items()))
    groups.append(_group("OpenTelemetry (environment)", _environment()))
    return {"settings": [group for group in groups if group["values"]]}


def _of_app(app: Any) -> Iterator[Group]:
    for layer in layers(app):
        framework = framework_of(layer)
        config = _own(layer, "config")
        if framework == "quart" and isinstance(config, dict):
            yield _group("app.config (Quart)", dict.items(config))
        names = _OF_APPS.get(framework or "", ())
        values = [
            (name, found) for name in names if (found := _setting(layer, name)) is not _MISSING
        ]
        if values:
            yield _group(f"{_TITLES.get(framework or '', framework)} app", values)
            state = _own(layer, "state")
            yield _group("app.state", _state(state))


_TITLES = {"fastapi": "FastAPI", "starlette": "Starlette", "litestar": "Litestar"}
_MISSING = object()


def _setting(layer: Any, name: str) -> Any:
    """An attribute, or what stands behind the property of its name."""
    found = _own(layer, name)
    return _own(layer, f"_{name}") if found is _MISSING else found


def _own(layer: Any, name: str) -> Any:
    """An attribute that is the object's own: a property of the app's class could do anything."""
    own: Any = getattr(layer, "__dict__", None)
    if isinstance(own, dict) and name in own:
        return own[name]
    for cls in type(layer).__mro__:
        slot = cls.__dict__.get(name)
        if type(slot).__name__ == "member_descriptor":
            return getattr(layer, name, _MISSING)
    return _MISSING


def _state(state: Any) -> Iterable[tuple[str, Any]]:
    values = _own(state, "_state")
    return dict.items(values) if type(values) is dict else ()


def _of_django() -> Iterator[Group]:
    """All of `django.conf.settings`, once the app has configured it."""
    conf: Any = sys.modules.get("django.conf")
    if conf is None or not conf.settings.configured:
        return
    wrapped = conf.settings._wrapped  # noqa: SLF001 - the settings object proper, without its proxy
    own = {name: value for name, value in vars(wrapped).items() if name.isupper()}
    yield _group("django.conf.settings", sorted(own.items()))


def _of_pydantic() -> Iterator[Group]:
    """Objects of pydantic-settings that stand as globals in the module that defines their class."""
    pydantic: Any = sys.modules.get("pydantic_settings")
    if pydantic is None:
        return
    for cls in _subclasses(pydantic.BaseSettings):
        module: Any = sys.modules.get(cls.__module__)
        for name, value in list(vars(module).items()) if module is not None else ():
            if type(value) is cls:
                yield _group(f"{cls.__module__}.{name}", list(value.__dict__.items()))


def _subclasses(cls: type[Any]) -> Iterator[type[Any]]:
    pending, seen = [cls], set[type[Any]]()
    while pending:
        for found in type.__subclasses__(pending.pop()):
            if found not in seen:
                seen.add(found)
                pending.append(found)
                yield found


def _environment() -> Iterator[tuple[str, Any]]:
    for name, value in sorted(os.environ.items()):
        if name.startswith("OTEL_") and not name.startswith("OTEL_TOOLBAR_"):
            yield name, _headers(value) if name.endswith("HEADERS") else value


def _headers(value: str) -> str:
    """What is sent with every export, such as an API key, under whatever name: names only."""
    pairs = (pair.partition("=") for pair in value.split(","))
    return ",".join(f"{name}={masking.MASK}" for name, _, _ in pairs)


def _group(title: str, values: Iterable[tuple[Any, Any]]) -> Group:
    shown: list[list[str]] = []
    for name, value in list(values)[:MAX_SETTINGS]:
        if type(name) is str:
            shown.append([name, _shown(name, value)])
    return {"title": title, "values": shown}


def _shown(name: str, value: Any) -> str:
    if value is None or type(value) is bool:
        return str(value)
    if masking.is_secret(name):
        return masking.MASK
    if type(value) is str and "://" in value:
        value = masking.url(value[:_LENGTH])
    return masking.clean(value, name, _LENGTH)
