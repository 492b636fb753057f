"""All results in one table and two pictures.

    report.py RESULTS              prints the tables
    report.py --publish RESULTS    also writes them into README.md here, and draws costs.svg with
                                   all results and summary.svg for the README of the project

RESULTS is the directory of JSON files that `meson test --benchmark` has written. A figure is a cost
ratio: time, CPU time, memory or instructions over what raw C takes for the same. Raw C is 1.00, and
less is better.
"""

import json
import math
import re
import statistics
import sys
from html import escape
from pathlib import Path

HERE = Path(__file__).resolve().parent
FLOOR, AGAIN, OURS = "C", "C again", "thinsock"
PEERS = ["asio", "Poco", "SFML", "Python"]
# The order of rows. Results that are not named come last, sorted by name.
ORDER = ["tcp_pingpong", "tcp_pingpong_timeout", "instructions", "tcp_bulk", "connect_1",
         "connect_1_cpu", "connect_4", "connect_4_cpu", "connect_16", "connect_16_cpu", "forking",
         "udp_pingpong", "udp_server", "udp_server_threading", "lines", "lines_cpu", "memory",
         "sendfile", "compile", "stop", "stop_worst"]
# The rows of summary.svg.
SUMMARY = {
    "tcp_pingpong": "A round trip over TCP",
    "tcp_pingpong_timeout": "The same with a timeout",
    "udp_pingpong": "A datagram there and back",
    "connect_4": "A connection, 4 clients at once",
    "lines": "A line read and written back",
    "sendfile": "A MiB of a file sent",
    "memory": "Memory of an idle connection",
    "compile_time": "Compiling a small client",
    "compile_size": "Size of a small client",
    "stop": "Stopping a server",
}


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
        if self.target is None and self.limit is not None:  # A limit is a figure, not a ratio.
            self.target = self.limit / self.floor

    def ahead(self):
        """The peers that cost less than thinsock by more than the noise."""
        most = self.ratios.get(OURS, 0) - (self.noise or 0)
        return [name for name in PEERS if self.ratios.get(name, math.inf) < most]

    def others(self):
        """The ratios that have no column: other ways in C, thinsock or Python."""
        return {name: ratio for name, ratio in self.ratios.items()
                if name not in (FLOOR, AGAIN, OURS, *PEERS)}

    def rank(self):
        """The place in ORDER of the longest name that this one begins with, then the name.

        Numbers in a name are compared as numbers.
        """
        begins = [name for name in ORDER if self.name.startswith(name)]
        known = ORDER.index(max(begins, key=len)) if begins else len(ORDER)
        parts = self.name.split("_")
        return known, [(part.isdigit(), int(part) if part.isdigit() else part) for part in parts]


def short(ratio):
    if ratio >= 100:
        return f"{ratio:,.0f}"
    return f"{ratio:.1f}" if ratio >= 9.95 else f"{ratio:.2f}"


def cell(result, name):
    return short(result.ratios[name]) if name in result.ratios else "–"


def asked(result):
    if result.limit is not None:
        return f"≤ {result.limit:g} {result.unit.split()[0]}"
    return "–" if result.target is None else f"≤ {result.target:g}"


def row(result):
    ours = f"**{cell(result, OURS)}**" + (" missed" if result.missed else "")
    noise = "–" if result.noise is None else f"±{result.noise:.1%}"
    floor = f"{result.floor:.3g} {result.unit}"
    return [result.title, floor, ours, *(cell(result, name) for name in PEERS), asked(result),
            noise]


def markdown(rows):
    return "\n".join("| " + " | ".join(cells) + " |" for cells in rows)


def table(results):
    head = ["workload", "raw C", OURS, *PEERS, "target", "noise"]
    return markdown([head, ["---"] * len(head), *map(row, results)])


def table_of_others(results):
    rows = [[result.title, name, short(ratio)]
            for result in results for name, ratio in result.others().items()]
    return markdown([["workload", "done otherwise", "cost"], ["---"] * 3, *rows])


