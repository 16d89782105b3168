"""Every message of the command line and the server, found in the code, with the cause and remedy that ``messages.toml`` gives.

``python -m tests.docs.messages > docs/guides/messages.md`` writes the page.
"""

from __future__ import annotations

import ast
import re
import tomllib
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
TOLD = ROOT / "docs" / "guides" / "messages.toml"
ROOMS = ("regmodel", "emulators", "drivers", "firmware")
CODES = ("DescriptionError", "contradiction")
KIND = re.compile(r"[a-z][a-z0-9]*(-[a-z0-9]+)+")
HOLE = "…"
PARTS = (("emulators.fabric.vhost_user", "Refused"),)
"""Errors whose text becomes part of a message: ``--net …: …``."""
CARRIED = {"Broken": 0, "Denied": 1}
"""Errors that carry a name to ``diagnose``, which may be of one word, and which argument that is."""
LIES = "Lie"
"""A ``StrEnum`` of such names."""
LEVELS = {"warning": 0, "error": 0, "critical": 0, "exception": 0, "log": 1}
"""Calls that log, and which argument is the text."""
FORMAT = re.compile(r"%[sdxr]")


@cache
def trees() -> dict[str, ast.Module]:
    files = (path for room in ROOMS for path in sorted((ROOT / room).rglob("*.py")))
    return {str(path.relative_to(ROOT)): ast.parse(path.read_text()) for path in files}


Class = tuple[str, str]
"""The module and the name of a class."""


def _module(file: str) -> str:
    return file.removesuffix(".py").removesuffix("/__init__").replace("/", ".")


@cache
def _known(file: str) -> dict[str, Class]:
    """What the names of classes in a file stand for: its own, and those that it imports."""
    found = {}
    for node in ast.walk(trees()[file]):
        if isinstance(node, ast.ImportFrom) and node.module:
            found |= {alias.asname or alias.name: (node.module, alias.name) for alias in node.names}
    return found | {n.name: (_module(file), n.name) for n in ast.walk(trees()[file]) if isinstance(n, ast.ClassDef)}


@cache
def errors() -> dict[Class, ast.ClassDef]:
    """All classes of errors that a user may see."""
    classes = {
        (_module(file), node.name): (node, {_known(file).get(getattr(base, "id", ""), ("", "")) for base in node.bases})
        for file, tree in trees().items()
        for node in ast.walk(tree)
        if isinstance(node, ast.ClassDef)
    }
    found = {("regmodel.errors", "RegmodelError"), *PARTS}
    while more := {name for name, (_, above) in classes.items() if above & found} - found:
        found |= more
    return {name: classes[name][0] for name in found if name in classes}


def _said(error: Class, call: ast.Call, scope: ast.AST) -> Iterator[str]:
    """What an error says when it is made so: its first argument, or what its class makes of its arguments."""
    node: ast.ClassDef | None = errors()[error]
    while node is not None:
        inits = [f for f in node.body if isinstance(f, ast.FunctionDef) and f.name == "__init__"]
        if inits:
            names = [argument.arg for argument in inits[0].args.args][1:]
            given = dict(zip(names, call.args, strict=False)) | {k.arg: k.value for k in call.keywords if k.arg}
            above = next(c for c in ast.walk(inits[0]) if isinstance(c, ast.Call) and ast.unparse(c.func) == "super().__init__")
            yield from _filled(above.args[0], given, scope)
            return
        above_it = _known(next(f for f in trees() if _module(f) == error[0])).get(getattr(node.bases[0], "id", ""))
        error, node = (above_it, errors().get(above_it)) if above_it is not None else (error, None)
    if call.args:
        yield from _texts(call.args[0], scope)


