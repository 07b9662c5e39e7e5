"""Extract text from page templates, and comments from SQL, CSS, JavaScript, YAML and the like."""

import ast
import re
from collections.abc import Callable, Iterator
from html.parser import HTMLParser

from jinja2 import Environment

from prose.passage import PLACEHOLDER, Passage, comments, is_prose

Reader = Callable[[str, str], Iterator[Passage]]  # arguments: a path, which the passages name, and the text


def marked(mark: str) -> Reader:
    """Build a reader of comments that begin with `mark` and end with their line."""

    def read(path: str, text: str) -> Iterator[Passage]:
        found = []
        for number, line in enumerate(text.splitlines(), 1):
            if match := re.search(rf"(?:^|(?<=\s)){mark}+(?=\s|$)", line):
                found.append((number, match.start(), not line[: match.start()].strip(), line[match.start() :]))
        yield from comments(path, found)

    return read


def sql(path: str, text: str) -> Iterator[Passage]:
    yield from marked("--")(path, text)
    for number, line in enumerate(text.splitlines(), 1):
        for name in re.findall(r"\b[a-z]+(?:_[a-z]+)*\b", re.sub(r"'[^']*'", "", line.split("--")[0])):
            yield Passage(path, number, "identifier", name)


def starred(path: str, text: str) -> Iterator[Passage]:
    """Yield the comments of CSS and JavaScript."""
    for match in re.finditer(r"/\*(.*?)\*/|(?:^|(?<=\s))//\s(.*)", text, re.DOTALL if path.endswith(".css") else 0):
        yield Passage(path, text.count("\n", 0, match.start()) + 1, "comment", (match[1] or match[2] or "").strip())


def markdown(path: str, text: str) -> Iterator[Passage]:
    yield Passage(path, 1, "document", text)


def template(path: str, text: str) -> Iterator[Passage]:
    """Yield the text of a page with a placeholder for each expression. Strings in expressions are separate passages."""
    page = ""
    inside: list[str] = []
    for line, token, value in Environment().lex(text):
        if token == "data":
            page += value
        elif token == "comment":
            yield Passage(path, line, "comment", value)
        elif token == "string" and is_prose(value):
            yield Passage(path, line, "template", ast.literal_eval(value))
        inside.append(value)
        if token in ("variable_end", "block_end", "raw_end", "comment_end", "comment"):
            page += PLACEHOLDER * (token == "variable_end") + "\n" * "".join(inside).count("\n")
        if token == "data" or token.endswith("_end"):
            inside = []
    reader = _Page()
    reader.feed(page)
    reader.close()
    reader.end()
    for line, found in reader.found:
        yield Passage(path, line, "template", found)


class _Page(HTMLParser):
    """The texts of a page: one for each block element, and the attributes that browsers show or read aloud."""

    INLINE = frozenset({"a", "b", "i", "em", "strong", "span", "abbr", "time", "kbd", "small"})
    SHOWN = frozenset({"title", "alt", "aria-label", "placeholder", "data-of", "content"})

    def __init__(self) -> None:
        super().__init__()
        self.found: list[tuple[int, str]] = []
        self._line = 0
        self._text = ""
        self._silent = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        line = self.getpos()[0]
        self.found += [
            (line, value) for key, value in attrs if key in self.SHOWN and value and re.search("[a-z]", value)
        ]
        if tag in ("code", "script", "style", "svg"):
            self._silent = self._silent or tag
            self._text += PLACEHOLDER * (tag == "code")
        elif tag not in self.INLINE:
            self.end()

    def handle_endtag(self, tag: str) -> None:
        if tag == self._silent:
            self._silent = ""
        elif tag not in self.INLINE:
            self.end()

    def handle_data(self, data: str) -> None:
        if not self._silent:
            if not self._text.strip():
                self._line = self.getpos()[0] + len(data[: len(data) - len(data.lstrip())].split("\n")) - 1
                data = data.lstrip()
            self._text += data

    def end(self) -> None:
        """End the current text."""
        text = " ".join(self._text.split())
        if re.search("[A-Za-z]", text.replace(PLACEHOLDER, "")):
            self.found.append((self._line, text))
        self._text = ""