class Picture:
    """An SVG with its own background, for light and dark pages. Its parts have CSS classes."""

    TITLE = ""
    STYLE = """
.back { fill: #ffffff; stroke: #d1d9e0 } text, .text { fill: #1f2328; font-family: sans-serif }
.quiet { fill: #59636e } .grid { stroke: #d1d9e0 } .one { stroke: #59636e }
.target { stroke: #cf222e; stroke-width: 2 } .bold { font-weight: bold }
.thinsock { fill: #0969da } .asio { fill: #bc6c1a } .Poco { fill: #8250df }
.SFML { fill: #2d8a4e } .Python { fill: #9a7b13 } .peer { fill: #afb8c1 }
@media (prefers-color-scheme: dark) {
.back { fill: #0d1117; stroke: #3d444d } text, .text { fill: #e6edf3 }
.quiet { fill: #9198a1 } .grid { stroke: #3d444d } .one { stroke: #9198a1 }
.target { stroke: #f85149 }
.thinsock { fill: #4493f8 } .asio { fill: #d9822b } .Poco { fill: #ab7df8 }
.SFML { fill: #3fb950 } .Python { fill: #d0a925 } .peer { fill: #59636e }
}"""

    def __init__(self, width, size):
        self.width, self.size = width, size
        self.height = 0
        self.parts = []

    def text(self, x, y, text, anchor="start", style=""):
        self.parts.append(f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" '
                          f'class="{style}">{escape(text)}</text>')

    def line(self, x, top, bottom, style):
        self.parts.append(f'<path d="M{x:.1f} {top:.1f}V{bottom:.1f}" class="{style}"/>')

    def rectangle(self, x, y, width, height, style):
        self.parts.append(f'<rect x="{x:.1f}" y="{y:.1f}" width="{width:.1f}" '
                          f'height="{height:.1f}" class="{style}"/>')

    def svg(self):
        size = f'width="{self.width}" height="{self.height}"'
        return "\n".join([
            f'<svg xmlns="http://www.w3.org/2000/svg" {size} '
            f'viewBox="0 0 {self.width} {self.height}" font-size="{self.size}" role="img">',
            f"<title>{escape(self.TITLE)}</title>", f"<style>{self.STYLE}\n</style>",
            f'<rect x="0.5" y="0.5" width="{self.width - 1}" height="{self.height - 1}" rx="6" '
            'class="back"/>',
            *self.parts, "</svg>\n"])


class Summary(Picture):
    """A row for each workload of SUMMARY, a column for each contender; bars grow from zero."""

    TITLE = "Cost compared with raw C, which is 1.00 and the thin line: less is better"
    WIDTH, FIRST, COLUMN, ROW, TOP = 800, 312, 96, 32, 74
    FLOOR_END = 294  # The right edge of the column of raw C.
    UNIT = 20  # The length of a bar for the cost of raw C.
    LONGEST = 46

    def __init__(self, results):
        super().__init__(self.WIDTH, 13)
        self.results = {result.name: result for result in results if result.name in SUMMARY}
        self.height = self.TOP + self.ROW * len(self.results) + 12
        self.text(16, 26, self.TITLE, style="bold")
        self.text(self.FLOOR_END, self.TOP - 18, "raw C", "end", "quiet")
        contenders = [OURS, *PEERS]
        for i, name in enumerate(contenders):
            x = self.FIRST + i * self.COLUMN
            self.text(x, self.TOP - 18, name, style="bold" if name == OURS else "")
            self.line(x + self.UNIT, self.TOP - 10, self.height - 12, "one")
        for i, name in enumerate(name for name in SUMMARY if name in self.results):
            y = self.TOP + i * self.ROW
            result = self.results[name]
            self.text(16, y + 13, SUMMARY[name])
            self.text(self.FLOOR_END, y + 13, self.absolute(result), "end", "quiet")
            for j, contender in enumerate(contenders):
                self.cell(self.FIRST + j * self.COLUMN, y, result, contender)

    def absolute(self, result):
        figure, unit = result.floor, result.unit.split()[0]
        if unit == "µs" and figure < 1:
            figure, unit = 1000 * figure, "ns"
        return f"{figure:.2g} {unit}"

    def cell(self, x, y, result, contender):
        style = "thinsock" if contender == OURS else "peer"
        ratio = result.ratios.get(contender)
        if ratio is None:
            self.text(x + self.UNIT + 6, y + 13, "–", style="quiet")
            return
        length = min(ratio * self.UNIT, self.LONGEST)
        self.rectangle(x, y + 2, length, 14, style)
        if ratio * self.UNIT > self.LONGEST:  # An arrow says that the bar is cut.
            self.parts.append(f'<path d="M{x + length:.1f} {y + 2}l5 7l-5 7z" class="{style}"/>')
            length += 5
        self.text(x + max(length, self.UNIT) + 4, y + 13, short(ratio),
                  style="bold" if contender == OURS else "")


