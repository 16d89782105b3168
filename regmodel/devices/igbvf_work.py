"""How the virtual functions of 82576 and I350 are put to work, and what a stock PF answers them; data only.

What the PF says is what Linux' ``igb`` says while nobody has configured the VF by ``ip link``: no address, VLAN or trust.
"""

from __future__ import annotations

from collections.abc import Mapping

from regmodel.bars.igbvf import DS, INTEL, X550
from regmodel.conduct import Exchange, Interrupts, Route, Talk, Traffic
from regmodel.function import ResetCause
from regmodel.sources import Reading, Source

FCS = 4


def _vf(function: str, file: str = "netdev.c") -> Reading:
    return Reading("linux-source", f"{INTEL}/igbvf/{file}", function)


def _pf(function: str) -> tuple[Source, ...]:
    return (Reading("linux-source", f"{INTEL}/igb/igb_main.c", function),)


# -- interrupts


def interrupts(queues: int) -> Interrupts:
    """That EIAM counts is the PF's doing, which sets GPIE.EIAME (igb_main.c ``igb_configure_msix``)."""
    ways = [(ring, q) for q in range(queues) for ring in ("rx", "tx")]
    routes = [Route(f"ivar0.int_alloc_{ring}{q}", f"ivar0.int_alloc_val_{ring}{q}", ring, q) for ring, q in ways]
    return Interrupts(
        field="msix", cause="eicr", set_cause="eics", mask="eims", mask_clear="eimc", auto_clear="eiac", auto_mask="eiam",
        throttle="eitr", interval="interval", unit=1e-6,
        routes=(*routes, Route("ivar_misc.int_alloc", "ivar_misc.int_alloc_val")),
        sources=(DS("7.3.2"), DS("7.3.4"), DS("8.8.6"), _vf("igbvf_configure_msix, igbvf_intr_msix_tx"),
                 *_pf("igb_configure_msix")),
    )  # fmt: skip


# -- queues


def transmit() -> Traffic:
    """Advanced descriptors. DD comes in those that ask for it by RS (DS 7.2.2.3)."""
    return Traffic(
        ring="tx", enable="txdctl.enable",
        setup={"tdwbal.head_wb_en": 0, "txdctl.pthresh": 0, "txdctl.hthresh": 0, "txdctl.wthresh": 0},
        format="tx_data", written="tx_writeback",
        constant={"cmd_type_len.dtyp": 3, "cmd_type_len.ifcs": 1, "cmd_type_len.dext": 1},
        address="buffer_addr", length="cmd_type_len.dtalen", whole="olinfo_status.paylen",
        last=("cmd_type_len.eop", "cmd_type_len.rs"),
        done="status.dd", counter="vfgptc", octets="vfgotc", overhead=FCS,
        sources=(DS("7.2.2.3"), DS("8.12.10"), _vf("igbvf_configure_tx, igbvf_tx_queue_adv")),
    )  # fmt: skip


def receive() -> Traffic:
    """One buffer of 1 KiB for each descriptor, so that common frames take two; packets without a descriptor are dropped."""
    return Traffic(
        ring="rx", enable="rxdctl.enable", setup={"srrctl.bsizepacket": 1, "srrctl.desctype": 1, "srrctl.drop_en": 1},
        format="rx_read", written="rx_writeback", constant={}, address="pkt_addr",
        done="status_error.dd", got="length", end="status_error.eop", counter="vfgprc", octets="vfgorc", overhead=FCS,
        dropped="rqdpc", inward=True, room=1024, unreached="a stock PF leaves RSS of its VFs off: all packets come to queue 0",
        sources=(DS("7.1.5"), DS("8.10.2"), DS("8.10.11"), _vf("igbvf_configure_rx, igbvf_setup_srrctl"),
                 *_pf("igb_set_vmolr")),
    )  # fmt: skip


# -- messages

GRANTED, REFUSED = {"ack": 1, "cts": 1}, {"nack": 1, "cts": 1}
MINE, MORE, GROUP, NOBODY = (bytes.fromhex(a) for a in ("02005e100001", "02005e100002", "01005e000001", "000000000000"))
VLAN_SLOTS = 32
"""Of the port (igb/e1000_82575.h ``E1000_VLVF_ARRAY_SIZE``); the first is VLAN 0's."""
DEAF = 2.0
"""Seconds after its reset in which a VF is not told that it was not heard (``igb_rcv_msg_from_vf``, 2 * HZ)."""

GATE, MAC = _pf("igb_rcv_msg_from_vf"), _pf("igb_set_vf_mac_addr, igb_set_vf_mac_filter")
HASHES, LENGTH, MODES = _pf("igb_set_vf_multicasts"), _pf("igb_set_vf_rlpml"), _pf("igb_set_vf_promisc")
VLAN = (*_pf("igb_set_vf_vlan_msg"), Reading("linux-source", f"{INTEL}/igb/e1000_mac.c", "igb_vfta_set"))


