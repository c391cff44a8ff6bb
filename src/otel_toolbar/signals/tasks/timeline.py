"""When a task ran and when it waited, as an array of microseconds: running and waiting in turn."""

from __future__ import annotations

from otel_toolbar.signals.core.steps import Work

MAX_PARTS = 256


def parts_of(work: Work, until: int | None = None) -> list[int] | None:
    """The raw timeline of a task from its first step on, in ns; `until` when it still waits."""
    parts = work.parts
    if parts and until is not None:
        return [*parts, max(0, until - work.last)]
    return parts


def of_handler(work: Work, offset: int, running: int, now: int) -> list[int]:
    """The timeline of a handler: `offset` of its first step came before; the last has run `running`."""
    parts = list(work.parts or ())
    if running:
        if parts:
            parts.append(max(0, now - running - work.last))
        parts.append(running)
    if parts:
        parts[0] = max(0, parts[0] - offset)
    return in_us(parts)


def shorten(work: Work) -> None:
    """Merge the shortest waits of a long timeline; from now on such waits are not listed at all."""
    if work.parts is not None:
        waits = sorted(work.parts[1::2])
        work.grain = max(work.grain * 2, waits[len(waits) * 3 // 4] + 1)
        work.parts = _merged(work.parts, work.grain)


def in_us(parts: list[int]) -> list[int]:
    """A raw timeline as it is told."""
    while len(parts) > MAX_PARTS:
        waits = sorted(parts[1::2])
        excess = (len(parts) - MAX_PARTS + 1) // 2
        parts = _merged(parts, waits[min(excess, len(waits)) - 1] + 1, excess)
    return [ns // 1000 for ns in parts]


def _merged(parts: list[int], grain: int, most: int | None = None) -> list[int]:
    """Take waits shorter than `grain` into the running around them, at most `most` of them."""
    merged = parts[:1]
    taken = 0
    for at in range(1, len(parts) - 1, 2):
        wait, run = parts[at], parts[at + 1]
        if wait < grain and (most is None or taken < most):
            merged[-1] += wait + run
            taken += 1
        else:
            merged += (wait, run)
    if len(parts) % 2 == 0:
        merged.append(parts[-1])
    return merged
