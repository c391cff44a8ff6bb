"""The route templates of Quart and of Django, which leave none in the scope."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import wrapt

from otel_toolbar import guard
from otel_toolbar.signals.core import record as records

Arguments = tuple[Any, ...]
Keywords = dict[str, Any]


def install() -> None:
    """Put the hooks in as soon as the framework's module is imported."""
    # Since 0.23 one context serves both.
    quart = tuple(f"{each}Context.match_request" for each in ("App", "Request", "Websocket"))
    wrapt.register_post_import_hook(_after(quart, _note_quart), "quart.ctx")
    django = ("BaseHandler.resolve_request",)
    wrapt.register_post_import_hook(_after(django, _note_django), "django.core.handlers.base")


def _after(methods: Sequence[str], note: Callable[[Any, Any], str | None]) -> Callable[[Any], None]:
    """A hook that calls `note(instance, result)` after each method and keeps the route it returns."""

    def hook(module: Any) -> None:
        def wrapper(
            real: Callable[..., Any], instance: Any, args: Arguments, kwargs: Keywords
        ) -> Any:
            result = real(*args, **kwargs)
            try:
                record = records.current()
                if record is not None:
                    record.route = note(instance, result)
            except Exception:
                guard.failed(f"route of {module.__name__}")
            return result

        found = [each for each in methods if _has(module, each)]
        for method in found:
            wrapt.wrap_function_wrapper(module, method, wrapper)
        if not found:
            guard.say_once(
                f"{module.__name__} is not of a version that the toolbar knows; requests are named by"
                " their path, not by their route"
            )

    return hook


def _has(module: Any, method: str) -> bool:
    owner, _, name = method.partition(".")
    return hasattr(getattr(module, owner, None), name)


def _note_quart(context: Any, _: Any) -> str | None:
    served = getattr(context, "request_websocket", None) or context._request_websocket  # noqa: SLF001
    rule = getattr(served, "url_rule", None)
    return None if rule is None else str(rule.rule)


def _note_django(_: Any, match: Any) -> str | None:
    return "/" + str(match.route).lstrip("/")
