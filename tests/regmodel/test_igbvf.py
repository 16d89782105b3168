"""The igbvf descriptions beyond what their sources prove: nothing that the stock driver touches is missing, the two silicon
variants differ in what they should, and the registers do what the driver's handshakes rely on.
"""

from __future__ import annotations

import re

import pytest

from regmodel.bank import Bank
from regmodel.catalogue import Device
from regmodel.devices.igbvf import IGBVF, IGBVF_I350
from regmodel.function import ResetCause
from regmodel.mailboxes.igb import MAILBOX
from regmodel.sources import Symbol
from tests.support.symbols import evaluate, unpacked

FOLDER = "drivers/net/ethernet/intel/igbvf"
BOTH = pytest.mark.parametrize("device", [IGBVF, IGBVF_I350], ids=lambda device: device.name)


def touched() -> set[Symbol]:
    """The registers that the stock driver reads, writes or keeps the offset of, as it spells them."""
    found = set()
    folder = unpacked("linux-source", {f"{FOLDER}/regs.h"}) / FOLDER
    for path in sorted(folder.glob("*.c")):
        for name, index in re.findall(r"\b(?:array_)?e[rw]32\(([A-Z]\w+)(?:\((\d)\))?", path.read_text()):
            found.add(Symbol("linux-source", f"{FOLDER}/regs.h", f"E1000_{name}", int(index) if index else None))
        for name, index in re.findall(r"\bE1000_((?:[TR]D[HT])|EITR)\((\w+)\)", path.read_text()):
            found.add(Symbol("linux-source", f"{FOLDER}/regs.h", f"E1000_{name}", int(index) if index.isdigit() else 2))
    return found


@BOTH
def test_all_that_the_stock_driver_touches_is_described(device: Device) -> None:
    values = evaluate(touched())
    decoded = {offset for entry in device.bars[0].entries.values() for offset in entry.offsets}
    absent = [str(symbol) for symbol, offset in values.items() if offset not in decoded]
    assert len(values) > 30 and not absent


def test_the_variants_differ_in_queues_and_timestamps() -> None:
    ours, theirs = IGBVF.bars[0].entries, IGBVF_I350.bars[0].entries
    assert set(ours) == set(theirs)
    differing = {name for name in ours if len(ours[name].offsets) != len(theirs[name].offsets)}
    assert differing == {"rdbal", "rdbah", "rdlen", "srrctl", "rdh", "rxctl", "rdt", "rxdctl", "rqdpc",
                         "tdbal", "tdbah", "tdlen", "tdh", "txctl", "tdt", "txdctl", "tdwbal", "tdwbah"}  # fmt: skip
    bank = Bank(IGBVF_I350.bars[0])
    assert "int_alloc_rx1" not in bank["ivar0"].fields and "timestamp" in bank["srrctl"].fields
    bank.write(0x2918, 4, 7)
    assert bank.read(0x2918, 4) == 0, "the I350's VF has no second queue"


@BOTH
def test_mailbox_bits_do_what_the_handshake_relies_on(device: Device) -> None:
    bank = Bank(device.bars[0])
    assert bank.read(0xC40, 4) == 0x40, "the PF is in reset until it says otherwise"
    for cause in (ResetCause.FLR, ResetCause.SOFTWARE):
        bank["v2pmailbox"].set(rsti=0, rstd=1, pfsts=1, pfack=1, vfu=1)
        bank.reset(cause)
        assert (bank.read(0xC40, 4), bank.read(0xC40, 4)) == (0x80, 0), "RSTD is the PF's, and is seen once"
    bank.write(0xC40, 4, 0x4)
    assert bank.read(0xC40, 4) == 0x4, "VFU sticks"
    bank.write(0xC40, 4, 0x1)
    assert bank.read(0xC40, 4) == 0, "REQ gives the memory back and reads 0"
    bank["v2pmailbox"].set(pfsts=1, pfack=1)
    assert (bank.read(0xC40, 4), bank.read(0xC40, 4)) == (0x30, 0)


@BOTH
def test_the_last_message_stays_across_a_reset_of_the_vf(device: Device) -> None:
    bank = Bank(device.bars[0])
    bank.write(0x800, 4, 0x20000100)
    for cause in (ResetCause.SOFTWARE, ResetCause.FLR):
        bank.reset(cause)
        assert bank.read(0x800, 4) == 0x20000100


