"""Code with one fault in it: an operator turned, a constant off by one, a condition forced, a statement gone.

The faults are made in the syntax tree of a module and put into the running one function by function, by changing the code
of the function and nothing else; so each is gone again behind its trial. Whose functions: ``BANK`` (the bank that executes
descriptions), judged on the description with every access and every kind of register; ``LAYOUT`` (the walker of descriptions)
and ``MODEL`` (what is behind the registers of an igb VF: interrupts, mailbox), judged on igbvf.
"""

from __future__ import annotations

import ast
import copy
import importlib
import inspect
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from functools import partial
from types import CodeType, FunctionType, ModuleType
from typing import Any, TypeAlias

from drivers.conformance import open_target
from regmodel.catalogue import Description, Device
from tests.conformance.bare import EVERY_KIND, BareBanks
from tests.conformance.mutants import BrokenTrial, Mutant

BANK = {
    "regmodel.bank": (
        "Cell.__init__", "Bank._build", "Bank._place", "Bank._build_window", "Bank._link", "Bank._lock", "Bank.read",
        "Bank.write", "Bank._store", "Bank._apply", "Bank._after_read", "Bank._hits", "Bank._read_odd", "Bank._read_lanes",
        "Bank._write_odd", "Bank.reset", "_Selected.__getitem__", "_Selected.__setitem__", "_is_word", "_reset_of",
    ),
}  # fmt: skip
"""What decides how a register behaves. History, coverage, notices and saved state are no business of a judge of registers."""

LAYOUT = {"regmodel.layout": ("layout", "_walk", "Layout.__init__", "Layout.leaf", "Layout.field")}
"""The walker that the model learns from where the fields of its descriptors are, when it is imported."""

MODEL = {
    "emulators.nics.igb.interrupts": (
        "Interrupts.cause", "Interrupts._eics_written", "Interrupts._changed", "Interrupts._route",
        "Interrupts._evaluate", "Interrupts._due", "Interrupts._signal",
    ),
    "emulators.nics.igb.mailbox": (
        "VfMailbox.__init__", "VfMailbox._written", "VfMailbox.write_p2v", "VfMailbox.write", "VfMailbox.pf_resets",
        "VfMailbox.pf_is_back",
    ),
    "emulators.nics.igb.vf": ("IgbVf._ctrl_written", "IgbVf.reset", "IgbVf._restart"),
}  # fmt: skip
"""Causes that get lost, indications that are not latched, resets that stop half-way: statements gone, and never reached."""

SILENT = ("record", "ring", "observer", "notice", "reads", "writes", "ones", "zeros", "misses", "_noticed", "_complain", "_say",
          "_log_odd", "on_write", "on_read", "before_read", "now", "simple", "plain", "whole", "pair",
          "partner", "_noticed", "hook", "low", "width_mask", "diagnose", "_tell", "counts", "log",
          "doc")  # fmt: skip
"""A statement that is about nothing but these is left alone: what it does cannot be seen through a register."""

UNREACHED = ("Bar",)
"""Kinds of construct that no descriptor of igbvf has: what the walker does with them cannot be seen through a ring."""

COMPARE: dict[type, type] = {
    ast.Eq: ast.NotEq, ast.NotEq: ast.Eq, ast.Lt: ast.LtE, ast.LtE: ast.Lt, ast.Gt: ast.GtE, ast.GtE: ast.Gt,
    ast.Is: ast.IsNot, ast.IsNot: ast.Is, ast.In: ast.NotIn, ast.NotIn: ast.In,
}  # fmt: skip
BINARY: dict[type, type] = {
    ast.BitAnd: ast.BitOr, ast.BitOr: ast.BitAnd, ast.BitXor: ast.BitOr, ast.Add: ast.Sub, ast.Sub: ast.Add,
    ast.Mult: ast.FloorDiv, ast.FloorDiv: ast.Mult, ast.LShift: ast.RShift, ast.RShift: ast.LShift, ast.Mod: ast.FloorDiv,
}  # fmt: skip

Change: TypeAlias = Callable[[Any], None]
Opener: TypeAlias = Callable[[], AbstractContextManager[Any]]


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
        case ast.If():
            return not statement.orelse and all(_silent(s) for s in statement.body)
        case ast.For(iter=loop):
            return bool(_names(loop) & set(SILENT))
    return False


