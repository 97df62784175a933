# SPDX-License-Identifier: ISC
"""Medians, ratios and verdicts as markdown, and their place in the document."""
import os
import pathlib
import platform
from statistics import median

from cells import FAMILIES

BEGIN, END = "<!-- {}: begin -->", "<!-- {}: end -->"


class Results:
    """Every Figure measured, by row and proxy, in the order measured."""

    def __init__(self, proxies, tested):
        self.proxies = proxies  # columns, left to right
        self.tested = tested  # those among them that the targets are for
        self.figures = {}  # (family name, row): {proxy name: [Figure, ...]}
        self.failures = []

    def add(self, family, row, proxy, figure):
        self.figures.setdefault((family.name, row), {}).setdefault(proxy.name, []).append(figure)

    def cost(self, family, row, name):
        figures = self.figures[family.name, row].get(name)
        return median(figure.cost for figure in figures) if figures else None

    def wall(self, family, row, name):
        return median(figure.wall for figure in self.figures[family.name, row][name])

    def missed(self):
        """The rows whose target a tested proxy misses, or for which it has no figure."""
        return [(family, row, proxy) for family in FAMILIES if family.target for row in self.rows(family)
                for proxy in self.tested if self.judge(family, row, proxy)[1] is False]

    def rows(self, family):
        return [row for name, row in self.figures if name == family.name]

    def judge(self, family, row, proxy):
        """What a target compares (a ratio, or the cost itself) and whether it is met; None where nothing compares."""
        cost = self.cost(family, row, proxy.name)
        if not family.target:
            return None, None
        if not family.target.peers:
            return cost, cost is not None and cost <= family.target.limit
        peers = [self.cost(family, row, name) for name in family.target.peers]
        peers = [peer for peer in peers if peer]
        if cost is None:
            return None, False
        if not peers:
            return None, None
        return cost / min(peers), cost / min(peers) <= family.target.limit

    def as_json(self):
        return [{"family": family, "row": row, "proxy": proxy, "cost": [figure.cost for figure in figures],
                 "wall": [figure.wall for figure in figures]}
                for (family, row), columns in self.figures.items() for proxy, figures in columns.items()]


def table(family, results, scale):
    rows = results.rows(family)
    head = [""] + [proxy.title for proxy in results.proxies]
    if family.target:
        several = len(results.tested) > 1
        for proxy in results.tested:
            head.append((f"{proxy.title}: " if several else "") + target_title(family.target, results))
    lines = [f"### {family.title}", "", family.note.format(scale=scale), "", "| " + " | ".join(head) + " |",
             "|" + "|".join(["---"] + ["---:"] * (len(head) - 1)) + "|"]
    for row in rows:
        cells = [row] + [entry(family, results, row, proxy) for proxy in results.proxies]
        if family.target:
            cells += [verdict(family, *results.judge(family, row, proxy)) for proxy in results.tested]
        lines.append("| " + " | ".join(cells) + " |")
    return "\n".join(lines) + "\n"


def target_title(target, results):
    if not target.peers:
        return f"target ≤ {target.limit:g}"
    names = [proxy.title for proxy in results.proxies if proxy.name in target.peers]
    return f"target ≤ {target.limit:.1f} × " + (names[0] if len(names) == 1 else "the best peer")


def entry(family, results, row, proxy):
    cost = results.cost(family, row, proxy.name)
    if cost is None:
        return "failed"
    text = f"{cost:,.{family.decimals}f}"
    if family.wall_decimals is None:
        return text
    return f"{text} ({results.wall(family, row, proxy.name):,.{family.wall_decimals}f})"


def verdict(family, value, met):
    if met is None:
        return "–"
    said = "met" if met else "**missed**"
    return said if value is None or not family.target.peers else f"{value:.2f}, {said}"


def machine():
    """What it all ran on, without which the figures say nothing."""
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    model = next((line.split(":", 1)[1].strip() for line in cpuinfo.splitlines() if line.startswith("model name")),
                 platform.machine())
    memory = next(int(line.split()[1]) for line in pathlib.Path("/proc/meminfo").read_text().splitlines()
                  if line.startswith("MemTotal"))
    return (f"Machine: {os.cpu_count()} CPUs ({model}), {memory / 2**20:.0f} GiB, "
            f"Linux {platform.release().split('-')[0]}")


def facts(results, scale, congestion):
    versions = "; ".join(dict.fromkeys(
        f"{proxy.version()}" + (f" (as {proxy.title})" if proxy in results.tested and len(results.tested) > 1 else "")
        for proxy in results.proxies))
    return (f"{machine()}. TCP congestion control: {congestion}. "
            f"Versions: {versions}. "
            f"Medians of {scale.rounds} measurements in turn, {scale.idle_rounds} for idle sessions.\n")


def document(results, scale, congestion):
    parts = [facts(results, scale, congestion)]
    parts += [table(family, results, scale) for family in FAMILIES if results.rows(family)]
    if results.failures:
        parts.append("Measurements that failed, and are missing in the medians:\n")
        parts += [f"- {cell}, {name}" for cell, name in results.failures] + [""]
    return "\n".join(parts)


def write(path, text, name="bench"):
    """Puts text between the markers of that name in a document, and nothing else."""
    path = pathlib.Path(path)
    first, last = BEGIN.format(name), END.format(name)
    before, begin, rest = path.read_text().partition(first)
    _, end, after = rest.partition(last)
    if not begin or not end:
        raise ValueError(f"{path} lacks the markers {first} and {last}")
    path.write_text(f"{before}{first}\n{text}{last}{after}")
