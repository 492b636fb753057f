"""All results in one table and one picture: report.py RESULTS [PICTURE.svg].

The table is Markdown. Each figure is a cost ratio: time, CPU time, memory or instructions over what
raw C takes for the same, so that 1.00 is raw C and below is better.
"""

import json
import math
import statistics
import sys
from html import escape
from pathlib import Path

FLOOR, AGAIN, OURS = "C", "C again", "thinsock"
PEERS = ["asio", "Poco", "SFML", "Python"]
COLOURS = {"thinsock": "#2f81f7", "asio": "#d9822b", "Poco": "#9b72d0", "SFML": "#3f9f62",
           "Python": "#b89b28"}
# The order of rows; whatever is not named comes behind, by its name.
ORDER = ["tcp_pingpong", "tcp_pingpong_timeout", "instructions", "tcp_bulk", "connect_1",
         "connect_1_cpu", "connect_4", "connect_4_cpu", "connect_16", "connect_16_cpu", "forking",
         "udp_pingpong", "udp_server", "udp_server_threading", "lines", "lines_cpu", "memory",
         "sendfile", "compile", "stop", "stop_worst"]


class Result:
    def __init__(self, path):
        data = json.loads(path.read_text(encoding="utf-8"))
        self.name, self.title, self.unit = data["name"], data["title"], data["unit"]
        self.target, self.limit, self.noise = data["target"], data["limit"], data["noise"]
        self.missed = data["missed"]
        summary = max if data["worst"] else statistics.median
        self.figures = {row["contender"]: summary(row["values"]) for row in data["rows"]}
        self.floor = self.figures[data["floor"]]
        self.ratios = {name: figure / self.floor for name, figure in self.figures.items()}
        # A limit is one for the figure itself.
        if self.target is None and self.limit is not None:
            self.target = self.limit / self.floor

    def ahead(self):
        """The peers that cost clearly less than thinsock."""
        most = self.ratios.get(OURS, 0) - (self.noise or 0)
        return [name for name in PEERS if self.ratios.get(name, math.inf) < most]

    def rank(self):
        """As in ORDER, else as longer names that begin so; numbers in names count as such."""
        begins = [name for name in ORDER if self.name.startswith(name)]
        known = ORDER.index(max(begins, key=len)) if begins else len(ORDER)
        parts = self.name.split("_")
        return known, [(part.isdigit(), int(part) if part.isdigit() else part) for part in parts]


def short(ratio):
    if ratio >= 100:
        return f"{ratio:,.0f}"
    return f"{ratio:.1f}" if ratio >= 9.95 else f"{ratio:.2f}"


def asked(result):
    if result.limit is not None:
        return f"≤ {result.limit:g} {result.unit}"
    return "–" if result.target is None else f"≤ {result.target:g}"


def row(result):
    ours = "–"
    if OURS in result.ratios:
        ours = f"**{short(result.ratios[OURS])}**" + (" missed" if result.missed else "")
    peers = [short(result.ratios[name]) if name in result.ratios else "–" for name in PEERS]
    others = [f"{name.removeprefix(FLOOR).lstrip(', ')} {short(ratio)}"
              for name, ratio in result.ratios.items()
              if name not in (FLOOR, AGAIN, OURS, *PEERS)]
    noise = "–" if result.noise is None else f"±{result.noise:.1%}"
    floor = f"{result.floor:.3g} {result.unit}"
    return [result.title, floor, " · ".join(others) or "–", *peers, ours, asked(result), noise]


def table(results):
    head = ["workload", "raw C", "others", *PEERS, OURS, "target", "noise"]
    rows = [head, ["---"] * len(head), *map(row, results)]
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows)


