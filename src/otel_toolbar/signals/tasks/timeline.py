"""Keeps the marks of a task's steps few, however many steps it has."""

from __future__ import annotations

from otel_toolbar.signals.core.steps import Work


def shorten(work: Work) -> None:
    """Leave out the shortest waits of many; from now on such waits are not marked at all."""
    marks = work.marks
    if not marks:
        return
    waits = sorted(begin - end for end, begin in zip(marks[1::2], marks[2::2], strict=False))
    work.grain = max(work.grain * 2, waits[len(waits) * 3 // 4] + 1)
    kept = marks[:1]
    for end, begin in zip(marks[1::2], marks[2::2], strict=False):
        if begin - end >= work.grain:
            kept += (end, begin)
    kept.append(marks[-1])
    work.marks = kept
