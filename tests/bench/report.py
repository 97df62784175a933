# SPDX-License-Identifier: ISC
"""Tables as markdown, and their place in a document."""
import os
import pathlib
import platform

from cells import FAMILIES, IDLE, INSTRUCTIONS, MESSAGES, SHORT, STREAMS

BEGIN, END = "<!-- {}: begin -->", "<!-- {}: end -->"
# What stands for all: family, row, and how the README calls it.
SUMMARY = [
    (STREAMS, "TCP→TCP, 1", "one stream TCP→TCP: CPU-s per GB"),
    (STREAMS, "UNIX→UNIX, 1", "one stream UNIX→UNIX: CPU-s per GB"),
    (SHORT, "TCP→TCP", "short connection TCP→TCP: CPU µs"),
    (SHORT, "UNIX→UNIX", "short connection UNIX→UNIX: CPU µs"),
    (MESSAGES, "TCP→TCP, 64 B, 64", "64 B there and back TCP→TCP, 64 connections: CPU µs"),
    (MESSAGES, "UNIX→UNIX, 64 B, 64", "64 B there and back UNIX→UNIX, 64 connections: CPU µs"),
    (INSTRUCTIONS, "TCP→TCP, 64 B there and back, 64 connections", "64 B there and back TCP→TCP, 64 connections: instructions in user space"),
    (IDLE, "after 64 KiB each way", "idle session: bytes"),
]
NAMES = {"haproxy-splice": "HAProxy splice", "haproxy": "HAProxy", "socket-proxyd": "socket-proxyd"}


def line(cells):
    return "| " + " | ".join(cells) + " |"


def head(titles):
    return [line(titles), "|" + "|".join(["---"] + ["---:"] * (len(titles) - 1)) + "|"]


def table(family, results, scale):
    rows = results.rows(family)
    columns = [proxy for proxy in results.proxies if results.has(family, proxy)]
    titles = [""] + [proxy.title for proxy in columns]
    judged = [proxy for proxy in results.tested if not results.base and any(row.targets for row in rows)]
    titles += [(f"{proxy.title}: " if len(judged) > 1 else "") + "targets" for proxy in judged]
    if results.base:
        base = next(proxy.title for proxy in results.proxies if proxy.name == results.base)
        titles.append(f"{results.tested[0].title} / {base}")
    lines = [f"### {family.title}", "", family.note.format(scale=scale), "", *head(titles)]
    for row in rows:
        cells = [row.title] + [entry(results, row, proxy) for proxy in columns]
        cells += [verdicts(results, row, proxy) for proxy in judged]
        if results.base:
            ratio = results.against_base(row)
            cells.append("–" if ratio is None else f"{ratio:.3f}")
        lines.append(line(cells))
    lines += counted(family, results, rows)
    if family.whole:
        lines += wholes(family, results, rows, columns)
    if family.latency:
        lines += latencies(family, results, rows, columns)
    return "\n".join(lines) + "\n"


def wholes(family, results, rows, columns):
    """What moves from one process to another when the kernel works for both shows here, and does not count."""
    lines = ["", f"{family.whole}:", "", *head([""] + [proxy.title for proxy in columns])]
    for row in rows:
        costs = [results.get(row, proxy.name, "whole") for proxy in columns]
        lines.append(line([row.title] + ["–" if cost is None else f"{cost:,.{family.decimals}f}" for cost in costs]))
    return lines


def latencies(family, results, rows, columns):
    """Half and nearly all messages come back within so many µs."""
    lines = ["", "How long a message took there and back, p50 / p99 µs:", "",
             *head([""] + [proxy.title for proxy in columns])]
    for row in rows:
        cells = [row.title]
        for proxy in columns:
            p50, p99 = (results.get(row, proxy.name, what) for what in ("p50_us", "p99_us"))
            cells.append("–" if p50 is None else f"{p50:,.0f} / {p99:,.0f}")
        lines.append(line(cells))
    return lines


def counted(family, results, rows):
    """A target for some rows, whichever."""
    if not family.count or results.base:
        return []
    limit, peer, least = family.count
    lines = []
    for proxy in results.tested:
        pairs = [(results.get(row, proxy.name), results.get(row, peer)) for row in rows]
        pairs = [(cost, other) for cost, other in pairs if cost and other]
        if len(pairs) >= least:
            n = sum(cost < limit * other for cost, other in pairs)
            lines += ["", f"{proxy.title} is below {limit:g} × {peer} in {n} of {len(pairs)} rows (target: {least}): " +
                      ("met." if n >= least else "**missed**.")]
    return lines


