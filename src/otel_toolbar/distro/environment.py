"""Names of our environment variables: `opentelemetry-instrument` makes a flag of each.

It looks for module attributes that start with `OTEL_`; `OTEL_TOOLBAR_PATH` becomes `--toolbar_path`.
"""

from __future__ import annotations

from otel_toolbar import settings

globals().update({each.variable: each.variable for each in settings.documented()})
