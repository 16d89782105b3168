"""The register client: one access each, no bit lost, nothing done silently wrong."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from construct import Construct
from hypothesis import given
from hypothesis import strategies as st

from drivers import stubs
from drivers.errors import DeviceGone, DeviceTimeout
from drivers.registers import Registers
from drivers.stubs import FACES, stub
from drivers.transports import Virtualised
from regmodel.access import CONST, RC, RO, RS, RSVD, RW, RWO, W0C, W1C, W1P, W1S, W1T, WO, WO1S
from regmodel.catalogue import Description, find
from regmodel.errors import UsageError
from regmodel.function import ResetCause
from regmodel.registers import UNDOCUMENTED, Alias32, Bar, Reg8, Reg32, Reg64
from tests.drivers.fakes import Fake
from tests.regmodel.described import descriptions

IGBVF = find("igbvf")
STATUS, V2P, RXDCTL, SRRCTL = 0x8, 0xC40, 0x2828, 0x280C
PFSTS, PFACK, RSTI, RSTD = 0x10, 0x20, 0x40, 0x80


@pytest.fixture
def fake() -> Fake:
    return Fake(IGBVF)


@pytest.fixture
def dev(fake: Fake) -> Any:
    return Registers(IGBVF, fake.transport)


def made(*entries: Construct) -> tuple[Any, Fake]:
    """A device of a few registers, and what stands behind it."""
    device = Description(name="made", title="made", doc="", bars={0: Bar("bar0", 0x1000, *entries)})
    fake = Fake(device)
    return Registers(device, fake.transport), fake


class TestOneAccess:
    """Every operation is the bus accesses that it says, of the declared width, and no other."""

    @pytest.mark.parametrize(
        ("do", "accesses"),
        [
            (lambda d: d.status.read(), [("read", STATUS, 4, 0x80081)]),
            (lambda d: d.status.lu, [("read", STATUS, 4, 0x80081)]),
            (lambda d: d.status.fields(), [("read", STATUS, 4, 0x80081)]),
            (lambda d: d.rdt[1].write(5), [("write", 0x2918, 4, 5)]),
            (lambda d: d.tdt[0].store(5), [("write", 0x3818, 4, 5)]),
            (lambda d: d.vmbmem[3].read(), [("read", 0x80C, 4, 0)]),
            (lambda d: d.vmbmem[-1].write(7), [("write", 0x83C, 4, 7)]),
            (lambda d: d.vmbmem.write_words([1, 2], 4), [("write", 0x810, 4, 1), ("write", 0x814, 4, 2)]),
            (lambda d: d.vmbmem.read_words(2), [("read", 0x800, 4, 0), ("read", 0x804, 4, 0)]),
            (lambda d: d.eimc.write(msix=5), [("write", 0x1528, 4, 5)]),
            (lambda d: d.msix_pending[0].read(), [("read", 0x2000, 8, 0)]),
            (lambda d: repr([d, d.status, d.rdt, d.vmbmem, d.vmbmem[2]]), []),
            (lambda d: (len(d.rdt), d.rdt[1].path, d.rdt[1].offset, d.status.width), []),
        ],
    )
    def test_accesses(self, dev: Any, fake: Fake, do: Callable[[Any], object], accesses: list[object]) -> None:
        do(dev)
        assert fake.did() == accesses

    def test_construction_costs_none(self, dev: Any, fake: Fake) -> None:
        assert fake.did() == []

    def test_modify_is_one_read_and_one_write(self, dev: Any, fake: Fake) -> None:
        fake.cell("rxdctl").value = 0x10203
        with dev.rxdctl[0].modify() as r:
            r.enable = 1
            assert r.hthresh == 2
        assert fake.did() == [("read", RXDCTL, 4, 0x10203), ("write", RXDCTL, 4, 0x2010203)]

    def test_modify_writes_nothing_after_an_exception(self, dev: Any, fake: Fake) -> None:
        with pytest.raises(ZeroDivisionError), dev.rxdctl[0].modify() as r:
            r.enable = 1 // 0
        assert [access[0] for access in fake.did()] == ["read"]

    def test_all_ones_is_read_twice_where_that_does_no_harm(self, dev: Any, fake: Fake) -> None:
        fake.script("status", [0xFFFFFFFF, 0x80083])
        assert dev.status.lu == 1
        assert len(fake.did()) == 2


class TestWhatThereIs:
    def test_read_only_has_no_way_to_write(self, dev: Any) -> None:
        for name in ("write", "modify", "store", "execute"):
            assert not hasattr(dev.status, name)

    def test_write_only_has_no_way_to_read(self, dev: Any) -> None:
        for name in ("read", "fields", "wait", "take", "modify", "rst", "msix"):
            assert not hasattr(dev.ctrl, name) and not hasattr(dev.eimc, name)

    def test_only_what_reading_clears_can_be_taken(self, dev: Any) -> None:
        assert hasattr(dev.v2pmailbox, "take") and not hasattr(dev.status, "take")

    def test_unknown_register(self, dev: Any) -> None:
        with pytest.raises(UsageError, match="igbvf has no register 'v2pmailbo'; did you mean v2pmailbox"):
            _ = dev.v2pmailbo
        assert not hasattr(dev, "v2pmailbo")

    def test_beyond_an_array(self, dev: Any) -> None:
        with pytest.raises(UsageError, match=r"there is no rdt\[2\]; the last is rdt\[1\]"):
            _ = dev.rdt[2]
        with pytest.raises(UsageError, match=r"there is no vmbmem\[16\]"):
            _ = dev.vmbmem[16]
        assert [r.path for r in dev.rdt] == ["rdt[0]", "rdt[1]"] and len(list(dev.vmbmem)) == 16

    def test_msix_bar_that_somebody_else_answers_for(self, fake: Fake) -> None:
        fake.virtualised = frozenset({Virtualised.MSIX_TABLE})
        dev = Registers(IGBVF, fake.transport)
        with pytest.raises(UsageError, match="msix_address lies in the MSI-X BAR, which fake keeps to itself"):
            _ = dev.msix_address
        assert dev.status.read()

    def test_names_that_python_or_the_client_needs(self) -> None:
        dev, _ = made("transport" / Reg32(0, "read" / RW[0], "class" / RW[1], "timeout" / RW[2], RSVD[...]))
        dev.transport_.write(read_=1, class_=1)
        assert dev.transport_.read() == 3 and dev.transport_.read_ == 1
        assert dev.transport_.wait(timeout=0, timeout_=0) == 3


class TestValues:
    def test_fields_by_name(self, dev: Any, fake: Fake) -> None:
        dev.srrctl[0].write(bsizepacket=2, desctype="ADV_ONEBUF")
        assert fake.did() == [("write", SRRCTL, 4, 0x02000002)]

    def test_reserved_bits_and_zero_clears_are_written_as_they_must_be(self) -> None:
        dev, fake = made("r" / Reg32(0, "a" / RW[3:0], "gone" / W0C[8], RSVD[...], reset=0x8000))
        dev.r.write(a=1)
        assert fake.did() == [("write", 0, 4, 0x8101)]

    @pytest.mark.parametrize(
        ("fields", "message"),
        [
            ({"bsizepacket": 128}, r"srrctl.bsizepacket\[6:0\]: 128 does not fit; it holds 0 to 127"),
            ({"bsizepacket": -1}, r"-1 does not fit"),
            ({"nosuch": 1}, r"srrctl has no field 'nosuch'; it has bsizepacket,"),
            ({"desctype": "ONE"}, r"srrctl.desctype\[27:25\] has no value named 'ONE'; it has LEGACY, ADV_ONEBUF"),
            ({"rdmts": "ONE"}, r"its values have no names"),
        ],
    )
    def test_refused(self, dev: Any, fake: Fake, fields: dict[str, Any], message: str) -> None:
        with pytest.raises(UsageError, match=message):
            dev.srrctl[0].write(**fields)
        assert fake.did() == []

    def test_refused_elsewhere(self, dev: Any, fake: Fake) -> None:
        for do, message in [
            (lambda: dev.rdt[0].write(1 << 32), "does not fit 32 bits"),
            (lambda: dev.rdt[0].write(1, rdt=2), "either the whole word or fields"),
            (lambda: dev.v2pmailbox.write(pfsts=1), r"v2pmailbox.pfsts\[4\] cannot be written: it is RC"),
            (lambda: dev.v2pmailbox.wait(req=1, timeout=1), r"v2pmailbox.req\[0\] cannot be waited for: it is W1P"),
            (lambda: dev.v2pmailbox.wait(pfsts=2, timeout=1), "2 does not fit"),
            (lambda: dev.v2pmailbox.wait(timeout=1), "name a field to wait for"),
            (lambda: dev.v2pmailbox.wait(pfsts=1, timeout=float("inf")), "timeout of 0 or more seconds"),
            (lambda: dev.v2pmailbox.take("rsti"), "reading does not clear it"),
            (lambda: dev.vmbmem[0].write(-1), "does not fit 32 bits"),
            (lambda: dev.vmbmem.write_words([0] * 17), "has words 0 to 15"),
        ]:
            with pytest.raises(UsageError, match=message):
                do()
        assert fake.did() == []

    @given(st.integers(0, 2**32 - 2))
    def test_fields_are_those_of_the_description(self, word: int) -> None:
        """Against construct, which decodes the same word from the same description."""
        fake = Fake(IGBVF)
        dev: Any = Registers(IGBVF, fake.transport)
        fake.cell("srrctl", 1).value = word
        entry = IGBVF.bars[0].entries["srrctl"]
        assert dev.srrctl[1].fields() == dict(entry.parse(word.to_bytes(4, "little")))


class TestNeighbours:
    """A read-modify-write leaves the neighbours alone, or does not happen."""

    KINDS: tuple[Construct, ...] = (
        "a" / RW[0], "clears" / W1C[1], "zero" / W0C[2], "sets" / W1S[3], "toggles" / W1T[4], "pulse" / W1P[5],
        "cause" / RC[6], "shown" / RO[7], RSVD[...],
    )  # fmt: skip

    @given(st.integers(0, 0xFF))
    def test_kept(self, state: int) -> None:
        """Whatever the state, only the field asked for differs; what the read cleared is in the latch."""
        dev, fake = made("r" / Reg32(0, *self.KINDS))
        state &= ~0x20
        fake.cell("r").value = state
        with dev.r.modify() as r:
            r.a = 1 - (state & 1)
        assert fake.cell("r").value | dev.r.latched == state ^ 1
        assert dev.r.latched == state & 0x40

    def test_pulse_can_be_asked_for(self) -> None:
        dev, fake = made("r" / Reg32(0, *self.KINDS))
        with dev.r.modify() as r:
            r.pulse = 1
        assert fake.did()[1] == ("write", 0, 4, 0x24)

    @pytest.mark.parametrize("name", ["clears", "zero", "sets", "toggles"])
    def test_what_does_not_store_cannot_be_set(self, name: str) -> None:
        dev, fake = made("r" / Reg32(0, *self.KINDS))
        with pytest.raises(UsageError, match=rf"r.{name}\[\d\] is W.*does not store.*use write\({name}="), dev.r.modify() as r:
            setattr(r, name, 1)
        assert [access[0] for access in fake.did()] == ["read"]

    @pytest.mark.parametrize("access", [WO, RWO], ids=str)
    def test_what_cannot_be_kept_must_be_given(self, access: Any) -> None:
        dev, fake = made("r" / Reg32(0, "a" / RW[0], "key" / access[8], RSVD[...]))
        with pytest.raises(UsageError, match=r"r cannot be modified without giving key\[8\]"), dev.r.modify() as r:
            r.a = 1
        assert [access[0] for access in fake.did()] == ["read"]
        with dev.r.modify() as r:
            r.a, r.key = 1, 1
        assert fake.did()[1] == ("write", 0, 4, 0x101)

    def test_what_reading_sets_is_refused_before_the_read(self) -> None:
        dev, fake = made("r" / Reg32(0, "a" / RW[0], "seen" / RS[1], RSVD[...]))
        with pytest.raises(UsageError, match=r"r cannot be modified: reading sets seen\[1\]"):
            dev.r.modify()
        assert fake.did() == []

    def test_unknown_fields_of_a_draft(self, dev: Any) -> None:
        with dev.rxdctl[0].modify() as r:
            with pytest.raises(UsageError, match="rxdctl has no field 'enabel'"):
                r.enabel = 1
            with pytest.raises(UsageError, match="rxdctl has no field 'enabel'"):
                _ = r.enabel

    def test_a_field_is_not_set_in_vain(self, dev: Any, fake: Fake) -> None:
        """Without ``with``, nothing would ever be written."""
        with pytest.raises(AttributeError):
            dev.rxdctl[0].modify().enable = 1
        assert fake.did() == []

    def test_described_devices(self) -> None:
        """Every register that can be modified at all is left as it was by a modify that assigns what it read."""
        tried = 0
        for device in descriptions().values():
            dev: Any = Registers(device, Fake(device).transport)
            for name, word in vars(dev).items():
                while hasattr(word, "__len__") and len(word):
                    word = word[0]
                if hasattr(word, "modify") and not word._shape.unkeepable and not word._shape.sets:
                    transport: Any = dev.transport
                    bank = next(b.bank for b in transport.bars.values() if name in b.bank.bar.entries)
                    bank.reset(ResetCause.POWER_ON)
                    cell = bank[name]
                    cell.value = 0x5A5A5A5A5A5A5A5A & cell.width_mask & cell.readable
                    before = cell.value
                    with word.modify():
                        pass
                    assert cell.value | getattr(word, "latched", 0) == before, f"{device.name}.{name}"
                    tried += 1
        assert tried > 60


class TestLatch:
    """Bits that reading clears reach who asks for them, whoever met them first."""

    def test_bits_that_arrive_during_a_wait(self, dev: Any, fake: Fake) -> None:
        """PFACK and RSTD come before PFSTS does, each seen by a poll that asks for PFSTS only."""
        arrivals = iter([PFACK, 0, RSTD, PFSTS])

        def deliver() -> None:
            fake.cell("v2pmailbox").value |= next(arrivals, 0)

        fake.on_sleep = deliver
        assert dev.v2pmailbox.wait(pfsts=1, timeout=1) & (PFSTS | PFACK | RSTD) == PFSTS | PFACK | RSTD
        assert dev.v2pmailbox.latched == PFACK | RSTD
        fake.did()
        assert dev.v2pmailbox.take("pfack") == 1 and dev.v2pmailbox.take("rstd") == 1
        assert fake.did() == []
        assert dev.v2pmailbox.take("pfack") == 0 and len(fake.did()) == 1

    def test_scripted(self, dev: Any, fake: Fake) -> None:
        """The same from a device that answers by rote."""
        fake.script("v2pmailbox", [0, PFACK, 0, RSTD, PFSTS])
        dev.v2pmailbox.wait(pfsts=1, timeout=1)
        assert len(fake.did()) == 5 and dev.v2pmailbox.latched == PFACK | RSTD

    def test_wait_finds_what_another_met(self, dev: Any, fake: Fake) -> None:
        fake.script("v2pmailbox", [PFSTS, 0])
        assert dev.v2pmailbox.rsti == 0
        dev.v2pmailbox.wait(pfsts=1, timeout=0)
        assert dev.v2pmailbox.latched == 0

    def test_two_that_arrive_apart(self, dev: Any, fake: Fake) -> None:
        fake.script("v2pmailbox", [PFACK, 0, PFSTS])
        dev.v2pmailbox.wait(pfsts=1, pfack=1, timeout=1)
        assert dev.v2pmailbox.latched == 0 and len(fake.did()) == 3

    def test_a_wait_in_vain_loses_nothing(self, dev: Any, fake: Fake) -> None:
        fake.script("v2pmailbox", [PFACK])
        with pytest.raises(DeviceTimeout, match=r"v2pmailbox: no pfsts=1 within 0.01 s; it reads 0x60: .*pfack=1 rsti=1"):
            dev.v2pmailbox.wait(pfsts=1, timeout=0.01)
        assert dev.v2pmailbox.latched == PFACK and 0.01 <= fake.time < 0.02

    def test_waiting_for_zero_looks_at_the_register(self, dev: Any, fake: Fake) -> None:
        fake.script("v2pmailbox", [RSTI, RSTD, 0])
        dev.v2pmailbox.wait(rsti=0, rstd=0, timeout=1)
        assert len(fake.did()) == 3 and dev.v2pmailbox.take("rstd") == 1

    def test_whole_words_hand_over_everything(self, dev: Any, fake: Fake) -> None:
        for ask in (lambda: dev.v2pmailbox.read() & PFACK, lambda: dev.v2pmailbox.fields()["pfack"]):
            fake.script("v2pmailbox", [PFACK, 0])
            assert dev.v2pmailbox.pfsts == 0 and dev.v2pmailbox.latched == PFACK
            assert ask() and dev.v2pmailbox.latched == 0

    def test_modify_keeps_what_its_read_clears(self, dev: Any, fake: Fake) -> None:
        fake.script("v2pmailbox", [PFSTS | RSTD])
        with dev.v2pmailbox.modify() as r:
            r.vfu = 1
            assert r.rstd == 1
        assert fake.did()[1] == ("write", V2P, 4, 0x4) and dev.v2pmailbox.latched == PFSTS | RSTD

    def test_aliases_share_it_and_acknowledging_empties_it(self) -> None:
        cause = Reg32(0, "a" / RC[0], "b" / RC[1], RSVD[...])
        dev, fake = made("cause" / cause, "again" / Alias32(4, "cause", "a" / RC[0], "b" / RC[1], RSVD[...]))
        fake.cell("cause").value = 3
        assert dev.cause.a == 1
        assert dev.again.take("b") == 1 and dev.cause.latched == 0

    def test_writing_one_to_clear_clears_the_latch_too(self, dev: Any, fake: Fake) -> None:
        fake.script("eicr", [0b011])
        with dev.eicr.modify():
            pass
        assert dev.eicr.latched == 0b011
        dev.eicr.write(msix=0b001)
        assert dev.eicr.latched == 0b010

    def test_several_bits_in_one_field(self, dev: Any, fake: Fake) -> None:
        fake.script("eicr", [0b001, 0b100])
        with dev.eicr.modify():
            pass
        assert dev.eicr.take("msix") == 0b101

    def test_forget(self, dev: Any, fake: Fake) -> None:
        fake.script("v2pmailbox", [PFACK])
        assert dev.v2pmailbox.pfsts == 0
        dev.forget()
        assert dev.v2pmailbox.latched == 0

    def test_the_last_look_is_behind_the_deadline(self, dev: Any, fake: Fake) -> None:
        """A poll that sleeps past its deadline looks once more before it gives up."""
        fake.on_sleep = lambda: fake.cell("v2pmailbox").set(pfsts=1) if fake.time > 0.01 else None
        dev.v2pmailbox.wait(pfsts=1, timeout=0.01)


class TestGone:
    def test_reserved_bits_prove_it(self, dev: Any, fake: Fake) -> None:
        fake.script("status", [0xFFFFFFFF] * 2)
        with pytest.raises(DeviceGone, match="status reads all ones, which it cannot hold: the device is gone"):
            _ = dev.status.lu

    def test_no_second_read_where_the_first_may_have_cleared_something(self, dev: Any, fake: Fake) -> None:
        fake.script("v2pmailbox", [0xFFFFFFFF, 0])
        with pytest.raises(DeviceGone):
            dev.v2pmailbox.wait(pfsts=1, timeout=1)
        assert len(fake.did()) == 1 and dev.v2pmailbox.latched == 0

    def test_modify_of_a_device_that_is_gone_writes_nothing(self, dev: Any, fake: Fake) -> None:
        fake.script("rxdctl[0]", [0xFFFFFFFF] * 2)
        with pytest.raises(DeviceGone), dev.rxdctl[0].modify() as r:
            r.enable = 1
        assert [access[0] for access in fake.did()] == ["read", "read"]

    @pytest.mark.parametrize(
        "entry",
        [
            Reg32(0, RW),
            Reg32(0, "a" / RW[15:0], RSVD[...], reset=0xFFFF0000),
            Reg32(0, "a" / RW[15:0], "b" / RO[31:16]),
            Reg32(0, CONST, reset=0xFFFFFFFF),
            Reg32(0, "a" / RW[15:0], RSVD[...], status=UNDOCUMENTED),
        ],
    )
    def test_where_nothing_proves_it(self, entry: Any) -> None:
        dev, fake = made("r" / entry)
        fake.script("r", [0xFFFFFFFF])
        assert dev.r.read() == 0xFFFFFFFF and len(fake.did()) == 1

    @pytest.mark.parametrize(
        "entry", [Reg8(0, "a" / RW[0], RSVD[...]), Reg64(0, "a" / RW[62:0], "w" / WO[63]), Reg32(0, CONST)]
    )
    def test_other_proofs(self, entry: Any) -> None:
        dev, fake = made("r" / entry)
        fake.script("r", [(1 << entry.width) - 1] * 2)
        with pytest.raises(DeviceGone):
            dev.r.read()


class TestOtherKinds:
    """What igbvf has not, on the devices and sketches that have it."""

    @staticmethod
    def sketch(name: str) -> tuple[Any, Fake]:
        device = descriptions()[name]
        fake = Fake(device)
        return Registers(device, fake.transport), fake

    def test_banked_registers_are_an_array(self) -> None:
        dev, fake = self.sketch("virtio-net")
        assert len(dev.queue_size) == 17
        dev.queue_size[3].write(128)
        dev.queue_desc[3].write(0x1_0000_0000)
        assert dev.queue_size[3].read() == 128 and dev.queue_size[2].read() == 256
        assert fake.did()[:4] == [
            ("write", 0x16, 2, 3), ("write", 0x18, 2, 128), ("write", 0x16, 2, 3), ("write", 0x20, 8, 0x1_0000_0000),
        ]  # fmt: skip

    def test_pairs_are_one_value_committed_by_the_high_half(self) -> None:
        dev, fake = self.sketch("vmxnet3")
        dev.dsa.write(0x1_2345_6000)
        assert fake.did() == [("write", 0x10, 4, 0x23456000), ("write", 0x18, 4, 1)]
        assert dev.dsa.read() == 0x1_2345_6000 and dev.dsal.read() == 0x23456000
        with pytest.raises(UsageError, match="does not fit 64 bits"):
            dev.dsa.write(1 << 64)

    def test_pairs_in_arrays(self) -> None:
        dev, fake = self.sketch("fm10k")
        dev.rdba[15].write(0xABCD_0000_0080)
        assert [(offset, value) for _, offset, _, value in fake.did()] == [(0x10F00, 0x80), (0x10F04, 0xABCD)]

    def test_commands(self) -> None:
        dev, fake = self.sketch("vmxnet3")
        fake.cell("cmd").value = 0x10001
        assert dev.cmd.execute(command="GET_LINK") == 0x10001
        assert fake.did() == [("write", 0x20, 4, 0xF00D0002), ("read", 0x20, 4, 0x10001)]
        assert not hasattr(dev.cmd, "modify") and not hasattr(dev.cmd, "command")

    def test_doorbells_are_written_only(self) -> None:
        dev, fake = self.sketch("vmxnet3")
        dev.txprod[1].store(9)
        assert fake.did() == [("write", 0x608, 4, 9)]
        assert not hasattr(dev.txprod[1], "read") and not hasattr(dev.txprod[1], "modify")

    def test_narrow_doorbells(self) -> None:
        dev, fake = self.sketch("virtio-net")
        dev.notify[2].write(queue_index=2)
        assert fake.did() == [("write", 0x3008, 2, 2)]

    def test_set_and_clear_pairs(self) -> None:
        dev, _ = made(
            "mask" / Reg32(0, "v" / W1S[2:0], RSVD[...]), "set" / Alias32(4, "mask", "v" / WO1S[2:0], RSVD[...]),
            "clear" / Alias32(8, "mask", "v" / W1C[2:0], RSVD[...]),
        )  # fmt: skip
        dev.set.write(v=7)
        dev.clear.write(v=2)
        assert dev.mask.v == 5

    def test_windows_with_a_layout(self) -> None:
        dev, fake = self.sketch("avp")
        info = bytearray(dev.device_info.size)
        info[0:4] = (0x20131975).to_bytes(4, "little")
        fake.bars[5].bank.memory[: len(info)] = info
        assert dev.device_info.parse().magic == 0x20131975
        assert not hasattr(dev.device_info, "write_words") and not hasattr(dev.device_info[0], "write")

    def test_word_numbered_windows_and_strobes(self) -> None:
        dev, fake = self.sketch("fm10k")
        fake.cell("vfmbx").value = 0x18
        dev.vfmbx.write(req_interrupt=1)
        assert dev.vfmbx.fields() == {"req_interrupt": 0, "ack_interrupt": 1}
        assert len(dev.vfmbmem) == 16

    @pytest.mark.parametrize("name", sorted(descriptions()))
    def test_every_description_has_a_client(self, name: str) -> None:
        dev, fake = self.sketch(name)
        assert fake.did() == [] and repr(dev)


class TestStubs:
    @pytest.mark.parametrize("path", sorted(FACES.glob("*.pyi")), ids=lambda path: path.stem)
    def test_the_stub_is_what_the_description_says(self, path: Path) -> None:
        name = path.stem.replace("_", "-")
        assert path.read_text() == stub(descriptions()[name]), f"it has changed: run `python -m drivers.stubs {name}`"

    @pytest.mark.parametrize("name", sorted(descriptions()))
    def test_every_description_has_one(self, name: str) -> None:
        compile(stub(descriptions()[name]), name, "exec")

    def test_the_other_vf_has_the_same_face(self) -> None:
        """One driver for both: what the 82576's face promises, the I350 has, but for the fields that it adds."""
        dev: Any = Registers(find("igbvf-i350"), Fake(find("igbvf-i350")).transport)
        mine: Any = Registers(IGBVF, Fake(IGBVF).transport)
        assert set(vars(mine)) == set(vars(dev))

    def test_mypy_agrees(self, tmp_path: Path) -> None:
        good = [
            "dev.rdt[0].write(5)", "x: int = dev.status.lu", "dev.srrctl[0].write(desctype='ADV_ONEBUF', rdmts=3)",
            "dev.v2pmailbox.wait(pfsts=1, timeout=0.5)", "dev.vmbmem.write_words([1])", "dev.vmbmem[3].write(1)",
            "y: int = dev.v2pmailbox.take('rstd')", "dev.tdt[1].store(3)", "z: list[int] = [r.rdh for r in dev.rdh]",
        ]  # fmt: skip
        bad = [
            "dev.status.write(1)", "dev.nonesuch", "dev.srrctl[0].write(desctype='ONE')", "dev.eimc.read()",
            "dev.v2pmailbox.wait(pfsts=1)", "dev.v2pmailbox.take('rsti')", "dev.v2pmailbox.req", "dev.rdt.write(5)",
            "dev.rdt[0].write(nosuch=5)", "dev.rdh[0].store(1)",
        ]  # fmt: skip
        bad.append("dev.rxdctl[0].modify().enable = 1")
        modify = "with dev.srrctl[0].modify() as r:\n    r.desctype = 'LEGACY'\n    r.rdmts = 2\n    w: int = r.desctype"
        head = "from drivers.registers.igbvf import Igbvf\ndev: Igbvf\n"
        path = tmp_path / "snippet.py"
        path.write_text(head + "\n".join([*bad, *good, modify]) + "\n")
        done = subprocess.run(
            [sys.executable, "-m", "mypy", "--strict", "--no-error-summary", "--follow-imports=silent", str(path)],
            capture_output=True, text=True, timeout=120, cwd=FACES.parents[1],
        )  # fmt: skip
        refused = {int(line.split(":")[1]) for line in done.stdout.splitlines() if ": error:" in line}
        assert refused == set(range(3, 3 + len(bad))), done.stdout + done.stderr

    def test_it_is_written_from_the_command_line(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
    ) -> None:
        monkeypatch.setattr(stubs, "FACES", tmp_path)
        assert stubs.main(["igbvf-i350", "igbvf"]) == 0
        assert (tmp_path / "igbvf.pyi").read_text() == stub(IGBVF)
        assert "class IgbvfI350(Face):" in (tmp_path / "igbvf_i350.pyi").read_text()
        assert capsys.readouterr().out.split() == [str(tmp_path / "igbvf_i350.pyi"), str(tmp_path / "igbvf.pyi")]

    def test_unknown_device_is_one_line(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert stubs.main(["nosuch"]) == 2 and stubs.main([]) == 2
        assert capsys.readouterr().err.startswith("error: unknown device 'nosuch'")
