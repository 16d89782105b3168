"""Banks with one fault in their code: an operator turned, a constant off by one, a condition forced, a statement gone.

The faults are made in the syntax tree of ``regmodel/bank.py`` and put into the running module function by function, by
changing the code of the function and nothing else; so each is gone again behind its trial. They are judged on the
description with every access and every kind of register, under both policies.
"""

from __future__ import annotations

import ast
import copy
import inspect
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from types import CodeType, FunctionType
from typing import Any

from regmodel import bank
from tests.conformance.bare import BareBanks
from tests.conformance.mutants import Mutant
from tests.support.every_kind import DESCRIPTION

FUNCTIONS = (
    "Cell.__init__", "Bank._build", "Bank._place", "Bank._build_window", "Bank._link", "Bank.read", "Bank.write",
    "Bank._store", "Bank._apply", "Bank._after_read", "Bank._hits", "Bank._read_odd", "Bank._read_lanes", "Bank._write_odd",
    "Bank.reset", "_Selected.__getitem__", "_Selected.__setitem__", "_is_word", "_reset_of",
)  # fmt: skip
"""What decides how a register behaves. History, coverage, notices and saved state are no business of a judge of registers."""

SILENT = ("record", "ring", "observer", "notice", "reads", "writes", "ones", "zeros", "misses", "_noticed", "_complain", "_say",
          "_log_odd", "on_write", "on_read", "before_read", "now", "simple", "plain", "whole", "pair",
          "partner", "_noticed", "hook", "low", "width_mask")  # fmt: skip
"""A statement that is about nothing but these is left alone: what it does cannot be seen through a register."""

COMPARE: dict[type, type] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
BINARY: dict[type, type] = {
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitOr, ast.Add: ast.Sub, ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.Mod: ast.FloorDiv,
}  # fmt: skip

Change = Callable[[Any], None]


def _changes(node: ast.AST) -> Iterator[tuple[str, Change]]:
    """Every way to make one node wrong: what it is called, and what does it to a copy of the node."""
    match node:
        case ast.Compare(ops=[op]) if type(op) in COMPARE:
            other = COMPARE[type(op)]
            yield f"{type(op).__name__} is {other.__name__}", lambda n: setattr(n, "ops", [other()])
        case ast.BinOp(op=op) | ast.AugAssign(op=op) if type(op) in BINARY:
            turned = BINARY[type(op)]
            yield f"{type(op).__name__} is {turned.__name__}", lambda n: setattr(n, "op", turned())
        case ast.UnaryOp(op=ast.Invert()):
            yield "no complement", lambda n: setattr(n, "op", ast.UAdd())
        case ast.BoolOp(op=op):
            swapped = ast.And if isinstance(op, ast.Or) else ast.Or
            yield f"{type(op).__name__} is {swapped.__name__}", lambda n: setattr(n, "op", swapped())
        case ast.Constant(value=int() as value) if not isinstance(value, bool):
            yield f"{value} is {value + 1}", lambda n: setattr(n, "value", value + 1)
        case ast.If():
            yield "always", lambda n: setattr(n, "test", ast.Constant(True))
            yield "never", lambda n: setattr(n, "test", ast.Constant(False))


def _names(node: ast.AST) -> set[str]:
    return {n.attr for n in ast.walk(node) if isinstance(n, ast.Attribute)} | {
        n.id for n in ast.walk(node) if isinstance(n, ast.Name)
    }


def _silent(statement: ast.stmt) -> bool:
    match statement:
        case ast.Expr(value=ast.Constant()):
            return True
        case ast.Assign(targets=[target]) | ast.AugAssign(target=target) | ast.AnnAssign(target=target):
            last = target.attr if isinstance(target, ast.Attribute) else target.id if isinstance(target, ast.Name) else ""
            return last in SILENT
        case ast.Expr(value=ast.Call(func=ast.Attribute(attr=attr, value=value))):
            return attr in SILENT or bool(_names(value) & set(SILENT))
        case ast.If(test=test):
            return bool(_names(test) & set(SILENT)) and not statement.orelse and all(_silent(s) for s in statement.body)
        case ast.For(iter=loop):
            return bool(_names(loop) & set(SILENT))
    return False


def _spots(function: ast.FunctionDef) -> Iterator[tuple[int, str, Change | None]]:
    """Where in the walk of a function something can be changed: index of the node, what, and how (None: take it out)."""
    quiet: set[int] = set()
    for statement in (n for n in ast.walk(function) if isinstance(n, ast.stmt)):
        if statement is not function and _silent(statement):
            quiet |= {id(n) for n in ast.walk(statement)}
    quiet |= {id(n) for s in ast.walk(function) if isinstance(s, ast.AnnAssign) for n in ast.walk(s.annotation)}
    for note in (function.returns, *(a.annotation for a in function.args.args)):
        quiet |= {id(n) for n in ast.walk(note)} if note is not None else set()
    for i, node in enumerate(ast.walk(function)):
        if id(node) in quiet:
            continue
        for what, change in _changes(node):
            yield i, f"line {node.lineno}: {what}", change  # type: ignore[attr-defined]
        if isinstance(node, ast.Assign | ast.AugAssign | ast.Return | ast.Continue) and node is not function:
            yield i, f"line {node.lineno}: `{ast.unparse(node)[:50]}` is gone", None


class _Gone(ast.NodeTransformer):
    def __init__(self, victim: ast.AST) -> None:
        self.victim = victim

    def visit(self, node: ast.AST) -> Any:
        return ast.copy_location(ast.Pass(), node) if node is self.victim else super().visit(node)


def _find(tree: ast.Module, path: str) -> ast.FunctionDef:
    body: list[ast.stmt] = tree.body
    *classes, name = path.split(".")
    for part in classes:
        body = next(n for n in body if isinstance(n, ast.ClassDef) and n.name == part).body
    return next(n for n in body if isinstance(n, ast.FunctionDef) and n.name == name)


def _code(tree: ast.Module, path: str) -> CodeType:
    """The code object of one function of a module that is compiled anew."""
    code = compile(ast.fix_missing_locations(tree), bank.__file__, "exec")
    for part in path.split("."):
        code = next(c for c in code.co_consts if isinstance(c, CodeType) and c.co_name == part)
    return code


def _function(path: str) -> FunctionType:
    found: Any = bank
    for part in path.split("."):
        found = getattr(found, part)
    assert isinstance(found, FunctionType)
    return found


@contextmanager
def _with_code(path: str, code: CodeType) -> Iterator[Any]:
    function = _function(path)
    honest = function.__code__
    function.__code__ = code
    try:
        yield BareBanks(DESCRIPTION)
    finally:
        function.__code__ = honest


def mutants() -> Iterator[Mutant]:
    """Each function, each node, each change."""
    source = ast.parse(inspect.getsource(bank))
    for path in FUNCTIONS:
        for index, what, change in _spots(_find(source, path)):
            tree = copy.deepcopy(source)
            function = _find(tree, path)
            node = list(ast.walk(function))[index]
            if change is None:
                _Gone(node).visit(function)
            else:
                change(node)
            yield Mutant("bank", f"{path} {what}", DESCRIPTION, _opener(path, _code(tree, path)))


def _opener(path: str, code: CodeType) -> Callable[[], AbstractContextManager[Any]]:
    return lambda: _with_code(path, code)
