"""Commands within sentences of the documents: `` `regmodel trace SERVER` ``. What they are, and how each of them is tried.

A word in capitals stands for something (``STANDS_FOR``), ``...`` for more words. A command that a ``console`` block of a page
or a file for CI has as well, word for word, is run there. ``FOLLOWS`` go on until they are stopped.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.docs.guides import DOCS, ROOT, commands

PAGES = [*sorted((DOCS / "guides").glob("*.md")), *sorted(DOCS.glob("*.md")), ROOT / "README.md"]
STARTS = ("regmodel", "make", "python -m", "python -c", "pytest", "pip install")
STANDS_FOR = {
    "SERVER": "vf0.sock", "DEVICE": "igbvf", "REGISTER": "status", "VALUE": "0x80", "NAME": "json", "PATH": "out",
    "FILE": "saved",
    "TRANSPORT": "inprocess", "MODE": "rxonly", "A": "igbvf", "B": "igbvf-i350", "ADDRESS": "02:00:00:00:00:01", "N": "0",
    "COMMAND": "trace", "/tmp/vf0.sock.ctl": "vf0.sock.ctl", "mydevice.py:DEVICE": "tally/device.py:TALLY",
}  # fmt: skip
FOLLOWS = ("trace", "watch", "serve", "ivshmem-server")


def inline() -> dict[str, set[str]]:
    """Each command within a sentence, and the pages that have it. A bare name (`regmodel serve`) is one, too."""
    found: dict[str, set[str]] = {}
    for page in PAGES:
        if page.name == "messages.md":
            continue  # its sentences are of messages.toml; those below are about what to type
        text = re.sub(r"^```.*?^```$", "", page.read_text(), flags=re.M | re.S)
        for quoted in re.findall(r"`([^`]+)`", re.sub(r"``[^`]+``", "", text)):
            words = " ".join(quoted.split())
            if any(words == start or words.startswith(f"{start} ") for start in STARTS):
                found.setdefault(words, set()).add(page.name)
    return found


def arguments(words: str) -> list[str]:
    """What is typed: placeholders filled in, ``...`` and what is left to the reader behind ``--`` left away."""
    words = re.sub(r"[][]", "", words).removesuffix(" -- COMMAND").replace("--socket PATH", "--socket new.sock")
    typed = [word.removesuffix("...") for word in shlex.split(words)]
    if "nic" in typed:  # which the card of a VF has none of
        typed = ["avp.sock" if word == "SERVER" else word for word in typed]
    return [STANDS_FOR.get(word, word) for word in typed if word]


def in_blocks() -> Iterator[list[str]]:
    """What is run by the blocks of pages, word by word."""
    for page in PAGES:
        for command in commands(page):
            for part in re.split(r"&&|\||;|&|\(|\)", command.words):
                try:
                    yield shlex.split(part)
                except ValueError:
                    continue
    for file in (DOCS / "guides" / "ci").iterdir():
        yield from map(shlex.split, ci_lines(file))


def ci_lines(file: Path) -> list[str]:
    """Every command of a file for CI, in order."""
    import yaml

    def texts(node: Any, key: str) -> Iterator[str]:
        if isinstance(node, dict):
            for name, inner in node.items():
                yield from texts(inner, name)
        elif isinstance(node, list):
            for inner in node:
                yield from texts(inner, key)
        elif key in ("run", "script", "before_script", "after_script"):
            yield str(node)

    return [line.strip() for text in texts(yaml.safe_load(file.read_text()), "") for line in text.splitlines() if line.strip()]


def makefile() -> set[str]:
    """Its targets."""
    return set(re.findall(r"^([a-z]+):", (ROOT / "Makefile").read_text(), re.M))


def module_file(name: str) -> Path:
    """Where `python -m NAME` begins."""
    path = ROOT / name.replace(".", "/")
    return path / "__main__.py" if path.is_dir() else path.with_suffix(".py")