@BOTH
def test_interrupt_registers_are_views_of_two_states(device: Device) -> None:
    bank = Bank(device.bars[0])
    bank.write(0x1524, 4, 0b011)
    bank.write(0x1524, 4, 0b100)
    assert bank.read(0x1524, 4) == 0b111, "EIMS sets"
    bank.write(0x1528, 4, 0b001)
    assert (bank.read(0x1524, 4), bank.read(0x1528, 4)) == (0b110, 0), "EIMC clears and reads 0"
    bank.write(0x1520, 4, 0b101)
    assert (bank.read(0x1520, 4), bank.read(0x1580, 4), bank.read(0x1580, 4)) == (0, 0b101, 0), "EICS sets, EICR is read once"
    bank.write(0x1520, 4, 0b111)
    bank.write(0x1580, 4, 0b010)
    assert bank.read(0x1580, 4) == 0b101, "or cleared by writing"


@BOTH
def test_a_reset_of_the_vf_stops_queues_and_spares_statistics(device: Device) -> None:
    bank = Bank(device.bars[0])
    bank.write(0x2828, 4, 1 << 25)
    bank.write(0x3828, 4, 1 << 25)
    bank.write(0x1524, 4, 7)
    bank["vfgprc"].value = 0xFFFF_FFFF
    for cause in (ResetCause.SOFTWARE, ResetCause.FLR):
        bank.reset(cause)
        assert not bank["rxdctl"].get("enable") and not bank["txdctl"].get("enable") and not bank["eims"].value
        assert (bank.read(0xF10, 4), bank.read(0xF10, 4)) == (0xFFFF_FFFF, 0xFFFF_FFFF), "nor does reading clear them"
    bank.reset(ResetCause.POWER_ON)
    assert bank.read(0xF10, 4) == 0


@BOTH
def test_narrow_accesses_miss(device: Device) -> None:
    bank = Bank(device.bars[0])
    bank.write(0x2818, 2, 5)
    bank.write(0x281A, 2, 5)
    assert bank.read(0x2818, 4) == 0


def test_every_request_has_its_reply() -> None:
    requests = {m.number: m.name for m in MAILBOX.messages if m.sender == "VF"}
    assert set(requests) == set(range(1, 7))
    for number, name in requests.items():
        reply = MAILBOX.find(number, "PF")
        assert reply is not None and reply.name == f"{name}_reply" and reply.receiver == "VF"


@pytest.mark.parametrize(
    ("name", "words", "expected"),
    [
        ("reset_reply", "010000800011223344550000", {"number": 1, "ack": 1, "nack": 0, "cts": 0}),
        ("set_mac_addr", "020002000011223344550000", {"number": 2, "filter": 2}),
        ("set_multicast", "03001e00" + "aa0b" * 30, {"number": 3, "count": 30, "overflow": 0}),
        ("set_vlan", "0400010064000000", {"number": 4, "add": 1}),
        ("set_vlan_reply", "04000160", {"number": 4, "add": 1, "nack": 1, "cts": 1}),
        ("set_promisc", "06000300", {"number": 6, "unicast": 1, "multicast": 1}),
        ("pf_control", "00010020", {"number": 0x100, "cts": 1}),
    ],
)
def test_messages_as_drivers_send_them(name: str, words: str, expected: dict[str, int]) -> None:
    """The bytes are what igbvf, igb and DPDK leave in the memory; fields that are not named are 0 or not there."""
    schema = IGBVF.schema(name)
    message = schema.parse(bytes.fromhex(words))
    header = {field: value for field, value in message.header.items() if not field.startswith("_")}
    assert {field: value for field, value in header.items() if value} == {f: v for f, v in expected.items() if v}
    assert set(expected) <= set(header)
    assert schema.build(message) == bytes.fromhex(words)


@BOTH
@pytest.mark.parametrize("cause", [ResetCause.FLR, ResetCause.SOFTWARE])
def test_a_reset_of_the_vf_stops_queues_and_leaves_how_they_are_set_up(device: Device, cause: ResetCause) -> None:
    bank = Bank(device.bars[0])
    kept = {"rdbal": 0x1000, "rdlen": 0x400, "srrctl": 0x8200_0002, "rxctl": 0x200, "txctl": 0x2200, "tdbah": 1, "tdlen": 0x80}
    gone = {"ivar0": 0x8081, "ivar_misc": 0x82, "eims": 7, "eiac": 7, "eiam": 7, "eitr": 0x1E8}
    for name, value in {**kept, **gone, "rxdctl": 0x0201_0810, "txdctl": 0x0A01_0000}.items():
        bank.write(bank[name].offset, 4, value)
    bank.reset(cause)
    assert {name: bank[name].value for name in kept} == kept
    assert {name: bank[name].value for name in gone} == dict.fromkeys(gone, 0)
    assert (bank["rxdctl"].value, bank["txdctl"].value) == (0x0001_0810, 0x0801_0000), "disabled; thresholds stay"
    bank.reset(ResetCause.POWER_ON)
    assert (bank["rxdctl"].value, bank["txctl"].value) == (0x0001_0000, 0x2A00)