def _spots(function: ast.FunctionDef) -> Iterator[tuple[int, str, Change | None]]:
    """Where in the walk of a function something can be changed: index of the node, what, and how (None: take it out)."""
    quiet: set[int] = set()
    for statement in (n for n in ast.walk(function) if isinstance(n, ast.stmt)):
        if statement is not function and _silent(statement):
            quiet |= {id(n) for n in ast.walk(statement)}
    for case in (n for n in ast.walk(function) if isinstance(n, ast.match_case)):
        if isinstance(case.pattern, ast.MatchClass) and ast.unparse(case.pattern.cls) in UNREACHED:
            quiet |= {id(n) for n in ast.walk(case)}
    quiet |= {id(n) for s in ast.walk(function) if isinstance(s, ast.AnnAssign) for n in ast.walk(s.annotation)}
    for note in (function.returns, *(a.annotation for a in function.args.args)):
        quiet |= {id(n) for n in ast.walk(note)} if note is not None else set()
    within = _statements(function)
    for i, node in enumerate(ast.walk(function)):
        if id(node) in quiet:
            continue
        for what, change in _changes(node):
            yield i, f"`{within[id(node)]}`: {what}", change
        if isinstance(node, ast.Assign | ast.AugAssign | ast.Return | ast.Continue):
            yield i, f"`{within[id(node)]}` is gone", None


def _statements(function: ast.FunctionDef) -> dict[int, str]:
    """By the id of a node: the first line of the innermost statement that it is in, or a good part of it."""
    found: dict[int, str] = {}
    for statement in (n for n in ast.walk(function) if isinstance(n, ast.stmt)):  # outer ones come first
        first = ast.unparse(statement).partition("\n")[0]
        found |= {id(n): first if len(first) <= 80 else f"{first[:77]}..." for n in ast.walk(statement)}
    return found


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


def _faulty(source: ast.Module, path: str, file: str, index: int, change: Change | None) -> CodeType:
    """The code object of one function, changed at one node, in nothing but the classes that it stands in."""
    function = copy.deepcopy(_find(source, path))
    node = list(ast.walk(function))[index]
    if change is None:
        _Gone(node).visit(function)
    else:
        change(node)
    tree: ast.stmt = function
    *classes, _ = path.split(".")
    for name in reversed(classes):
        tree = ast.ClassDef(name, bases=[], keywords=[], body=[tree], decorator_list=[])
    future = [n for n in source.body if isinstance(n, ast.ImportFrom) and n.module == "__future__"]
    code = compile(ast.fix_missing_locations(ast.Module([*future, tree], type_ignores=[])), file, "exec")
    for part in path.split("."):
        code = next(c for c in code.co_consts if isinstance(c, CodeType) and c.co_name == part)
    return code


def _function(module: ModuleType, path: str) -> FunctionType:
    found: Any = module
    for part in path.split("."):
        found = inspect.getattr_static(found, part)
    assert isinstance(found, FunctionType)
    return found


@contextmanager
def _with_code(function: FunctionType, faulty: Callable[[], CodeType], opener: Opener) -> Iterator[Any]:
    honest = function.__code__
    try:
        function.__code__ = faulty()
    except Exception as error:
        raise BrokenTrial(f"the fault cannot be made: {type(error).__name__}: {error}") from error
    try:
        with opener() as target:
            yield target
    finally:
        function.__code__ = honest


def bank_mutants() -> Iterator[Mutant]:
    """Of the bank."""
    return _mutants("bank", BANK, EVERY_KIND, lambda: nullcontext(BareBanks(EVERY_KIND)))


def layout_mutants(device: Device) -> Iterator[Mutant]:
    """Of the layout walker. What it computes is kept as constants by the model: each is tried in a Python of its own."""
    return _mutants("layout", LAYOUT, device, partial(_walked_anew, device))


def layout_honest(device: Device) -> Mutant:
    """What all of those are mutants of."""
    return Mutant("layout", "(no fault)", device, partial(_walked_anew, device))


def _walked_anew(device: Device) -> AbstractContextManager[Any]:
    from regmodel.layout import _memo

    _memo.clear()
    return open_target("inprocess", device)


def model_mutants(device: Device) -> Iterator[Mutant]:
    """Of the behaviour behind the registers."""
    every = _mutants("model", MODEL, device, lambda: open_target("inprocess", device))
    return (m for m in every if m.name.endswith((" is gone", " never")))


def _mutants(kind: str, where: Mapping[str, Sequence[str]], judged_by: Description, opener: Opener) -> Iterator[Mutant]:
    """Each function, each node, each change; what would have the same name is numbered."""
    named: Counter[str] = Counter()
    for name, functions in where.items():
        module = importlib.import_module(name)
        source = ast.parse(inspect.getsource(module))
        for path in functions:
            function = _function(module, path)
            for index, what, change in _spots(_find(source, path)):
                named[title := f"{path} {what}"] += 1
                title += f" ({named[title]})" if named[title] > 1 else ""
                faulty = partial(_faulty, source, path, str(module.__file__), index, change)
                yield Mutant(kind, title, judged_by, partial(_with_code, function, faulty, opener))
