"""Are the tables of docs/benchmarks*.md those that the recorded samples make?

python benchmarks/check.py [--of client]      exit status 1 and a sentence if not
python benchmarks/check.py --of devserver     the same of another: devserver, provision, audit
python benchmarks/check.py --write            make it so
"""

from __future__ import annotations

import argparse
import json
import sys
from pathlib import Path
from typing import Any

from many_streams import lines as provision
from server_alone import lines
from side_by_side import table
from whole_catalogue import lines as audit

HERE = Path(__file__).parent
BEGIN, END = "<!-- made by benchmarks/check.py --write from the samples -->", "<!-- end of the made part -->"

TABLES: dict[str, tuple[Any, str]] = {
    "client": (table, "benchmarks.md"),
    "devserver": (lines, "benchmarks-devserver.md"),
    "provision": (provision, "benchmarks-provision.md"),
    "audit": (audit, "benchmarks-audit.md"),
}
"""What makes the table, and the document that it stands in."""


def main(arguments: list[str] | None = None) -> int:
    """0 where the table is right, 1 where it is not."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--of", choices=TABLES, default="client", help="which benchmark")
    parser.add_argument("--write", action="store_true", help="write the table into the document")
    parser.add_argument("--results", type=Path, metavar="FILE", help="other samples")
    parser.add_argument("--docs", type=Path, metavar="FILE", help="another document")
    options = parser.parse_args(arguments)
    made, document = TABLES[options.of]
    options.results = options.results or HERE / "results" / f"{options.of}.json"
    options.docs = options.docs or HERE.parent / "docs" / document

    results = json.loads(options.results.read_text())
    faults = made.faults(results["samples"])
    if faults:
        print(*faults, sep="\n", file=sys.stderr)
        return 1
    text = options.docs.read_text()
    before, begin, rest = text.partition(BEGIN)
    _, end, after = rest.partition(END)
    if not begin or not end:
        print(f"{options.docs} has no place for the table: {BEGIN} ... {END}", file=sys.stderr)
        return 1
    right = f"{before}{BEGIN}\n\n{made.as_markdown(results)}\n\n{END}{after}"
    if options.write:
        options.docs.write_text(right)
    elif text != right:
        print(
            f"{options.docs} does not hold what {options.results} says: "
            f"python benchmarks/check.py --of {options.of} --write",
            file=sys.stderr,
        )
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
