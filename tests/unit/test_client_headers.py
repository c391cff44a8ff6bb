"""What a client's headers say is read once, and nothing of what is secret in them is kept."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from typing import Any

import pytest

from otel_toolbar.settings import Settings
from otel_toolbar.signals.core import masking
from otel_toolbar.signals.server import attributes, client

HEADERS = [
    (b"host", b"localhost:8000"),
    (b"user-agent", b"curl/8.5"),
    (b"cookie", b"theme=dark; session=s3cr3t-of-a-session"),
    (b"authorization", b"Bearer s3cr3t-of-a-bearer"),
]


@pytest.fixture(autouse=True)
def afresh() -> Iterator[None]:
    client._known.clear()
    yield
    client._known.clear()
    masking.configure(Settings())


def copied() -> list[tuple[bytes, bytes]]:
    """Equal headers, as the next request brings them: other objects."""
    return [(bytes(bytearray(name)), bytes(bytearray(value))) for name, value in HEADERS]


def test_what_they_say() -> None:
    said = client.of(HEADERS)
    assert (said.agent, said.host) == ("curl/8.5", "localhost:8000")
    assert said.attributes == {
        "http.request.header.host": ("localhost:8000",),
        "http.request.header.user-agent": ("curl/8.5",),
        "http.request.header.cookie": ("theme=dark; session=***",),
        "http.request.header.authorization": ("Bearer ***",),
        "toolbar.request.cookie.theme": "dark",
        "toolbar.request.cookie.session": "***",
    }


def test_they_are_read_once(monkeypatch: pytest.MonkeyPatch) -> None:
    said = client.of(copied())

    def fail(*_: Any) -> None:
        raise AssertionError("read again")

    monkeypatch.setattr(attributes, "of_headers", fail)
    assert client.of(copied()) is said
    with pytest.raises(AssertionError):
        client.of([*copied(), (b"accept", b"*/*")])


def test_another_order_is_another_request() -> None:
    twice = [(b"x", b"1"), (b"x", b"2")]
    assert client.of(twice).attributes == {"http.request.header.x": ("1", "2")}
    assert client.of(twice[::-1]).attributes == {"http.request.header.x": ("2", "1")}


def test_no_secret_is_kept() -> None:
    client.of(copied())
    held = [repr(each) for each in gc.get_referents(client._known)]
    assert any("dark" in each for each in held)
    assert not any("s3cr3t" in each for each in held)


def test_they_are_read_again_when_other_names_are_secret() -> None:
    before = client.of(copied())
    masking.configure(Settings(mask=("theme",)))
    after = client.of(copied())
    assert before.attributes["toolbar.request.cookie.theme"] == "dark"
    assert after.attributes["toolbar.request.cookie.theme"] == "***"


@pytest.mark.parametrize(
    "headers",
    [
        [[b"host", b"a"]],
        [(b"host", memoryview(bytearray(b"a")))],
        [(b"host", b"a"), (b"x", b"long" * client.LONGEST_REMEMBERED)],
    ],
    ids=["lists", "what may change", "long ones"],
)
def test_what_is_not_remembered(headers: Any) -> None:
    assert client.of(headers).host == "a"
    assert not client._known


def test_it_stays_small() -> None:
    for number in range(3 * client.MAX_REMEMBERED):
        client.of([(b"x-request-id", b"%d" % number)])
        assert len(client._known) <= client.MAX_REMEMBERED
