"""Write tests/golden/messages.txt (`make messages`): every text that a user can see.

The texts come from the sources of agent/ and grafana/: help, output, errors, hints, pages, log events, settings,
metrics, alerts. Each file has a section with its sorted texts, each once and on one line. `X` is a computed part. The
file has no line numbers, so only a change of wording or a moved file changes it.
"""

from pathlib import Path

from prose import ROOT, VISIBLE, files, passages

GOLDEN = Path("tests/golden/messages.txt")
FOLDERS = ["agent", "grafana"]


def messages(root: Path = ROOT) -> str:
    """The content of the golden file."""
    sections = []
    for path in files(root, [folder for folder in FOLDERS if (root / folder).exists()]):
        texts = {one.text.strip().replace("\n", "\\n") for one in passages(path, root) if one.kind in VISIBLE}
        if texts and path.suffix in (".py", ".html"):
            sections.append("\n".join([f"== {path.relative_to(root)}", *sorted(texts)]))
    return "\n\n".join(sections) + "\n"


def main() -> None:
    """Write the golden file."""
    (ROOT / GOLDEN).parent.mkdir(exist_ok=True)
    (ROOT / GOLDEN).write_text(messages())


if __name__ == "__main__":
    main()
