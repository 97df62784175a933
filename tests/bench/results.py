# SPDX-License-Identifier: ISC
"""Everything measured, and what follows from it: medians, ratios, whether a target is met and whether it is close."""
from statistics import median

CLOSE = 0.06  # nearer than that to its limit, an outcome wants more measurements
SAME = 1e-9


class Results:
    """Every Figure measured, by row and proxy, in the order measured."""

    def __init__(self, proxies, tested, rows, base=None):
        self.proxies = proxies  # columns, left to right
        self.tested = tested  # those among them that the targets are for
        self.base = base  # where two builds are compared: the one that the first is held against
        self.order = rows
        self.figures = {}  # row: {proxy name: [Figure, ...]}
        self.failures = {}  # (cell name, proxy name): how often

    def add(self, row, proxy, figure):
        self.figures.setdefault(row, {}).setdefault(proxy.name, []).append(figure)

    def fail(self, cell, proxy):
        self.failures[cell.name, proxy.name] = self.failures.get((cell.name, proxy.name), 0) + 1

    def failed(self, cell, proxy):
        return self.failures.get((cell.name, proxy.name), 0)

    def rows(self, family):
        return [row for row in self.order if row.family == family and row in self.figures]

    def has(self, family, proxy):
        return any(proxy.name in self.figures[row] for row in self.rows(family))

    def get(self, row, name, what="cost"):
        """The median of something of a row's figures, or None."""
        values = [getattr(figure, what) for figure in self.figures.get(row, {}).get(name, [])]
        values = [value for value in values if value is not None]
        return median(values) if values else None

    def peers(self, row, names=None):
        """(what each of a row's peers costs, its name): those named, or all that are no build of ours."""
        ours = {proxy.name for proxy in self.tested} | {self.base}
        costs = [(self.get(row, name), name) for name in self.figures.get(row, {})
                 if (name in names if names else name not in ours)]
        return [pair for pair in costs if pair[0] is not None]

    def judge(self, target, row, proxy):
        """What a target compares (a ratio, or the cost itself) and whether it is met; None where nothing compares."""
        cost = self.get(row, proxy.name)
        if cost is None:
            return None, None
        if target.against == "nothing":
            return cost, cost <= target.limit + SAME
        if target.against == "base":
            base = next((self.get(other, proxy.name) for other in self.rows(row.family) if other.title == target.base),
                        None)
            return (None, None) if not base else (cost / base, cost / base <= target.limit + SAME)
        if target.against == "throughput":
            best = max((self.get(row, name, "wall") for _, name in self.peers(row)), default=None)
            if not best:
                return None, None
            ratio = self.get(row, proxy.name, "wall") / best
            return ratio, ratio >= target.limit - SAME
        best = min((cost for cost, _ in self.peers(row, target.names)), default=None)
        return (None, None) if not best else (cost / best, cost / best <= target.limit + SAME)

    def against_base(self, row):
        """Where two builds are compared, the ratio of their costs."""
        base = self.get(row, self.base)
        cost = self.get(row, self.tested[0].name)
        return cost / base if base and cost is not None else None

    def close(self, row):
        """Whether more measurements may well change an outcome.  What the wall says is too loose for that."""
        if self.base:
            ratio = self.against_base(row)
            return ratio is not None and abs(ratio - 1) < CLOSE
        for proxy in self.tested:
            for target in row.targets:
                value, _ = self.judge(target, row, proxy)
                if target.against != "throughput" and value is not None and abs(value / target.limit - 1) < CLOSE:
                    return True
        return False

    def missed(self):
        """(row, target, proxy) for each target that a tested proxy misses."""
        return [(row, target, proxy) for row in self.order for target in row.targets for proxy in self.tested
                if self.judge(target, row, proxy)[1] is False]

    def counts(self):
        """The least and the most measurements that a median is of, of cells that are measured more than once."""
        numbers = [len(figures) for columns in self.figures.values() for figures in columns.values() if len(figures) > 1]
        return (min(numbers), max(numbers)) if numbers else (1, 1)

    def as_json(self):
        return [{"family": row.family.name, "row": row.title, "proxy": proxy,
                 "cost": [figure.cost for figure in figures], "wall": [figure.wall for figure in figures],
                 "whole": [figure.whole for figure in figures], "p50_us": [figure.p50_us for figure in figures],
                 "p99_us": [figure.p99_us for figure in figures]}
                for row, columns in self.figures.items() for proxy, figures in columns.items()]
