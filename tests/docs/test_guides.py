"""The guides: every command that they show is run, and prints what they show; every message has its cause and remedy."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ElementTree
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from emulators.commands.serve import instructions
from emulators.qemu import Lab
from emulators.serve import Wanted
from regmodel.catalogue import find
from tests.docs import messages
from tests.docs.guides import DOCS, Command, Session, commands

PAGES = {page.stem: page for page in (*sorted((DOCS / "guides").glob("*.md")), DOCS / "exports.md")}
WITH_COMMANDS = [name for name, page in PAGES.items() if any(not c.where for c in commands(page))]
ELSEWHERE = [(name, c.words, c) for name, page in PAGES.items() for c in commands(page) if c.where]


@pytest.fixture
def session(tmp_path: Path) -> Iterator[Session]:
    session = Session(tmp_path)
    yield session
    session.close()


@pytest.mark.parametrize("name", WITH_COMMANDS)
def test_commands_print_what_the_page_shows(name: str, session: Session) -> None:
    for command in commands(PAGES[name]):
        if not command.where:
            status, said = session.run(command)
            expected = "\n".join(command.expected)
            assert command.matches(said), f"$ {command.words}\n{said}\nstatus {status}; expected:\n{expected}"
            refused = any(line.startswith("regmodel: ") for line in command.expected) or "FAILED" in expected
            assert bool(status) == refused or command.words.endswith("&"), f"$ {command.words}: status {status}\n{said}"


@pytest.mark.guest
@pytest.mark.parametrize("words", [f"{name}: {words}" for name, words, _ in ELSEWHERE])
def test_commands_for_guests(words: str, session: Session, lab: Lab) -> None:
    command = next(c for name, w, c in ELSEWHERE if f"{name}: {w}" == words)
    status, said = session.run(command)
    assert status == 0 and command.matches(said), said


def test_no_command_goes_unseen() -> None:
    """A command of ours stands in a ``console`` block; in other fenced blocks there is none."""
    for name, page in PAGES.items():
        fence = ""
        for line in page.read_text().splitlines():
            if line.startswith("```"):
                fence = "" if fence else line
            elif fence and fence != "```console":
                assert not re.match(r"\s*(\$ )?(sudo )?regmodel ", line), name


def test_a_wrong_output_would_be_found() -> None:
    right = Command("x", "", ["one ... three", "...", "last"])
    assert right.matches("one two three\na\nb\nlast\n") and right.matches("one two three\nlast")
    assert not right.matches("one two\nlast") and not right.matches("one two three\nlast\nmore")
    assert not Command("x", "", ["a"]).matches("b")


@pytest.mark.parametrize("expected", [[], ["regmodel: ..."]])
def test_a_background_command_that_ends_with_an_error_is_found(session: Session, expected: list[str]) -> None:
    with pytest.raises(AssertionError, match=r"ended at once, status 2\nregmodel: unknown device"):
        session.run(Command("regmodel serve nothing --socket x.sock &", expected=expected))
    assert session.run(Command("regmodel list &"))[0] == 0


def keys(found: Any) -> Any:
    """An object without its values, but for words that are no path."""
    if isinstance(found, dict):
        return {name: keys(inner) for name, inner in found.items()}
    return "" if "/" in found else found


def test_libvirt_is_given_what_the_server_says_for_qemu() -> None:
    """The same device, by the same keys; the memory of a file, and shared."""
    (text,) = re.findall(r"^```xml\n(.*?)^```$", PAGES["attach"].read_text(), re.M | re.S)
    domain = ElementTree.fromstring(text)
    arguments = [str(found.get("value")) for found in domain.iter("{http://libvirt.org/schemas/domain/qemu/1.0}arg")]
    assert arguments[::2] == ["-device"]
    printed = instructions([Wanted("igbvf", find("igbvf"), Path("vf0.sock"))], ["vf0"], Path("vf0.sock.ctl"))
    (device,) = re.findall(r"-device '(.*)'", printed)
    assert [keys(json.loads(found)) for found in arguments[1::2]] == [keys(json.loads(device))]
    memory = domain.find("memoryBacking")
    assert memory is not None and "memory-backend-memfd" in printed and "share=on" in printed
    assert [(part.tag, dict(part.attrib)) for part in memory] == [("source", {"type": "memfd"}), ("access", {"mode": "shared"})]


@pytest.mark.parametrize("name", ["github-actions.yml", "gitlab-ci.yml"])
def test_the_files_for_ci_say_commands_that_exist(name: str, session: Session) -> None:
    """They are YAML; each `regmodel` command in them is run here, after what prepares it."""
    import yaml

    found: Any = yaml.safe_load((DOCS / "guides" / "ci" / name).read_text())
    lines = [line.strip() for text in _texts(found) for line in text.splitlines()]
    ours = [line for line in lines if line.startswith("regmodel ")]
    assert len(ours) >= 3
    release = Command("regmodel export tally/device.py:TALLY --format json -o tally/released.json --left-out left-out.txt")
    assert session.run(release)[0] == 0
    for line in ours:
        if not line.startswith("regmodel vm"):
            status, said = session.run(Command(line))
            assert status == 0, f"$ {line}\n{said}"


def _texts(node: Any) -> Iterator[str]:
    if isinstance(node, str):
        yield node
    elif isinstance(node, dict | list):
        for item in node.values() if isinstance(node, dict) else node:
            yield from _texts(item)


# -- messages --------------------------------------------------------------------------------------------------------------


def test_every_message_has_its_cause_and_remedy() -> None:
    """Whatever the code may say stands on the page; and there is no entry of something that nobody says."""
    page = PAGES["messages"].read_text()
    told = messages.told()
    assert messages.codes() == set(told["description"])
    assert messages.kinds() - messages.codes() - set(told["not-a-diagnosis"]["words"]) == set(told["diagnosis"])
    found = messages.messages()
    assert sum(map(len, found.values())) > 600
    assert messages.logged() == set(told["log"])
    assert [file for file in found if messages.group_of(file) is None] == []
    assert page == messages.document(), "python -m tests.docs.messages > docs/guides/messages.md"
    used = {group["title"] for file in found if (group := messages.group_of(file)) is not None}
    assert [group["title"] for group in told["group"] if group["title"] not in used] == []
    rows = [*told["description"].values(), *told["diagnosis"].values(), *((g["cause"], g["remedy"]) for g in told["group"])]
    rows += [*told["log"].values(), *told["own"].values()]
    assert [row for row in rows if len(row) != 2 or not all(text.endswith(".") for text in row)] == []


def test_the_page_says_first_that_groups_share_cause_and_remedy() -> None:
    """And so it is: what has a list has one cause and one remedy above it."""
    head, *groups = re.split(r"^## ", PAGES["messages"].read_text(), flags=re.M)
    assert "listed in groups" in head and "is the cause and remedy of all in its list" in " ".join(head.split())
    found = [group for group in groups if re.search(r"^- `", group, re.M)]
    assert len(found) > 10 and all(group.count("*Cause.*") == group.count("*Remedy.*") == 1 for group in found)


def test_what_is_told_of_one_message_is_about_one_that_there_is() -> None:
    """Each key fits a message that no key before it fits; and a third of all messages need no other words than their own."""
    texts = {text for found in messages.messages().values() for text in found}
    rows = messages.told()["own"]
    used = {tuple(row) for text in texts if (row := messages.own(text)) is not None}
    assert [key for key, row in rows.items() if tuple(row) not in used] == []
    assert sum(messages.own(text) is not None for text in texts) > len(texts) / 3


def test_a_message_that_nobody_told_of_is_found(monkeypatch: pytest.MonkeyPatch) -> None:
    before, kept = messages.messages(), {"regmodel/errors.py": messages.trees()["regmodel/errors.py"]}
    code = (
        "from regmodel.errors import UsageError\n"
        'def f(n):\n    log.warning("%s: no %d here", n, 5)\n    log.info("all is well")\n'
        '    raise UsageError(f"no {n} here; go home")\n    host.diagnose("never-heard-of")\n'
    )
    tree = messages.ast.parse(code)
    known = messages.errors()
    monkeypatch.setattr(messages, "errors", lambda: known)
    monkeypatch.setattr(messages, "trees", lambda: {**kept, "emulators/nics/new.py": tree})
    assert messages.messages() == {"emulators/nics/new.py": {"no … here; go home"}} != before
    assert messages.kinds() == {"never-heard-of"}
    assert messages.logged() == {"…: no … here"}
