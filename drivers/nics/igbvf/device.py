"""``IgbVf``: a VF as a port. Resets, the address, what is asked of the PF, link, and the queues as a whole.

In here: the order of things, as ``drivers.ethdev`` asks for them. How a message travels is in ``mailbox``, how packets do in
``receive`` and ``transmit``.

A VF owns its queues and its interrupts; everything else it asks the PF for, and all of that is forgotten when either of them
is reset. A PF that goes through a reset says so by a control message without CTS, by RSTI and by RSTD; ``watch`` and
``link_get`` see it, ``reset_needed`` says it, ``reset`` mends it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

from drivers.errors import MailboxRefused, NotSupported, ResetStuck, RingError
from drivers.ethdev import Descriptors, EthDev, Event, Info, Link, RxOffload, Stats, TxOffload
from drivers.nics.igbvf.interrupts import Interrupts
from drivers.nics.igbvf.mailbox import Mailbox, PfWasReset
from drivers.nics.igbvf.receive import KIB, ReceiveQueue
from drivers.nics.igbvf.statistics import Statistics
from drivers.nics.igbvf.transmit import TransmitQueue
from drivers.registers.igbvf import Igbvf
from drivers.transports import Transport
from regmodel.catalogue import Device
from regmodel.errors import UsageError

RESET_TIME = 3.0
"""Seconds for a PF to come out of reset. Linux gives up after 200 times 5 us and tries again later (``e1000_reset_hw_vf``)."""
LOOK = 1e-3
"""Seconds between two looks at RSTI and RSTD, and after a reset that nobody answers."""
STOP_TIME = 0.01
"""Seconds in which queues that were disabled come to rest (netdev.c ``igbvf_down``)."""
HASHES = 30
"""Multicast hashes in a message (vf.c ``e1000_update_mc_addr_list_vf``)."""
FILTERS = 3
"""Unicast addresses beside the own one (igbvf.h ``IGBVF_MAX_MAC_FILTERS``)."""
MAX_MTU = 9216
"""netdev.c ``igbvf_probe`` and defines.h ``MAX_STD_JUMBO_FRAME_SIZE``."""
OVERHEAD, VLAN_TAG, FCS = 18, 4, 4
"""Octets: Ethernet header and FCS, a tag, the FCS alone."""
SPEEDS = {0: 10, 1: 100, 2: 1000}
"""Mbit/s by STATUS.SPEED."""
RX_OFFLOADS = RxOffload.CHECKSUM | RxOffload.VLAN_FILTER | RxOffload.SCATTER | RxOffload.RSS_HASH | RxOffload.PACKET_TYPE
TX_OFFLOADS = (
    TxOffload.VLAN_INSERT
    | TxOffload.IPV4_CKSUM
    | TxOffload.UDP_CKSUM
    | TxOffload.TCP_CKSUM
    | TxOffload.SCTP_CKSUM
    | TxOffload.TCP_TSO
    | TxOffload.MULTI_SEGS
)


class IgbVf(EthDev):
    """A virtual function of an 82576 or I350.

    ``mac`` is the address to use where the PF offers none; without it, such a VF takes a random one. ``interval`` is the least
    time between two interrupts of a vector, in microseconds.
    """

    driver = "igbvf"

    def __init__(self, transport: Transport, device: Device, *, mac: bytes | None = None, interval: int = 0) -> None:
        super().__init__(transport, device)
        if not 0 <= interval < 1 << 13:
            raise UsageError(f"an interrupt interval has 0 to {(1 << 13) - 1} us, not {interval}")
        self.registers = Igbvf(device, transport)
        self.mailbox = Mailbox(self.registers, transport, device.mailboxes[0])
        self.link_changes = 0
        self._was_up, self._told_changes = False, 0
        self._interval = interval
        self._interrupts: Interrupts | None = None
        self._interrupt_counts = [0] * (len(self.registers.rdt) + 1)
        self._receivers: list[ReceiveQueue] = []
        self._senders: list[TransmitQueue] = []
        self._rx_totals = [0, 0]  # errors and lack of buffers in queues that are no more
        self._random = mac
        self._mac = bytes(6)
        self.registers.status.read()  # raises DeviceGone
        self.statistics = Statistics(self.registers)
        self._reset()
        self._told_changes = self.link_changes

    # -- what it is

    def info(self) -> Info:
        queues = len(self.registers.rdt)
        ring = Descriptors(32, 4096, 8)  # RDLEN counts in 128 bytes (e1000_ethdev.h IGB_RXD_ALIGN)
        return Info(
            driver=self.driver,
            device=self.device.name,
            max_rx_queues=queues,
            max_tx_queues=queues,
            rx_descriptors=ring,
            tx_descriptors=ring,
            max_mtu=MAX_MTU,
            min_rx_room=KIB,
            max_mac_addrs=1 + FILTERS,
            max_mc_addrs=HASHES,
            rx_offloads=RX_OFFLOADS,
            tx_offloads=TX_OFFLOADS,
            tso_max_mss=9216,
            tso_max_header=512,
            rx_interrupts=True,
        )

    @property
    def mac_addr(self) -> bytes:
        return self._mac

    # -- resets

    @property
    def reset_needed(self) -> bool:
        return self.mailbox.lost

    def _reset(self) -> None:
        """vf.c ``e1000_reset_hw_vf``: CTRL.RST, wait for the PF, then tell it; its answer brings the address."""
        end = self.transport.now() + RESET_TIME
        self.registers.status.read()  # raises DeviceGone
        if not self.mailbox.lost:
            self.statistics.update()
        while True:
            self.registers.ctrl.write(rst=1)
            self.registers.forget()
            self._wait_for_pf(end)
            try:
                answer = self.mailbox.ask("reset")
            except PfWasReset:
                if self.transport.now() < end:
                    continue
                raise
            break
        self.mailbox.lost = False
        self.statistics.rebase()
        given = bytes(answer.mac)
        if answer.header.ack and any(given):
            self._mac = given
        else:
            self._choose_mac()
        self._link()

    def _wait_for_pf(self, end: float) -> None:
        """Nothing can be asked while RSTI or RSTD is seen."""
        while True:
            late = self.transport.now() >= end
            seen = self.registers.v2pmailbox.fields()
            if not seen["rsti"] and not seen["rstd"]:
                return
            if late:
                bits = " and ".join(name.upper() for name in ("rsti", "rstd") if seen[name])
                text = f"V2PMAILBOX shows {bits} for {RESET_TIME:g} s: the PF does not come out of reset; see to its driver"
                raise ResetStuck(f"{self.transport.name}: {text}")
            self.transport.sleep(LOOK)

    def _choose_mac(self) -> None:
        """The PF has no address for us (netdev.c ``igbvf_probe``): locally administered, the same for as long as we live."""
        if self._random is None:
            self._random = bytes((os.urandom(1)[0] & 0xFC | 0x02, *os.urandom(5)))
        self._mac_addr_set(self._random)

    # -- up and down

    def _start(self) -> None:
        """DPDK igb_ethdev.c ``igbvf_dev_start``; filters before queues, so that no packet comes that was not asked for."""
        self._reset()
        try:
            self._restore()
            swapped = bool(self.device.variant.get("loopback_vlan_swapped"))
            offloads = self.settings.rx_offloads
            for q in range(self.settings.tx_queues):
                self._senders.append(TransmitQueue(self.registers, self.transport, q, self._tx_setups[q]))
            for q in range(self.settings.rx_queues):
                setup = self._rx_setups[q]
                queue = ReceiveQueue(self.registers, self.transport, q, setup, offloads, swapped=swapped)
                self._receivers.append(queue)
        except BaseException:
            self._abandon()
            raise
        counts = self._interrupt_counts
        self._interrupts = Interrupts(self.registers, self.transport, self.settings.rx_queues, self._interval, counts)
        self._rx, self._tx = tuple(self._receivers), tuple(self._senders)

    def _stop(self) -> None:
        """netdev.c ``igbvf_down``. The queues rest before their memory goes."""
        try:
            if self._interrupts is not None:
                self._interrupts.disarm()
            for receiver in self._receivers:
                receiver.stop()
            for sender in self._senders:
                sender.stop()
            self.transport.sleep(STOP_TIME)
            self._link()
            if not self.reset_needed:
                self.statistics.update()
        except BaseException:
            self._abandon()
            raise
        self._release()

    def _abandon(self) -> None:
        """Stop everything at once, by CTRL.RST, which needs nobody to answer; DMA that is under way may end."""
        try:
            if self._interrupts is not None:
                self._interrupts.forget()
            self.registers.ctrl.write(rst=1)
            self.transport.sleep(LOOK)
        finally:
            self._release()

    def _release(self) -> None:
        self._interrupts = None
        self._rx, self._tx = (), ()
        for receiver in self._receivers:
            self._rx_totals[0] += receiver.errors
            self._rx_totals[1] += receiver.no_buffers
            receiver.release()
        for sender in self._senders:
            sender.release()
        self._receivers, self._senders = [], []

    def _close(self) -> None:
        """Leave the VF as a reset leaves it: nobody shall find it talking (netdev.c ``igbvf_remove``)."""
        self.registers.ctrl.write(rst=1)

    # -- what the PF is asked for

    def _mac_addr_set(self, address: bytes) -> None:
        """vf.c ``e1000_rar_set_vf``."""
        self.mailbox.ask("set_mac_addr", {"filter": 0}, mac=address)
        self._mac = address

    def _mac_addr_add(self, address: bytes) -> None:
        """vf.c ``e1000_set_uc_addr_vf``."""
        self.mailbox.ask("set_mac_addr", {"filter": 2}, mac=address)

    def _mac_addr_clear(self) -> None:
        """The same. The stock PF looks at the address of this message, too, and refuses zeros, which is what igbvf sends."""
        self.mailbox.ask("set_mac_addr", {"filter": 1}, mac=self._mac)

    def _mc_addr_list(self, addresses: Sequence[bytes]) -> None:
        """vf.c ``e1000_update_mc_addr_list_vf``; more than fit: DPDK's overflow bit, which makes a stock PF let all in."""
        hashes = [multicast_hash(a) for a in addresses[:HASHES]]
        header = {"count": len(hashes), "overflow": int(len(addresses) > HASHES)}
        self.mailbox.ask("set_multicast", header, hashes=hashes + [0] * (HASHES - len(hashes)))

    def _promiscuous(self, on: bool) -> None:
        """DPDK igb_ethdev.c ``igbvf_promiscuous_enable``. Stock ``igb`` grants multicast and refuses unicast in one breath."""
        try:
            self._ask_promiscuous(on, on or self.settings.allmulticast)
        except MailboxRefused as refusal:
            if not self.mailbox.lost:
                self._ask_promiscuous(False, self.settings.allmulticast)
            text = "the PF refuses promiscuous mode, as stock igb does for every VF; use allmulticast, or mac_addr_add"
            raise MailboxRefused(text) from refusal

    def _allmulticast(self, on: bool) -> None:
        """DPDK igb_ethdev.c ``igbvf_allmulticast_enable``."""
        self._ask_promiscuous(self.settings.promiscuous, on or self.settings.promiscuous)

    def _ask_promiscuous(self, unicast: bool, multicast: bool) -> None:
        self.mailbox.ask("set_promisc", {"unicast": int(unicast), "multicast": int(multicast)})

    def _vlan_filter(self, vid: int, on: bool) -> None:
        """vf.c ``e1000_set_vfta_vf``."""
        self.mailbox.ask("set_vlan", {"add": int(on)}, vlan={"vid": vid})

    def _vlan_strip(self, on: bool) -> None:
        raise NotSupported(f"{self.device.name}: its PF decides on the stripping of VLAN tags (VMOLR.STRVLAN); see rx_flags")

    def _mtu(self, mtu: int) -> None:
        """netdev.c ``igbvf_set_rlpml``: with room for a tag."""
        self.mailbox.ask("set_lpe", max_frame_size=mtu + OVERHEAD + VLAN_TAG)

    # -- link, the PF, statistics

    def _link(self) -> Link:
        """vf.c ``e1000_check_for_link_vf``, ``e1000_get_link_up_info_vf``: no link where the PF does not talk to us."""
        status = self.registers.status.fields()
        self.mailbox.look()
        up = bool(status["lu"]) and not self.reset_needed
        if up != self._was_up:
            self._was_up = up
            self.link_changes += 1
        return Link(up, SPEEDS.get(status["speed"], 1000) if up else 0, bool(status["fd"]), self.link_changes)

    def _watch(self) -> Event:
        """netdev.c ``igbvf_watchdog_task``."""
        self._link()
        if not self.reset_needed:
            self.statistics.update()
            self._check_rings()
        event = Event.RESET if self.reset_needed else Event.NONE
        if self.link_changes != self._told_changes:
            self._told_changes = self.link_changes
            event |= Event.LINK
        return event

    def _check_rings(self) -> None:
        """Heads are where they can be. A reset of the PF puts them to 0 and is no fault of the rings."""
        try:
            for receiver in self._receivers:
                receiver.check(self.registers.rdh[receiver.index].read())
            for sender in self._senders:
                sender.check(self.registers.tdh[sender.index].read())
        except RingError:
            self._link()
            if not self.reset_needed:
                raise

    def _stats(self) -> Stats:
        if not self.reset_needed:
            self.statistics.update()
        t = self.statistics.totals
        return Stats(
            ipackets=t["vfgprc"],
            opackets=t["vfgptc"],
            ibytes=t["vfgorc"] - FCS * t["vfgprc"],
            obytes=t["vfgotc"] - FCS * t["vfgptc"],
            imissed=sum(self.statistics.missed),
            ierrors=self._rx_totals[0] + sum(q.errors for q in self._receivers),
            rx_nombuf=self._rx_totals[1] + sum(q.no_buffers for q in self._receivers),
        )

    def _xstats(self) -> dict[str, int]:
        """The first five are DPDK's (igb_ethdev.c ``rte_igbvf_stats_strings``)."""
        if not self.reset_needed:
            self.statistics.update()
        t, box = self.statistics.totals, self.mailbox
        return {
            "rx_multicast_packets": t["vfmprc"],
            "rx_good_loopback_packets": t["vfgprlbc"],
            "tx_good_loopback_packets": t["vfgptlbc"],
            "rx_good_loopback_bytes": t["vfgorlbc"],
            "tx_good_loopback_bytes": t["vfgotlbc"],
            **{f"rx_q{q}_dropped": count for q, count in enumerate(self.statistics.missed)},
            **{f"interrupts_rx_q{q}": count for q, count in enumerate(self._interrupt_counts[:-1])},
            "interrupts_mailbox": self._interrupt_counts[-1],
            "link_changes": self.link_changes,
            "mailbox_sent": box.sent,
            "mailbox_received": box.received,
            "mailbox_refused": box.refused,
            "pf_resets": box.resets_seen,
        }

    # -- interrupts

    def _armed(self) -> Interrupts:
        assert self._interrupts is not None  # the port is started
        if not self._interrupts.armed:
            self._interrupts.arm()
        return self._interrupts

    def _rx_intr(self, queue: int, on: bool) -> None:
        interrupts = self._armed()
        (interrupts.enable if on else interrupts.disable)(queue)

    def _intr_wait(self, timeout: float) -> tuple[Sequence[int], Event]:
        interrupts, event = self._armed(), Event.NONE
        queues = []
        for vector in interrupts.wait(timeout):
            if vector == interrupts.mailbox:
                event |= self._watch()
                interrupts.judge(vector, self.mailbox.received + self.mailbox.sent + self.link_changes)
                interrupts.enable(vector)  # netdev.c igbvf_msix_other
            else:
                interrupts.judge(vector, self._receivers[vector].taken)
                queues.append(vector)
        return queues, event


def multicast_hash(address: bytes) -> int:
    """Bits 47:36 of an address, 47 being the highest of the last byte (vf.c ``e1000_hash_mc_addr_vf``)."""
    return (address[5] << 8 | address[4]) >> 4
