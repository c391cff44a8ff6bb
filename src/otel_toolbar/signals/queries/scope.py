"""The instrumentation scope of all spans of this subject, and when the smaller ones are worth one."""

from __future__ import annotations

from typing import Final

from opentelemetry import trace
from opentelemetry.sdk.util.instrumentation import InstrumentationScope

from otel_toolbar.signals.core import light
from otel_toolbar.version import VERSION

SCOPE: Final = InstrumentationScope("otel_toolbar.signals.queries", VERSION)


def has_parent() -> bool:
    """True in a request or under a span: a COMMIT or a connect alone would be a trace of its own."""
    return light.possible() or trace.get_current_span().get_span_context().is_valid
