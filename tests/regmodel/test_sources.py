"""Every fact has a source, and a cited symbol has the value that the description says: offsets, masks, numbers.

The symbols come from Debian's ``linux-source`` and ``libdpdk-dev``, evaluated by gcc (``tests.support.symbols``).
"""

from __future__ import annotations

from collections.abc import Mapping
from functools import cache
from pathlib import Path

import pytest
from construct import Int32ul, Struct

from regmodel.access import RO, RSVD, RW
from regmodel.bits import Bits, F
from regmodel.catalogue import Description, Descriptor, Device, Mailbox, Message, Ring
from regmodel.registers import Bar, Each, Pair32, Reg32
from regmodel.sources import Document, Symbol, symbols
from tests.regmodel.described import bars, descriptions
from tests.support.claims import Claim, of_description, refutations
from tests.support.interleaving import At
from tests.support.symbols import Unresolved, evaluate

NAMES = sorted(descriptions())
R = symbols("linux-source", "drivers/net/ethernet/intel/igbvf/regs.h", "E1000_")
B = symbols("linux-source", "drivers/net/ethernet/intel/igbvf/defines.h", "E1000_")
T = symbols("linux-source", "drivers/net/ethernet/intel/igbvf/vf.h", "E1000_")
M = symbols("linux-source", "drivers/net/ethernet/intel/igbvf/mbx.h", "E1000_")


@cache
def claims(name: str) -> tuple[Claim, ...]:
    return tuple(of_description(name, descriptions()[name]))


@cache
def values() -> Mapping[Symbol, int | Unresolved]:
    """All symbols that anything cites, from one compiler run."""
    return evaluate(claim.symbol for name in NAMES for claim in claims(name))


@pytest.mark.parametrize("name", NAMES)
def test_cited_symbols_have_the_described_values(name: str) -> None:
    wrong = refutations(claims(name), values())
    assert not wrong, "\n" + "\n".join(wrong)


def test_the_device_is_proven_by_symbols_at_large() -> None:
    """A floor under the number of comparisons: an emptied walker would pass every other test."""
    offsets = {claim.path.partition("[")[0] for claim in claims("igbvf") if claim.what == "offset"}
    kinds = {claim.what for claim in claims("igbvf")}
    assert len([path for path in offsets if path.startswith("igbvf.bar0.")]) > 35
    assert {"offset", "mask", "lowest bit", "value", "number", "number of words", "device"} <= kinds


@pytest.mark.parametrize("name", sorted(bars()))
def test_every_register_has_a_source(name: str) -> None:
    """Its fields rest on the same source unless they have one of their own."""
    without = [register for register, entry in bars()[name].entries.items() if not entry.sources]
    assert not without, f"{name}: no source for {', '.join(without)}"


@pytest.mark.parametrize("name", NAMES)
def test_every_descriptor_message_and_device_has_a_source(name: str) -> None:
    description = descriptions()[name]
    things: list[Descriptor | Message | Mailbox | Device] = []
    for ring in description.rings:
        things += [*ring.formats, *ring.device_writes]
    for box in description.mailboxes:
        things += box.messages
    if isinstance(description, Device):
        things += [description, *description.mailboxes]
    without = [thing.name for thing in things if not thing.sources]
    assert not without, f"{name}: no source for {', '.join(without)}"


# What must be found out: one wrong number each, in a description that is otherwise right.
def _registers(*entries: object) -> Description:
    return Description(name="wrong", title="", doc="", bars={0: Bar("bar0", 0x4000, *entries)})


def _ring(*fields: object) -> Description:
    schema = Struct("word" / Bits(Int32ul, *fields, RSVD[...]))
    ring = Ring("ring", "", ("", ""), "", "", "", "", (Descriptor("entry", schema, "", (Document("none", "0"),)),))
    return Description(name="wrong", title="", doc="", rings=(ring,))


