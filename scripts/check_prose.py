"""Check prose against the rules in styles/ (`make prose`): documents, text in the code, and identifiers.

`python scripts/check_prose.py [PATH...]` checks the given files and folders, or all. It prints each finding as
path:line, then a table with counts for each folder. Exit codes: 0 no errors, 1 errors, 2 a path does not exist.

`--all` prints every finding (otherwise at most 200), `--warnings` prints warnings as well, `--summary` only the table.
`--export DIR` writes the passages as Markdown, for a real Vale.
"""

import argparse
from collections import Counter
from pathlib import Path

from prose import ROOT, files, passages
from prose.rules import Finding, Style

MOST = 200


def main() -> int:
    """Run the check."""
    parser = argparse.ArgumentParser(description="Check prose against styles/.")
    parser.add_argument("paths", nargs="*", help="files or folders, default: all")
    parser.add_argument("--all", action="store_true", help=f"print every finding; otherwise at most {MOST}")
    parser.add_argument("--warnings", action="store_true", help="print warnings as well")
    parser.add_argument("--summary", action="store_true", help="print only the counts for each folder")
    parser.add_argument("--export", type=Path, metavar="DIR", help="write the passages as Markdown to DIR")
    chosen = parser.parse_intermixed_args()
    try:
        found = files(ROOT, chosen.paths)
    except FileNotFoundError as error:
        parser.error(f"{error} does not exist.")
    if chosen.export:
        export(found, chosen.export)
        return 0
    findings = check(found)
    errors = [one for one in findings if one.level == "error"]
    listed = findings if chosen.warnings else errors
    if not chosen.summary:
        shown = listed if chosen.all else listed[:MOST]
        print(*shown, sep="\n", end="\n" * bool(shown))
        if len(shown) < len(listed):
            print(f"... and {len(listed) - len(shown)} more. Try: name a folder, or --all.")
    print(summary(findings))
    return int(bool(errors))


def check(found: list[Path], root: Path = ROOT) -> list[Finding]:
    """All findings in the files, by path and line."""
    style = Style(root)
    findings = [one for path in found for passage in passages(path, root) for one in style.check(passage)]
    return sorted(findings, key=lambda one: (one.path, one.line, one.rule))


def summary(findings: list[Finding]) -> str:
    """A table: a line for each folder, a column for each rule."""
    rules = sorted({one.rule for one in findings})
    counts = Counter((room(one.path), one.rule) for one in findings)
    rows = [("folder", *rules)]
    rows += [(name, *(str(counts[name, rule]) for rule in rules)) for name in sorted({key for key, _ in counts})]
    rows.append(("total", *(str(sum(one.rule == rule for one in findings)) for rule in rules)))
    return "\n".join(f"{row[0]:24}" + "".join(f"{cell:>13}" for cell in row[1:]) for row in rows)


def room(path: str) -> str:
    """The row of the table that counts a file: a package of the agent, a top folder, or a document in the root."""
    parts = Path(path).parts
    if len(parts) == 1:
        return path
    return "/".join(parts[:2]) if parts[0] in ("agent", "docs") and len(parts) > 2 else parts[0]


def export(found: list[Path], target: Path) -> None:
    """Write the passages as Markdown, one file for each source file."""
    for path in found:
        read = [one for one in passages(path) if one.kind != "identifier"]
        texts = [f"<!-- {one.path}:{one.line} {one.kind} -->\n\n{one.text}\n" for one in read]
        written = target / f"{path.relative_to(ROOT)}.md"
        written.parent.mkdir(parents=True, exist_ok=True)
        written.write_text("\n".join(texts))


if __name__ == "__main__":
    raise SystemExit(main())
