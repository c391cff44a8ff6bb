"""Results as Markdown, and into docs/performance.md: each block there stands between two marks.

A figure is compared with the bare app's of the same round; the median over the rounds is shown.
"""

from __future__ import annotations

import statistics
from collections.abc import Callable
from pathlib import Path
from typing import Any

import alone
import apps
import floors
import in_place
from measure import added
from variants import OURS, OWN_SPANS, QUERY_SPANS, SERVER, SIGNALS, VARIANTS
from workloads import COMPARED, WORKLOADS

PAGE = Path(__file__).parent.parent / "docs" / "performance.md"
TABLES = ("abcdef", "ghij")
FRAMEWORKS = ("starlette", "fastapi", "litestar")

RATIOS = {"b": 1.20, "c": 1.12, "d": 2.5, "f": 1.15}
"""What a workload may take, of the bare app's."""

SPANS = {"a": 4.5, "above": 2.0, "e": 0.6}
"""What may be added, in SDK spans of five attributes: of 20 us, where 90, 40 (above FastAPI's own spans) and
12 us were set."""

STEPS = 4
"""Of the task that waits for a query on aiosqlite."""

Results = dict[str, Any]


def write_page(found: Results) -> None:
    """Put each block into the page, whose other words are written by hand."""
    text = PAGE.read_text()
    for name, block in BLOCKS.items():
        begin, end = f"<!-- bench: {name} -->", f"<!-- end of {name} -->"
        if begin not in text or end not in text:
            raise SystemExit(f"{PAGE} lacks the marks {begin} and {end}")
        head, rest = text.split(begin)
        text = f"{head}{begin}\n\n{block(found)}\n\n{end}{rest.split(end)[1]}"
    PAGE.write_text(text)


def markdown(found: Results) -> str:
    """All that there are results of, for a terminal."""
    blocks = [block(found) for block in BLOCKS.values()]
    return "\n\n".join(block for block in blocks if block)


def about(found: Results) -> str:
    what = found["about"]
    main, *others = (
        ", ".join(f"{name} {version}" for name, version in versions.items())
        for versions in what["versions"].values()
    )
    lines = [
        f"{what['date']}, CPython {what['python']}, {what['machine']}.",
        f"{what['rounds']} rounds, begun when the load of the machine was {what['load']:.1f}.",
        f"{main}.",
        *(
            f"fastapi-debug-toolbar, which needs an environment of its own: {each}."
            for each in others
        ),
    ]
    lines += [f"Left out: {line}." for line in found.get("absent", [])]
    return "\n".join(lines)


def table(found: Results) -> str:
    return "\n\n".join(filter(None, (_table(found, workloads) for workloads in TABLES)))


def _table(found: Results, workloads: str) -> str:
    figures, errors = found.get("figures", {}), found.get("errors", {})
    taken = [w for w in workloads if any(w in figures.get(v.bare, {}) for v in VARIANTS.values())]
    if not taken:
        return ""
    head = "| | " + " | ".join(f"{w}: {WORKLOADS[w].label}" for w in taken) + " |"
    lines = [head, "|---" * (len(taken) + 1) + "|"]
    for name, variant in VARIANTS.items():
        if not variant.whole or not (name in figures or name in errors):
            continue
        cells = [_cell(found, name, variant.bare, w) for w in taken]
        shown = f"**{name}**" if variant.toolbar else name
        lines.append(f"| {shown} | " + " | ".join(cells) + " |")
    notes = [
        f"- {name}, {workload}: {why}"
        for name, each in errors.items()
        for workload, why in each.items()
        if workload in taken
    ]
    return "\n".join([*lines, *(["", "What broke:", "", *notes] if notes else [])])


def _cell(found: Results, name: str, bare: str, workload: str) -> str:
    if workload in found.get("errors", {}).get(name, {}):
        return "broke"
    if name == bare:
        figures = found["figures"].get(name, {}).get(workload)
        return _us(statistics.median(f["us"] for f in figures)) if figures else "-"
    pair = added(found["figures"], name, bare, workload)
    return "-" if pair is None else f"{pair[0]:.2f}x, {_us(pair[1], '+')}"


def _us(us: float, sign: str = "") -> str:
    if abs(us) >= 10_000:
        return f"{us / 1000:{sign}.1f} ms"
    return f"{us:{sign}.0f} µs" if abs(us) >= 20 else f"{us:{sign}.1f} µs"


def credited(found: Results) -> str:
    """How many of 100 concurrent pages were credited with their own 50 queries."""
    if not found.get("credited"):
        return ""
    lines = ["| | of 100 pages at once, those credited with their own 50 queries |", "|---|---|"]
    for name, counts in found["credited"].items():
        right = counts.get("50", 0) if isinstance(counts, dict) else counts
        lines.append(f"| {name} | {right} |")
    return "\n".join(lines)


