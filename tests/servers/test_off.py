"""Switched off, fed wrong values, or beside something too old: the app is served as ever."""

from __future__ import annotations

import socket
import subprocess
from pathlib import Path

import pytest

from .receiver import receiving
from .serving import BIN, Server, _environment, serving, wait_for

APPS = Path(__file__).parent / "apps"
OURS = {"OTEL_PYTHON_DISTRO": "otel_toolbar"}
OFF = {
    "setting": {"OTEL_TOOLBAR_ENABLED": "false"},
    "environment": {"OTEL_RESOURCE_ATTRIBUTES": "a=b,deployment.environment=Staging"},
}


def raw(running: Server, path: str) -> tuple[int, list[tuple[str, str]], bytes]:
    answer = running.get(path)
    headers = [pair for pair in answer.headers.multi_items() if pair[0] != "date"]
    return answer.status_code, headers, answer.content


def test_off_differs_from_nothing_by_no_byte(tmp_path: Path) -> None:
    paths = ("/hello", "/_toolbar/", "/_toolbar/api/traces", "/query")
    with serving(
        APPS,
        tmp_path,
        target="by_hand:app",
        environment={"OTEL_TOOLBAR_ENABLED": "0"},
        instrument=False,
    ) as bare:
        expected = {path: raw(bare, path) for path in paths}
    assert expected["/_toolbar/"][0] == 404
    for name, settings in OFF.items():
        with receiving() as receiver:
            environment = (
                OURS
                | settings
                | {
                    "OTEL_EXPORTER_OTLP_ENDPOINT": receiver.url,
                    "OTEL_BSP_SCHEDULE_DELAY": "50",
                }
            )
            with serving(APPS, tmp_path, target="by_hand:app", environment=environment) as running:
                assert {path: raw(running, path) for path in paths} == expected, name
                # The SDK and its exporter run, and contrib's instrumentation is not left out.
                wait_for(lambda: receiver.named("GET /hello"), 10, lambda: running.log)
                scopes = {span["scope"] for span in receiver.spans}
                assert "opentelemetry.instrumentation.fastapi" in scopes
                assert not [scope for scope in scopes if "otel_toolbar" in scope]
                assert "otel-toolbar" not in running.log


def test_off_by_the_resource_of_the_apps_own_provider(tmp_path: Path) -> None:
    environment = OURS | {"APP_RESOURCE": "{'deployment.environment.name': 'production'}"}
    with serving(APPS, tmp_path, target="own_provider:app", environment=environment) as running:
        assert "x-trace-id" not in running.get("/hello").headers
        assert running.get("/_toolbar/").status_code == 404
        assert ["work", "INTERNAL"] in running.get("/exported").json()


FILE = """
file_format: "1.0"
disabled: {disabled}
resource:
  attributes:
    - {{name: service.name, value: from-the-file}}
    - {{name: deployment.environment.name, value: {environment}}}
tracer_provider:
  processors:
    - batch:
        exporter:
          otlp_http: {{endpoint: "{url}/v1/traces"}}
"""


@pytest.mark.parametrize(
    ("environment", "disabled"),
    [("development", "false"), ("production", "false"), ("development", "true")],
)
def test_a_configuration_file(environment: str, disabled: str, tmp_path: Path) -> None:
    file = tmp_path / "otel.yaml"
    with receiving() as receiver:
        file.write_text(FILE.format(environment=environment, disabled=disabled, url=receiver.url))
        with serving(
            APPS,
            tmp_path,
            target="lifespan:app",
            environment=OURS | {"OTEL_CONFIG_FILE": str(file)},
        ) as running:
            answer = running.get("/query")
            page = running.get("/_toolbar/")
            if environment == "production":
                assert "x-trace-id" not in answer.headers
                assert page.status_code == 404
            elif disabled == "true":
                assert "OTEL_CONFIG_FILE" in page.text
                assert "disabled" in page.text
            else:
                trace = f"traces/{running.trace_of(answer)}/panels/trace"
                kinds = {span["kind"] for span in running.api(trace)["spans"]}
                assert kinds == {"server", "client"}
            assert "Traceback" not in running.log
            running.stop()
        sent = {span["attributes"].get("url.path") for span in receiver.spans}
        assert ("/query" in sent) is (environment == "development" and disabled == "false")
        if sent:
            assert receiver.spans[0]["resource"]["service.name"] == "from-the-file"


def test_the_sdk_disabled_is_said_on_the_page(tmp_path: Path) -> None:
    environment = OURS | {"OTEL_SDK_DISABLED": "true"}
    with serving(APPS, tmp_path, target="lifespan:app", environment=environment) as running:
        assert running.get("/query").json() == {"one": 1}
        assert "OTEL_SDK_DISABLED" in running.get("/_toolbar/").text
        assert "otel" not in running.log.lower(), running.log


def test_flags_of_opentelemetry_instrument(tmp_path: Path) -> None:
    flags = ("--toolbar_path", "/debug", "--toolbar_token", "secret")
    with serving(APPS, tmp_path, target="lifespan:app", environment=OURS, flags=flags) as running:
        elsewhere = {"x-forwarded-for": "192.0.2.1"}
        assert running.get("/debug/", headers=elsewhere).status_code == 404
        token = elsewhere | {"x-toolbar-token": "secret"}
        assert running.get("/debug/", headers=token).status_code == 200
    shown = subprocess.run(
        [BIN / "opentelemetry-instrument", "--help"], capture_output=True, text=True, check=True
    ).stdout
    assert "--toolbar_path" in shown
    assert "--toolbar_store_max_traces" in shown


