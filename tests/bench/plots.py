# SPDX-License-Identifier: ISC
"""Bars of the tables, drawn by gnuplot as small PNG files."""
import shutil
import subprocess

import report
from cells import FAMILIES
from proxies import Failure

PACKAGES = {"gnuplot": "gnuplot-nox"}
PREFIX = "bench-"
COLORS = {"haproxy-splice": "#e07b39", "haproxy": "#f2b880", "nginx": "#5a9e6f", "nginx-64k": "#a8d0b0",
          "socket-proxyd": "#8c6bb1", "pen": "#c6a8d8", "socat": "#9a9a9a"}
OURS = ["#1b5e9b", "#7fb2dd", "#c0392b"]  # builds of spliced, and peers that are measured when asked for
SCRIPT = """
set terminal pngcairo size 960,{height} noenhanced font "sans,9"
set output "{file}"
set datafile missing "?"
$data << END
{data}
END
set style data histograms
set style histogram clustered gap 1.2
set style fill solid 1 noborder
set boxwidth 0.95
set ylabel "{axis}"
set grid ytics linecolor "#dddddd"
set border 3
set tics nomirror scale 0.5
set xtics rotate by 20 right
set key outside right top samplen 1.5
{more}
{colors}
plot for [i=2:{last}] $data using i:xtic(1) linetype i-1 title columnheader(i)
"""


def missing():
    return [package for program, package in PACKAGES.items() if not shutil.which(program)]


def draw(file, axis, columns, rows, more="set yrange [0:*]"):
    """rows are (label, [value or None, ...]), columns the proxies of the values."""
    data = ["\t".join(f'"{text}"' for text in ["", *(proxy.title for proxy in columns)])]
    data += ["\t".join([f'"{label}"'] + ["?" if value is None else f"{value:.6g}" for value in values])
             for label, values in rows]
    colors = "\n".join(f'set linetype {i} linecolor "{COLORS.get(proxy.name, OURS[(i - 1) % len(OURS)])}"'
                       for i, proxy in enumerate(columns, 1))
    script = SCRIPT.format(height=380, file=file, data="\n".join(data), axis=axis, more=more, colors=colors,
                           last=1 + len(columns))
    done = subprocess.run(["gnuplot"], input=script, capture_output=True, text=True, check=False, timeout=60)
    if done.returncode != 0 or not file.exists():
        raise Failure("gnuplot: " + done.stderr.strip())


def draw_all(results, directory):
    """Draws each family that is to be drawn.  Returns (family name, file name) of them."""
    drawn = []
    for family in FAMILIES:
        rows = results.rows(family)
        if not family.plot or not rows:
            continue
        columns = [proxy for proxy in results.proxies if results.has(family, proxy)]
        file = directory / f"{PREFIX}{family.name}.png"
        draw(file, family.plot, columns,
             [(row.title, [results.get(row, proxy.name) for proxy in columns]) for row in rows])
        drawn.append((family.name, file.name))
    return drawn


def draw_summary(results, directory):
    """What stands for all, as multiples of the first build's.  Returns the file's name."""
    ours = results.tested[0].name
    rows = [(title, row) for title, row in report.summary_rows(results) if results.get(row, ours)]
    columns = [proxy for proxy in results.proxies if any(results.get(row, proxy.name) is not None for _, row in rows)]
    relative = []
    for title, row in rows:
        costs = [results.get(row, proxy.name) for proxy in columns]
        label = title.partition(":")[0].replace(", 64 connections", "")
        if row.family == report.INSTRUCTIONS:
            label = "instructions for 64 B"
        relative.append((label, [cost and cost / results.get(row, ours) for cost in costs]))
    file = directory / f"{PREFIX}summary.png"
    draw(file, "cost as a multiple of spliced's", columns, relative,
         "set logscale y 2; set yrange [0.5:*]")
    return file.name