def _address(what: int, address: bytes, reply: Mapping[str, int], name: str) -> Exchange:
    """``what``: 0 sets the own address, 1 takes filters away, 2 adds one."""
    return Exchange(message="set_mac_addr", fields={"filter": what, "mac": address}, reply=reply, name=name, sources=MAC)


def _groups(hashes: list[int], *, more: int = 0) -> Exchange:
    fields = {"count": len(hashes), "overflow": more, "hashes": hashes + (30 - len(hashes)) * [0]}
    return Exchange(message="set_multicast", fields=fields, reply=GRANTED, sources=HASHES)


def _vlan(add: int, vid: int, reply: Mapping[str, int] = GRANTED, *, either: bool = False) -> Exchange:
    return Exchange(message="set_vlan", fields={"add": add, "vlan": {"vid": vid}}, reply=reply, either=either, sources=VLAN)


def _longest(size: int, reply: Mapping[str, int] | None = GRANTED, *, pause: float = 0.0) -> Exchange:
    fields, sources = {"max_frame_size": size}, LENGTH if reply == GRANTED else GATE
    return Exchange(message="set_lpe", fields=fields, reply=reply, pause=pause, sources=sources)


def _modes(unicast: int, multicast: int, reply: Mapping[str, int]) -> Exchange:
    """Multicast is granted and taken out of the answer; anything else is refused."""
    fields = {"unicast": unicast, "multicast": multicast}
    return Exchange(message="set_promisc", fields=fields, reply={**reply, "multicast": 0}, sources=MODES)


def _word(word: int, reply: Mapping[str, int] | None, name: str) -> Exchange:
    return Exchange(message="", words=(word,), reply=reply, name=name, sources=GATE)


UNHEARD = (
    _longest(1518, None),
    _longest(1518, {"nack": 1}, pause=DEAF + 0.1),
)

EXCHANGES = {
    "set_mac_addr": (
        _address(0, MINE, GRANTED, "own address"),
        _address(0, NOBODY, REFUSED, "no address"),
        _address(0, GROUP, REFUSED, "a group's address"),
        _address(2, MORE, GRANTED, "another address"),
        _address(2, GROUP, REFUSED, "a group's as another address"),
        _address(1, MORE, GRANTED, "no other addresses"),
        _address(1, NOBODY, REFUSED, "no other addresses, said with zeros"),  # as igbvf says it
        _address(3, MORE, REFUSED, "neither own nor another address"),
    ),
    "set_multicast": (_groups([]), _groups([0x123, 0xFFF]), _groups([*range(30)]), _groups([*range(30)], more=1)),
    "set_vlan": (
        _vlan(1, 100), _vlan(1, 100), _vlan(0, 100), _vlan(0, 100), _vlan(1, 0), _vlan(0, 0),
        *(_vlan(1, 200 + n, either=True) for n in range(VLAN_SLOTS - 1)),  # others may have some
        _vlan(1, 300, REFUSED),
        _vlan(0, 100, REFUSED),  # leaving takes a slot as well
        _vlan(0, 200), _vlan(1, 300),
    ),
    "set_lpe": (_longest(1518), _longest(0x2600), _longest(0x2601)),  # the last is cut, and granted
    "set_promisc": (
        _modes(0, 0, GRANTED), _modes(0, 1, GRANTED), _modes(1, 0, REFUSED), _modes(1, 1, REFUSED), _modes(0, 0, GRANTED),
    ),
    "unknown": (*(_word(word, REFUSED, f"{word:#x}") for word in (0, 7, 0x55, 0x100, 0xFFFF, 0x0001_0001)), _longest(1518)),
    "answers": (  # what has ACK or NACK set has been said by the PF itself
        *(_word(word, None, f"{word:#x}") for word in (0x8000_0005, 0x4000_0005, 0x8000_0001, 0xFFFF_FFFF)), _longest(1518),
    ),
}  # fmt: skip

TALK = Talk(
    mailbox="mailbox", own="vfu", others="pfu", request="req", acknowledge="ack", arrived="pfsts", taken="pfack",
    in_reset="rsti", was_reset="rstd",
    # whether it is granted depends on whether the VF has an address
    opening=Exchange(message="reset", either=True, reply={}, sources=_pf("igb_vf_reset_msg")),
    granted="ack", refused="nack", address="mac", claim=_address(0, MINE, GRANTED, "own address"),
    unasked="pf_control",
    unheard=UNHEARD, rebuke=0x4000_0000, exchanges=EXCHANGES,
    announced=(ResetCause.POWER_ON, ResetCause.BUS),
    patience=0.010,
    sources=(
        DS("7.10.2.9"), X550("4.2.2.1"),
        _vf("e1000_obtain_mbx_lock_vf, e1000_write_mbx_vf, e1000_read_mbx_vf", "mbx.c"),
        Reading("linux-source", f"{INTEL}/igb/e1000_mbx.c", "igb_obtain_mbx_lock_pf, 10 times 1 ms"),
        *_pf("igb_reset, igb_ping_all_vfs, igb_rcv_ack_from_vf"),
    ),
)  # fmt: skip
