"""A VF alone on a bench: memory, a clock that stands still, a pool that records; and a driver of its rings.

The driver builds and parses descriptors with construct, as described in ``regmodel.rings.igb``: it shares no code with
the model's own reading of them.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from emulators.dma import BytesMemory, DmaMap
from emulators.fabric.counters import Traffic
from emulators.fabric.frames import kind_of
from emulators.fabric.pool import VlanInsert
from emulators.loop import ManualClock
from emulators.nics.igb.vf import IgbVf
from regmodel.devices.igbvf import IGBVF, IGBVF_I350
from regmodel.function import Buffer, OnDescriptor, ResetCause
from regmodel.rings.igb import RX_READ, RX_WRITEBACK, TX_CONTEXT, TX_DATA

MEMORY = 1 << 20
TX_AT, RX_AT, TX_BUFFERS, RX_BUFFERS, HEADERS = 0x1000, 0x9000, 0x20000, 0x80000, 0xE0000
ENABLE = 1 << 25


class FakePool:
    """What the engine asks of a pool; it records what it is sent. ``on_send`` is called in the middle of sending."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []
        self.bursts = 0
        self.tx, self.tx_loopback = Traffic(), Traffic()
        self.vlan_insert = VlanInsert.DESCRIPTOR
        self.strip_vlan = False
        self.strip_vlan_replicated = False
        self.transmit_enable = True
        self.endpoint: Any = None
        self.local = False
        self.on_send: Callable[[], None] | None = None

    def send(self, frames: Sequence[Buffer]) -> None:
        self.bursts += 1
        for frame in frames:
            self.sent.append(bytes(frame))
            kind = kind_of(bytes(frame[:6]))
            self.tx.count(1, len(frame), kind)
            if self.local:
                self.tx_loopback.count(1, len(frame), kind)
        if self.on_send is not None:
            self.on_send()


@dataclass
class FakeSlot:
    pool: Any
    up: bool = True
    vfs: int = 7
    resets: list[ResetCause] = field(default_factory=list)
    interrupt: Callable[[], None] | None = None

    @property
    def link(self) -> FakeSlot:
        return self

    def mailbox(self, bank: Any, interrupt: Callable[[], None]) -> Any:
        self.interrupt = interrupt
        return None

    def vf_reset(self, cause: ResetCause) -> None:
        self.resets.append(cause)


class FakeHost:
    def __init__(self, pool: FakePool) -> None:
        self.dma = DmaMap()
        self.dma.enabled = True
        self.on_descriptor: OnDescriptor | None = None
        self.memory = BytesMemory(MEMORY)
        self.dma.map(0, MEMORY, self.memory)
        self.clock = ManualClock(1_000_000_000)
        self.packets = pool
        self.irqs: list[int] = []
        self.diagnosed: Counter[str] = Counter()
        self.deferred: dict[Callable[[], bool], None] = {}

    def irq(self, vector: int) -> None:
        self.irqs.append(vector)

    def defer(self, burst: Callable[[], bool]) -> None:
        self.deferred[burst] = None

    def poll(self, burst: Callable[[], bool], quiet: Callable[[], bool] | None = None) -> Any:
        raise AssertionError("a VF has doorbells")

    def diagnose(self, kind: str, **detail: object) -> None:
        self.diagnosed[kind] += 1

    def turn(self) -> None:
        """One turn of the loop: each waiting burst once."""
        ready, self.deferred = self.deferred, {}
        for burst in ready:
            if burst():
                self.deferred[burst] = None

    def settle(self) -> None:
        for _ in range(1000):
            if not self.deferred:
                return
            self.turn()
        raise AssertionError("the engine does not come to rest")


