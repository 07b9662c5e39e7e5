"""`python -m bench [SECTION...] [--long] [--rounds N]`: runs sections, prints their tables, writes results.json."""

import argparse
import importlib
import json
import platform
import sys

from bench.plot import draw
from bench.report import RESULTS, SECTIONS, Scale, Section, Skipped


def main() -> int:
    """Measure the given sections. The other sections keep their earlier results."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("sections", nargs="*", metavar="SECTION", help=f"some of {', '.join(SECTIONS)}; else all")
    parser.add_argument("--long", action="store_true", help="the sizes of docs/performance.md: most of an hour")
    parser.add_argument("--rounds", type=int, default=5, help="number of rounds for each median")
    given = parser.parse_args()
    if unknown := set(given.sections) - set(SECTIONS):
        parser.error(f"unknown section: {', '.join(sorted(unknown))}")
    results = json.loads(RESULTS.read_text()) if RESULTS.exists() else {}
    for name in given.sections or SECTIONS:
        try:
            section: Section = importlib.import_module(f"bench.{name}").measure(
                Scale(rounds=given.rounds, long=given.long)
            )
        except Skipped as reason:
            print(f"{name}: skipped. {reason}\n", flush=True)
            continue
        print(f"{section}\n", flush=True)
        results[name] = section.as_json() | {"long": given.long, "python": platform.python_version()}
        RESULTS.write_text(json.dumps(results, indent=2) + "\n")
    if results.keys() >= set(SECTIONS):
        draw(results)
    return 0


if __name__ == "__main__":
    sys.exit(main())