# --- targets ---------------------------------------------------------------------------------------


def targets(found: Results) -> str:
    rows = [row for row in (*_of_exchanges(found), *_of_process(found)) if row]
    if not rows:
        return ""
    lines = ["| what is added | target | measured | |", "|---|---|---|---|"]
    lines += [
        f"| {what} | {target} | {measured} | {'met' if met else '**missed**'} |"
        for what, target, measured, met in rows
    ]
    return "\n".join(lines)


Row = tuple[str, str, str, bool]


def _of_exchanges(found: Results) -> list[Row]:
    figures = found.get("figures", {})
    span = statistics.median(found["spans"]) if found.get("spans") else 0.0
    rows: list[Row] = []
    for what, name, bare, workload, target in (
        ("a, FastAPI, above its own spans", "fastapi", OWN_SPANS, "a", "above"),
        *((f"a, {name}", name, name, "a", "a") for name in ("starlette", "litestar")),
        *((f"e, {name}", name, name, "e", "e") for name in FRAMEWORKS),
    ):
        pair = added(figures, OURS.format(name), bare, workload)
        if pair and span:
            most, us = SPANS[target], pair[1]
            rows.append((what, f"{most} SDK spans", _in_spans(us, span), us <= most * span))
    for workload, most in RATIOS.items():
        rows += _ratios(figures, workload, most)
    credit = found.get("credited", {})
    mine = [credit.get(OURS.format(f)) for f in FRAMEWORKS]
    if all(mine):
        right = [each.get("50", 0) for each in mine]
        shown = ", ".join(map(str, right))
        rows.append(("f, pages credited rightly", "100 of 100", shown, min(right) == 100))
    return rows


def _ratios(figures: Results, workload: str, most: float) -> list[Row]:
    pairs = {f: added(figures, OURS.format(f), f, workload) for f in FRAMEWORKS}
    values = {f: pair[0] for f, pair in pairs.items() if pair}
    if not values:
        return []
    shown = ", ".join(f"{value:.2f}x" for value in values.values())
    return [
        (f"{workload}, {', '.join(values)}", f"{most:.2f}x", shown, max(values.values()) <= most)
    ]


def _of_process(found: Results) -> list[Row]:
    rows: list[Row] = []
    if started := found.get("startup"):
        base, ours = started["SDK, no instrumentor"], started["otel-toolbar"]
        seconds, mib = ours["cpu_s"] - base["cpu_s"], ours["mib"] - base["mib"]
        rows.append(
            ("start-up above the SDK's, CPU time", "0.15 s", f"{seconds:+.2f} s", seconds <= 0.15)
        )
        rows.append(("memory at the start, above it", "20 MB", f"{mib:+.0f} MiB", mib <= 20))
    if sizes := found.get("memory"):
        first, last = sizes["10000"], sizes["100000"]
        shown = f"{first:.0f} MiB after 10,000, {last:.0f} after 100,000"
        rows.append(("memory over 100,000 requests", "flat", shown, last <= first * 1.05))
    return rows


# --- the rest --------------------------------------------------------------------------------------


def served(found: Results) -> str:
    results = found.get("load")
    if not results:
        return ""
    labels = list(next(iter(results.values())))
    cells = "".join(f" {label}: requests/s | p50 | p99 |" for label in labels)
    lines = ["| |" + cells, "|---" * (3 * len(labels) + 1) + "|"]
    for name, each in results.items():
        row = f"| {name} |"
        for label in labels:
            got = each.get(label)
            row += (
                f" {got['rps']:.0f} | {got['p50_ms']:.1f} ms | {got['p99_ms']:.1f} ms |"
                if isinstance(got, dict)
                else f" {str(got)[:60]} | - | - |"
            )
        lines.append(row)
    return "\n".join(lines)


def signals(found: Results) -> str:
    figures = found.get("figures", {})
    spans = found.get("spans")
    rows: list[str] = []
    for signal, (workload, unit, count) in SIGNALS.items():
        ours = OURS.format("starlette")
        pair = added(figures, ours, f"{ours} -{signal}", workload)
        if pair and spans:
            each = pair[1] / count
            ratio = each / statistics.median(spans)
            rows.append(
                f"| {signal} | {workload}: {WORKLOADS[workload].label} | {pair[0]:.2f}x"
                f" | {each:.1f} µs a{'n' if unit[0] in 'aeiou' else ''} {unit} | {ratio:.2f} |"
            )
    if not rows:
        return ""
    head = "| signal | workload | on, by off | on minus off | of an SDK span |"
    span = f"An SDK span of five attributes took {statistics.median(spans):.1f} µs in the same run."
    return "\n".join([head, "|---" * 5 + "|", *rows, "", span])


