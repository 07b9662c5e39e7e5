"""The prose check finds each kind of fault with its file and line, and the golden file of messages is current."""

import difflib
import shutil
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts"))

import check_prose  # noqa: E402
import messages  # noqa: E402
from prose import files  # noqa: E402
from prose.rules import sentences  # noqa: E402


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    shutil.copy(ROOT / ".vale.ini", tmp_path)
    shutil.copytree(ROOT / "styles", tmp_path / "styles")
    return tmp_path


def found(tree: Path, name: str, text: str) -> list[tuple[str, int, str]]:
    path = tree / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    return [(one.path, one.line, one.rule) for one in check_prose.check(files(tree), tree) if one.level == "error"]


@pytest.mark.parametrize(
    ("name", "text", "line", "rule"),
    [
        ("agent/a.py", '"""Good.\n\nThe agent looks at it.\n"""\n', 3, "Words"),
        ("agent/a.py", 'def f():\n    """Good.\n\n    One line\n    and nobody else.\n    """\n', 5, "Words"),
        ("agent/a.py", "x = 1\n# One line,\n# and one beside it.\n", 3, "Words"),
        ("agent/a.py", "x = 1  # noqa: E501  # asked anew\n", 1, "Words"),
        ("agent/a.py", "def f(n):\n    raise ValueError(f'Line {n} is no checkpoint.')\n", 2, "IsNo"),
        ("agent/a.py", "def f(n):\n    return 'The agent ' + n + ' is gone indeed.'\n", 2, "Words"),
        ("agent/a.py", "def f(n):\n    return f'{\"not looked at\" if n else n}'\n", 2, "Words"),
        ("agent/a.py", "def f(log):\n    log.info('told')\n", 2, "Words"),
        ("agent/a.py", "def f(log, x):\n    log.info('sent', told=x)\n", 2, "Identifiers"),
        ("agent/a.py", "def f(a: Annotated[str, Option(help='Tell it.')]): ...\n", 1, "Words"),
        ("agent/a.py", "class Look: ...\n", 1, "Identifiers"),
        ("agent/a.py", "class A:\n    def f(self, own_look): ...\n", 2, "Identifiers"),
        ("agent/a.py", "class A:\n    def f(self):\n        self._told = 1\n", 3, "Identifiers"),
        ("agent/standing.py", "", 1, "Identifiers"),
        ("verification/a.py", "x = 'What it may be is open.'\n", 1, "Openers"),
        ("agent/t/a.html", "<p>\n{{ x }} waits.</p>\n<p>It is not there any more.</p>", 3, "Phrases"),
        ("agent/t/a.html", "<div>\n<p>Good\n<b>of ours</b></p></div>", 2, "Phrases"),
        ("agent/t/a.html", '<p\n title="Look here">{{ y }}</p>', 1, "Words"),
        ("agent/t/a.html", '\n\n<p>{{ "was told" if x else "" }}</p>', 3, "Words"),
        ("agent/store/a.sql", "-- good\nCREATE TABLE x (y TEXT); -- a person's word\n", 2, "Phrases"),
        ("agent/store/a.sql", "CREATE TABLE x (\nlooked_at TEXT);\n", 2, "Identifiers"),
        ("docs/a.md", "# Good\n\nOne.\nTwo is heard.\n", 4, "Words"),
        ("docs/a.md", "| a | b |\n|---|---|\n| c | d |\n| e | stands |\n", 4, "Words"),
        ("docs/a.md", '!!! note "x"\n\n    The agent stands still.\n', 3, "Words"),
        ("docs/a.md", "One.\n\n" + "word " * 25 + "`x y z`.\n", 3, "Length"),
        ("docs/a.md", "- One.\n- Two. Whether it works\n  depends.\n", 2, "Openers"),
        ("README.md", "\nWhoever asks", 2, "Words"),
        ("specs/a.yaml", "a: 1  # just now\n", 1, "Phrases"),
        ("Makefile", "run:  ## begin anew\n", 1, "Words"),
    ],
)
def test_a_fault_is_found_with_its_file_and_line(tree: Path, name: str, text: str, line: int, rule: str) -> None:
    assert (name, line, rule) in found(tree, name, text)


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("docs/a.md", "Use `look` and `told`.\n\n```\nlook: nobody is no X\n```\n"),
        ("docs/a.md", "# What is a dossier?\n\nWhere is it? There is no network. It is no longer used.\n"),
        ("docs/a.md", "word " * 24 + "`a b c`. W" + "ord w" * 24 + "\n"),
        ("docs/glossary.md", "| look | told, beside |\n|---|---|\n| x | nobody, just now |\n"),
        ("agent/a.py", "lookup = understand = standard = outlook = 1\n"),
        ("agent/a.py", "x = re.compile(r'look at (\\w+)')\ny = 'SELECT told FROM x'\nz: 'Look | Told'\n"),
        ("agent/a.py", "x = 1  # type: ignore[told]\nif x is None: ...  # it is None\n"),
        ("agent/t/a.html", "<p>Go to <code>look</code>.</p>{# good #}<script>look at nobody</script>"),
        ("tests/a.py", "# not checked: look\n"),
    ],
)
def test_code_and_legitimate_uses_are_exempt(tree: Path, name: str, text: str) -> None:
    assert found(tree, name, text) == []


def test_an_allowed_identifier_is_not_reported(tree: Path) -> None:
    path = tree / "styles/config/identifiers.yml"
    path.write_text(path.read_text().replace("allowed: []", "allowed: [tell]"))
    assert found(tree, "agent/a.py", "def tell(look): ...\n") == [("agent/a.py", 1, "Identifiers")]


def test_an_abbreviation_does_not_end_a_sentence() -> None:
    text = 'Use it, e.g. Assure. "Try: x." A second one!'
    assert [one for _, one in sentences(text)] == ["Use it, e.g. Assure.", '"Try: x."', "A second one!"]


def test_the_table_counts_by_room(tree: Path) -> None:
    found(tree, "agent/store/a.py", "# look\nx = 1\n# told\n")
    table = check_prose.summary(check_prose.check(files(tree), tree))
    assert ["agent/store", "2"] in [line.split() for line in table.splitlines()]


def test_only_the_named_folders_are_read(tree: Path) -> None:
    found(tree, "agent/store/a.py", "# look\n")
    found(tree, "agent/core/a.py", "# look\n")
    assert files(tree, ["agent/store"]) == [tree / "agent/store/a.py"]


def test_the_golden_file_of_messages_is_current() -> None:
    golden = (ROOT / messages.GOLDEN).read_text().splitlines()
    difference = "\n".join(difflib.unified_diff(golden, messages.messages().splitlines(), lineterm="", n=0))
    assert not difference, f"Visible texts have changed. Review them, then run `make messages`.\n{difference}"


def test_a_message_that_moves_within_its_file_does_not_change_the_golden_file(tree: Path) -> None:
    found(tree, "agent/a.py", "x = 'one text'\ny = 'another text'\n")
    before = messages.messages(tree)
    found(tree, "agent/a.py", "\n\ny = 'another text'\nx = 'one text'\n# a comment\n")
    assert messages.messages(tree) == before == "== agent/a.py\nanother text\none text\n"