def _message(number: int, words: int) -> Description:
    schema = Struct("word" / Bits(Int32ul, "ack" / F[31](M("VT_MSGTYPE_ACK")), RSVD[...]))
    message = Message("reset", number, "VF", "PF", schema, "", (M("VF_RESET"),))
    return Description(name="wrong", title="", doc="",
                       mailboxes=(Mailbox("box", "", words=words, messages=(message,), sources=(M("VFMAILBOX_SIZE"),)),))


RIGHT = (
    _registers("rdt" / Reg32(Each(0x2818, 0x100, 2), RW, R("RDT", 0)),
               "status" / Reg32(0x8, "fd" / RO[0](B("STATUS_FD")), "speed" / RO[7:6](B("STATUS_SPEED_1000", of="G"), G=2),
                                RSVD[...], R("STATUS")),
               *Pair32("tdbal", 0x3800, "tdbah", 0x3804, RW, R("TDBAL", 0))),
    _ring("paylen" / F[31:14](T("ADVTXD_PAYLEN_SHIFT"))),
    _message(1, 16),
)  # fmt: skip
WRONG = {
    "offset": (_registers("rdt" / Reg32(0x2814, RW, R("RDT", 0))), "offset is 0x2814 here, 0x2818 by"),
    "stride": (_registers("rdt" / Reg32(Each(0x2818, 0x40, 2), RW, R("RDT", 0))), "rdt[1]: offset is 0x2858 here, 0x2918 by"),
    "pair": (_registers(*Pair32("a", 0x3804, "b", 0x3808, RW, R("TDBAL", 0))), "offset is 0x3804 here, 0x3800 by"),
    "base": (_registers("rdt" / Reg32(0x2818, RW, R("RDT", 0, base=4))), "offset is 0x2818 here, 0x281c by"),
    "mask": (_registers("s" / Reg32(8, "fd" / RO[1](B("STATUS_FD")), RSVD[...])), "s.fd: mask is 0x2 here, 0x1 by"),
    "value": (_registers("s" / Reg32(8, "v" / RO[7:6](B("STATUS_SPEED_1000", of="G"), G=1), RSVD[...])), "v=G: value is 0x40"),
    "shift": (_ring("ixsm" / F[9](B("TXD_POPTS_IXSM", shift=8))), "entry.word.ixsm: mask is 0x200 here, 0x100 by"),
    "message": (_message(2, 16), "reset: number is 0x2 here, 0x1 by"),
    "words": (_message(1, 8), "number of words is 0x8 here, 0x10 by"),
    "symbol": (_registers("rdt" / Reg32(0x2818, RW, R("NO_SUCH"))), "regs.h defines no E1000_NO_SUCH"),
    "file": (_registers("rdt" / Reg32(0x2818, RW, Symbol("linux-source", "drivers/none.h", "X"))), "there is no file"),
}  # fmt: skip


@cache
def made_up_values() -> Mapping[Symbol, int | Unresolved]:
    made = (*RIGHT, *(description for description, _ in WRONG.values()))
    return evaluate(claim.symbol for description in made for claim in of_description("wrong", description))


@pytest.mark.parametrize("what", WRONG)
def test_a_wrong_number_is_found(what: str) -> None:
    description, expected = WRONG[what]
    wrong = refutations(of_description("wrong", description), made_up_values())
    assert len(wrong) >= 1 and expected in wrong[-1], wrong


@pytest.mark.parametrize("description", RIGHT)
def test_right_numbers_pass(description: Description) -> None:
    found = list(of_description("right", description))
    assert found and not refutations(found, made_up_values())


def test_two_processes_may_evaluate_at_once(
    tmp_path_factory: pytest.TempPathFactory, monkeypatch: pytest.MonkeyPatch, at: At
) -> None:
    """The other one compiles the same while the first one is about to put its program in place."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path_factory.mktemp("cache")))
    folder = tmp_path_factory.mktemp("headers")
    (folder / "one.h").write_text("#define ONE 1\n")
    symbol = Symbol("nobody", "one.h", "ONE")
    at(Path, "rename", lambda: evaluate([symbol], lambda package, files: folder))
    assert evaluate([symbol], lambda package, files: folder) == {symbol: 1}