class Costs(Picture):
    """A group of bars for each workload, from 1, which is raw C, on a logarithmic axis."""

    TITLE = "Cost over raw C, logarithmic: left is better"
    WIDTH, LEFT, RIGHT, BAR, GAP, TOP = 960, 420, 60, 12, 12, 54

    def __init__(self, results):
        super().__init__(self.WIDTH, 11)
        self.results = [result for result in results if OURS in result.ratios]
        ratios = [ratio for result in self.results for name, ratio in result.ratios.items()
                  if name in (OURS, *PEERS)]
        self.least = min(0.5, 0.9 * min(ratios))
        self.most = min(100, 1.1 * max(ratios, default=2))
        groups = [[name for name in (OURS, *PEERS) if name in result.ratios]
                  for result in self.results]
        self.height = self.TOP + sum(self.GAP + self.BAR * len(group) for group in groups)
        self.legend()
        self.axis()
        y = self.TOP
        for result, names in zip(self.results, groups):
            self.group(y, result, names)
            y += len(names) * self.BAR + self.GAP

    def x(self, ratio):
        part = math.log(ratio / self.least) / math.log(self.most / self.least)
        return self.LEFT + (self.WIDTH - self.LEFT - self.RIGHT) * min(max(part, 0), 1)

    def legend(self):
        self.text(12, 20, self.TITLE)
        x = self.LEFT
        for name in (OURS, *PEERS):
            self.rectangle(x, 11, 10, 10, name)
            self.text(x + 14, 20, name, style="bold" if name == OURS else "")
            x += 34 + 7 * len(name)
        self.line(x, 10, 22, "target")
        self.text(x + 6, 20, "target")

    def axis(self):
        first, last = math.floor(math.log10(self.least)), math.ceil(math.log10(self.most))
        marks = [digit * 10.0**power for power in range(first, last + 1) for digit in (1, 2, 5)]
        for ratio in marks:
            if self.least <= ratio <= self.most:
                self.line(self.x(ratio), self.TOP - 6, self.height - 8, "grid")
                self.text(self.x(ratio), self.TOP - 10, f"{ratio:g}", "middle", "quiet")
        self.line(self.x(1), self.TOP - 6, self.height - 8, "one")

    def group(self, y, result, names):
        self.text(self.LEFT - 12, y + 10, result.title, "end")
        for i, name in enumerate(names):
            target = result.target if name == OURS else None
            self.bar(y + i * self.BAR, name, result.ratios[name], target)
        if result.target is not None:
            self.line(self.x(result.target), y - 2, y + self.BAR, "target")

    def bar(self, y, name, ratio, target):
        start, end = sorted([self.x(1), self.x(ratio)])
        self.rectangle(start, y, max(end - start, 1), self.BAR - 2, name)
        text = short(ratio) + (" →" if ratio > self.most else "")
        if target is not None and end - 4 < self.x(target) < end + 30:  # The target is in the way.
            end = self.x(target)
        self.text(max(end, self.x(1)) + 4, y + 9.5, text, style="bold" if name == OURS else "")


def list_of(what, which):
    return f"{len(which)} {what}" + "".join(f"\n- {one}" for one in which)


def publish(results, tables):
    (HERE / "costs.svg").write_text(Costs(results).svg(), encoding="utf-8")
    (HERE / "summary.svg").write_text(Summary(results).svg(), encoding="utf-8")
    readme = HERE / "README.md"
    begin, end = "<!-- tables -->\n", "<!-- end of tables -->\n"
    text, count = re.subn(f"{begin}.*{end}", lambda _: f"{begin}\n{tables}\n\n{end}",
                          readme.read_text(encoding="utf-8"), flags=re.DOTALL)
    if count != 1:
        sys.exit(f"{readme} has no place for the tables")
    readme.write_text(text, encoding="utf-8")


def main():
    *option, directory = sys.argv[1:] or ["."]
    if option not in ([], ["--publish"]):
        sys.exit(__doc__)
    results = sorted(map(Result, Path(directory).glob("*.json")), key=Result.rank)
    if not results:
        sys.exit("no results: run `meson test --benchmark` first")
    grown = [result for result in results if result.name.startswith("growth_")]
    others = [result for result in results if result.target is not None]
    tables = table(others)
    if any(result.others() for result in others):
        tables += "\n\n" + table_of_others(others)
    print(tables)
    if grown:
        print("\n" + table(grown))
    print("\n" + list_of("missed", [result.title for result in results if result.missed]))
    print("\n" + list_of("behind a peer by more than the noise",
                         [f"{result.title}: {name}" for result in others
                          for name in result.ahead()]))
    if option:
        publish(others, tables)


main()