def _filled(node: ast.expr, given: dict[str, ast.expr], scope: ast.AST) -> Iterator[str]:
    """A text in which some names stand for arguments of a call."""
    if isinstance(node, ast.Name):
        if node.id in given:
            yield from _texts(given[node.id], scope)
    elif isinstance(node, ast.JoinedStr):
        whole = [""]
        for part in node.values:
            value = part.value
            if isinstance(part, ast.FormattedValue) and isinstance(value, ast.Name) and value.id in given:
                ends = list(_texts(given[value.id], scope)) or [HOLE]
            else:
                ends = [str(value) if isinstance(part, ast.Constant) else HOLE]
            whole = [text + end for text in whole for end in ends]
        yield from whole
    else:
        yield from _texts(node, scope)


def _texts(node: ast.expr, scope: ast.AST) -> Iterator[str]:
    """What an expression may say, with ``HOLE`` where a value stands; nothing for what is passed on from elsewhere."""
    match node:
        case ast.Constant(value=str()):
            yield node.value
        case ast.JoinedStr():
            yield "".join(part.value if isinstance(part, ast.Constant) else HOLE for part in node.values)
        case ast.BinOp(op=ast.Add()):
            yield "".join(next(_texts(side, scope), HOLE) for side in (node.left, node.right))
        case ast.IfExp():
            yield from (text for side in (node.body, node.orelse) for text in _texts(side, scope))
        case ast.Name():
            for other in ast.walk(scope):
                if isinstance(other, ast.Assign) and any(getattr(t, "id", "") == node.id for t in other.targets):
                    yield from (text for text in _texts(other.value, ast.Module([], [])))


def _calls() -> Iterator[tuple[str, str, ast.Call, ast.AST]]:
    """File, called name, call, and the function that it is in."""
    for file, tree in trees().items():
        yield from ((file, *found) for found in _calls_of(tree))


@cache
def _calls_of(tree: ast.Module) -> list[tuple[str, ast.Call, ast.AST]]:
    functions = [node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef)]
    inside = {id(node): function for function in functions for node in ast.walk(function)}
    calls = [node for node in ast.walk(tree) if isinstance(node, ast.Call)]
    return [(getattr(c.func, "id", getattr(c.func, "attr", "")), c, inside.get(id(c), tree)) for c in calls]


def messages() -> dict[str, set[str]]:
    """What is raised, by file."""
    found: dict[str, set[str]] = {}
    for file, name, call, scope in _calls():
        error = _known(file).get(name)
        said: Iterator[str] = iter(())
        if error in errors() and name not in CODES:
            said = _said(error, call, scope)
        elif name == "error" and not _logs(call) and call.args:  # emulators.fabric.backends.options
            said = (f"--net {HOLE}: {text}; write it as {HOLE}" for text in _texts(call.args[0], scope))
        for text in said:
            words = " ".join(text.split())
            if words.replace(HOLE, "").strip(" :;,."):
                found.setdefault(file, set()).add(words)
    return found


def _logs(call: ast.Call) -> bool:
    """Whether this is a call of a logger."""
    return isinstance(call.func, ast.Attribute) and ast.unparse(call.func.value) in ("log", "_log", "logging")


def logged() -> set[str]:
    """What goes to a server's log at the level of a warning or above."""
    found = set()
    for _, name, call, scope in _calls():
        if name in LEVELS and _logs(call):
            for text in _texts(call.args[LEVELS[name]], scope):
                found.add(re.sub(f"{HOLE}+", HOLE, FORMAT.sub(HOLE, " ".join(text.split()))))
    return found


def codes() -> set[str]:
    """The words in brackets behind what is wrong with a description."""
    return {
        str(call.args[0].value)
        for _, name, call, _ in _calls()
        if name in CODES and call.args and isinstance(call.args[0], ast.Constant)
    }


def kinds() -> set[str]:
    """The names of what drivers do wrong: handed to ``diagnose`` at once, or carried there by an exception or a table."""
    found = set()
    for file, tree in trees().items():
        if file.startswith(("emulators/nics", "emulators/pci", "emulators/host", "emulators/fabric/v")):
            for node in ast.walk(tree):
                if isinstance(node, ast.Call):
                    found |= {a.value for a in node.args[:1] if isinstance(a, ast.Constant) and isinstance(a.value, str)}
                elif isinstance(node, ast.Assign | ast.Return | ast.IfExp | ast.Dict):
                    found |= {n.value for n in ast.walk(node) if isinstance(n, ast.Constant) and isinstance(n.value, str)}
    return {text for text in found if KIND.fullmatch(text)} | _carried() | _lies()


