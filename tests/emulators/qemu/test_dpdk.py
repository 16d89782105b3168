"""A conversation with testpmd, whose ports may say something at any time."""

from __future__ import annotations

import re

import pytest

from emulators.qemu import GuestTimeout, Result
from emulators.qemu.dpdk import PROMPT, Testpmd

EVENT = "\r\nPort 0: link state change event\n"
PACKET = "port 0/queue 0: received 1 packets\n  src=02 - length={}\n  ol_flags: none\n"


class Guest:
    """One in which testpmd says what the test says that it says."""

    said = b""

    def run(self, command: str, timeout: float = 60.0, check: bool = False) -> Result:
        """The file from where it was read to, and no status of a testpmd that has ended."""
        offset = re.search(r"tail -c \+(\d+) /run/testpmd.out$", command)
        return Result(command, 0, self.said[int(offset[1]) - 1 :], b"") if offset else Result(command, 1, b"", b"")


@pytest.fixture
def guest() -> Guest:
    return Guest()


@pytest.fixture
def pmd(guest: Guest) -> Testpmd:
    return Testpmd(guest, [])  # type: ignore[arg-type]


def types(guest: Guest, pmd: Testpmd, command: str, answer: str, *, before: str = "", after: str = "") -> str:
    """What a command returns that is answered so."""
    guest.said += f"{before}{command}\r\n\x1b[K{answer}{PROMPT}{after}".encode()
    return pmd(command, timeout=0.1)


def test_an_answer_is_what_is_between_echo_and_prompt(guest: Guest, pmd: Testpmd) -> None:
    assert types(guest, pmd, "show port 0", "up\r\nfast\r\n") == "up\nfast\n"
    assert types(guest, pmd, "start", "") == ""
    with pytest.raises(GuestTimeout, match="did not prompt in 0 s"):
        pmd("stop", timeout=0.1)


def test_what_comes_behind_a_prompt_belongs_to_the_next_answer(guest: Guest, pmd: Testpmd) -> None:
    assert types(guest, pmd, "start", "", after=EVENT) == ""
    assert types(guest, pmd, "show port 0", "down\n", before=PACKET.format(64)) == EVENT[1:] + PACKET.format(64) + "down\n"
    assert types(guest, pmd, "stop", "") == ""


@pytest.mark.parametrize("at", range(1, len(PROMPT)))
@pytest.mark.parametrize("ports", [1, 2])
def test_a_port_may_interrupt_a_prompt(guest: Guest, pmd: Testpmd, at: int, ports: int) -> None:
    guest.said = f"show port 0\r\nup\r\n{PROMPT[:at]}{EVENT * ports}{PROMPT[at:]}".encode()
    assert pmd("show port 0", timeout=0.1) == "up\n" + EVENT[1:] * ports
    assert types(guest, pmd, "stop", "") == ""


def test_overheard_is_what_comes_up_to_a_line(guest: Guest, pmd: Testpmd) -> None:
    types(guest, pmd, "start", "", after=PACKET.format(64) + PACKET.format(1001).rpartition("\n")[0])
    with pytest.raises(GuestTimeout, match="did not say 'length=1001' in 0 s"):
        pmd.overhear("length=1001", 2, timeout=0.1)  # its second line has not ended
    guest.said += b"\n" + EVENT.encode()
    assert pmd.overhear("length=1001", 2, timeout=0.1) == PACKET.format(64) + PACKET.format(1001)
    assert pmd.overhear("state change", timeout=0.1) == EVENT[1:]
    assert types(guest, pmd, "stop", "Bye.\n") == "Bye.\n"
