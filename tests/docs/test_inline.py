"""Commands within sentences are tried, too; and every line of the files for CI, set-up included."""

from __future__ import annotations

import os
import re
import shlex
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from drivers.transports.linux_vfio.binding import how_to_bind
from tests.docs.guides import DOCS, ROOT, Command, Session
from tests.docs.inline import FOLLOWS, arguments, ci_lines, in_blocks, inline, makefile, module_file

FOUND = {words: arguments(words) for words in sorted(inline())}
RUN = [words for words in in_blocks() if words]
REST = {words: typed for words, typed in FOUND.items() if not any(run[: len(typed)] == typed for run in RUN)}
"""Those that no block runs."""
ONCE = {tuple(typed): words for words, typed in REST.items()}
LIMITS = {"pmd": ["--seconds", "0.1"], "docs": ["-o", "site"], "watch": ["--port", "0"]}
"""Words that a command is given besides, so that it ends, or stands in nobody's way."""
CARD = "/sys/bus/pci/devices/0000:03:00.0"
CI = sorted((DOCS / "guides" / "ci").iterdir())


@pytest.fixture(scope="module")
def session(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Session]:
    """Where a VF and an AVP port are served."""
    session = Session(tmp_path_factory.mktemp("inline"))
    for device, name in (("igbvf", "vf0"), ("avp", "avp")):
        session.run(Command(f"regmodel serve {device} --socket {name}.sock &", expected=["...", "# watch it ..."]))
    yield session
    session.close()


def test_they_are_found() -> None:
    some = {"regmodel trace SERVER --recent", "make setup", "regmodel ctl SERVER stats", "regmodel serve --help"}
    some |= {"python -c 'from regmodel.access import VOCABULARY; print(*VOCABULARY)'"}
    assert some <= FOUND.keys()
    assert len(FOUND) > 50 and len(REST) > 20


@pytest.mark.parametrize("words", [w for typed, w in ONCE.items() if typed[0] == "regmodel" and typed[1:2] != ("vm",)])
def test_commands_in_sentences_run(words: str, session: Session) -> None:
    typed = REST[words]
    if len(typed) == 2:  # a name
        typed = [*typed, "--help"]
    follows = typed[1] in FOLLOWS and typed[-1] not in ("--help", "--recent")
    limits = [] if "--help" in typed else LIMITS.get(typed[1], [])
    process = subprocess.Popen(
        [str(Path(sys.executable).parent / "regmodel"), *typed[1:], *limits], cwd=session.folder, env=session.env, text=True,
        stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
    )  # fmt: skip
    if follows:
        time.sleep(1.5)
        alive = process.poll() is None
        process.terminate()
        said, _ = process.communicate(timeout=20)
        assert alive and "regmodel: " not in said, said
    else:
        said, _ = process.communicate(timeout=120)
        assert process.returncode == 0, said


def test_a_guest_is_started_by_a_block_in_the_same_words() -> None:
    for words, typed in FOUND.items():
        if typed[:2] == ["regmodel", "vm"] and len(typed) > 2:
            assert words not in REST, words