def process(found: Results) -> str:
    lines: list[str] = []
    if started := found.get("startup"):
        lines += ["| until the app is loaded | time | CPU time | memory |", "|---|---|---|---|"]
        lines += [
            f"| {name} | {each['s']:.2f} s | {each['cpu_s']:.2f} s | {each['mib']:.0f} MiB |"
            for name, each in started.items()
        ]
    if sizes := found.get("memory"):
        lines += ["", "| requests | resident |", "|---|---|"]
        lines += [f"| {int(count):,} | {mib:.1f} MiB |" for count, mib in sizes.items()]
    return "\n".join(lines).strip()


def parts(found: Results) -> str:
    known = found.get("floors")
    if not known:
        return ""
    lines = ["| part | one of it | of an SDK span |", "|---|---|---|"]
    lines += [
        f"| {name} | {us:.2f} µs | {us / known[floors.SPAN]:.2f} |" for name, us in known.items()
    ]
    return "\n".join([*lines, *_least(found, known)])


def _least(found: Results, known: dict[str, float]) -> list[str]:
    """What these parts add together, beside what may be added and what is."""
    figures = found.get("figures", {})
    query = known[alone.QUERY] + known[floors.PACKED] + STEPS * known[alone.STEP]
    page = known[alone.PAGE]
    many = f"that page, {apps.QUERIES} queries, packed, and their {apps.QUERIES * STEPS} steps"
    sums = {
        "a": ("that answer", known[alone.ANSWER]),
        "b": (f"that page, a query, packed, and its {STEPS} steps", page + query),
        "c": (many, page + apps.QUERIES * query),
        "d": (
            f"that answer, {apps.TASKS} tasks",
            known[alone.ANSWER] + apps.TASKS * known[alone.TASK],
        ),
        "f": (many, page + apps.QUERIES * query),
    }
    lines: list[str] = []
    for workload, (what, us) in sums.items():
        pair = added(figures, OURS.format("starlette"), "starlette", workload)
        bare = figures.get("starlette", {}).get(workload)
        if pair and bare:
            base = statistics.median(each["us"] for each in bare)
            spans = SPANS["a"] * known[floors.SPAN]
            allowed = (RATIOS[workload] - 1) * base if workload in RATIOS else spans
            lines.append(
                f"| {workload}: {WORKLOADS[workload].label} | {what} | {_us(us, '+')}"
                f" | {_us(allowed, '+')} | {_us(pair[1], '+')} |"
            )
    head = [
        "",
        "| Starlette | of these parts alone | they add | may be added | is added |",
        "|---|---|---|---|---|",
    ]
    return [*head, *lines] if lines else []


def placed(found: Results) -> str:
    """What parts of ours take where the app runs, beside what may be added and what is."""
    known = found.get("in place")
    if not known:
        return ""
    span, answers, pages = known["span"], known["answers"], known["pages"]
    lines = ["| | part | takes | may be added |", "|---|---|---|---|"]
    for what, framework, most in (
        ("a, Starlette", "starlette", SPANS["a"]),
        ("a, FastAPI, above its own spans", "fastapi", SPANS["above"]),
    ):
        parts = {name: us for name, us in answers[framework].items() if name != "added"}
        parts = {PLACED.get(name, name): us for name, us in parts.items()}
        lines += [f"| {what} | {part} | {_in_spans(us, span)} | |" for part, us in parts.items()]
        together, added = sum(parts.values()), answers[framework]["added"]
        for part, us in (("these together", together), ("all of it", added)):
            lines.append(f"| {what} | {part} | {_in_spans(us, span)} | {most} SDK spans |")
    for workload, ratios in pages.items():
        lines += [
            f"| {workload}, Starlette | {PLACED[name]} | {ratio:.2f}x | {RATIOS[workload]:.2f}x |"
            for name, ratio in ratios.items()
        ]
    return "\n".join(lines)


PLACED = {
    SERVER: "a SERVER span of the SDK with attributes like ours, by its API",
    in_place.UNASKED: "no query recorded, all else as it is",
    QUERY_SPANS: "that, and a light span with the app's line for each query",
    OURS.format("starlette"): "all of it",
}
"""Variants in words, where a part is what they show."""


def _in_spans(us: float, span: float) -> str:
    return f"{_us(us, '+')}, {us / span:.2f} SDK spans"


BLOCKS: dict[str, Callable[[Results], str]] = {
    "about": about,
    "table": table,
    "targets": targets,
    "credited": credited,
    "load": served,
    "process": process,
    "signals": signals,
    "floors": parts,
    "in place": placed,
}

assert set("".join(TABLES)) == set(COMPARED)