def _carried() -> set[str]:
    given = (call.args[CARRIED[name] :] for _, name, call, _ in _calls() if name in CARRIED)
    return {str(rest[0].value) for rest in given if rest and isinstance(rest[0], ast.Constant)}


def _lies() -> set[str]:
    classes = (n for tree in trees().values() for n in ast.walk(tree) if isinstance(n, ast.ClassDef) and n.name == LIES)
    values = (line.value for node in classes for line in node.body if isinstance(line, ast.Assign))
    return {str(value.value) for value in values if isinstance(value, ast.Constant)}


@cache
def told() -> dict[str, Any]:
    return tomllib.loads(TOLD.read_text())


def group_of(file: str) -> dict[str, Any] | None:
    """The entry of a file: the one that names the longest beginning of its path."""
    fitting = [(len(place), g) for g in told()["group"] for place in g["files"] if file.startswith(place)]
    return max(fitting, key=lambda pair: pair[0])[1] if fitting else None


def own(text: str) -> tuple[str, str] | None:
    """Cause and remedy of one message, where it has some that are not those of its group: of the first key that fits."""
    for key, row in told()["own"].items():
        if re.fullmatch(".*".join(map(re.escape, key.split("*"))), text):
            return row[0], row[1]
    return None


def _shown(text: str) -> str:
    return f"`{text.replace('`', chr(39))}`"


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def document() -> str:
    """The page."""
    out = ["# Messages", "", _HEAD, "", "## In a description", "", "| code | cause | remedy |", "|---|---|---|"]
    out += [f"| `{code}` | {why} | {remedy} |" for code, (why, remedy) in sorted(told()["description"].items())]
    out += ["", "## What a driver did", "", _DIAGNOSES, "", "| name | cause | remedy |", "|---|---|---|"]
    out += [f"| `{kind}` | {why} | {remedy} |" for kind, (why, remedy) in sorted(told()["diagnosis"].items())]
    out += ["", "## In the server's log", "", _LOG, "", "| line | cause | remedy |", "|---|---|---|"]
    out += [f"| {_cell(_shown(line))} | {why} | {remedy} |" for line, (why, remedy) in sorted(told()["log"].items())]
    by_group: dict[str, set[str]] = {}
    for file, texts in messages().items():
        group = group_of(file)
        if group is not None:
            by_group.setdefault(group["title"], set()).update(texts)
    for group in told()["group"]:
        out += ["", f"## {group['title']}", "", f"*Cause.* {group['cause']}", "", f"*Remedy.* {group['remedy']}", ""]
        texts = sorted(by_group.get(group["title"], ()))
        particular = {text: row for text in texts if (row := own(text)) is not None}
        out += [f"- {_shown(text)}" for text in texts if text not in particular]
        if particular:
            out += ["", "| message | cause | remedy |", "|---|---|---|"]
            out += [f"| {_cell(_shown(text))} | {_cell(why)} | {_cell(remedy)} |" for text, (why, remedy) in particular.items()]
    return "\n".join([*out, ""])


_HEAD = f"""All that `regmodel` and its server may say when something is not as it should be, with `{HOLE}` where a value
stands. The page is made of the code and of `messages.toml` (`python -m tests.docs.messages`); search it for the words that you
see. [Troubleshooting](troubleshooting.md) begins at the symptom.

Not every message has a cause and a remedy of its own. Those which explain themselves are listed in groups, and what stands at
the head of a group is the cause and remedy of all in its list. The others, in tables, have their own."""
_LOG = """Warnings and errors, on the standard error of `regmodel serve`. Without any it says nothing, but with `--verbose` who
comes and goes."""
_DIAGNOSES = """The device goes on; `regmodel trace` shows these by name, the server logs each kind once, and
`regmodel ctl SERVER stats` counts them. Silicon would not tell you."""

if __name__ == "__main__":
    print(document(), end="")
