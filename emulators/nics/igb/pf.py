"""The stock PF driver as a behaviour: it reads the PF's side of every mailbox and answers as Linux ``igb`` does.

In here: receiving and answering, the gate that a VF passes by resetting itself, resets of a VF and of the PF, link events.
Not in here: mailbox hardware (``mailbox``), what a message asks for and gets (``pf_settings``), the registers that steer
the switch (``pf_registers``), the host's commands (``pf_control``).

Each method names the function of igb/igb_main.c whose behaviour it has, quirks that a VF can see included. It runs as an
interrupt handler would: soon after the event, never inside a register access.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, fields
from typing import Any, Protocol

from emulators.fabric.pool import Pool
from emulators.fabric.switch import Switch
from emulators.loop import Burst
from emulators.nics.igb import mailbox as p2v
from emulators.nics.igb import pf_registers as reg
from emulators.nics.igb.mailbox import PfEvents, VfMailbox
from emulators.nics.igb.pf_filters import ZERO
from emulators.nics.igb.pf_registers import PfRegisters, Silicon
from emulators.nics.igb.pf_settings import ACK, CTS, NACK, RESET, VfData, VfSettings
from regmodel.function import Clock

MILLISECOND = 1_000_000
NACK_PAUSE = 2000 * MILLISECOND
"""Between two refusals to a VF that is not clear to send (2 * HZ in ``igb_rcv_msg_from_vf``)."""
LOCK_TRIES, LOCK_PAUSE = 10, MILLISECOND
"""How often and in which steps the driver asks for a buffer that the VF owns (e1000_mbx.c ``igb_obtain_mbx_lock_pf``)."""
DRAIN_TIME = 15 * MILLISECOND
"""From the word to the VFs that the port goes down (``igb_reset``) to CTRL.RST: the sleep of 10 to 20 ms in
``igb_reset_hw_82575``. A VF has that long to read it, before the reset clears the mailbox."""
RESET_TIME = 15 * MILLISECOND
"""From there to the end of ``igb_up``."""

PF_CONTROL = 0x0100
"""The one message that the PF sends unasked (e1000_mbx.h ``E1000_PF_CONTROL_MSG``)."""

SPEED = 1000
"""Mbit/s; the only speed of the emulated wire."""

log = logging.getLogger("regmodel.igb.pf")


class PortClock(Clock, Protocol):
    """What the driver needs of the port's loop."""

    def defer(self, burst: Burst) -> None: ...


class VfModel(Protocol):
    """What the port tells the model of a VF."""

    def link_changed(self, up: bool, speed: int) -> None:
        """STATUS.LU and the speed in Mbit/s."""

    def wake(self) -> None:
        """The pool may transmit now."""

    def port_was_reset(self) -> None:
        """The hardware of the port was reset, the VF's queues and interrupts with it."""

    def disable_first_queue(self) -> None:
        """Queue 0 of the VF was disabled by the PF."""


@dataclass
class Counts:
    """What the driver counts of its mailboxes (``struct e1000_mbx_stats``)."""

    messages_sent: int = 0
    messages_received: int = 0
    requests: int = 0
    acks: int = 0
    resets: int = 0
    refused: int = 0  # ours: answered with NACK
    ignored: int = 0  # ours: not answered at all


