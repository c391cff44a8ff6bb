"""Hooks into libraries, put in when the app imports them, and our own code for them imported then."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

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


class Hooks(Protocol):
    """A module that puts hooks into a library. To install twice is no more than once."""

    def install(self, *settings: Any) -> None: ...

    def uninstall(self) -> None: ...


class WithLibrary:
    """Imports and installs hooks when the first of `libraries` is imported.

    An app that does without the library starts without the code that watches it. Only for hooks that are
    soon enough when the whole of the library is there.
    """

    def __init__(self, imported: Callable[[], Hooks], *libraries: str) -> None:
        self._imported = imported
        """Imports the hooks."""
        self._libraries = libraries
        self._settings: tuple[Any, ...] | None = None
        """What the hooks are installed with; None while they are not wanted."""
        self._hooks: Hooks | None = None

    def install(self, *settings: Any) -> None:
        """Install the hooks, now or with the library."""
        self._settings = settings
        for library in self._libraries:
            wrapt.register_post_import_hook(self._begin, library)

    def uninstall(self) -> None:
        """Take them out, or never put them in."""
        self._settings = None
        if self._hooks is not None:
            self._hooks.uninstall()

    def _begin(self, library: Any) -> None:
        if self._settings is None:
            return
        try:
            self._hooks = self._imported()
            self._hooks.install(*self._settings)
        except Exception:  # the app only imports a library: nothing may come of it
            guard.failed(f"hooks of {library.__name__}")