class Picture:
    """A bar for each contender, from 1 (raw C) to the left if it costs less, on a logarithmic axis.

    The colours are those which can be read on white and on black.
    """

    WIDTH, LEFT, RIGHT, BAR, GAP, TOP = 960, 390, 60, 11, 12, 44
    TEXT, GRID, TARGET = "#7d8590", "#7d859055", "#e5534b"

    def __init__(self, results):
        self.results = [result for result in results if OURS in result.ratios]
        ratios = [ratio for result in self.results for name, ratio in result.ratios.items()
                  if name in COLOURS]
        self.least = min(0.5, 0.9 * min(ratios))
        self.most = min(100, 1.1 * max(ratios, default=2))
        self.parts = []

    def x(self, ratio):
        part = math.log(ratio / self.least) / math.log(self.most / self.least)
        return self.LEFT + (self.WIDTH - self.LEFT - self.RIGHT) * min(max(part, 0), 1)

    def text(self, x, y, text, anchor="start", colour=TEXT, weight="normal"):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" fill="{colour}" '
                          f'font-weight="{weight}">{escape(text)}</text>')

    def line(self, x, top, bottom, colour, width):
        self.parts.append(f'<path d="M{x:.1f} {top:.1f}V{bottom:.1f}" stroke="{colour}" '
                          f'stroke-width="{width}"/>')

    def bar(self, y, name, ratio, target):
        start, end = sorted([self.x(1), self.x(ratio)])
        self.parts.append(f'<rect x="{start:.1f}" y="{y:.1f}" width="{max(end - start, 1):.1f}" '
                          f'height="{self.BAR - 2}" fill="{COLOURS[name]}"/>')
        weight = "bold" if name == OURS else "normal"
        cut = " →" if ratio > self.most else ""
        if target is not None and end - 4 < self.x(target) < end + 30:
            end = self.x(target)
        self.text(max(end, self.x(1)) + 4, y + 8.5, short(ratio) + cut, weight=weight)

    def legend(self):
        x = self.LEFT
        for name, colour in COLOURS.items():
            self.parts.append(f'<rect x="{x}" y="6" width="10" height="10" fill="{colour}"/>')
            self.text(x + 14, 15, name, weight="bold" if name == OURS else "normal")
            x += 34 + 7 * len(name)
        self.line(x, 5, 17, self.TARGET, 2)
        self.text(x + 6, 15, "target")
        self.text(0, 15, "cost over raw C, logarithmic: left is better")

    def axis(self, bottom):
        first, last = math.floor(math.log10(self.least)), math.ceil(math.log10(self.most))
        marks = [digit * 10.0**power for power in range(first, last + 1) for digit in (1, 2, 5)]
        for ratio in marks:
            if self.least <= ratio <= self.most:
                self.line(self.x(ratio), self.TOP - 6, bottom, self.GRID, 1)
                self.text(self.x(ratio), self.TOP - 10, f"{ratio:g}", anchor="middle")
        self.line(self.x(1), self.TOP - 6, bottom, self.TEXT, 1.5)

    def group(self, y, result):
        names = [name for name in COLOURS if name in result.ratios]
        self.text(self.LEFT - 12, y + 9, result.title, anchor="end")
        for i, name in enumerate(names):
            target = result.target if name == OURS else None
            self.bar(y + i * self.BAR, name, result.ratios[name], target)
        if result.target is not None:
            self.line(self.x(result.target), y - 2, y + self.BAR, self.TARGET, 2)
        return y + len(names) * self.BAR + self.GAP

    def svg(self):
        bottom = self.TOP + sum(
            self.GAP + self.BAR * sum(name in result.ratios for name in COLOURS)
            for result in self.results)
        self.legend()
        self.axis(bottom)
        y = self.TOP
        for result in self.results:
            y = self.group(y, result)
        size = f'width="{self.WIDTH}" height="{bottom}" viewBox="0 0 {self.WIDTH} {bottom}"'
        font = 'font-family="sans-serif" font-size="10.5"'
        return "\n".join([f'<svg xmlns="http://www.w3.org/2000/svg" {size} {font} role="img">',
                          "<title>Cost over raw C, logarithmic: left is better</title>",
                          *self.parts, "</svg>\n"])


def tell(what, which):
    print(f"\n{len(which)} {what}" + "".join(f"\n- {one}" for one in which))


def main():
    results = sorted(map(Result, Path(sys.argv[1]).glob("*.json")), key=Result.rank)
    if not results:
        sys.exit("no results: run `meson test --benchmark` first")
    grown = [result for result in results if result.name.startswith("growth_")]
    others = [result for result in results if result.target is not None]
    print(table(others))
    if grown:
        print("\n" + table(grown))
    tell("missed", [result.title for result in results if result.missed])
    tell("behind a peer by more than the noise",
         [f"{result.title}: {name}" for result in others for name in result.ahead()])
    if len(sys.argv) > 2:
        Path(sys.argv[2]).write_text(Picture(others).svg(), encoding="utf-8")


main()
