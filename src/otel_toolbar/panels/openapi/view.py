"""The matched operation with how the exchange fits it."""

from __future__ import annotations

from dataclasses import dataclass

from otel_toolbar.insights import openapi, process
from otel_toolbar.model import Trace
from otel_toolbar.panels.contract import Badge
from otel_toolbar.settings import Settings


@dataclass(frozen=True)
class OpenApiView:
    """The panel."""

    known: bool
    """False where the process has told no facts."""
    documents: int
    """OpenAPI documents that the process has told."""
    too_large: bool
    """A document was left out for its size, or could not be read."""
    operation: openapi.Operation | None
    """None when no document has what the request matched."""
    warnings: int
    """Findings that say what does not fit."""


def view(trace: Trace, _: Settings) -> OpenApiView:
    """The operation that the trace's request matched."""
    documents = process.documents(trace)
    operation = openapi.matched(trace)
    findings = operation.findings if operation is not None else ()
    return OpenApiView(
        known=trace.process is not None,
        documents=len(documents),
        too_large=any(document.parsed is None for document in documents),
        operation=operation,
        warnings=sum(1 for finding in findings if finding.verdict == "warn"),
    )


def badge(view: OpenApiView) -> Badge:
    """How much does not fit."""
    return Badge(str(view.warnings), "warn") if view.warnings else Badge()
