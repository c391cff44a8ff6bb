"""Hooks into libraries, put in when the app imports them."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import wrapt

from otel_toolbar import guard


def wrap(module_name: str, function: str, wrapper: Callable[..., Any], lost: str) -> None:
    """Wrap a function, `f` or `Class.method`, once its module is imported.

    Where the module has none, `lost` says what follows from that; it is said once.
    """

    def hook(module: Any) -> None:
        try:
            wrapt.wrap_function_wrapper(module, function, wrapper)
        except Exception as error:  # a version without it
            guard.say_once(
                f"{module_name} is not of a version that the toolbar knows ({error}); {lost}"
            )

    wrapt.register_post_import_hook(hook, module_name)
