"""The transmit queue, driven through registers and memory."""

from __future__ import annotations

import pytest
from scapy.layers.inet import IP, TCP, UDP
from scapy.layers.l2 import Dot1Q, Ether
from scapy.packet import Raw

from emulators.dma import BytesMemory
from emulators.fabric.pool import VlanInsert
from regmodel.function import Buffer, ResetCause
from regmodel.rings.igb import TX_DATA
from tests.emulators.nics.igb.station import ENABLE, MEMORY, TX_AT, TX_BUFFERS, Station
from tests.emulators.nics.igb.test_offload import pseudo_sum

FRAME = bytes(range(60))
ETHER = Ether(src="02:00:00:00:00:01", dst="02:00:00:00:00:02")


@pytest.fixture
def vf() -> Station:
    return Station().start()


def test_a_packet_leaves_is_reported_and_interrupts(vf: Station) -> None:
    vf.data(FRAME)
    vf.ring()
    assert vf.pool.sent == [FRAME]
    assert vf.done() == [0] and vf.read("tdh") == 1 and vf.host.irqs == [0]


def test_what_is_written_back_keeps_the_rest_of_the_descriptor(vf: Station) -> None:
    vf.data(FRAME)
    before = TX_DATA.parse(bytes(vf.memory[TX_AT : TX_AT + 16]))
    vf.ring()
    after = TX_DATA.parse(bytes(vf.memory[TX_AT : TX_AT + 16]))
    assert after.olinfo_status.dd == 1
    after.olinfo_status.dd = 0
    assert after == before


