"""Is the table of docs/benchmarks.md the one that the recorded samples make?

python benchmarks/check.py            exit status 1 and a sentence if not
python benchmarks/check.py --write    make it so
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path

from side_by_side import table

HERE = Path(__file__).parent
BEGIN, END = "<!-- made by benchmarks/check.py --write from the samples -->", "<!-- end of the made part -->"


def main(arguments: list[str] | None = None) -> int:
    """0 where the table is right, 1 where it is not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--write", action="store_true", help="write the table into the document")
    parser.add_argument("--results", type=Path, default=HERE / "results" / "client.json", metavar="FILE")
    parser.add_argument("--docs", type=Path, default=HERE.parent / "docs" / "benchmarks.md", metavar="FILE")
    options = parser.parse_args(arguments)

    results = json.loads(options.results.read_text())
    faults = table.faults(results["samples"])
    if faults:
        print(*faults, sep="\n", file=sys.stderr)
        return 1
    text = options.docs.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        print(f"{options.docs} has no place for the table: {BEGIN} ... {END}", file=sys.stderr)
        return 1
    right = f"{before}{BEGIN}\n\n{table.as_markdown(results)}\n\n{END}{after}"
    if options.write:
        options.docs.write_text(right)
    elif text != right:
        print(
            f"{options.docs} does not hold what {options.results} says: python benchmarks/check.py --write",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
