"""Caches and outgoing calls under `opentelemetry-instrument`, which passes instrumentations no hooks."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from tests.redis_server import Redis

from .serving import Server, serving

APPS = Path(__file__).parent / "apps"
OURS = {"OTEL_PYTHON_DISTRO": "otel_toolbar"}


def panels_of(running: Server, *names: str) -> list[Any]:
    answer = running.get("/work")
    assert answer.status_code == 200, running.log
    trace = running.trace_of(answer)
    assert trace in answer.json()["traceparent"] if "http" in names else True
    return [running.api(f"traces/{trace}/panels/{name}") for name in names]


def test_panels_of_a_real_app(redis: Redis, tmp_path: Path) -> None:
    with serving(
        APPS, tmp_path, target="clients:app", environment=OURS | {"REDIS_URL": redis.url()}
    ) as running:
        cache, http = panels_of(running, "cache", "http")
        assert running.get("/before").json() == []
        assert "Traceback" not in running.log
    assert (cache["count"], cache["hits"], cache["misses"]) == (6, 4, 2)
    assert cache["systems"] == ["aiocache.memory", "redis"]
    (again,) = cache["repeats"]
    assert (again["key"], again["count"]) == ("greeting", 3)
    assert again["place"]["path"].endswith("apps/clients.py")
    assert [call["operation"] for call in cache["calls"]][4:] == ["PIPELINE", "GET"]
    assert (http["count"], http["failed"]) == (2, 0)
    assert http["repeats"][0]["count"] == 2
    assert http["calls"][0]["url"].endswith("/hello?token=***")
    assert http["calls"][0]["place"]["path"].endswith("apps/clients.py")


@pytest.mark.parametrize(
    ("off", "empty", "full"), [("cache", "cache", "http"), ("http", "http", "cache")]
)
def test_a_signal_switched_off(
    redis: Redis, tmp_path: Path, off: str, empty: str, full: str
) -> None:
    environment = OURS | {"REDIS_URL": redis.url(), "OTEL_TOOLBAR_SIGNALS": f"-{off}"}
    with serving(APPS, tmp_path, target="clients:app", environment=environment) as running:
        answer = running.get("/work")
        trace = running.trace_of(answer)
        assert running.api(f"traces/{trace}/panels/{empty}")["count"] == 0
        assert running.api(f"traces/{trace}/panels/{full}")["count"] > 0
        page = running.get(f"/_toolbar/t/{trace}?panel={empty}").text
        assert f"otel-toolbar[{'redis' if empty == 'cache' else 'httpx'}]" in page


def test_off_means_stock(redis: Redis, tmp_path: Path) -> None:
    """With the toolbar off the instrumentations load as they do without us."""
    environment = OURS | {"REDIS_URL": redis.url(), "OTEL_TOOLBAR_ENABLED": "false"}
    with serving(APPS, tmp_path, target="clients:app", environment=environment) as running:
        assert running.get("/work").status_code == 200
        assert running.get("/before").json() == ["aiohttp", "httpx", "redis", "requests"]


def test_another_distro_runs(redis: Redis, tmp_path: Path) -> None:
    """Where instrumentations begin before us, their spans are shown with what they have, and the place."""
    environment = {
        "OTEL_PYTHON_DISTRO": "distro",
        "REDIS_URL": redis.url(),
        "OTEL_TRACES_EXPORTER": "none",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
    }
    with serving(APPS, tmp_path, target="clients:app", environment=environment) as running:
        cache, http = panels_of(running, "cache", "http")
    assert cache["count"] == 6
    assert http["count"] == 2
    assert all(call["place"]["path"].endswith("apps/clients.py") for call in http["calls"])
