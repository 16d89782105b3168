"""A transmit queue: a ring of packets that the device sends, in order.

In here: the ring, its burst, and what offloads make of descriptors. A burst of packets which are whole in one buffer and ask
for nothing (the plain case) is written by column, any other one descriptor after the other. TDT is stored once per burst, and
only the last descriptor of a burst asks for a report (RS): when that is done, so are those before it. TXDCTL.WTHRESH stays 0,
so reports are not held back (TXDCTL, DS 8.12).

Sources: DS 7.2.2 (descriptors), chapter 7.2 (segmentation, checksums); Linux igbvf/netdev.c ``igbvf_configure_tx``,
``igbvf_tso``, ``igbvf_tx_csum``, ``igbvf_tx_queue_adv``; DPDK igb_rxtx.c ``eth_igbvf_tx_init``, ``igbe_set_xmit_ctx``,
``eth_igb_xmit_pkts``.
"""

from __future__ import annotations

from collections import deque
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from drivers.errors import RingError
from drivers.ethdev import QueueSetup
from drivers.mempool import MAX_ROOM, NONE, Indices, Mempool, TxFlag
from drivers.nics.spans import Spans
from drivers.nics.words import mask, shift, value
from drivers.registers.igbvf import Igbvf
from drivers.transports import Transport
from regmodel.errors import UsageError
from regmodel.layout import layout
from regmodel.rings.igb import TX_CONTEXT, TX_DATA, TX_WRITEBACK

Words: TypeAlias = NDArray[np.uint64]

SIZE = layout(TX_DATA).size
ENABLE_TIME = 0.1
"""Seconds for TXDCTL.ENABLE to read back, as for receive queues."""
LONGEST = layout(TX_DATA).field("olinfo_status", "paylen").mask >> layout(TX_DATA).field("olinfo_status", "paylen").lsb
"""Bytes of a packet that a descriptor can tell."""
CONTEXTS = 2
"""Slots of a queue for contexts (DS 7.2.2.2; igb_rxtx.c ``IGB_CTX_NUM``)."""

# The second word of a data descriptor: command, type and length in its low half, offloads and packet length in its high half.
_DTYP_DATA = value(TX_DATA, "cmd_type_len", "dtyp", "DATA")
_DATA = _DTYP_DATA | mask(TX_DATA, "cmd_type_len", "dext") | mask(TX_DATA, "cmd_type_len", "ifcs")
_EOP, _RS, _VLE, _TSE = (mask(TX_DATA, "cmd_type_len", name) for name in ("eop", "rs", "vle", "tse"))
_IXSM, _TXSM = (mask(TX_DATA, "olinfo_status", name) for name in ("ixsm", "txsm"))
_IDX, _PAYLEN = shift(TX_DATA, "olinfo_status", "idx"), shift(TX_DATA, "olinfo_status", "paylen")
_LENGTHS = 1 << _PAYLEN | 1 << shift(TX_DATA, "cmd_type_len", "dtalen")
"""What a length is multiplied with to stand in both of its places."""
_COMMANDS = np.arange(MAX_ROOM + 1, dtype=np.uint64) * np.uint64(_LENGTHS) | np.uint64(_DATA | _EOP)
"""The second word of a whole packet by its length: one look-up is a fifth of the arithmetic."""
_REPORT = np.uint64(_RS)
_REPORT_AT = layout(TX_WRITEBACK).offsets["status"] // 4
_DONE = layout(TX_WRITEBACK).field("status", "dd").mask

# A context descriptor
_VLAN, _MACLEN, _IPLEN = (shift(TX_CONTEXT, "vlan_macip_lens", name) for name in ("vlan", "maclen", "iplen"))
_CONTEXT = value(TX_CONTEXT, "type_tucmd_mlhl", "dtyp", "CONTEXT") | mask(TX_CONTEXT, "type_tucmd_mlhl", "dext")
_IPV4 = mask(TX_CONTEXT, "type_tucmd_mlhl", "ipv4")
_SLOT, _L4LEN, _MSS = (shift(TX_CONTEXT, "mss_l4len_idx", name) for name in ("idx", "l4len", "mss"))
_L4T = {
    flag: value(TX_CONTEXT, "type_tucmd_mlhl", "l4t", name)
    for flag, name in ((TxFlag.UDP_CKSUM, "UDP"), (TxFlag.TCP_CKSUM, "TCP"), (TxFlag.SCTP_CKSUM, "SCTP"))
}
_OFFLOADS = TxFlag.VLAN | TxFlag.IP_CKSUM | TxFlag.L4_MASK | TxFlag.TCP_SEG


