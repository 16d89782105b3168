"""The mailbox half of a VF driver, on a register file: the same accesses in the same order as igbvf/mbx.c makes them.

And a bench to put it on: a card with a clock that stands still, whose VFs have a register file but no engine.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from emulators.loop import Loop, ManualClock
from emulators.nics.igb.card import IgbCard, IgbPort, IgbSlot
from emulators.nics.igb.pf import PfDriver
from regmodel.bank import Bank
from regmodel.devices.igbvf import IGBVF, IGBVF_I350
from regmodel.function import ResetCause

V2PMAILBOX, VMBMEM = 0xC40, 0x800
REQ, ACK, VFU, PFU, PFSTS, PFACK, RSTI, RSTD = (1 << n for n in range(8))
READ_TO_CLEAR = PFSTS | PFACK | RSTD
MSG_ACK, MSG_NACK, CTS = 1 << 31, 1 << 30, 1 << 29
SECOND = 1_000_000_000


class Stuck(Exception):
    """The mailbox did not do within its time what the driver waits for."""


class VfDriver:
    """What igbvf does with a mailbox, and with CTRL.RST. ``kept`` is what it remembers of bits that reading cleared."""

    def __init__(self, bank: Bank, slot: IgbSlot, bench: Bench) -> None:
        self.bank, self.slot, self.bench = bank, slot, bench
        self.kept = 0
        self.interrupts = 0

    def interrupt(self) -> None:
        self.interrupts += 1

    def control(self) -> int:
        """``e1000_read_v2p_mailbox``."""
        value = self.bank.read(V2PMAILBOX, 4) | self.kept
        self.kept |= value & READ_TO_CLEAR
        return value

    def check(self, mask: int) -> bool:
        """``e1000_check_for_bit_vf``."""
        found = bool(self.control() & mask)
        self.kept &= ~mask
        return found

    def lock(self) -> None:
        """``e1000_obtain_mbx_lock_vf``."""
        self.bank.write(V2PMAILBOX, 4, VFU)
        if not self.control() & VFU:
            raise Stuck("VFU does not stick")

    def write(self, words: Sequence[int]) -> None:
        """``e1000_write_mbx_vf``."""
        self.lock()
        self.check(PFACK)
        self.check(PFSTS)
        for i, word in enumerate(words):
            self.bank.write(VMBMEM + 4 * i, 4, word)
        self.bank.write(V2PMAILBOX, 4, REQ)

    def read(self, count: int) -> list[int]:
        """``e1000_read_mbx_vf``."""
        self.lock()
        words = [self.bank.read(VMBMEM + 4 * i, 4) for i in range(count)]
        self.bank.write(V2PMAILBOX, 4, ACK)
        return words

    def post(self, *words: int) -> None:
        """``e1000_write_posted_mbx``: write, and see the PF acknowledge."""
        self.write(words)
        self.bench.settle()
        if not self.check(PFACK):
            raise Stuck("no PFACK")

    def ask(self, *words: int, count: int = 1) -> list[int]:
        """Post a message and read ``count`` words of the reply."""
        self.post(*words)
        if not self.check(PFSTS):
            raise Stuck("no PFSTS")
        reply = self.read(count)
        self.bench.settle()
        return reply

    def reset(self) -> list[int]:
        """``e1000_reset_hw_vf``: CTRL.RST, wait until no reset is seen, RESET; the three words of the reply."""
        self.software_reset()
        for _ in range(200):
            if not self.check(RSTI | RSTD):
                return self.ask(1, count=3)
        raise Stuck("the PF is in reset")

    def software_reset(self, cause: ResetCause = ResetCause.SOFTWARE) -> None:
        """What the model of a VF does on CTRL.RST."""
        self.bank.reset(cause)
        self.slot.vf_reset(cause)

    def accepted(self, *words: int) -> bool:
        """Whether the answer is ACK; either way it must echo the message and say clear to send."""
        (reply,) = self.ask(*words)
        assert reply & CTS and bool(reply & MSG_ACK) != bool(reply & MSG_NACK)
        assert reply & 0xFFFF == words[0] & 0xFFFF
        return bool(reply & MSG_ACK)

    # -- the messages of igbvf/vf.c and of DPDK's e1000_vf.c

    def set_mac(self, address: bytes, info: int = 0) -> bool:
        low, high = int.from_bytes(address[:4], "little"), int.from_bytes(address[4:], "little")
        return self.accepted(2 | info << 16, low, high)

    def set_multicast(self, hashes: Sequence[int], count: int | None = None) -> bool:
        halves = [*hashes, *[0] * (30 - len(hashes))]
        words = [halves[i] | halves[i + 1] << 16 for i in range(0, 30, 2)]
        return self.accepted(3 | (len(hashes) if count is None else count) << 16, *words)

    def set_vlan(self, vid: int, add: bool = True) -> bool:
        return self.accepted(4 | add << 16, vid)

    def set_lpe(self, size: int) -> bool:
        return self.accepted(5, size)

    def set_promisc(self, info: int) -> bool:
        return self.accepted(6 | info << 16)


class Bench:
    """A card of one kind of silicon; ``drivers`` by VF number, made when first asked for."""

    def __init__(self, silicon: str = "82576", **options: Any) -> None:
        self.clock = ManualClock(10 * SECOND)
        self.loop = Loop(now=self.clock.now)
        self.device = IGBVF_I350 if silicon == "I350" else IGBVF
        self.card = IgbCard(self.device, self.loop, **options)
        self._drivers: dict[int, VfDriver] = {}

    def settle(self) -> None:
        self.loop.settle()

    def advance(self, ns: int, step: int = 1_000_000) -> None:
        """Let time pass, in steps in which the loop sees it."""
        end = self.clock.now() + ns
        while self.clock.now() < end:
            self.clock.advance(min(step, end - self.clock.now()))
            self.settle()

    def driver(self, number: int = 0) -> VfDriver:
        if number not in self._drivers:
            slot = self.card.slots[number]
            bank = Bank(self.device.bars[0])
            driver = VfDriver(bank, slot, self)
            slot.mailbox(bank, driver.interrupt)
            self._drivers[number] = driver
            self.settle()
        return self._drivers[number]

    def ready(self, number: int = 0) -> VfDriver:
        """A driver that has reset its VF and is clear to send."""
        driver = self.driver(number)
        driver.reset()
        return driver

    @property
    def port(self) -> IgbPort:
        return self.card.ports[0]

    @property
    def pf(self) -> PfDriver:
        return self.port.pf

    def close(self) -> None:
        self.loop.close()
