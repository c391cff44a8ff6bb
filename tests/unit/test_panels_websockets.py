"""The websockets panel: what it makes of a trace, whole and odd ones."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest

from otel_toolbar.insights import close_codes
from otel_toolbar.insights.summary import summarize
from otel_toolbar.model import Event, Kind, Span, Trace
from otel_toolbar.panels import websockets
from otel_toolbar.panels.contract import Badge
from otel_toolbar.panels.websockets.message import Message
from otel_toolbar.panels.websockets.view import Answers, Close, Connection, WebsocketsView
from otel_toolbar.settings import Settings
from tests import recorded, sockets

MS = 1_000_000


def view(trace: Trace) -> WebsocketsView:
    return websockets.PANEL.view(trace, Settings())


def only(trace: Trace) -> Connection:
    (found,) = view(trace).connections
    return found


def test_a_connection_that_is_closed() -> None:
    found = only(sockets.connection(4))
    assert (found.state, found.running, found.duration, found.name) == (
        "closed", False, 1.5, "/chat/{room}",
    )  # fmt: skip
    assert [(step.state, step.at) for step in found.timeline] == [
        ("connecting", 0.0), ("open", 0.012), ("closing", 1.47), ("closed", 1.5),
    ]  # fmt: skip
    assert found.timeline[1].duration == pytest.approx(1.458)
    assert found.timeline[1].time == pytest.approx(1_790_000_000.012)
    assert found.timeline[-1].duration is None
    meaning = close_codes.CODES[1000]
    assert found.close == Close(1000, meaning.name, meaning.text, "", "client", False)
    assert (found.path, found.query, found.scheme, found.client) == (
        "/chat/blue", "since=12", "ws", "127.0.0.1:50123",
    )  # fmt: skip
    assert (found.subprotocol, found.offered) == ("chat.v2", "chat.v2, chat.v1")
    assert [field.name for field in found.headers] == ["host", "sec-websocket-protocol", "cookie"]
    assert (found.received.messages, found.sent.messages, found.kept, found.total) == (2, 2, 4, 4)
    assert found.rate == round(4 / 1.5, 1)
    assert websockets.PANEL.badge(view(sockets.connection(4))) == Badge("4", "ok")


def test_what_came_of_a_message() -> None:
    received, sent = only(sockets.connection(2)).messages
    assert (received.direction, received.type, received.at) == ("receive", "text", 0.1)
    assert (received.queries, received.tasks, received.sends, received.spans) == (1, 0, 1, 2)
    assert (received.answer, received.duration, received.gap) == (0.25, 0.3, None)
    assert (sent.direction, sent.answers, sent.gap) == ("transmit", received.id, 0.25)
    assert (sent.queries, sent.answer) == (0, None)
    assert only(sockets.connection(2)).answers == Answers(1, 0.25, 0.25)


def test_totals_are_exact_when_messages_were_dropped() -> None:
    found = only(sockets.connection(100, total=14_200, live=True))
    assert (found.kept, found.total) == (100, 14_200)
    assert (found.received.messages, found.received.bytes) == (7100, 426_000)
    assert (found.running, found.state, found.close) == (True, "open", None)
    assert found.rate == 3.8  # of the last 10 s
    assert found.received.mean_size == 60
    assert len(found.rates) <= 60
    kept = sum(bucket.both * bucket.duration for bucket in found.rates)
    assert kept == pytest.approx(100)
    assert websockets.PANEL.badge(view(sockets.connection(2, live=True))) == Badge("2 live", "ok")


def test_the_rate_is_of_what_is_kept_where_that_is_all_there_is() -> None:
    # 100 kept of many within 2.5 s: over 10 s they would look like 10/s
    found = only(sockets.connection(100, total=9000, live=True, step=25))
    assert found.rate == pytest.approx(100 / 2.9, abs=0.1)
    found = only(sockets.connection(100, total=9000, live=True, step=1))
    assert found.rate == pytest.approx(100 / 0.5, abs=2)


@pytest.mark.parametrize(
    ("code", "level", "name"),
    [
        (1000, "ok", "normal closure"),
        (1001, "ok", "going away"),
        (1005, "ok", "no code"),
        (1006, "warn", "abnormal closure"),
        (1011, "warn", "internal error"),
        (3000, "warn", "unauthorized"),
        (3999, "ok", "registered"),
        (4001, "ok", "app's own"),
        (999, "warn", "unknown"),
        (2**62, "warn", "unknown"),
    ],
)
def test_close_codes(code: int, level: str, name: str) -> None:
    trace = sockets.ended(sockets.connection(2, live=True), code, websocket_close_reason="why")
    found = view(trace)
    assert websockets.PANEL.badge(found).level == level
    close = found.connections[0].close
    assert close is not None
    assert (close.name, close.reason, close.abnormal) == (name, "why", level == "warn")


@pytest.mark.parametrize(
    ("initiator", "name", "abnormal"),
    [
        ("network", "connection lost", True),
        ("error", "failed", True),
        ("client", "closed", False),
    ],
)
def test_an_end_without_a_code(initiator: str, name: str, abnormal: bool) -> None:
    base = sockets.connection(2)
    facts = {k: v for k, v in base.spans[0].attributes.items() if k != "websocket.close.code"}
    facts["websocket.close.initiator"] = initiator
    main = dataclasses.replace(base.spans[0], attributes=facts)
    trace = Trace.of(base.trace_id, [main, *base.spans[1:]], base.now)
    close = only(trace).close
    assert close is not None
    assert (close.code, close.name, close.abnormal) == (None, name, abnormal)
    assert websockets.PANEL.badge(view(trace)).level == ("warn" if abnormal else "ok")
    summary = summarize(trace, Settings()).websocket
    assert summary is not None
    assert summary.abnormal is abnormal


def test_a_connection_of_which_only_totals_are_kept() -> None:
    trace = sockets.connection(0, total=5000, live=True)
    trace.spans[0].attributes["websocket.totals_only"] = True  # type: ignore[index]
    found = only(trace)
    assert (found.totals_only, found.total, found.kept) == (True, 5000, 0)


def test_a_handler_that_raised() -> None:
    trace = sockets.failed(sockets.connection(3))
    assert only(trace).error == "KeyError: 'room'"
    assert websockets.PANEL.badge(view(trace)).level == "error"


@pytest.mark.parametrize(
    "attributes", [{"http.response.status_code": 403}, {"websocket.state": "connecting"}]
)
def test_a_denied_connection(attributes: dict[str, int | str]) -> None:
    base = sockets.connection(0)
    facts = {
        k: v for k, v in base.spans[0].attributes.items() if "close" not in k and "time" not in k
    } | attributes
    main = dataclasses.replace(base.spans[0], attributes=facts)
    trace = Trace.of(base.trace_id, [main], base.now)
    found = only(trace)
    assert (found.state, found.denial) == ("denied", attributes.get("http.response.status_code"))
    assert [step.state for step in found.timeline] == ["connecting", "denied"]
    assert websockets.PANEL.badge(view(trace)) == Badge("0", "warn")
    summary = summarize(trace, Settings()).websocket
    assert summary is not None
    assert (summary.state, summary.abnormal) == ("denied", True)


def test_live_ones_come_first() -> None:
    done = sockets.connection(2)
    live = sockets.connection(2, live=True, begin=sockets.BEGIN - 5000 * MS)
    moved = [
        dataclasses.replace(
            span,
            span_id="f" + span.span_id[1:],
            parent_id=span.parent_id and "f" + span.parent_id[1:],
        )
        for span in done.spans
    ]
    found = view(Trace.of(done.trace_id, [*moved, *live.spans], done.now)).connections
    assert [(each.running, each.total) for each in found] == [(True, 2), (False, 2)]
    assert {message.id[0] for message in found[1].messages} == {"f"}


def test_messages_without_their_connection_are_shown() -> None:
    trace = sockets.connection(4)
    found = only(Trace.of(trace.trace_id, trace.spans[1:], trace.now))
    assert (found.id, found.state, found.timeline, found.kept) == ("", "open", (), 4)
    assert found.received.messages == 2


def test_a_trace_without_a_connection() -> None:
    found = view(recorded.load("orders"))
    assert (found.found, found.connections) == (False, ())
    assert websockets.PANEL.badge(found) == Badge()
    assert summarize(recorded.load("orders"), Settings()).websocket is None


def test_what_a_message_has_of_content() -> None:
    content = {
        0: {"websocket.message.type": "binary", "websocket.message.size": 3,
            "websocket.message.hex": "00ff10"},
        2: {"websocket.message.size": 9},
        4: {"websocket.message.type": "text", "websocket.message.text": '{"a":[1,{"é":null}]}'},
        6: {"websocket.message.type": "text", "websocket.message.text": "{cut"},
        8: {"websocket.message.type": "text", "websocket.message.text": "a\n" * 300},
        10: {"websocket.message.type": "text", "websocket.message.text": "[" * 100_000},
        12: {"websocket.message.type": "text", "websocket.message.text": "[" + "1" * 5000 + "]"},
    }  # fmt: skip
    messages = only(sockets.connection(14, content=content)).messages  # type: ignore[arg-type]
    by_number: dict[int, Message] = dict(enumerate(messages))
    assert (by_number[0].preview, by_number[0].recorded) == ("00ff10", True)
    assert (by_number[2].type, by_number[2].preview, by_number[2].recorded) == ("binary", "", False)
    assert by_number[4].pretty == '{\n  "a": [\n    1,\n    {\n      "é": null\n    }\n  ]\n}'
    assert by_number[6].pretty == "{cut"
    assert by_number[8].preview.endswith("a a …")
    assert by_number[10].pretty == "[" * 100_000
    assert by_number[12].pretty.startswith("[1")


def test_a_running_message_and_a_failure_below_it() -> None:
    base = sockets.connection(2, live=True)
    main, received, query, sent = base.spans
    broken = dataclasses.replace(
        query, events=(Event("exception", query.start, {"exception.type": "Boom"}),)
    )
    waiting = dataclasses.replace(received, end=None)
    task = Span(
        base.trace_id, "e" * 16, received.span_id, "task", Kind.INTERNAL, query.start, None,
        {"asyncio.task.name": "t"},
    )  # fmt: skip
    found = only(Trace.of(base.trace_id, [main, waiting, broken, sent, task], base.now))
    first = found.messages[0]
    assert (first.duration, first.error, first.tasks) == (None, "Boom", 1)


def test_the_direction_follows_the_kind_where_it_is_not_said() -> None:
    base = sockets.connection(2)
    silent = [
        dataclasses.replace(
            span,
            attributes={k: v for k, v in span.attributes.items() if k != "network.io.direction"},
        )
        for span in base.spans
    ]
    found = only(Trace.of(base.trace_id, silent, base.now))
    assert [message.direction for message in found.messages] == ["receive", "transmit"]


def test_the_summary_of_a_connection() -> None:
    summary = summarize(sockets.connection(100, total=14_200, live=True), Settings())
    assert summary.kind == "websocket"
    assert summary.duration is None
    assert dataclasses.asdict(summary)["websocket"] == {
        "state": "open",
        "live": True,
        "path": "/chat/blue",
        "client": "127.0.0.1:50123",
        "close_code": None,
        "abnormal": False,
        "received": 7100,
        "sent": 7100,
        "bytes_received": 426_000,
        "bytes_sent": 639_000,
        "rate": 3.8,
    }


def test_a_connection_of_no_time_at_all() -> None:
    main = dataclasses.replace(sockets.connection(0).spans[0], end=sockets.BEGIN)
    found = only(Trace.of(main.trace_id, [main], sockets.BEGIN))
    assert (found.duration, found.rate, found.received.rate, found.rates) == (0.0, 0.0, 0.0, ())


def test_the_documentation_has_every_close_code() -> None:
    text = (Path(__file__).parents[2] / "docs" / "concepts.md").read_text(encoding="utf-8")
    for code, meaning in close_codes.CODES.items():
        mark = "■" if meaning.abnormal else ""
        assert f"| {code} | {meaning.name} | {meaning.text} | {mark} |" in text


@pytest.mark.parametrize(
    ("name", "state", "kept", "total", "code", "badge"),
    [
        ("websocket_chat", "closed", 22, 22, 4001, Badge("22", "ok")),
        ("websocket_denied", "denied", 0, 0, None, Badge("0", "warn")),
        ("websocket_dropped", "closed", 19, 120, 1000, Badge("120", "ok")),
        ("websocket_open", "open", 16, 16, None, Badge("16 live", "ok")),
    ],
)
def test_connections_recorded_from_a_real_app(
    name: str, state: str, kept: int, total: int, code: int | None, badge: Badge
) -> None:
    trace = recorded.load(name)
    found = only(trace)
    assert (found.state, found.kept, found.total) == (state, kept, total)
    assert (found.close and found.close.code) == code
    assert websockets.PANEL.badge(view(trace)) == badge
    received = [message for message in found.messages if message.direction == "receive"]
    answered = {message.answers for message in found.messages if message.direction == "transmit"}
    assert answered == {message.id for message in received if message.sends}
