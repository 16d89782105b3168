"""The control queue: commands of the driver, and one octet of answer to each.

In here: the queue's burst, and what each command asks for. A command that is not understood, was not negotiated, or does not
make sense is answered with an error and changes nothing; a chain that is no command breaks the queue.

Sources: VIRTIO 1.3, 5.1.6.5; linux/virtio_net.h; QEMU hw/net/virtio-net.c ``virtio_net_handle_ctrl_iov`` and what it calls.
"""

from __future__ import annotations

from collections.abc import Callable
from struct import Struct
from struct import error as StructError
from typing import TYPE_CHECKING

from emulators.nics.virtio.queue import Chain, Queue, QueueError
from emulators.nics.virtio.rss import ALL_TYPES, Rss
from regmodel.errors import DmaFault
from regmodel.structures.virtio_features import Feature
from regmodel.structures.virtio_net import ERR, OK, RSS_KEY, RSS_TABLE

if TYPE_CHECKING:
    from emulators.nics.virtio.device import VirtioNet

BURST = 16
"""Commands per burst."""
LONGEST = 1 << 16
"""Octets of a command, here; the longest sensible one is a MAC table."""
HEADER, MAC = 2, 6
RX_MODES = ("promisc", "allmulti", "alluni", "nomulti", "nouni", "nobcast")
_U16, _U32, _U64 = Struct("<H"), Struct("<I"), Struct("<Q")
_RSS = Struct("<IHH")
_RSS_TRAILER = Struct("<HB")
_HASH = Struct("<I8xB")

Command = Callable[["VirtioNet", bytes], bool]