@pytest.mark.parametrize("words", [w for w, typed in REST.items() if typed[0] != "regmodel"])
def test_what_else_is_typed(words: str, session: Session) -> None:
    """Targets of the Makefile, gone through without being made; modules, by their help; pytest, without running tests; one line
    of Python, as it stands.
    """
    typed = REST[words]
    if typed[0] == "make":
        assert typed[1] in makefile()
        command, folder = [typed[0], "-n", *typed[1:]], ROOT
    elif typed[0] == "pytest":
        command, folder = [sys.executable, "-m", *typed, "--collect-only", "-q"], session.folder
    elif typed[:2] == ["python", "-c"]:
        command, folder = [sys.executable, *typed[1:]], session.folder
    else:
        source = module_file(typed[2]).read_text()
        assert '__name__ == "__main__"' in source or module_file(typed[2]).name == "__main__.py"
        if "ArgumentParser" not in source and "typer" not in source:
            return
        command, folder = [sys.executable, *typed[1:], "--help"], ROOT
    done = subprocess.run(command, cwd=folder, env=session.env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0 and done.stdout.strip(), done.stdout + done.stderr


@pytest.mark.parametrize("file", CI, ids=lambda file: file.name)
def test_the_set_up_of_ci_runs_as_it_stands(file: Path, session: Session, tmp_path: Path) -> None:
    """The lines before the first command of ours, in one shell: packages are looked up and not installed, this repository is
    cloned, what `make setup` would do is printed. Afterwards commands are where the file says that they are.
    """
    lines = ci_lines(file)
    first = next(i for i, line in enumerate(lines) if line.startswith("regmodel "))
    before, ours = lines[:first], lines[first:]
    assert len(before) >= 4 and all(line.startswith("regmodel ") for line in ours)
    bin = tmp_path / "bin"
    bin.mkdir()
    wrappers = {
        "apt-get": 'case "$1" in update) exit 0;; esac; exec /usr/bin/apt-get --simulate "$@"',
        "make": 'exec /usr/bin/make --dry-run "$@"',
    }
    for name, text in wrappers.items():
        (bin / name).write_text(f"#!/bin/sh\n{text}\n")
        (bin / name).chmod(stat.S_IRWXU)
    project = tmp_path / "project"
    project.mkdir()
    env = {
        **os.environ, "PATH": f"{bin}:{os.environ['PATH']}", "GITHUB_PATH": str(tmp_path / "path"),
        "GITHUB_ENV": str(tmp_path / "env"), "GIT_CONFIG_COUNT": "2",
        "GIT_CONFIG_KEY_0": f"url.{ROOT}.insteadOf", "GIT_CONFIG_VALUE_0": "https://example.org/regmodel",
        "GIT_CONFIG_KEY_1": "safe.directory", "GIT_CONFIG_VALUE_1": "*",
    }  # fmt: skip
    script = "\n".join(["set -e", *before, 'echo "PATH=$PATH"'])
    done = subprocess.run(["bash", "-c", script], cwd=project, env=env, capture_output=True, text=True, timeout=120)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-2000:]
    assert "pip install" in done.stdout or "setup" in done.stdout
    told = (tmp_path / "path").read_text() if (tmp_path / "path").exists() else done.stdout.rpartition("PATH=")[2]
    where = Path(told.strip().partition(":")[0])
    assert where.parts[-2:] == (".venv", "bin") and (where.parent.parent / "Makefile").resolve().is_file()


def test_guests_of_ci_are_started_by_the_guide() -> None:
    """Word for word; all other lines are run by ``test_the_files_for_ci_say_commands_that_exist``."""
    for file in CI:
        for line in ci_lines(file):
            if line.startswith("regmodel vm"):
                assert any(shlex.split(line) == shlex.split(run) for run in guest_lines()), line


def guest_lines() -> list[str]:
    from tests.docs.test_guides import ELSEWHERE

    return [words for _, words, _ in ELSEWHERE]


def test_preparing_a_card_is_what_guests_of_other_tests_are_given() -> None:
    """The indented commands of a page for root on a machine with a card: what ``emulators.qemu.vfio`` types in guests, and what
    the driver tells whoever has forgotten it.
    """
    from emulators.qemu import vfio

    said: list[str] = []

    class Typist:
        """In place of a guest."""

        name = "a guest"

        def run(self, command: str, check: bool = False) -> Any:
            said.append(command)
            return SimpleNamespace(status=0, text="")

    guest: Any = Typist()
    vfio.virtual_functions(guest, "eth0")
    vfio.bind(guest, "0000:03:10.0")
    typed = " ; ".join([*said, how_to_bind("0000:03:10.0", "igbvf")]).replace("/sys/class/net/eth0/device", CARD)
    known = {part.strip() for part in re.split(r";|&&|\|\|", typed)}
    page = (DOCS / "guides" / "conformance.md").read_text()
    lines = [line.strip() for line in re.findall(r"^ {7}(\S.*)$", page, re.M)]
    assert len(lines) == 5 and [line for line in lines if line not in known] == []
    pages = [*(DOCS / "guides").glob("*.md"), DOCS / "exports.md"]
    indented = re.compile(r"^ {4,}(\$ |sudo |regmodel |make |python -m |echo |modprobe )", re.M)
    text = {path: re.sub(r"^```.*?^```$", "", path.read_text(), flags=re.M | re.S) for path in pages}
    assert {path.name: len(indented.findall(found)) for path, found in text.items() if indented.search(found)} == {
        "conformance.md": 5
    }  # fmt: skip
