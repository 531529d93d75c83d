"""Every error of core and the tabs is a sentence of our own; what Python and libraries say stays in the traceback."""

import ast
import importlib
import pkgutil
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from core import errors, systems

ROOT = Path(__file__).parents[1]
OURS = {name for name, kind in vars(errors).items() if isinstance(kind, type)}
ROWS = [importlib.import_module(found.name).SYSTEM for found in pkgutil.iter_modules(systems.__path__, "core.systems.")]
SETTINGS = {name for row in ROWS for request in row.requests for name in request.settings()}
SENTENCES = {"message", "agreement", "terms"}     # fields that hold whole sentences


def parts(node: ast.expr) -> list[ast.expr]:
    """The pieces of a text: constants, and the values of fields; none of anything else."""
    if isinstance(node, ast.JoinedStr):
        return [piece.value if isinstance(piece, ast.FormattedValue) else piece for piece in node.values]
    return [node] if isinstance(node, ast.Constant) else []


def raised(path: Path) -> Iterator[tuple[ast.Call, set[str]]]:
    """Every error of ours that a file makes, with the names of library errors that are caught around it."""
    def walk(node: ast.AST, caught: set[str]) -> Iterator[tuple[ast.Call, set[str]]]:
        if isinstance(node, ast.ExceptHandler) and node.name and not ast.unparse(node.type).startswith("_"):
            caught = caught | {node.name}
        if isinstance(node, ast.Call) and getattr(node.func, "id", "") in OURS:
            yield node, caught
        for child in ast.iter_child_nodes(node):
            yield from walk(child, caught)

    yield from walk(ast.parse(path.read_text()), set())


def faults(call: ast.Call, caught: set[str]) -> Iterator[str]:
    """What is wrong with the texts of an error."""
    for at, argument in enumerate(call.args[:2]):
        pieces = parts(argument)
        if not pieces:
            continue
        first, last = pieces[0], pieces[-1]
        if isinstance(first, ast.Constant) and first.value[:1].islower() and first.value.split()[0] not in SETTINGS:
            yield "begins in lower case"
        sentence = isinstance(last, ast.Constant) and re.search(r"[.?!…][\"']?$", last.value)
        if at == 0 and not sentence and not any(name in ast.unparse(last) for name in SENTENCES):
            yield "does not end as a sentence"
        if any(isinstance(piece, ast.Name) and piece.id in caught for piece in pieces):
            yield "says what a library says"


@pytest.mark.parametrize("folder", ["core", "spaces"])
def test_an_error_is_a_sentence_of_our_own(folder):
    found = [f"{path.relative_to(ROOT)}:{call.lineno} {fault}" for path in sorted((ROOT / folder).rglob("*.py"))
             for call, caught in raised(path) for fault in faults(call, caught)]
    assert not found, "\n".join(found)