class ControlQueue:
    """Virtqueue ``number`` of ``device``."""

    def __init__(self, device: VirtioNet, number: int, queue: Queue) -> None:
        self.device, self.host, self.number, self.queue = device, device.host, number, queue
        self.doorbells = self.interrupts = self.commands = self.refused = 0
        self._burst = self.burst

    def notify(self) -> None:
        """A doorbell."""
        self.doorbells += 1
        self.host.defer(self._burst)

    def close(self) -> None:
        self.queue.close()

    def counters(self) -> dict[str, int]:
        """By name, since the queue was enabled."""
        return {name: getattr(self, name) for name in ("doorbells", "interrupts", "commands", "refused")}

    def burst(self) -> bool:
        """Do up to ``BURST`` commands. True when the queue is to be looked at again."""
        if self.queue.closed:
            return False
        try:
            return self._work()
        except QueueError as error:
            self.queue.close()
            self.device.broken(self.number, error)
            return False

    def _work(self) -> bool:
        queue = self.queue
        queue.quiet()
        chains = queue.take(BURST)
        if not chains:
            return queue.listen()
        queue.give([(chain, self._answer(chain)) for chain in chains])
        if queue.should_interrupt():
            self.interrupts += 1
            self.device.interrupt(self.number)
        return not queue.closed

    def _answer(self, chain: Chain) -> int:
        """Do one command and write its answer; how many octets that is."""
        if not chain.writable:
            raise QueueError("control-without-answer", head=chain.head)
        octets = sum(length for _, length in chain.readable)
        if not HEADER <= octets <= LONGEST:
            raise QueueError("control-length", head=chain.head, octets=octets)
        try:
            data = b"".join(self.host.dma.gather(*zip(*chain.readable, strict=True)))
            if self.queue.closed:  # while the guest's memory was read
                return 0
            done = self._do(data)
            self.host.dma.write(chain.writable[0][0], bytes((OK if done else ERR,)))
        except DmaFault as fault:
            raise QueueError("control-unreachable", fault=str(fault)) from None
        return 1

    def _do(self, data: bytes) -> bool:
        """One command: True when it was done."""
        tell = self.device.slot.card.on_mailbox
        if tell is not None:
            padded = data.ljust(-(-len(data) // 4) * 4, b"\0")
            tell(self.device.slot.name, "driver", [word for (word,) in _U32.iter_unpack(padded)])
        self.commands += 1
        feature, command = COMMANDS.get((data[0], data[1]), (Feature(0), _unknown))
        try:
            if feature in self.device.features and command(self.device, data[HEADER:]):
                return True
        except StructError:
            pass  # shorter than it has to be
        self.refused += 1
        self.host.diagnose("control-refused", command_class=data[0], command=data[1], octets=len(data))
        return False


def _unknown(device: VirtioNet, data: bytes) -> bool:
    return False


def _mode(name: str) -> Command:
    def command(device: VirtioNet, data: bytes) -> bool:
        if not data:
            return False
        device.filters.set_mode(name, bool(data[0]))
        return True

    return command


def _table_set(device: VirtioNet, data: bytes) -> bool:
    unicast, rest = _addresses(data)
    multicast, rest = _addresses(rest)
    if rest:
        return False
    device.filters.set_table(unicast, multicast)
    return True


def _addresses(data: bytes) -> tuple[list[bytes], bytes]:
    """The addresses of one table, and what follows it. Raises struct.error."""
    (count,) = _U32.unpack_from(data)
    end = _U32.size + MAC * count
    if end > len(data):
        raise StructError("the table ends before its last address")
    return [data[at : at + MAC] for at in range(_U32.size, end, MAC)], data[end:]


def _addr_set(device: VirtioNet, data: bytes) -> bool:
    if len(data) != MAC or data[0] & 1:
        return False
    device.set_mac(data)
    return True


def _vlan(on: bool) -> Command:
    def command(device: VirtioNet, data: bytes) -> bool:
        (vid,) = _U16.unpack(data)
        if vid > 0xFFF:
            return False
        device.filters.set_vlan(vid, on)
        return True

    return command


def _announce_ack(device: VirtioNet, data: bytes) -> bool:
    device.announced()
    return True


def _pairs_set(device: VirtioNet, data: bytes) -> bool:
    (pairs,) = _U16.unpack(data)
    if not 1 <= pairs <= device.pairs_most:
        return False
    device.use_pairs(pairs)
    return True


def _rss_config(device: VirtioNet, data: bytes) -> bool:
    """VIRTIO 1.3, 5.1.6.5.7. Queues are named by their pair (rss_rq_id)."""
    types, mask, unclassified = _RSS.unpack_from(data)
    entries = mask + 1
    if entries & mask or entries > RSS_TABLE:
        return False
    table = Struct(f"<{entries}H").unpack_from(data, _RSS.size)
    at = _RSS.size + 2 * entries
    pairs, size = _RSS_TRAILER.unpack_from(data, at)
    key = data[at + _RSS_TRAILER.size : at + _RSS_TRAILER.size + size]
    most = device.pairs_most
    if not _hashable(types, key, size) or not 1 <= pairs <= most or max(*table, unclassified) >= most:
        return False
    device.use_rss(Rss(types, key.ljust(RSS_KEY, b"\0"), table, unclassified, pairs), pairs)
    return True


def _hash_config(device: VirtioNet, data: bytes) -> bool:
    types, size = _HASH.unpack_from(data)
    key = data[_HASH.size : _HASH.size + size]
    if not _hashable(types, key, size):
        return False
    device.report_hash(Rss(types, key.ljust(RSS_KEY, b"\0")))
    return True


def _hashable(types: int, key: bytes, size: int) -> bool:
    return not types & ~ALL_TYPES and len(key) == size <= RSS_KEY


def _offloads_set(device: VirtioNet, data: bytes) -> bool:
    from emulators.nics.virtio.device import GUEST_OFFLOADS

    (offloads,) = _U64.unpack(data)
    if offloads & ~(device.features & GUEST_OFFLOADS):
        return False
    device.set_offloads(Feature(offloads))
    return True


_RX, _MAC, _VLAN, _ANNOUNCE, _MQ, _OFFLOADS = range(6)
COMMANDS: dict[tuple[int, int], tuple[Feature, Command]] = {
    **{(_RX, n): (Feature.CTRL_RX if n < 2 else Feature.CTRL_RX_EXTRA, _mode(name)) for n, name in enumerate(RX_MODES)},
    (_MAC, 0): (Feature.CTRL_RX, _table_set),
    (_MAC, 1): (Feature.CTRL_MAC_ADDR, _addr_set),
    (_VLAN, 0): (Feature.CTRL_VLAN, _vlan(True)),
    (_VLAN, 1): (Feature.CTRL_VLAN, _vlan(False)),
    (_ANNOUNCE, 0): (Feature.GUEST_ANNOUNCE, _announce_ack),
    (_MQ, 0): (Feature.MQ, _pairs_set),
    (_MQ, 1): (Feature.RSS, _rss_config),
    (_MQ, 2): (Feature.HASH_REPORT, _hash_config),
    (_OFFLOADS, 0): (Feature.CTRL_GUEST_OFFLOADS, _offloads_set),
}
"""By class and number: the feature that a command needs, and what it does."""