class Station:
    """A VF with its rings set up by hand: 2 KiB buffers, vector 0 transmit, 1 receive, 2 mailbox, as igbvf has them."""

    def __init__(self, silicon: str = "82576", *, tx: int = 64, rx: int = 64) -> None:
        self.pool = FakePool()
        self.host = FakeHost(self.pool)
        self.slot = FakeSlot(self.pool)
        self.vf = IgbVf(IGBVF_I350 if silicon == "I350" else IGBVF, self.host, self.slot)
        self.bank = self.vf.bank
        self.memory = self.host.memory.content
        self.tx_count, self.rx_count = tx, rx
        self.tx_tail = self.rx_tail = self.rx_next = 0

    def write(self, name: str, value: int, index: int = 0) -> None:
        self.bank.write(self.bank[name, index].offset, 4, value)

    def read(self, name: str, index: int = 0) -> int:
        return self.bank.read(self.bank[name, index].offset, 4)

    def settle(self) -> None:
        self.host.settle()

    def start(self, *, srrctl: int = 1 << 25 | 2, queue: int = 0) -> Station:
        """Both rings of a queue, all interrupts, no moderation."""
        self.write("ivar0", 0x8180_8180 if len(self.vf.transmit) > 1 else 0x8081)
        self.write("ivar0", 0x8081_8081 if len(self.vf.transmit) > 1 else 0x8081)
        self.write("ivar_misc", 0x82)
        for name in ("eiac", "eiam", "eims"):
            self.write(name, 7)
        self.start_tx(queue)
        self.start_rx(srrctl, queue)
        return self

    def start_tx(self, queue: int = 0) -> None:
        self.write("tdlen", 16 * self.tx_count, queue)
        self.write("tdbal", TX_AT, queue)
        self.write("tdbah", 0, queue)
        self.write("tdh", 0, queue)
        self.write("tdt", 0, queue)
        self.write("txdctl", ENABLE, queue)
        self.tx_tail = 0

    def start_rx(self, srrctl: int = 1 << 25 | 2, queue: int = 0, fill: bool = True) -> None:
        self.write("rdlen", 16 * self.rx_count, queue)
        self.write("rdbal", RX_AT, queue)
        self.write("rdbah", 0, queue)
        self.write("srrctl", srrctl, queue)
        self.write("rdt", 0, queue)
        self.write("rxdctl", ENABLE, queue)
        self.rx_tail = self.rx_next = 0
        if fill:
            self.give(self.rx_count - 1, queue)

    # -- transmit

    def put(self, descriptor: bytes) -> None:
        """The next descriptor of the ring."""
        at = TX_AT + 16 * self.tx_tail
        self.memory[at : at + 16] = descriptor
        self.tx_tail = (self.tx_tail + 1) % self.tx_count

    def data(self, content: bytes, *, at: int | None = None, first: dict[str, int] | None = None, **command: int) -> None:
        """A data descriptor for ``content``, placed in the buffer of the same number."""
        address = TX_BUFFERS + 2048 * (self.tx_tail % 192) if at is None else at
        if at is None or at + len(content) <= MEMORY:
            self.memory[address : address + len(content)] = content
        command = {"dtyp": 3, "dext": 1, "ifcs": 1, "eop": 1, "rs": 1} | command
        self.put(
            TX_DATA.build(
                {
                    "buffer_addr": address,
                    "cmd_type_len": command | {"dtalen": len(content)},
                    "olinfo_status": {"paylen": len(content)} | (first or {}),
                }
            )
        )

    def context(self, idx: int = 0, *, l4t: int = 0, ipv4: int = 1, l4len: int = 0, mss: int = 0, **lens: int) -> None:
        self.put(
            TX_CONTEXT.build(
                {
                    "vlan_macip_lens": {"maclen": 14, "iplen": 20} | lens,
                    "seqnum_seed": 0,
                    "type_tucmd_mlhl": {"dtyp": 2, "dext": 1, "ipv4": ipv4, "l4t": l4t},
                    "mss_l4len_idx": {"idx": idx, "l4len": l4len, "mss": mss},
                }
            )
        )

    def ring(self, queue: int = 0) -> None:
        """The doorbell, and all that follows."""
        self.write("tdt", self.tx_tail, queue)
        self.settle()

    def done(self) -> list[int]:
        """Which transmit descriptors say DD."""
        rows = (self.memory[TX_AT + 16 * i : TX_AT + 16 * i + 16] for i in range(self.tx_count))
        return [i for i, row in enumerate(rows) if TX_DATA.parse(bytes(row)).olinfo_status.dd]

    # -- receive

    def give(self, count: int, queue: int = 0) -> None:
        """Offer ``count`` more descriptors."""
        for _ in range(count):
            i = self.rx_tail
            row = RX_READ.build({"pkt_addr": RX_BUFFERS + 4096 * i % 0x60000, "hdr_addr": HEADERS + 512 * i})
            self.memory[RX_AT + 16 * i : RX_AT + 16 * i + 16] = row
            self.rx_tail = (i + 1) % self.rx_count
        self.write("rdt", self.rx_tail, queue)
        self.settle()

    def deliver(self, *frames: bytes, loopback: bool = False) -> int:
        taken = self.vf.deliver(list(frames), loopback=loopback)
        self.settle()
        return taken

    def take(self) -> list[tuple[Any, bytes, bytes]]:
        """Descriptors that were written back since the last call: (write-back, header bytes, packet bytes)."""
        out = []
        while True:
            i = self.rx_next
            row = RX_WRITEBACK.parse(bytes(self.memory[RX_AT + 16 * i : RX_AT + 16 * i + 16]))
            if i == self.rx_tail or not row.status_error.dd:
                return out
            data = RX_BUFFERS + 4096 * i % 0x60000
            header = HEADERS + 512 * i
            size = row.hdr_info.hdr_len
            out.append((row, bytes(self.memory[header : header + size]), bytes(self.memory[data : data + row.length])))
            self.memory[RX_AT + 16 * i + 8 : RX_AT + 16 * i + 12] = bytes(4)
            self.rx_next = (i + 1) % self.rx_count