class TransmitQueue:
    """Queue ``index``, running once it is made. ``sent`` counts packets taken."""

    def __init__(self, registers: Igbvf, transport: Transport, index: int, setup: QueueSetup) -> None:
        self.index, self.registers = index, registers
        self.sent = 0
        self._pool, self._count = setup.pool, setup.descriptors
        self._coherent = transport.coherent
        self._store_tail = registers.tdt[index].store
        self._tail = self._clean = 0
        self._free = self._count - 1  # a full ring would look empty
        self._low = self._count // 4  # fewer free ones than that: see what is done (DPDK's tx_free_thresh)
        self._marks: deque[tuple[int, int, bool]] = deque()
        """By burst: its last descriptor, how many it has, and whether they are plain."""
        self._contexts: list[tuple[int, int] | None] = [None] * CONTEXTS
        self._next_slot = 0
        self._memory = transport.alloc(SIZE * self._count)
        self._buffers: Indices = np.full(self._count, NONE, np.intp)
        words: Words = np.frombuffer(self._memory.view, np.uint64, 2 * self._count)
        self._spans = Spans(words[0::2], words[1::2], self._buffers)
        self._reports = self._memory.view.cast("I")
        try:
            self._start()
        except BaseException:
            self.release()
            raise

    # -- up and down

    def _start(self) -> None:
        """netdev.c ``igbvf_configure_tx``; the device was reset, so the queue is disabled."""
        r, q = self.registers, self.index
        base = self._memory.iova
        r.tdlen[q].write(SIZE * self._count)
        r.tdbal[q].write(base & 0xFFFF_FFFF)
        r.tdbah[q].write(base >> 32)
        r.tdh[q].write(0)
        r.tdt[q].write(0)
        with r.txctl[q].modify() as hints:  # write-backs in order: a report says that all before it is done
            hints.txdesc_wbro_en = 0
        r.txdctl[q].write(enable=1)
        r.txdctl[q].wait(enable=1, timeout=ENABLE_TIME)

    def stop(self) -> None:
        """netdev.c ``igbvf_down``."""
        with self.registers.txdctl[self.index].modify() as control:
            control.enable = 0

    def release(self) -> None:
        """Give back all buffers and the ring, which the device does not touch any more."""
        while self._marks:
            self._release(*self._marks.popleft()[1:])
        self._spans.forget()  # no array may look into memory that is given back
        self._reports = memoryview(b"")
        self._memory.free()

    def check(self, head: int) -> None:
        """Look whether the ring is as it was left; ``head`` is TDH. Raises ``RingError``."""
        if head >= self._count or (head - self._clean) % self._count > (self._tail - self._clean) % self._count:
            given = f"the descriptors that were given are {self._clean} to {self._tail}"
            raise RingError(f"TDH[{self.index}] is {head} of {self._count}, and {given}; reset()")

    # -- packets

    def burst(self, packets: Indices) -> int:
        """See ``drivers.ethdev``."""
        n = len(packets)
        if self._free < n or self._free < self._low:
            self.reclaim()
        flags = self._pool.tx_flags[packets].tobytes()
        if flags.count(0) < n:
            return self._walk(packets)
        if n > self._free:
            n = self._free
            packets = packets[:n]
        if not n:
            return 0
        tail, straight = self._tail, self._count - self._tail
        commands = _COMMANDS[self._pool.length[packets]]
        commands[n - 1] |= _REPORT
        addresses = self._pool.iova[packets]
        if n <= straight:
            self._give(tail, addresses, commands, packets)
        else:
            self._give(tail, addresses[:straight], commands[:straight], packets[:straight])
            self._give(0, addresses[straight:], commands[straight:], packets[straight:])
        if not self._coherent:
            self._pool.sync_for_device(packets)
        self._ring(n, True)
        self.sent += n
        return n

    def _give(self, at: int, addresses: Words, commands: Words, buffers: Indices) -> None:
        """Descriptors without a wrap."""
        n = len(buffers)
        address, command, held = self._spans[at, n]
        address[...] = addresses
        command[...] = commands
        held[...] = buffers
        self._memory.sync_for_device(SIZE * at, SIZE * n)

    def _ring(self, n: int, plain: bool) -> None:
        """``n`` more descriptors are the device's."""
        last = (self._tail + n - 1) % self._count
        self._marks.append((last, n, plain))
        self._free -= n
        self._tail = tail = last + 1 if last + 1 < self._count else 0
        self._store_tail(tail)

    def reclaim(self) -> int:
        """See ``drivers.ethdev`` (netdev.c ``igbvf_clean_tx_irq``)."""
        marks, done, all_plain = self._marks, 0, True
        while marks:
            last, n, plain = marks[0]
            self._memory.sync_for_cpu(SIZE * last, SIZE)
            if not self._reports[4 * last + _REPORT_AT] & _DONE:
                break
            marks.popleft()
            done += n
            all_plain &= plain
        if done:
            self._release(done, all_plain)
        return self._free

    def _release(self, n: int, plain: bool) -> None:
        """The first ``n`` descriptors that were given are ours again, their buffers the pool's."""
        at, count = self._clean, self._count
        end = at + n
        held = self._buffers[at:end] if end <= count else np.concatenate((self._buffers[at:], self._buffers[: end - count]))
        if not plain:
            held = held[held != NONE]
            self._pool.tx_flags[held] = 0
        self._pool.give(held)
        self._clean = end if end < count else end - count
        self._free += n

    # -- all that is not plain

    def _walk(self, packets: Indices) -> int:
        """One packet after the other (igb_rxtx.c ``eth_igb_xmit_pkts``)."""
        pool = self._pool
        addresses: list[int] = []
        commands: list[int] = []
        held: list[int] = []
        taken = 0
        for packet in packets.tolist():
            chain = pool.chain_of(packet)
            needed = len(addresses) + len(chain) + 1  # one for a context
            if needed > self._free and needed > self.reclaim():
                self._check_fits(packet, len(chain))
                break
            lengths = pool.length[chain].tolist()
            length = sum(lengths)
            if length > LONGEST:
                self._check_fits(packet, len(chain), length)
            taken += 1
            flags = int(pool.tx_flags[packet])
            command, first = _DATA, length << _PAYLEN
            if flags & _OFFLOADS:
                low, high, command, first = self._offload(pool, packet, flags, length)
                if (slot := self._slot_of((low, high))) < 0:
                    slot = self._new_slot((low, high))
                    addresses.append(low)
                    commands.append(high | slot << _SLOT)
                    held.append(NONE)
                first |= slot << _IDX
            addresses += pool.iova[chain].tolist()
            commands += [command | first | length for length in lengths]
            commands[-1] |= _EOP
            held += chain
        if not taken:
            return 0
        commands[-1] |= _RS
        self._store(addresses, commands, held)
        self.sent += taken
        return taken

    def _check_fits(self, packet: int, buffers: int, length: int = 0) -> None:
        """Raises ``UsageError`` for a packet that can never go; then nothing of its burst has been taken."""
        if buffers + 1 >= self._count or length > LONGEST:
            self._contexts = [None] * CONTEXTS  # one of this burst's may be among them
            has = f"packet {packet} has {self._pool.packet_length(packet)} bytes in {buffers} buffers"
            takes = f"transmit queue {self.index} takes {LONGEST} bytes in {self._count - 2} buffers"
            raise UsageError(f"{has}, and {takes}")

    def _store(self, addresses: list[int], commands: list[int], held: list[int]) -> None:
        n, tail, straight = len(held), self._tail, self._count - self._tail
        low, high, buffers = np.array(addresses, np.uint64), np.array(commands, np.uint64), np.array(held, np.intp)
        self._give(tail, low[:straight], high[:straight], buffers[:straight])
        if n > straight:
            self._give(0, low[straight:], high[straight:], buffers[straight:])
        if not self._coherent:
            self._pool.sync_for_device(buffers[buffers != NONE])
        self._ring(n, False)

    def _slot_of(self, context: tuple[int, int]) -> int:
        return self._contexts.index(context) if context in self._contexts else -1

    def _new_slot(self, context: tuple[int, int]) -> int:
        """The slots take turns: the device keeps a context until another one takes its place (DS 7.2.2.2)."""
        slot, self._next_slot = self._next_slot, (self._next_slot + 1) % CONTEXTS
        self._contexts[slot] = context
        return slot

    @staticmethod
    def _offload(pool: Mempool, packet: int, flags: int, length: int) -> tuple[int, int, int, int]:
        """Both words of the context (without its slot), and command and offloads of the packet's descriptors.

        netdev.c ``igbvf_tso``, ``igbvf_tx_csum``, ``igbvf_tx_queue_adv``; igb_rxtx.c ``igbe_set_xmit_ctx``.
        """
        low, high, command, info = 0, _CONTEXT, _DATA, 0
        if flags & TxFlag.VLAN:
            low |= int(pool.vlan[packet]) << _VLAN
            command |= _VLE
        segment = flags & TxFlag.TCP_SEG
        l4 = TxFlag.TCP_CKSUM if segment else flags & TxFlag.L4_MASK
        if l4 or flags & TxFlag.IP_CKSUM:
            low |= int(pool.l2_len[packet]) << _MACLEN | int(pool.l3_len[packet]) << _IPLEN
            high |= 0 if flags & TxFlag.IPV6 else _IPV4
        if flags & TxFlag.IP_CKSUM or (segment and not flags & TxFlag.IPV6):
            info |= _IXSM
        if l4:
            high |= _L4T[l4]
            info |= _TXSM
        if segment:
            l4_len = int(pool.l4_len[packet])
            high |= int(pool.tso_segsz[packet]) << _MSS | l4_len << _L4LEN
            command |= _TSE
            length -= int(pool.l2_len[packet]) + int(pool.l3_len[packet]) + l4_len
        return low, high, command, info | max(length, 0) << _PAYLEN
