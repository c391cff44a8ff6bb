"""contrib's ASGI middleware around an app without a framework."""

from opentelemetry.instrumentation.asgi import OpenTelemetryMiddleware
from plain import app as inner

app = OpenTelemetryMiddleware(inner)
