"""Brings the accesses of one phase into a form in which two runs can be compared, by the description of the device.

A driver's accesses are one sequence, into which three things mix whose moments are chance. They are taken out first:

- what interrupt handlers do: re-arming one vector (EIMS), its new moderation (EITR), kicking one (EICS);
- one run of the watchdog, which igbvf starts every two seconds and after each mailbox interrupt;
- in phases with traffic, tails of rings.

What is left is in the order in which the driver did it. There, and within a run of the watchdog:

- reads of one register in a row are a poll loop, however often: its outcome is the last value, with read-to-clear bits that
  any of them returned;
- values that no two runs share have a name instead: addresses of rings, an address which the guest has chosen by chance.

Each access to mailbox memory carries the name of the message that it is part of.

Sources: igbvf/netdev.c ``igbvf_watchdog_task``, ``igbvf_has_link``, ``igbvf_intr_msix_rx``, ``igbvf_intr_msix_tx``,
``igbvf_msix_other``; igbvf/vf.c ``e1000_check_for_link_vf``.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace

from regmodel.access import OnRead
from regmodel.bank import Bank
from regmodel.catalogue import Device
from tests.differential.trace import BAR, CONFIG, Access

MAILBOX, MEMORY = "v2pmailbox", "vmbmem["
REQ, ACK, VFU, PFSTS, PFACK = 0x01, 0x02, 0x04, 0x10, 0x20
NUMBER, CTS = 0xFFFF, 1 << 29
STATISTICS = ["vfgprc", "vfgorc", "vfgptc", "vfgotc", "vfmprc", "vfgotlbc", "vfgptlbc", "vfgorlbc", "vfgprlbc"]
RINGS = re.compile(r"[rt]dba[lh]\[")
TAILS = re.compile(r"[rt]dt\[")
SINGLE_VECTORS = (1, 2, 4)


@dataclass(frozen=True)
class Step:
    """One access, or one poll loop: ``register`` by its path, ``value`` as text, ``message`` in mailbox memory."""

    op: str
    register: str
    value: str
    message: str = ""

    def __str__(self) -> str:
        return f"{self.op} {self.register} {self.value}" + (f" ({self.message})" if self.message else "")


@dataclass(frozen=True)
class Phase:
    """One phase in comparable form. ``handlers`` and ``watchdog`` are kinds of what happened: chance says how often."""

    steps: tuple[Step, ...]
    config: tuple[Step, ...]
    handlers: frozenset[Step]
    watchdog: frozenset[tuple[Step, ...]]


@dataclass(frozen=True)
class _Raw:
    """An access with the name of its register."""

    op: str
    register: str
    value: int
    message: str = ""


class Canonical:
    """For captures of one device. ``known``: words of addresses that the host gave out and which therefore compare."""

    def __init__(self, device: Device, known: Iterable[int] = ()) -> None:
        self.device, self.known = device, frozenset((0, *known))
        bar = Bank(device.bars[0])
        self._names = {BAR: {cell.offset: str(cell.path) for cell in bar}, CONFIG: _bytes(Bank(device.config))}
        self._clears = {str(cell.path): _read_to_clear(cell.entry) for cell in bar}
        (self._mailbox,) = device.mailboxes

    def phase(self, accesses: Sequence[Access], *, traffic: bool = False, unasked: bool = False) -> Phase:
        """``traffic``: tails of rings move at any time; ``unasked``: messages of the PF come at any time."""
        raw = self._with_messages([self._named(access) for access in accesses if access.space == BAR])
        if unasked:
            raw = _without_unasked(raw)
        handlers = {self._step(access) for access in raw if _of_handler(access)}
        rest = [access for access in _without_moderation(raw) if not _of_handler(access)]
        if traffic:
            rest = [access for access in rest if not TAILS.match(access.register)]
        rest, runs = _without_watchdog(rest)
        config = [self._named(access) for access in accesses if access.space == CONFIG]
        return Phase(
            tuple(self._fold(rest)),
            tuple(self._fold(config)),
            frozenset(handlers),
            frozenset(tuple(self._fold(part, watchdog=True)) for run in runs for part in _parts(run)),
        )

    def under_way(self, accesses: Sequence[Access]) -> bool:
        """Whether the last of ``accesses`` are the beginning of a run of the watchdog, which ends with its kick."""
        return bool(_BEGUN.search(_codes([self._named(access) for access in accesses if access.space == BAR])))

    def _named(self, access: Access) -> _Raw:
        name = self._names[access.space].get(access.offset, f"{access.space}+{access.offset:#x}")
        size = "" if access.size == 4 or access.space == CONFIG else f" ({access.size} bytes)"
        return _Raw(access.op, name + size, access.value)

    def _with_messages(self, raw: list[_Raw]) -> list[_Raw]:
        """Name the message of each access to mailbox memory: what its first word says that was accessed the same way."""
        current = {"R": "", "W": ""}
        named = []
        for access in raw:
            if access.register.startswith(MEMORY):
                if access.register == f"{MEMORY}0]":
                    sender = "VF" if access.op == "W" else "PF"
                    found = self._mailbox.find(access.value & NUMBER, sender)
                    current[access.op] = found.name if found is not None else f"{access.value & NUMBER:#x}"
                access = replace(access, message=current[access.op])
            named.append(access)
        return named

    def _fold(self, raw: Iterable[_Raw], *, watchdog: bool = False) -> list[Step]:
        """Poll loops as one step each."""
        steps: list[Step] = []
        seen, last = 0, None
        for access in raw:
            poll = last is not None and (access.op, last.op) == ("R", "R") and access.register == last.register
            clears = self._clears.get(access.register, 0) if access.op == "R" else 0
            seen = access.value & clears | (seen if poll else 0)
            step = self._step(replace(access, value=access.value | seen), watchdog=watchdog)
            steps[-1:] = [step] if poll else [*steps[-1:], step]
            last = access
        return steps

    def _step(self, access: _Raw, *, watchdog: bool = False) -> Step:
        text = f"{access.value:#x}"
        if access.op == "W" and RINGS.match(access.register):
            text = "a ring's address"
        elif access.message in ("reset_reply", "set_mac_addr", "set_mac_addr_reply") and access.register != f"{MEMORY}0]":
            text = text if access.value in self.known else "chosen by the guest"
        elif watchdog and access.register in STATISTICS:
            text = "a count"
        elif watchdog and access.register == f"{MEMORY}0]":
            # whichever message came last: all that is asked of it is this bit (vf.c e1000_check_for_link_vf)
            return Step(access.op, access.register, "cts" if access.value & CTS else "no cts", "the last one")
        return Step(access.op, access.register, text, access.message)


def _bytes(bank: Bank) -> dict[int, str]:
    """Names for every byte of configuration space: a register may be read by part."""
    names = {}
    for cell in bank:
        for byte in range(cell.size):
            names[cell.offset + byte] = str(cell.path) + (f"+{byte}" if byte else "")
    return names


def _read_to_clear(entry: object) -> int:
    fields = getattr(entry, "fields", ())
    return sum(field.mask for field in fields if field.access.onread is OnRead.CLEAR)


def _of_handler(access: _Raw) -> bool:
    return access.op == "W" and access.register == "eims" and access.value in SINGLE_VECTORS


def _without_moderation(raw: Sequence[_Raw]) -> list[_Raw]:
    """Leave out EITR but for where it is set up, behind IVAR: after that it follows the load of the moment."""
    return [
        access for i, access in enumerate(raw)
        if not (access.register.startswith("eitr[") and access.op == "W" and not (i and raw[i - 1].register.startswith("ivar")))
    ]  # fmt: skip


def _without_unasked(raw: Sequence[_Raw]) -> list[_Raw]:
    """In the poll loop behind a reset of the VF, leave out whether something of the PF waited before: chance decides."""
    cleaned: list[_Raw] = []
    behind = False
    for access in raw:
        place = (access.op, access.register)
        behind = place == ("W", "ctrl") or (behind and place == ("R", MAILBOX))
        cleaned.append(replace(access, value=access.value & ~(PFSTS | PFACK)) if behind and access.op == "R" else access)
    return cleaned


_CODES: tuple[tuple[str, Callable[[_Raw], bool]], ...] = (
    ("m", lambda a: (a.op, a.register) == ("R", MAILBOX)),
    ("l", lambda a: (a.op, a.register, a.value) == ("W", MAILBOX, VFU)),
    ("q", lambda a: (a.op, a.register, a.value) == ("W", MAILBOX, REQ)),
    ("a", lambda a: (a.op, a.register, a.value) == ("W", MAILBOX, ACK)),
    ("w", lambda a: (a.op, a.register) == ("R", f"{MEMORY}0]")),
    ("s", lambda a: (a.op, a.register) == ("R", "status")),
    ("d", lambda a: (a.op, a.register) == ("W", "eiac")),
    ("k", lambda a: (a.op, a.register) == ("W", "eics")),
    ("c", lambda a: a.op == "R" and a.register in STATISTICS),
)
_WHOLE = re.compile(r"m(?:s(?:(?:lm+)+(?:wa)?)?s?)?(?:c{9})?k")
_LOOK = re.compile(r"(?<![qlm])m(?:s(?:(?:lm+)+(?:wa)?)?s?)?$")
_BEGUN = re.compile(r"(?<![qlm])m(?:sl?|s(?:lm+)+(?:wa?)?|s(?:(?:lm+)+wa)?s)?c{0,9}$")


def _codes(raw: Sequence[_Raw]) -> str:
    """One letter for each access: what it is to the watchdog, ``.`` if nothing."""
    return "".join(next((code for code, test in _CODES if test(access)), ".") for access in raw)


def _without_watchdog(raw: Sequence[_Raw]) -> tuple[list[_Raw], list[list[_Raw]]]:
    """Split off the runs of the watchdog. Each ends with the kick of the receive vector.

    Some are interrupted by other work, once they have looked at the link and let go of the mailbox. A run that finds the
    interface on its way down only kicks, which says nothing and is left out. Statistics behind EIAC are not the watchdog's: the
    driver reads them when it takes the interface down (``igbvf_down``).
    """
    codes = _codes(raw).replace("d" + 9 * "c", 10 * ".")
    runs = [list(range(*match.span())) for match in _WHOLE.finditer(codes)]
    codes = _WHOLE.sub(lambda match: "-" * len(match[0]), codes)
    while (kick := codes.rfind("k")) >= 0:
        run = _interrupted(raw, codes, kick)
        if len(run) > 1:
            runs.append(run)
        codes = "".join("-" if i in run else code for i, code in enumerate(codes))
    taken = {i for run in runs for i in run} | {i for i, access in enumerate(raw) if access.register == "eics"}
    return [access for i, access in enumerate(raw) if i not in taken], [[raw[i] for i in run] for run in runs]


def _interrupted(raw: Sequence[_Raw], codes: str, kick: int) -> list[int]:
    """The accesses of a run that ends at ``kick``: backwards, all the statistics in their order, and a look at the link.

    A look holds the mailbox as others do, so it is never inside of what they do: a read behind REQ or VFU is theirs. Without
    statistics (a mailbox interrupt came in between, and the link counts as unknown) it must be more than one read.
    """
    wanted, found, at = list(STATISTICS), [kick], kick
    start = codes.rfind("k", 0, kick) + 1
    while wanted and at > start:
        at -= 1
        if codes[at] == "c" and raw[at].register == wanted[-1]:
            wanted.pop()
            found.append(at)
    if wanted:
        found, at = [kick], kick
    while at > start:
        look = _LOOK.search(codes[:at])
        if look is not None and (not wanted or len(look[0]) > 1):
            return [*range(*look.span()), *reversed(found)]
        at -= 1
    return [kick]


def _parts(run: Sequence[_Raw]) -> list[Sequence[_Raw]]:
    """The parts of a run which chance puts together: the look at the link, the speed if the carrier came, statistics."""
    look = [access for access in run if access.register not in (*STATISTICS, "eics")]
    speed = [access for access in look[-1:] if len(look) > 2 and access.register == "status"]
    statistics = [access for access in run if access.register in STATISTICS]
    return [part for part in (look[: len(look) - len(speed)], speed, statistics) if part]
