from __future__ import annotations

from typing import Any

import pytest

from otel_toolbar import settings
from otel_toolbar.settings import Settings, load, selected


def test_nothing_set_means_the_defaults() -> None:
    assert load({}) == (Settings(), [])


@pytest.mark.parametrize(
    ("name", "text", "value"),
    [
        ("ENABLED", "TRUE", "true"),
        ("ENABLED", "off", "false"),
        ("PATH", "debug/", "/debug"),
        ("STORE_MAX_BYTES", "2 MiB", 2 * 2**20),
        ("STORE_MAX_BYTES", "100", 100),
        ("STORE_MAX_AGE", "none", None),
        ("STORE_MAX_AGE", "5000", 5000),
        ("ALLOWED_HOSTS", "a.test, b.test", ("a.test", "b.test")),
        ("STACKS", "no", False),
        ("EDITOR", "emacs://{path}?{line}", "emacs://{path}?{line}"),
        ("TOKEN", "", None),
    ],
)
def test_values_are_read(name: str, text: str, value: Any) -> None:
    found, complaints = load({"OTEL_TOOLBAR_" + name: text})
    assert getattr(found, name.lower()) == value
    assert complaints == []


@pytest.mark.parametrize(
    ("name", "text", "says"),
    [
        ("ENABLED", "maybe", "OTEL_TOOLBAR_ENABLED='maybe' is ignored: allowed: auto, true, false"),
        ("STORE", "sqlite=/nowhere/x", "allowed: auto, memory"),
        ("STORE_MAX_TRACES", "0", "allowed: a whole number of at least 1"),
        ("STORE_MAX_BYTES", "many", "allowed: a number of bytes"),
        ("N_PLUS_ONE", "five", "allowed: a whole number of at least 1"),
        ("MAX_TASKS", "9" * 30, "allowed: a whole number of 1000000000 at most"),
        ("EXCLUDE", "(", "allowed: regular expressions; '('"),
        ("PATH", "/", "allowed: a path such as /_toolbar"),
        ("PATH", '/"><script>', "allowed: a path such as /_toolbar"),
        ("EDITOR", "ed", "allowed: vscode,"),
        ("STACKS", "2", "allowed: true, false"),
        ("TOKN", "x", "unknown setting; did you mean OTEL_TOOLBAR_TOKEN?"),
        ("XYZZY", "x", "unknown setting"),
    ],
)
def test_a_wrong_value_is_one_line_and_the_default(name: str, text: str, says: str) -> None:
    found, complaints = load({"OTEL_TOOLBAR_" + name: text})
    assert found == Settings()
    assert len(complaints) == 1
    assert says in complaints[0]
    assert "OTEL_TOOLBAR_" + name in complaints[0]


def test_a_secret_is_not_repeated_in_a_complaint() -> None:
    error = settings.SettingError("allowed: x")
    assert "hunter2" not in settings._complaint("token", "OTEL_TOOLBAR_TOKEN", "hunter2", error)


def test_arguments_win_over_the_environment() -> None:
    found, complaints = load({"OTEL_TOOLBAR_PATH": "/a"}, {"path": "/b", "exclude": ["/x", "/y"]})
    assert (found.path, found.exclude, complaints) == ("/b", ("/x", "/y"), [])


def test_other_variables_are_not_ours() -> None:
    assert load({"OTEL_SERVICE_NAME": "x", "PATH": "y"}) == (Settings(), [])


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        ((), ("a", "b", "c")),
        (("-b",), ("a", "c")),
        (("c", "a"), ("a", "c")),
        (("a", "+b"), ("a", "b")),
        (("+b",), ("a", "b", "c")),
    ],
)
def test_selection(choice: tuple[str, ...], found: tuple[str, ...]) -> None:
    assert selected(choice, ("a", "b", "c")) == found


@pytest.mark.parametrize(
    ("choice", "found"),
    [
        ((), ("a",)),
        (("+b",), ("a", "b")),
        (("b",), ("b",)),
        (("+b", "-a"), ("b",)),
        (("-b",), ("a",)),
    ],
)
def test_selection_of_what_is_off(choice: tuple[str, ...], found: tuple[str, ...]) -> None:
    assert selected(choice, ("a", "b"), off=("b",)) == found


def test_every_setting_is_documented() -> None:
    for each in settings.documented():
        assert each.meaning.endswith((".", "`."))
        assert each.default