WRONG = {
    "OTEL_TOOLBAR_STORE": "sqlite=/nonexistent/x.db",
    "OTEL_TOOLBAR_PTAH": "/x",
    "OTEL_TOOLBAR_SLOW_QUERY": "soon",
    "OTEL_TOOLBAR_TOKEN": " secret ",
}


@pytest.mark.parametrize("server", ["uvicorn-reload", "uvicorn-workers"])
def test_wrong_values_are_named_once_and_the_app_is_served(server: str, tmp_path: Path) -> None:
    with serving(
        APPS, tmp_path, server=server, target="lifespan:app", environment=OURS | WRONG
    ) as running:
        assert running.get("/hello").status_code == 200
        lines = [line for line in running.log.splitlines() if "otel-toolbar:" in line]
        assert len(lines) == 3, running.log
        text = "\n".join(lines)
        for part in (
            "OTEL_TOOLBAR_STORE",
            "allowed: auto",
            "OTEL_TOOLBAR_PTAH",
            "did you mean OTEL_TOOLBAR_PATH?",
            "OTEL_TOOLBAR_SLOW_QUERY",
            "a whole number",
        ):
            assert part in text
        assert "secret" not in running.log
        assert "Traceback" not in running.log


def test_a_port_that_is_taken_is_the_servers_to_tell(tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        run = subprocess.run(
            [
                BIN / "opentelemetry-instrument",
                "uvicorn",
                "lifespan:app",
                "--port",
                str(taken.getsockname()[1]),
            ],
            cwd=APPS,
            env=_environment(tmp_path, OURS),
            capture_output=True,
            text=True,
            timeout=60,
            check=False,
        )
    assert run.returncode != 0
    assert "address already in use" in run.stderr
    assert "Traceback" not in run.stderr
    assert "otel" not in run.stderr.lower()


OLD = """
import sys, types
from importlib.abc import Loader, MetaPathFinder
from importlib.machinery import ModuleSpec

parents = "{name}".split(".")[:-1]
for depth in range(1, len(parents) + 1):
    parent = ".".join(parents[:depth])
    sys.modules[parent] = types.ModuleType(parent)
    sys.modules[parent].__path__ = []

class Old(MetaPathFinder, Loader):
    def find_spec(self, name, path, target=None):
        return ModuleSpec(name, self) if name == "{name}" else None
    def create_module(self, spec):
        return None
    def exec_module(self, module):
        pass

sys.meta_path.insert(1, Old())  # behind the finder of the import hooks
import {name}
print("still here")
"""


@pytest.mark.parametrize(
    "name",
    [
        "uvicorn.config",
        "uvicorn.server",
        "hypercorn.utils",
        "granian.asgi",
        "quart.ctx",
        "django.core.handlers.base",
        "fastapi.telemetry._asgi",
    ],
)
def test_a_version_too_old_is_said_in_one_line(name: str, tmp_path: Path) -> None:
    source = OLD.format(name=name)
    run = subprocess.run(
        [BIN / "opentelemetry-instrument", BIN / "python", "-c", source],
        cwd=APPS,
        env=_environment(tmp_path, OURS),
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert run.stdout == "still here\n"
    lines = run.stderr.splitlines()
    assert len(lines) == 1, run.stderr
    assert lines[0].startswith("otel-toolbar: ")
    assert name in lines[0]


LIBRARIES = (
    "starlette",
    "jinja2",
    "sqlalchemy",
    "fastapi",
    "litestar",
    "quart",
    "django",
    "anyio",
    "asyncpg",
    "psycopg",
    "pymysql",
    "redis",
    "httpx",
    "aiohttp",
    "requests",
    "saq",
    "strawberry",
    "google.protobuf",
    "grpc",
    "sqlglot",
    "opentelemetry.exporter",
    "opentelemetry.instrumentation.dbapi",
    "opentelemetry.instrumentation.asgi",
)
OF_OURS = (
    "otel_toolbar.export",
    "otel_toolbar.panels",
    "otel_toolbar.web.app",
    "otel_toolbar.web.pages",
    "otel_toolbar.insights.alerts",
    "otel_toolbar.insights.graphql_document",
    "otel_toolbar.insights.n_plus_one",
    "otel_toolbar.signals.graphql.schema",
    "otel_toolbar.signals.jobs.hooks",
    "otel_toolbar.signals.process.versions",
    "otel_toolbar.signals.queries.instrumentor",
)
"""Imported with the library that they watch, or when somebody looks."""

LOADED = "import uvicorn; uvicorn.Config('least:app').load()"


@pytest.mark.parametrize(
    ("begins", "absent"),
    [("pass", (*LIBRARIES, *OF_OURS, "uvicorn")), (LOADED, (*LIBRARIES, *OF_OURS))],
    ids=["no app", "least app"],
)
def test_nothing_is_imported_that_the_app_does_not_use(
    tmp_path: Path, begins: str, absent: tuple[str, ...]
) -> None:
    source = f"{begins}; import sys; print([name for name in {absent} if name in sys.modules])"
    # Coverage, which our tests may run under, imports sqlite3 in every process it is told to measure.
    environment = _environment(tmp_path, OURS | {"OTEL_PYTHON_DISABLED_INSTRUMENTATIONS": ""})
    plain = {key: value for key, value in environment.items() if not key.startswith("COVERAGE_")}
    run = subprocess.run(
        [BIN / "opentelemetry-instrument", BIN / "python", "-c", source],
        cwd=APPS,
        env=plain,
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert (run.stdout.strip(), run.stderr) == ("[]", "")