@pytest.mark.parametrize("count", [1, 2, 63, 64, 65, 150])
def test_a_burst_is_one_call_of_the_switch_and_one_interrupt(count: int) -> None:
    vf = Station(tx=256).start()
    for i in range(count):
        vf.data(FRAME[:59] + bytes([i]))
    vf.ring()
    assert [frame[59] for frame in vf.pool.sent] == list(range(count))
    assert vf.pool.bursts == -(-count // 64)
    assert vf.host.irqs == [0]  # masked by EIAM after the first: software has not taken it
    assert vf.done() == list(range(count))


def test_a_burst_takes_64_descriptors_between_two_looks_at_the_sockets() -> None:
    vf = Station(tx=256).start()
    for _ in range(100):
        vf.data(FRAME)
    vf.write("tdt", vf.tx_tail)
    vf.host.turn()
    assert len(vf.pool.sent) == 64 and vf.read("tdh") == 64
    vf.host.turn()
    assert len(vf.pool.sent) == 100


def test_the_ring_wraps(vf: Station) -> None:
    for i in range(500):
        vf.data(FRAME[:58] + i.to_bytes(2, "big"))
        if i % 37 == 0:
            vf.ring()
    vf.ring()
    assert [int.from_bytes(frame[58:], "big") for frame in vf.pool.sent] == list(range(500))


def test_without_rs_nothing_is_reported(vf: Station) -> None:
    for i in range(8):
        vf.data(FRAME, rs=int(i == 7))
    vf.ring()
    assert vf.done() == [7] and len(vf.pool.sent) == 8 and vf.host.irqs == [0]
    vf.data(FRAME, rs=0)
    vf.ring()
    assert vf.host.irqs == [0] and vf.read("tdh") == 9 and vf.done() == [7]


def test_head_write_back_instead_of_dd(vf: Station) -> None:
    vf.write("tdwbal", 0x800 | 1)
    for _ in range(3):
        vf.data(FRAME)
    vf.ring()
    assert int.from_bytes(vf.memory[0x800:0x804], "little") == 3 and vf.done() == []
    assert vf.host.irqs == [0]


def test_a_packet_over_several_descriptors_and_bursts() -> None:
    vf = Station(tx=256).start()
    content = bytes(i & 0xFF for i in range(700))
    for i in range(70):
        vf.data(content[10 * i : 10 * i + 10], eop=int(i == 69), rs=int(i == 69))
    vf.write("tdt", vf.tx_tail)
    vf.host.turn()
    assert vf.pool.sent == [] and vf.read("tdh") == 64
    vf.memory[TX_BUFFERS : TX_BUFFERS + 10] = bytes(10)  # what was read already is not read again
    vf.settle()
    assert vf.pool.sent == [content] and vf.done() == [69]


def test_short_packets_are_padded_and_empty_ones_only_reported(vf: Station) -> None:
    vf.data(b"abc" * 5)
    vf.data(b"")
    vf.ring()
    assert vf.pool.sent == [(b"abc" * 5).ljust(60, b"\0")]
    assert vf.done() == [0, 1]


def test_without_ifcs_the_packet_brings_its_fcs_along(vf: Station) -> None:
    vf.data(FRAME + b"\xde\xad\xbe\xef", ifcs=0)
    vf.ring()
    assert vf.pool.sent == [FRAME]


def test_checksums_as_igbvf_asks_for_them(vf: Station) -> None:
    packet = Ether(bytes(ETHER / IP(src="10.0.0.1", dst="10.0.0.2") / UDP(sport=1, dport=2) / Raw(b"hello, world" * 9)))
    frame = bytearray(bytes(packet))
    frame[40:42] = pseudo_sum(packet, 8 + 108).to_bytes(2, "big")
    vf.context(l4t=0)
    vf.data(bytes(frame), first={"txsm": 1})
    vf.ring()
    assert vf.pool.sent == [bytes(packet)] and vf.done() == [1]


def test_two_contexts_are_kept_by_index_until_the_queue_is_enabled_anew(vf: Station) -> None:
    vf.context(0, vlan=100)
    vf.context(1, vlan=200)
    for idx in (0, 1, 0):
        vf.data(FRAME, vle=1, first={"idx": idx})
    vf.ring()
    assert [Ether(frame)[Dot1Q].vlan for frame in vf.pool.sent] == [100, 200, 100]
    vf.write("txdctl", 0)
    vf.write("txdctl", ENABLE)
    vf.data(FRAME, vle=1, first={"idx": 1})
    vf.ring()
    assert Ether(vf.pool.sent[-1])[Dot1Q].vlan == 0


@pytest.mark.parametrize("rule", [VlanInsert.DEFAULT, VlanInsert.NEVER])
def test_the_pf_may_forbid_tags(vf: Station, rule: VlanInsert) -> None:
    vf.pool.vlan_insert = rule
    vf.context(vlan=100)
    vf.data(FRAME, vle=1)
    vf.ring()
    assert vf.pool.sent == [FRAME]


def test_segmentation_as_igbvf_asks_for_it(vf: Station) -> None:
    payload = bytes(i * 13 & 0xFF for i in range(5000))
    packet = Ether(
        bytes(ETHER / IP(src="10.0.0.1", dst="10.0.0.2", id=7) / TCP(sport=1, dport=2, seq=99, flags="PA") / payload)
    )
    frame = bytearray(bytes(packet))
    frame[16:18] = frame[24:26] = bytes(2)
    frame[50:52] = pseudo_sum(packet, 0).to_bytes(2, "big")
    vf.context(l4t=1, l4len=20, mss=1448, vlan=5)
    options = {"tse": 1, "vle": 1, "rs": 0, "eop": 0}
    for at in range(0, len(frame), 2048):
        last = at + 2048 >= len(frame)
        vf.data(bytes(frame[at : at + 2048]), first={"txsm": 1, "ixsm": 1}, **options | {"eop": int(last), "rs": int(last)})
    vf.ring()
    assert len(vf.pool.sent) == 4 and vf.pool.bursts == 1
    received = b""
    for i, sent in enumerate(map(Ether, vf.pool.sent)):
        assert sent[Dot1Q].vlan == 5 and sent[IP].id == 7 + i and sent[TCP].seq == 99 + 1448 * i
        assert ("P" in sent[TCP].flags) == (i == 3)
        rebuilt = sent.copy()
        del rebuilt[IP].chksum, rebuilt[TCP].chksum
        assert bytes(rebuilt) == bytes(sent)
        received += bytes(sent[TCP].payload)
    assert received == payload


def test_legacy_descriptors(vf: Station) -> None:
    packet = bytes(ETHER / IP() / UDP(chksum=0) / Raw(b"x" * 40))
    vf.memory[TX_BUFFERS : TX_BUFFERS + len(packet)] = packet
    command = len(packet) | 40 << 16 | 0b0100_1111 << 24  # CSO 40; EOP IFCS IC RS VLE
    vf.put(TX_BUFFERS.to_bytes(8, "little") + command.to_bytes(4, "little") + (34 << 8 | 77 << 16).to_bytes(4, "little"))
    vf.ring()
    (sent,) = vf.pool.sent
    assert Ether(sent)[Dot1Q].vlan == 77 and sent[44:46] != b"\0\0" and vf.done() == [0]


def test_without_txsm_segments_keep_the_seed(vf: Station) -> None:
    packet = bytearray(bytes(ETHER / IP(src="10.0.0.1", dst="10.0.0.2") / TCP() / bytes(100)))
    packet[50:52] = b"\x12\x34"
    vf.context(l4t=1, l4len=20, mss=60)
    vf.data(bytes(packet), tse=1)
    vf.ring()
    assert [frame[50:52] for frame in vf.pool.sent] == [b"\x12\x34"] * 2


def test_a_burst_of_segments_ends_early(vf: Station) -> None:
    packet = bytes(ETHER / IP() / TCP() / bytes(1600))
    vf.context(l4t=1, l4len=20, mss=50)
    for _ in range(4):
        vf.data(packet, tse=1)
    vf.write("tdt", vf.tx_tail)
    vf.host.turn()
    assert len(vf.pool.sent) == 64 and vf.read("tdh") == 3
    vf.settle()
    assert len(vf.pool.sent) == 128


def test_legacy_descriptors_without_offloads(vf: Station) -> None:
    vf.memory[TX_BUFFERS : TX_BUFFERS + 60] = FRAME
    command = 60 | 20 << 16 | 0b0000_1011 << 24
    vf.put(TX_BUFFERS.to_bytes(8, "little") + command.to_bytes(4, "little") + (14 << 8 | 77 << 16).to_bytes(4, "little"))
    vf.ring()
    assert vf.pool.sent == [FRAME]


def test_rings_and_reports_above_4_gib(vf: Station) -> None:
    vf.host.dma.unmap(0, MEMORY)
    vf.host.dma.map(5 << 32, MEMORY, vf.host.memory)
    for name in ("tdbah", "tdwbah"):
        vf.write(name, 5)
    vf.write("tdwbal", 0x800 | 1)
    vf.data(FRAME, at=0x30000)
    at = TX_AT + 4
    vf.memory[at : at + 4] = (5).to_bytes(4, "little")
    vf.ring()
    assert vf.pool.sent == [FRAME] and vf.memory[0x800] == 1


# -- what a guest does wrong


def test_tail_beyond_the_ring(vf: Station) -> None:
    vf.write("tdt", 64)
    vf.settle()
    assert vf.host.diagnosed["tx-tail-beyond-ring"] == 1 and vf.pool.sent == []
    vf.data(FRAME)
    vf.ring()
    assert vf.pool.sent == [FRAME]


def test_head_beyond_the_ring(vf: Station) -> None:
    vf.write("tdh", 64)
    vf.data(FRAME)
    vf.ring()
    assert vf.host.diagnosed["tx-tail-beyond-ring"] == 1 and vf.pool.sent == []


def test_a_ring_of_length_zero(vf: Station) -> None:
    vf.write("tdlen", 0)
    vf.data(FRAME)
    vf.ring()
    assert vf.host.diagnosed["tx-tail-beyond-ring"] == 1 and vf.pool.sent == []


def test_a_ring_nowhere_halts_the_queue_until_it_is_enabled_anew(vf: Station) -> None:
    vf.write("tdbah", 0xDEAD)
    vf.data(FRAME)
    vf.ring()
    assert vf.host.diagnosed["tx-descriptor-unreachable"] == 1 and vf.read("tdh") == 0
    vf.write("tdbah", 0)
    vf.ring()
    assert vf.pool.sent == []
    vf.write("txdctl", 0)
    vf.write("txdctl", ENABLE)
    vf.settle()
    assert vf.pool.sent == [FRAME]


def test_a_buffer_nowhere_stops_behind_the_packets_before_it(vf: Station) -> None:
    vf.data(FRAME)
    vf.data(FRAME, at=MEMORY - 30)
    vf.data(FRAME)
    vf.ring()
    assert vf.pool.sent == [FRAME] and vf.done() == [0] and vf.read("tdh") == 1
    assert vf.host.diagnosed == {"tx-buffer-unreachable": 1} and vf.host.irqs == [0]
    vf.data(FRAME)
    vf.ring()
    assert len(vf.pool.sent) == 1 and vf.host.diagnosed == {"tx-buffer-unreachable": 1}


def test_without_bus_master_nothing_moves(vf: Station) -> None:
    vf.host.dma.enabled = False
    vf.data(FRAME)
    vf.ring()
    assert vf.host.diagnosed["tx-descriptor-unreachable"] == 1 and vf.pool.sent == [] and vf.host.irqs == []


def test_a_ring_that_the_device_may_not_write(vf: Station) -> None:
    vf.host.dma.unmap(0, MEMORY)
    vf.host.dma.map(0, MEMORY, vf.host.memory, write=False)
    vf.data(FRAME)
    vf.ring()
    assert vf.pool.sent == [FRAME] and vf.done() == []
    assert vf.host.diagnosed["tx-write-back-unreachable"] == 1


def test_unknown_descriptor_types_are_skipped(vf: Station) -> None:
    vf.data(FRAME, dtyp=9)
    vf.data(FRAME)
    vf.ring()
    assert vf.pool.sent == [FRAME] and vf.host.diagnosed["tx-descriptor-type"] == 1


def test_a_packet_without_end_is_dropped_at_its_end() -> None:
    vf = Station(tx=256).start()
    for _ in range(6):
        vf.data(bytes(2000), eop=0)
    vf.data(FRAME)
    vf.data(FRAME)
    vf.ring()
    assert vf.pool.sent == [FRAME] and vf.host.diagnosed["tx-packet-too-long"] == 1
    assert vf.read("tdh") == 8


@pytest.mark.parametrize(("octets", "sent"), [(9728, 2), (9729, 1)])
def test_the_longest_packet(octets: int, sent: int) -> None:
    """One descriptor or several: the same limit, for the second packet as for the first."""
    vf = Station().start()
    for size in (100, octets):
        vf.data(bytes(size // 2), eop=0, at=0x40000)
        vf.data(bytes(size - size // 2), at=0x50000)
    vf.ring()
    assert len(vf.pool.sent) == sent
    vf.data(bytes(octets), at=0x40000)
    vf.ring()
    assert len(vf.pool.sent) == 2 * sent - 1 and len(vf.done()) == 5


def test_a_packet_of_absurdly_many_segments_is_dropped(vf: Station) -> None:
    vf.context(l4t=1, l4len=20, mss=1)
    for i in range(10):
        vf.data(bytes(2000), eop=int(i == 9), tse=1)
    vf.data(FRAME)
    vf.ring()
    assert vf.pool.sent == [FRAME] and vf.host.diagnosed["tx-segments-too-many"] == 1


# -- stop, start, reset


def test_a_stopped_queue_does_not_move_and_goes_on_when_started(vf: Station) -> None:
    vf.write("txdctl", 0)
    vf.data(FRAME)
    vf.ring()
    assert vf.pool.sent == [] and vf.read("tdh") == 0
    vf.write("txdctl", ENABLE)
    vf.settle()
    assert vf.pool.sent == [FRAME]


def test_while_the_pf_forbids_it_nothing_is_fetched(vf: Station) -> None:
    vf.pool.transmit_enable = False
    vf.data(FRAME)
    vf.ring()
    assert vf.pool.sent == [] and vf.read("tdh") == 0
    vf.pool.transmit_enable = True
    vf.vf.wake()
    vf.settle()
    assert vf.pool.sent == [FRAME]


def test_a_reset_in_the_middle_of_a_burst_leaves_no_trace(vf: Station) -> None:
    vf.pool.on_send = lambda: vf.vf.reset(ResetCause.SOFTWARE)
    vf.data(FRAME)
    vf.ring()
    assert vf.done() == [] and vf.read("tdh") == 0 and vf.host.irqs == []


class SlowMemory(BytesMemory):
    """Memory without a view, as behind message DMA; ``during`` is what happens while it is waited for."""

    def __init__(self, content: bytearray) -> None:
        super().__init__(content)
        self.during: list[object] = []

    @property
    def view(self) -> None:  # type: ignore[override]
        return None

    def _wait(self) -> None:
        if self.during:
            self.during.pop(0)()  # type: ignore[operator]

    def read(self, offset: int, size: int) -> Buffer:
        self._wait()
        return bytes(super().read(offset, size))

    def write(self, offset: int, data: Buffer) -> None:
        self._wait()
        super().write(offset, data)


def slow(vf: Station) -> SlowMemory:
    memory = SlowMemory(vf.memory)
    vf.host.dma.unmap(0, MEMORY)
    vf.host.dma.map(0, MEMORY, memory)
    vf.memory = memory.content
    return memory


def test_the_same_by_messages(vf: Station) -> None:
    slow(vf)
    vf.data(FRAME)
    vf.data(FRAME[:30], eop=0)
    vf.data(FRAME[30:])
    vf.ring()
    memory = vf.memory
    assert vf.pool.sent == [FRAME, FRAME] and vf.host.irqs == [0]
    assert memory[TX_AT + 12] & 1 and memory[TX_AT + 28] & 1 and memory[TX_AT + 44] & 1


@pytest.mark.parametrize("step", range(7))
@pytest.mark.parametrize("event", ["reset", "stop", "moved"])
def test_events_while_a_burst_waits_for_memory(vf: Station, step: int, event: str) -> None:
    """Whatever it waits for: afterwards the queue is as the event left it, and can be used again."""
    memory = slow(vf)
    events = {
        "reset": lambda: vf.vf.reset(ResetCause.SOFTWARE),
        "stop": lambda: vf.write("txdctl", 0),
        "moved": lambda: vf.write("tdh", 0),
    }
    memory.during = [lambda: None] * step + [events[event]]
    for i in range(2):
        vf.data(FRAME[:30], eop=0, rs=0)
        vf.data(FRAME[30:], first={"txsm": i})
    vf.write("tdt", vf.tx_tail)
    vf.host.turn()
    if not memory.during and len(vf.pool.sent) < 2 and event != "moved":
        assert vf.read("tdh") == 0 and vf.host.irqs == []
    vf.host.deferred.clear()
    vf.pool.sent.clear()
    memory.during = []
    vf.write("txdctl", 0)
    vf.start()
    vf.data(FRAME)
    vf.ring()
    assert vf.pool.sent == [FRAME]


# -- counters


def test_octets_count_the_fcs_and_loopback_apart(vf: Station) -> None:
    vf.data(FRAME)
    vf.ring()
    vf.pool.local = True
    vf.data(bytes(100))
    vf.ring()
    names = ("vfgptc", "vfgotc", "vfgptlbc", "vfgotlbc")
    assert [vf.read(name) for name in names] == [2, 60 + 100 + 8, 1, 104]
    vf.data(bytes(100))
    vf.ring()
    vf.vf.reset(ResetCause.SOFTWARE)
    assert [vf.read(name) for name in names] == [3, 272, 2, 208]


def test_counters_wrap_at_32_bits(vf: Station) -> None:
    vf.bank["vfgotc"].value = 0xFFFF_FFFF
    vf.data(FRAME)
    vf.ring()
    assert vf.read("vfgotc") == 63


@pytest.mark.parametrize("silicon", ["82576", "I350"])
def test_each_queue_has_a_ring_of_its_own(silicon: str) -> None:
    vf = Station(silicon)
    for queue in range(len(vf.vf.transmit)):
        vf.start(queue=queue)
        vf.data(bytes([queue]) * 60)
        vf.ring(queue)
    assert [frame[0] for frame in vf.pool.sent] == list(range({"82576": 2, "I350": 1}[silicon]))


def test_an_open_packet_survives_save_and_load(vf: Station) -> None:
    vf.context(vlan=9)
    vf.data(FRAME[:20], eop=0, vle=1)
    vf.ring()
    state = vf.vf.save()
    other = Station().start()
    other.memory[:] = vf.memory
    other.vf.load(state)
    other.tx_tail = vf.tx_tail
    other.data(FRAME[20:], vle=1)
    other.ring()
    assert [Ether(frame)[Dot1Q].vlan for frame in other.pool.sent] == [9] and other.pool.sent[0][16:] == FRAME[12:]