def entry(results, row, proxy):
    family = row.family
    cost = results.get(row, proxy.name)
    if cost is None:
        failed = any(name == proxy.name and results.order.get(row) == cell for cell, name in results.failures)
        return "failed" if failed else "–"
    text = f"{cost:,.{family.decimals}f}"
    wall = results.get(row, proxy.name, "wall")
    return text if family.wall_decimals is None else f"{text} ({wall:,.{family.wall_decimals}f})"


def verdicts(results, row, proxy):
    said = []
    for target in row.targets:
        value, met = results.judge(target, row, proxy)
        if met is None:
            continue
        ending = "met" if met else "**missed**"
        if target.against == "nothing":
            said.append(f"≤ {target.limit:g}: {ending}")
        elif target.against == "throughput":
            said.append(f"throughput {value:.2f} × the best (≥ {target.limit:g}: {ending})")
        else:
            named = " or ".join(NAMES.get(name, name) for name in target.names)
            what = {"peers": "the best peer", "named": named, "base": target.base}[target.against]
            said.append(f"{value:.2f} × {what} (≤ {target.limit:g}: {ending})")
    return "; ".join(said) or "–"


def machine():
    """What it all ran on, without which the figures say nothing."""
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    model = next((line.split(":", 1)[1].strip() for line in cpuinfo.splitlines() if line.startswith("model name")),
                 platform.machine())
    memory = next(int(line.split()[1]) for line in pathlib.Path("/proc/meminfo").read_text().splitlines()
                  if line.startswith("MemTotal"))
    return (f"Machine: {os.cpu_count()} CPUs ({model}), {memory / 2**20:.0f} GiB, "
            f"Linux {platform.release().split('-')[0]}")


def versions(proxies):
    return "; ".join(dict.fromkeys(proxy.version() for proxy in proxies))


def facts(results, congestion, minutes, load):
    fewest, most = results.counts()
    return (f"{machine()}. TCP congestion control: {congestion}. "
            f"Versions: {versions(results.proxies)}. "
            f"Medians of {fewest}" + (f" to {most}" if most > fewest else "") + " measurements in turn; what is counted, "
            f"and idle sessions, once. It took {minutes:.0f} minutes; before it began the machine's load was {load:.1f}.\n")


def document(results, scale, intro, images=()):
    """images are (family name, file name), drawn beside their tables."""
    parts = [intro]
    for family in FAMILIES:
        if results.rows(family):
            parts.append(table(family, results, scale))
            parts += [f"![{family.title}]({file})\n" for name, file in images if name == family.name]
    if results.failures:
        parts.append("Measurements that failed, and are missing in the medians:\n")
        parts += [f"- {cell}, {name}" for cell, name in sorted(results.failures)] + [""]
    return "\n".join(parts)


def summary_rows(results):
    """(how it is called, the row) for what stands for all, as far as it was measured."""
    return [(title, row) for family, name, title in SUMMARY for row in results.rows(family) if row.title == name]


def summary(results, image):
    """One table for the README."""
    rows = summary_rows(results)
    columns = [proxy for proxy in results.proxies if any(results.get(row, proxy.name) is not None for _, row in rows)]
    lines = head([""] + [proxy.title for proxy in columns])
    for title, row in rows:
        costs = [results.get(row, proxy.name) for proxy in columns]
        best = min(cost for cost in costs if cost is not None)
        cells = ["–" if cost is None else f"{cost:,.{row.family.decimals}f}" for cost in costs]
        lines.append(line([title] + [f"**{cell}**" if cost == best else cell for cell, cost in zip(cells, costs)]))
    return "\n".join(lines + ["", f"![What work costs, as multiples of what it costs spliced]({image})", ""])


def write(path, text, name="bench"):
    """Puts text between the markers of that name in a document, and nothing else."""
    path = pathlib.Path(path)
    first, last = BEGIN.format(name), END.format(name)
    before, begin, rest = path.read_text().partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"{path} lacks the markers {first} and {last}")
    path.write_text(f"{before}{first}\n{text}{last}{after}")