class PfDriver:
    """The PF of one port. ``mailboxes`` and ``models`` are filled in as models of VFs are built."""

    def __init__(
        self, name: str, clock: PortClock, switch: Switch, silicon: Silicon, pools: Sequence[Pool], own: Pool | None, mac: bytes
    ) -> None:
        self.name, self.clock, self.switch = name, clock, switch
        self.registers = PfRegisters(silicon, switch, list(pools), own)
        count = len(pools)
        self.own = own.index if own is not None else None
        self.settings = VfSettings(name, self.registers, count, self.own, mac)
        self.mailboxes: list[VfMailbox | None] = [None] * count
        self.models: list[VfModel | None] = [None] * count
        self.events = PfEvents(interrupt=self._interrupt)
        self.counts = Counts()
        self.down = False  # between igb_down and igb_up: nothing is answered
        self.in_reset = False  # the part of it in which the hardware is in reset
        self._waiting: set[int] = set()
        self._up()
        switch.link.listen(self._link_event)

    @property
    def vfs(self) -> list[VfData]:
        """What the driver knows of each VF."""
        return self.settings.vfs

    # -- bringing the port up, and PF resets

    def _up(self) -> None:
        """``igb_configure`` after a reset of the hardware, with everything back at its reset value."""
        r = self.registers
        r.reset()
        self.settings.macs.flush()
        self.settings.vlans.restore()
        r.open_port()
        r.write_dtxswc(reg.LOOPBACK_ENABLE | self._anti_spoof())
        self.settings.set_rx_mode()
        if self.own is not None:
            self.settings.set_vmolr(self.own, untagged=True)
        self._hold()

    def _anti_spoof(self) -> int:
        """On for all VFs and off for the PF, whatever was set before (``igb_vmdq_set_anti_spoofing_pf``)."""
        if self.own is None:
            return reg.SPOOF_ALL
        return reg.SPOOF_ALL ^ (1 << self.own | 1 << (self.own + reg.VLAN_SPOOF_SHIFT))

    def reset(self) -> None:
        """Reset the PF under whatever is going on (``igb_reset_task``): VFs lose CTS and must reset themselves.

        What the host set by command survives in the driver, but reaches the hardware only at the next reset of the VF;
        disabled spoof checking does not come back at all, as in the stock driver.
        """
        if self.down:
            return
        for vf in self.vfs:
            vf.clear_to_send = vf.multicast_promiscuous = False
        self.ping_all()
        self.registers.enable(receive=0, transmit=0)
        self.down = True
        self.clock.call_at(self.clock.now() + DRAIN_TIME, self._reset_hardware)

    def _reset_hardware(self) -> None:
        """CTRL.RST and what the driver sets up anew."""
        self.in_reset = True
        self._waiting.clear()
        self.events.clear()
        self._up()
        for mailbox in self._built():
            mailbox.pf_resets()
        for model in self.models:
            if model is not None:
                model.port_was_reset()
        self.disable_first_queue()
        self._tell_link()
        self.clock.call_at(self.clock.now() + RESET_TIME, self._reset_done)

    def disable_first_queue(self) -> None:
        """Queue 0 of the port, which ``igb_setup_tctl`` and ``igb_setup_rctl`` disable, is VF 0's."""
        first = self.models[0]
        if first is not None:
            first.disable_first_queue()

    def _reset_done(self) -> None:
        """The end of ``igb_up``: CTRL_EXT.PFRSTD; then the watchdog finds the link and says so."""
        self.down = self.in_reset = False
        for mailbox in self._built():
            mailbox.pf_is_back()
        self._interrupt()
        self._tell_link()
        if self.switch.link.up:
            self.ping_all()

    def _built(self) -> list[VfMailbox]:
        return [mailbox for mailbox in self.mailboxes if mailbox is not None]

    def connect(self, vf: int, mailbox: VfMailbox) -> None:
        """The mailbox of a VF whose model was just built: as if the VF had been reset."""
        self.mailboxes[vf] = mailbox
        self.vf_was_reset(vf)

    def observe(self, vf: int, name: str, observer: Callable[[str, str, list[int]], None] | None) -> None:
        """Tell ``observer`` the name, the sender and the words of each message of a VF; None ends it."""
        mailbox = self.mailboxes[vf]
        if mailbox is not None:
            told = observer
            mailbox.observer = None if told is None else lambda sender, words: told(name, sender, list(words))

    def give_mac(self, vf: int, address: bytes) -> None:
        """The address that a VF has when neither the host nor the VF has set one."""
        self.vfs[vf].mac = self.vfs[vf].given_mac = address

    # -- link

    def link_of(self, vf: int) -> bool:
        """Whether VF ``vf`` sees STATUS.LU: its ``state``, and for ``auto`` the port's link. Down while the PF resets."""
        state = self.vfs[vf].link_state
        return not self.in_reset and (state == "enable" or (state == "auto" and self.switch.link.up))

    def tell_link(self, vf: int) -> None:
        model = self.models[vf]
        if model is not None:
            model.link_changed(self.link_of(vf), SPEED)

    def _tell_link(self) -> None:
        for vf in range(len(self.vfs)):
            self.tell_link(vf)

    def _link_event(self, up: bool) -> None:
        """``igb_watchdog_task``: every VF is pinged, and looks at its STATUS."""
        self._tell_link()
        if not self.down:
            self.ping_all()

    def set_link_state(self, vf: int, state: str) -> None:
        """``ip link set PF vf N state``. Stock ``igb`` has no such command; this one does as ixgbe_sriov.c
        ``ixgbe_ndo_set_vf_link_state`` does: a disabled VF neither sends nor receives, and is pinged."""
        self.vfs[vf].link_state = state
        self._hold()
        self.tell_link(vf)
        self.ping(vf)

    def _hold(self) -> None:
        self.registers.hold(sum(1 << n for n, vf in enumerate(self.vfs) if vf.link_state == "disable"))
        for vf in range(len(self.vfs)):
            self._wake(vf)

    def _wake(self, vf: int) -> None:
        model = self.models[vf]
        if model is not None and self.registers.pools[vf].transmit_enable:
            model.wake()

    # -- sending

    def ping_all(self) -> None:
        """``igb_ping_all_vfs``."""
        for vf in range(len(self.vfs)):
            self.ping(vf)

    def ping(self, vf: int) -> None:
        """A control message, which says whether the VF is clear to send."""
        if not self.down:
            self._serve(vf)  # do not overwrite a message that waits: the stock driver can, when it loses a race
        self._send(vf, [PF_CONTROL | (CTS if self.vfs[vf].clear_to_send else 0)])

    def _send(self, vf: int, words: Sequence[int], tries: int = LOCK_TRIES) -> None:
        """``igb_write_mbx_pf``: take the buffer, forget what was pending, store, signal. Given up after ``LOCK_TRIES``."""
        mailbox = self.mailboxes[vf]
        if mailbox is None or self.down:
            return
        if not self._lock(mailbox):
            if tries:
                self.clock.call_at(self.clock.now() + LOCK_PAUSE, lambda: self._send(vf, words, tries - 1))
            return
        bit = 1 << vf
        self.events.requests &= ~bit
        self.events.acks &= ~bit
        mailbox.write(words)
        self.counts.messages_sent += 1
        mailbox.write_p2v(p2v.STS)

    @staticmethod
    def _lock(mailbox: VfMailbox) -> bool:
        mailbox.write_p2v(p2v.PFU)
        return bool(mailbox.read_p2v() & p2v.PFU)

    # -- the interrupt

    def _interrupt(self) -> None:
        if not self.down:
            self.clock.defer(self._mailbox_task)

    def _mailbox_task(self) -> bool:
        """``igb_msg_task``: of each VF first its reset, then its message, then its acknowledgement."""
        if not self.down:
            for vf in range(len(self.vfs)):
                self._serve(vf)
        return False

    def _serve(self, vf: int) -> None:
        events, bit = self.events, 1 << vf
        if events.resets & bit:
            events.resets &= ~bit
            self.counts.resets += 1
            self._vf_reset_event(vf)
        if events.requests & bit and vf not in self._waiting:
            events.requests &= ~bit
            self.counts.requests += 1
            self._receive(vf, LOCK_TRIES)
        if events.acks & bit:
            events.acks &= ~bit
            self.counts.acks += 1
            self._receive_ack(vf)

    def _paused(self, vf: VfData) -> bool:
        return self.clock.now() - vf.last_nack <= NACK_PAUSE

    def _receive_ack(self, vf: int) -> None:
        """``igb_rcv_ack_from_vf``: a VF that reads without being clear to send is told so, now and then."""
        data = self.vfs[vf]
        if not data.clear_to_send and not self._paused(data):
            self._send(vf, [NACK])
            data.last_nack = self.clock.now()

    def _receive(self, vf: int, tries: int) -> None:
        """``igb_rcv_msg_from_vf``: take the buffer and the message, acknowledge, act, answer."""
        self._waiting.discard(vf)
        mailbox, data = self.mailboxes[vf], self.vfs[vf]
        if mailbox is None or self.down:
            return
        if not self._lock(mailbox):
            if tries:
                self._waiting.add(vf)
                self.clock.call_at(self.clock.now() + LOCK_PAUSE, lambda: self._retry(vf, tries - 1))
            else:  # the VF keeps the buffer: it must start over (and cannot be told, for the same reason)
                log.warning("%s: cannot receive from VF %d: it does not release the mailbox", self.name, vf)
                data.clear_to_send = False
            return
        words = list(mailbox.words)
        mailbox.write_p2v(p2v.ACK | p2v.PFU)
        self.counts.messages_received += 1
        reply = self._answer(vf, words)
        if reply is None:
            self.counts.ignored += 1
            mailbox.write_p2v(0)
        else:
            self.counts.refused += bool(reply[0] & NACK)
            self._send(vf, reply)

    def _retry(self, vf: int, tries: int) -> None:
        if vf in self._waiting:  # not if the PF was reset meanwhile
            self._receive(vf, tries)

    def _answer(self, vf: int, words: list[int]) -> list[int] | None:
        """The reply to a message, or None for none."""
        data, first = self.vfs[vf], words[0]
        if first & (ACK | NACK):  # our own reply, still there
            return None
        if first == RESET:
            return self._vf_reset_message(vf)
        if not data.clear_to_send:
            return None if self._paused(data) else [first | NACK]
        return [self.settings.answer(vf, words)]

    # -- resets of a VF

    def vf_was_reset(self, vf: int) -> None:
        """The hardware's part, at once: the queues stop, and the PF is told through VFLRE."""
        mailbox, bit = self.mailboxes[vf], 1 << vf
        r = self.registers
        r.enable(receive=r.state.vfre & ~bit, transmit=r.state.vfte & ~bit)
        self._waiting.discard(vf)
        if mailbox is not None:
            mailbox.vf_resets(pf_in_reset=self.in_reset)
        self.tell_link(vf)

    def _vf_reset_event(self, vf: int) -> None:
        """``igb_vf_reset_event``: an address that the host did not set is forgotten."""
        data = self.vfs[vf]
        if not data.pf_set_mac:
            data.mac = data.given_mac
        self.settings.reset(vf, self.clock.now())

    def _vf_reset_message(self, vf: int) -> list[int]:
        """``igb_vf_reset_msg``: open the queues, clear to send; the answer carries the address, or NACK for none."""
        self.settings.reset(vf, self.clock.now())
        data, r, bit = self.vfs[vf], self.registers, 1 << vf
        self.settings.macs.set_vf(vf, data.mac)
        r.enable(receive=r.state.vfre | bit, transmit=r.state.vfte | bit)
        self._wake(vf)
        data.clear_to_send = True
        if data.mac == ZERO:
            return [RESET | NACK, 0, 0]
        low, high = data.mac[:4], data.mac[4:]
        return [RESET | ACK, int.from_bytes(low, "little"), int.from_bytes(high, "little")]

    # -- state

    def save(self) -> dict[str, Any]:
        vfs = [{**asdict(vf), "mac": vf.mac.hex(), "given_mac": vf.given_mac.hex()} for vf in self.vfs]
        now = self.clock.now()
        for vf in vfs:
            vf["last_nack"] -= now  # time has another origin where it is loaded
        return {
            "vfs": vfs,
            "registers": self.registers.save(),
            "macs": self.settings.macs.save(),
            "down": self.down,
            "in_reset": self.in_reset,
            "events": [self.events.requests, self.events.acks, self.events.resets],
        }

    def load(self, image: Mapping[str, Any]) -> None:
        """Raises KeyError, TypeError or ValueError for an image that is not of such a port."""
        names = {f.name for f in fields(VfData)}
        vfs = []
        for saved in image["vfs"]:
            if set(saved) != names:
                raise ValueError("VF data of another version")
            vf = VfData(**{**saved, "mac": bytes.fromhex(saved["mac"]), "given_mac": bytes.fromhex(saved["given_mac"])})
            vf.last_nack += self.clock.now()
            vfs.append(vf)
        requests, acks, resets = (int(word) for word in image["events"])
        if len(vfs) != len(self.vfs):
            raise ValueError("another number of VFs")
        self.settings.macs.load(image["macs"])
        self.registers.load(image["registers"])
        self.settings.vfs = vfs
        self.events.requests, self.events.acks, self.events.resets = requests, acks, resets
        self.down, self.in_reset = bool(image["down"]), bool(image["in_reset"])
        if self.down:  # the timer that would have gone on was not saved: the reset begins anew
            self.clock.call_at(self.clock.now(), self._reset_hardware)
        self._interrupt()
        self._tell_link()
