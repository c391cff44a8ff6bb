"""What a template does that it should not: the hints of the panel of templates."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from typing import Final

from otel_toolbar.insights import templates
from otel_toolbar.insights.hint import Hint, Rule
from otel_toolbar.model import Trace
from otel_toolbar.settings import Settings


def _alert(rule: Rule) -> Rule:
    def find(trace: Trace, settings: Settings) -> Iterable[Hint]:  # noqa: ARG001 - the rules' signature
        return rule.find(trace)

    return dataclasses.replace(rule, find=find)


RULES: Final = tuple(_alert(rule) for rule in templates.RULES)
