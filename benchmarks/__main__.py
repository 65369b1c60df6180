"""`make bench`: every figure of the hub, over HTTP, as one table."""

from __future__ import annotations

import argparse

from benchmarks.figures import measure
from benchmarks.table import Table


def main() -> None:
    parser = argparse.ArgumentParser(prog="make bench", description=__doc__)
    parser.add_argument("--projects", type=int, default=100, help="how many projects run at once (default 100)")
    parser.add_argument("--only", default="", help="measure only the figures whose names contain this text")
    options = parser.parse_args()
    table = Table()
    measure(table, projects=options.projects, only=options.only)
    print()
    print(table.markdown())


if __name__ == "__main__":
    main()
