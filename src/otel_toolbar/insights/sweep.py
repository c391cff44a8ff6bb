"""Give every instant of a stretch of time to one of the things that happened then."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import NamedTuple

REST = "rest"
"""What an instant is given to at which nothing happened."""


class Interval(NamedTuple):
    """Something that happened. Times in ns."""

    kind: str
    start: int
    end: int


def sweep(
    intervals: Iterable[Interval], order: Sequence[str], begin: int, end: int
) -> dict[str, int]:
    """ns from `begin` to `end` by kind, with those of `REST`; together they are the whole.

    Of several kinds at one instant the first in `order` is given it. All starts and ends are walked
    through in order of time, with the number of intervals open by kind.
    """
    points: list[tuple[int, int, str]] = []
    for kind, start, stop in intervals:
        if start < end and stop > begin:
            points.append((max(begin, start), 1, kind))
            points.append((min(end, stop), -1, kind))
    open_now = dict.fromkeys(order, 0)
    shares = dict.fromkeys((*order, REST), 0)
    reached = begin
    for time, change, kind in sorted(points):
        if time > reached:
            shares[next((each for each in order if open_now[each] > 0), REST)] += time - reached
            reached = time
        open_now[kind] += change
    shares[REST] += max(0, end - reached)
    return shares
