"""Commands in documents, run as they stand there: ``console`` blocks of a page, in order, in one scratch directory.

A line that begins with ``$ `` is a command, what follows is what it says; ``...`` stands for anything, alone on a line for any
lines. A command that ends in ``&`` goes on in the background, until its page ends; one that ends at once with an error fails.
A comment before a block says where it runs:

- ``<!-- guest -->``: it boots a guest, so it needs the lab;
- ``<!-- card -->``: it is about a card at 0000:03:00.0, whose place the VF of an emulated one takes, in a guest.

``python -m tests.docs.guides PAGE...`` runs pages and writes what was said where nothing, or something else, stands.
"""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
CARD = "0000:03:00.0"
_BLOCK = re.compile(r"(?:^<!-- (?P<where>[a-z]+) -->\n)?^```console\n(?P<text>.*?)^```$", re.M | re.S)


@dataclass
class Command:
    """One command of a page, and what it is said to print."""

    words: str
    where: str = ""
    expected: list[str] = field(default_factory=list)

    def matches(self, said: str) -> bool:
        """What it printed is what the page shows; a page that shows nothing says nothing."""
        if not self.expected:
            return True
        lines = (re.escape(line.rstrip()).replace(r"\.\.\.", "[^\n]*") for line in self.expected)
        parts = [".*" if line == "[^\n]*" else line for line in lines]
        pattern = "\n".join(parts).replace(".*\n", "(?:.*\n)?").replace("\n.*", "(?:\n.*)?")
        printed = "\n".join(line.rstrip() for line in said.splitlines())
        return re.fullmatch(pattern, printed, re.S) is not None


def commands(page: Path) -> list[Command]:
    """All of a page, in order."""
    found: list[Command] = []
    for block in _BLOCK.finditer(page.read_text()):
        for line in block["text"].splitlines():
            if found and found[-1].words.endswith("\\"):
                found[-1].words = found[-1].words[:-1] + line.strip().removeprefix("> ")
            elif line.startswith("$ "):
                found.append(Command(line[2:], block["where"] or ""))
            else:
                found[-1].expected.append(line)
    return found


class Session:
    """A scratch directory in which commands of a page run, with Tally's sources in it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        shutil.copytree(DOCS / "guides" / "tally", folder / "tally", ignore=shutil.ignore_patterns("__pycache__"))
        shutil.copytree(DOCS / "guides" / "ci", folder / "ci")
        path = f"{Path(sys.executable).parent}:{os.environ['PATH']}"
        self.env = {**os.environ, "PATH": path, "PYTHONPATH": str(folder), "COLUMNS": "80", "TERM": "dumb", "NO_COLOR": "1"}
        self.behind: list[subprocess.Popen[str]] = []

    def run(self, command: Command) -> tuple[int, str]:
        """Its status and all that it printed. A background command has status 0, once it has printed what the page shows."""
        words = command.words
        if command.where == "card":
            words = f"regmodel vm --device igbvf --driver vfio-pci -- '{words.replace(CARD, 'BDF')}'"
        if words.endswith("&"):
            return 0, self._begin(words[:-1].strip(), command)
        done = subprocess.run(
            ["bash", "-c", words], cwd=self.folder, env=self.env, text=True, timeout=240, stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )  # fmt: skip
        return done.returncode, done.stdout

    def _begin(self, words: str, command: Command) -> str:
        log = self.folder / f".said-{len(self.behind)}"
        with log.open("w") as out:
            self.behind.append(
                subprocess.Popen(
                    ["bash", "-c", f"exec {words}"], cwd=self.folder, env=self.env, text=True, stdin=subprocess.DEVNULL,
                    stdout=out, stderr=subprocess.STDOUT,
                )
            )
        end = time.monotonic() + 20
        while time.monotonic() < end and self.behind[-1].poll() is None:
            said = log.read_text()
            if (command.expected and command.matches(said)) or (not command.expected and said.count("\n")):
                break
            time.sleep(0.05)
        said = log.read_text()
        last_words = re.search("^(regmodel: |Traceback)", said, re.M)
        if last_words or not command.expected:
            with suppress(subprocess.TimeoutExpired):
                self.behind[-1].wait(20 if last_words else 1)
        status = self.behind[-1].poll()
        assert not status, f"$ {words} &: ended at once, status {status}\n{log.read_text()}"
        return said

    def close(self) -> None:
        for process in reversed(self.behind):
            process.send_signal(signal.SIGINT)
            process.wait(20)


def main() -> None:
    for name in sys.argv[1:]:
        page = Path(name)
        session = Session(Path(tempfile.mkdtemp(prefix="guide-")))
        text = page.read_text()
        for command in commands(page):
            if command.where:
                continue
            status, said = session.run(command)
            said = "\n".join(line.rstrip() for line in said.splitlines())
            if status or not command.expected or not command.matches(said):
                print(f"$ {command.words}\n{said.rstrip()}\n[{status}]")
            if said and not (command.expected and command.matches(said)) and not command.words.endswith("&"):
                text = text.replace("\n".join(["$ " + command.words, *command.expected]), f"$ {command.words}\n{said.rstrip()}")
        session.close()
        page.write_text(text)


if __name__ == "__main__":
    main()
