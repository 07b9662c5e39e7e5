"""Extract docstrings, comments, strings and identifiers from Python."""

import ast
import io
import tokenize
from collections.abc import Iterator
from pathlib import Path

from prose.passage import PLACEHOLDER, Passage, comments, is_prose

LOG_METHODS = {"debug", "info", "warning", "error", "exception", "critical"}
_COMMANDS = {"command", "callback"}  # Typer's decorators: the docstring is the help


def python(path: str, text: str) -> Iterator[Passage]:
    tree = ast.parse(text)
    walk = _Walk(path)
    walk.visit(tree)
    yield from walk.found
    yield Passage(path, 1, "identifier", Path(path).stem)
    yield from _comments(path, text)


class _Walk(ast.NodeVisitor):
    """Collects docstrings, strings and identifiers of a module."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.found: list[Passage] = []

    def _add(self, node: ast.AST, kind: str, text: str, *, stepped: bool = False) -> None:
        self.found.append(Passage(self.path, node.lineno, kind, text, stepped))  # type: ignore[attr-defined]

    def _name(self, node: ast.AST, name: str | None) -> None:
        if name:
            self._add(node, "identifier", name)

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        self._name(node, node.name)
        commands = [one for one in node.decorator_list if isinstance(one, ast.Call) and _called(one) in _COMMANDS]
        self._body(node, "help" if commands else "docstring")

    visit_AsyncFunctionDef = visit_FunctionDef  # noqa: N815

    def visit_ClassDef(self, node: ast.ClassDef) -> None:
        self._name(node, node.name)
        self._body(node, "docstring")

    def _body(self, node: ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef, kind: str) -> None:
        first = node.body[0]
        if isinstance(first, ast.Expr) and isinstance(first.value, ast.Constant) and isinstance(first.value.value, str):
            text = dedent(first.value.value)
            self._add(first.value, "help" if "\nExit codes:" in text else kind, text, stepped=True)
            node.body = node.body[1:]
        self.generic_visit(node)

    def visit_Expr(self, node: ast.Expr) -> None:
        if isinstance(node.value, ast.Constant) and isinstance(node.value.value, str):
            self._add(node.value, "docstring", dedent(node.value.value), stepped=True)
        else:
            self.generic_visit(node)

    def visit_arg(self, node: ast.arg) -> None:
        self._name(node, node.arg)
        self._annotation(node.annotation)

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        self.visit(node.target)
        self._annotation(node.annotation)
        if node.value is not None:
            self.visit(node.value)

    def _annotation(self, annotation: ast.expr | None) -> None:
        """Only calls in an annotation hold text: typer.Option(help=...), Field(description=...)."""
        for one in ast.walk(annotation) if annotation is not None else ():
            if isinstance(one, ast.Call):
                self.visit(one)

    def visit_Name(self, node: ast.Name) -> None:
        if isinstance(node.ctx, ast.Store):
            self._name(node, node.id)

    def visit_Attribute(self, node: ast.Attribute) -> None:
        if isinstance(node.ctx, ast.Store):
            self._name(node, node.attr)
        self.generic_visit(node)

    def visit_alias(self, node: ast.alias) -> None:
        self._name(node, node.asname)

    def visit_MatchAs(self, node: ast.MatchAs) -> None:
        self._name(node, node.name)
        self.generic_visit(node)

    def visit_Call(self, node: ast.Call) -> None:
        first = node.args[0] if node.args else None
        if (
            isinstance(node.func, ast.Attribute)
            and isinstance(node.func.value, ast.Name)
            and node.func.value.id == "re"
        ):
            node.args = node.args[1:]  # a regular expression
        elif _called(node) in LOG_METHODS and isinstance(first, ast.Constant) and isinstance(first.value, str):
            self._add(first, "log", first.value)
            node.args = node.args[1:]
            for keyword in node.keywords:
                self._name(keyword.value, keyword.arg)
        self.generic_visit(node)

    def visit_Constant(self, node: ast.Constant) -> None:
        if isinstance(node.value, str) and is_prose(node.value):
            self._add(node, "message", node.value)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self._joined(node, [node])

    def visit_BinOp(self, node: ast.BinOp) -> None:
        parts = list(_summands(node))
        if any(isinstance(one, ast.JoinedStr) or isinstance(getattr(one, "value", None), str) for one in parts):
            self._joined(node, parts)
        else:
            self.generic_visit(node)

    def _joined(self, node: ast.expr, parts: list[ast.expr]) -> None:
        """Add one message of several parts. A computed part becomes a placeholder and is visited."""
        text = ""
        for part in parts:
            for value in part.values if isinstance(part, ast.JoinedStr) else [part]:
                if isinstance(value, ast.Constant) and isinstance(value.value, str):
                    text += value.value
                else:
                    text += PLACEHOLDER
                    self.visit(value.value if isinstance(value, ast.FormattedValue) else value)
        if is_prose(text.replace(PLACEHOLDER, "")):
            self._add(node, "message", text)


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _summands(node: ast.expr) -> Iterator[ast.expr]:
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Add):
        yield from _summands(node.left)
        yield from _summands(node.right)
    else:
        yield node


def dedent(text: str) -> str:
    """A docstring without its indentation. The number of lines does not change."""
    first, *rest = text.split("\n")
    margin = min((len(line) - len(line.lstrip()) for line in rest if line.strip()), default=0)
    return "\n".join([first.lstrip(), *(line[margin:].rstrip() for line in rest)])


def _comments(path: str, text: str) -> Iterator[Passage]:
    found = [
        (token.start[0], token.start[1], not token.line[: token.start[1]].strip(), token.string)
        for token in tokenize.generate_tokens(io.StringIO(text).readline)
        if token.type == tokenize.COMMENT
    ]
    yield from comments(path, found)
