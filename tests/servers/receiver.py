"""A real OTLP receiver: what exporters send over HTTP or gRPC is decoded and kept as dicts."""

from __future__ import annotations

import gzip
import threading
from collections.abc import Iterator
from concurrent import futures
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import grpc
from opentelemetry.proto.collector.logs.v1.logs_service_pb2 import ExportLogsServiceRequest
from opentelemetry.proto.collector.trace.v1 import trace_service_pb2_grpc
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import (
    ExportTraceServiceRequest,
    ExportTraceServiceResponse,
)

KINDS = ["unspecified", "internal", "server", "client", "producer", "consumer"]


class Receiver:
    """What has come in so far. `status` answers each path otherwise than with 200."""

    def __init__(self, status: dict[str, int] | None = None) -> None:
        self.status = status or {}
        self.url = ""
        self.spans: list[dict[str, Any]] = []
        self.logs: list[dict[str, Any]] = []
        self.requests: list[str] = []

    def names(self) -> set[str]:
        return {span["name"] for span in self.spans}

    def named(self, name: str) -> list[dict[str, Any]]:
        return [span for span in self.spans if span["name"] == name]

    def take(self, path: str, body: bytes) -> int:
        """Keep one request; the status to answer it with."""
        self.requests.append(path)
        status = self.status.get(path, 200)
        if status == 200 and path.endswith("/v1/traces"):
            self.take_traces(ExportTraceServiceRequest.FromString(body))
        elif status == 200 and path.endswith("/v1/logs"):
            self.take_logs(ExportLogsServiceRequest.FromString(body))
        return status

    def take_traces(self, message: ExportTraceServiceRequest) -> None:
        for group in message.resource_spans:
            resource = _attributes(group.resource.attributes)
            for scope in group.scope_spans:
                self.spans += [_span(span, resource, scope.scope.name) for span in scope.spans]

    def take_logs(self, message: ExportLogsServiceRequest) -> None:
        for group in message.resource_logs:
            for scope in group.scope_logs:
                self.logs += [
                    {"event": record.event_name, "attributes": _attributes(record.attributes)}
                    for record in scope.log_records
                ]


@contextmanager
def receiving(status: dict[str, int] | None = None) -> Iterator[Receiver]:
    """An OTLP/HTTP endpoint until the block ends."""
    receiver = Receiver(status)

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            if self.headers.get("content-encoding") == "gzip":
                body = gzip.decompress(body)
            self.send_response(receiver.take(self.path, body))
            self.send_header("content-length", "0")
            self.end_headers()

        def log_message(self, *_: Any) -> None:
            """Silent."""

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    receiver.url = f"http://127.0.0.1:{server.server_address[1]}"
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05})
    thread.start()
    try:
        yield receiver
    finally:
        server.shutdown()
        thread.join()
        server.server_close()


@contextmanager
def receiving_grpc() -> Iterator[Receiver]:
    """An OTLP/gRPC endpoint for traces only: like Jaeger it knows no log service."""
    receiver = Receiver()

    class Traces(trace_service_pb2_grpc.TraceServiceServicer):
        def Export(self, request: Any, context: Any) -> Any:
            receiver.requests.append("grpc")
            receiver.take_traces(request)
            return ExportTraceServiceResponse()

    server = grpc.server(futures.ThreadPoolExecutor(2))
    trace_service_pb2_grpc.add_TraceServiceServicer_to_server(Traces(), server)
    receiver.url = f"http://127.0.0.1:{server.add_insecure_port('127.0.0.1:0')}"
    server.start()
    try:
        yield receiver
    finally:
        server.stop(0).wait()


def _span(span: Any, resource: dict[str, Any], scope: str) -> dict[str, Any]:
    return {
        "name": span.name,
        "kind": KINDS[span.kind],
        "trace_id": span.trace_id.hex(),
        "span_id": span.span_id.hex(),
        "parent_id": span.parent_span_id.hex(),
        "attributes": _attributes(span.attributes),
        "links": [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        "resource": resource,
        "scope": scope,
    }


def _attributes(pairs: Any) -> dict[str, Any]:
    return {pair.key: _value(pair.value) for pair in pairs}


def _value(value: Any) -> Any:
    kind = value.WhichOneof("value")
    if kind == "array_value":
        return [_value(item) for item in value.array_value.values]
    return getattr(value, kind) if kind else None
