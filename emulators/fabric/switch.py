"""The L2 switch of one NIC port: between the pools of the port and from them to the uplink and back.

In here: the settings that all pools of a port share, and the data path. Who accepts what is decided in ``resolve``, per
pool settings are in ``pool``. Generic for all NIC families; each port of a card has a switch of its own, and there is no
way from one to another.

Most frames are finished; a burst with partial ones (``offload``) among them goes a way of its own, where each destination
gets those that it takes as they are and the rest finished. Pools' length limits are applied to what is on the wire then.

The data path looks at a frame once: its first 14 bytes (16 when tagged) are looked up in the cache of the port where it
came in, which knows the verdict until a setting changes. A burst makes at most one call per destination, in order.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from functools import reduce
from itertools import chain, groupby
from operator import and_, itemgetter
from struct import Struct
from struct import error as StructError
from typing import Any, TypeAlias

from emulators.fabric.counters import SPOOFS, Drop
from emulators.fabric.frames import VLAN_TYPE, AddressHash, insert_tag, intel_hash
from emulators.fabric.link import Link
from emulators.fabric.offload import Partial, Takes, finish_all, has_partial, on_wire, sound, tagged, wire_size
from emulators.fabric.pool import Configured, Pool
from emulators.fabric.resolve import KEY, TAGGED_KEY, Verdict, resolve
from emulators.fabric.uplink import Backend, Uplink
from emulators.fabric.vlans import VlanTable
from emulators.loop import Loop
from regmodel.function import Buffer

Observer = Callable[[str, str, Sequence[Buffer]], None]
"""Called with the port's name, ``in`` or ``out`` of the switch, and a burst whose frames are valid during the call only."""

CACHE_ENTRIES = 4096
"""Verdicts kept per port; a guest that invents addresses costs a resolution per frame, not memory."""

LONGEST = 9728
"""Octets with FCS: the 9.5 KiB of the 82576 datasheet, table 1-1 (igb/e1000_hw.h ``MAX_JUMBO_FRAME_SIZE``)."""

_key = Struct(f"{KEY}s").unpack_from

Parts: TypeAlias = dict[Pool | Uplink, list[Sequence[Buffer]]]
"""What each destination of a burst gets, in pieces, in order."""

Group: TypeAlias = tuple[Verdict, Sequence[Buffer]]


class Switch(Configured):
    """See the module. In brackets: the bit or register in the 82576 datasheet."""

    vlan_filter: bool  # tagged and untagged frames reach members only [RCTL.VFE]
    vlan_ids: frozenset[int] | None  # VLANs that the port lets in at all; None: all [VFTA]
    multicast_hashes: frozenset[int]  # places of the multicast hash filter that are set [MTA]
    unicast_hashes: frozenset[int]  # likewise for unicast [UTA]
    address_hash: AddressHash  # how both are indexed [RCTL.MO]
    loopback: bool  # frames of pools may go to pools [DTXSWC.Loopback_en]
    replication: bool  # a frame may have several pools [VT_CTL.Rpl_En]
    default_pool: Pool | None  # takes unicast from the wire that nobody else does [VT_CTL.DEF_PL, Dis_Def_Pool]
    max_frame: int  # octets with FCS; no pool receives longer frames [RLPML]
    strip_replicated: bool | None  # tags of multicast and broadcast [RPLOLR.STRVLAN]; None: as the pool does [I350]

    SETTINGS = frozenset(__annotations__)

    def __init__(self, name: str, *, vlan_slots: int = 32, partial: bool = False) -> None:
        """``partial``: models of this port may exchange partial frames, so that its back end should be able to."""
        self.name = name
        self.pools: list[Pool] = []
        self.uplink = Uplink(self.receive, partial)
        self.uplink.link.listen(lambda up: self.invalidate())
        self.observer: Observer | None = None
        self._verdicts: dict[tuple[object, ...], Verdict] = {}
        self.vlans = VlanTable(self.invalidate, vlan_slots)
        self.reset()

    def reset(self) -> None:
        """All settings of port and pools as after power-on. Pools, endpoints, back end, link and counters stay."""
        self.vlan_filter = False
        self.vlan_ids = None
        self.multicast_hashes = self.unicast_hashes = frozenset()
        self.address_hash = intel_hash()
        self.loopback = self.replication = False
        self.default_pool = None
        self.max_frame = LONGEST
        self.strip_replicated = None
        self.vlans.clear()
        for pool in self.pools:
            pool.reset()

    def add_pool(self, name: str) -> Pool:
        """One more pool, with all its settings as after power-on. Its index is its place in pool bit masks."""
        pool = Pool(self, name, len(self.pools))
        self.pools.append(pool)
        self.invalidate()
        return pool

    @property
    def link(self) -> Link:
        return self.uplink.link

    def attach(self, backend: Backend, loop: Loop) -> None:
        """Plug ``backend`` into the uplink; it lives on ``loop``, the thread that runs this port."""
        self.uplink.attach(backend, loop)

    def detach(self) -> None:
        self.uplink.detach()

    def _ports(self) -> list[Pool | Uplink]:
        return [*self.pools, self.uplink]

    def invalidate(self) -> None:
        """Forget all verdicts: something that they depend on has changed."""
        for port in self._ports():
            port.cache.clear()
        self._verdicts.clear()
        self.uplink.wanted = reduce(and_, [pool.takes for pool in self.pools if pool.receive_enable] or [Takes.NONE])

    def _changed(self) -> None:
        self.invalidate()

    def receive(self, frames: Sequence[Buffer]) -> None:
        """Switch a burst from the wire."""
        self._enter(self.uplink, None, frames)

    def transmit(self, source: Pool, frames: Sequence[Buffer]) -> None:
        """Switch a burst from ``source``, which is one of ours."""
        self._enter(source, source, frames)

    def _enter(self, port: Pool | Uplink, source: Pool | None, frames: Sequence[Buffer]) -> None:
        """Group the frames by verdict, sort each group by destination, then call each destination once."""
        if self.observer is not None:
            self.observer(port.name, "in", frames)
        known = port.cache.get
        try:
            keys = list(chain.from_iterable(map(_key, frames)))
        except StructError:  # one is shorter than that
            keys = [bytes(frame[:KEY]) for frame in frames]
        out: Parts = {}
        sort = self._sort_partial if has_partial(frames) else self._sort
        verdict = known(keys[0]) if keys else None
        if verdict is not None and keys.count(keys[0]) == len(keys):
            sort(port, source, verdict, frames, out)
        else:
            verdicts = [known(key) or self._look(port, source, frame) for key, frame in zip(keys, frames, strict=True)]
            for verdict, group in _groups(set(verdicts), verdicts, frames):
                sort(port, source, verdict, group, out)
        for destination, parts in out.items():
            burst = parts[0] if len(parts) == 1 else list(chain.from_iterable(parts))
            self._leave(destination, burst, loopback=source is not None)

    def _look(self, port: Pool | Uplink, source: Pool | None, frame: Buffer) -> Verdict:
        """The verdict on a frame that is tagged, so that 14 bytes do not decide, or is not known yet."""
        cache, key = port.cache, bytes(frame[:TAGGED_KEY])
        tagged = key[12:KEY] == VLAN_TYPE
        if tagged:
            if key in cache:
                return cache[key]
        else:
            key = key[:KEY]
        verdict = resolve(self, source, key)
        verdict = self._verdicts.setdefault(tuple(vars(verdict).values()), verdict)
        if not tagged or len(key) == TAGGED_KEY:  # the 14 bytes of a truncated tagged frame do not decide for whole ones
            if len(cache) >= CACHE_ENTRIES:
                cache.clear()
            cache[key] = verdict
        return verdict

    def _sort(self, port: Pool | Uplink, source: Pool | None, verdict: Verdict, run: Sequence[Buffer], out: Parts) -> None:
        """Count a run of frames with one verdict and add it to what each of its destinations gets."""
        sizes = list(map(len, run))
        count, octets, longest, kind = len(run), sum(sizes), max(sizes), verdict.kind
        port.entered.count(count, octets, kind)
        if verdict.refused is not None:
            _refuse(port, source, verdict.refused, count)
            return
        port.entered.copies += count * (len(verdict.pools) + verdict.uplink)
        if verdict.insert is not None:
            tag = verdict.insert
            run = [insert_tag(frame, tag) for frame in run]
            octets += count * len(tag)
            longest += len(tag)
        if verdict.uplink:
            if self.uplink.link.up:
                self.uplink.left.count(count, octets, kind)
                out.setdefault(self.uplink, []).append(run)
            else:
                self.uplink.lost[Drop.LINK_DOWN] += count
        if not verdict.pools:
            return
        if source is not None:
            source.tx_loopback.count(count, octets, kind)
        fits = longest <= verdict.limit
        for pool in verdict.pools:
            kept = run if fits else pool.shorter(run, verdict.tagged)
            if kept:
                kept_octets = octets if kept is run else sum(map(len, kept))
                pool.left.count(len(kept), kept_octets, kind)
                if source is not None:
                    pool.rx_loopback.count(len(kept), kept_octets, kind)
                out.setdefault(pool, []).append(kept)

    def _sort_partial(
        self, port: Pool | Uplink, source: Pool | None, verdict: Verdict, run: Sequence[Buffer], out: Parts
    ) -> None:
        """``_sort`` for a run with partial frames in it: each destination gets it as it takes it."""
        port.entered.count(len(run), sum(map(len, run)), verdict.kind)
        if verdict.refused is not None:
            _refuse(port, source, verdict.refused, len(run))
            return
        whole = [frame for frame in run if not isinstance(frame, Partial) or sound(frame)]
        if len(whole) < len(run):
            _refuse(port, source, Drop.OFFLOAD, len(run) - len(whole))
        if verdict.insert is not None:
            whole = [tagged(frame, verdict.insert) for frame in whole]
        if source is not None and verdict.pools:
            source.tx_loopback.count(len(whole), sum(map(len, whole)), verdict.kind)
        versions: dict[Takes, Sequence[Buffer]] = {}
        for destination in (*verdict.pools, *((self.uplink,) if verdict.uplink else ())):
            takes = destination.takes
            if takes not in versions:
                frames = finish_all(whole, takes)
                versions[takes] = frames if source is not None else [on_wire(frame) for frame in frames]
            self._copy(port, source, destination, verdict, versions[takes], out)

    def _copy(
        self, port: Pool | Uplink, source: Pool | None, to: Pool | Uplink, verdict: Verdict, run: Sequence[Buffer], out: Parts
    ) -> None:
        """Count the copies of a run that one destination gets, and add them to its part."""
        port.entered.copies += len(run)
        if isinstance(to, Uplink):
            if not to.link.up:
                to.lost[Drop.LINK_DOWN] += len(run)
                return
        else:
            limit = to.longest(verdict.tagged)
            kept = [frame for frame in run if wire_size(frame) <= limit]
            to.lost[Drop.TOO_LONG] += len(run) - len(kept)
            run = kept
            if source is not None:
                to.rx_loopback.count(len(run), sum(map(len, run)), verdict.kind)
        to.left.count(len(run), sum(map(len, run)), verdict.kind)
        if run:
            out.setdefault(to, []).append(run)

    def _leave(self, port: Pool | Uplink, frames: Sequence[Buffer], *, loopback: bool) -> None:
        """Hand over a burst, and count what was not taken."""
        if self.observer is not None:
            self.observer(port.name, "out", frames)
        if isinstance(port, Uplink):
            taken = len(frames) if port.backend is None else port.backend.send(frames)
            reason = Drop.QUEUE_FULL
        else:
            taken = 0 if port.endpoint is None else port.endpoint.deliver(frames, loopback=loopback)
            reason = Drop.NO_BUFFERS
        if taken < len(frames):
            port.lost[reason] += len(frames) - taken

    def counters(self) -> dict[str, Any]:
        """All counters of the port, JSON-able, by the names that ``ctl stats`` shows."""
        return {
            "name": self.name,
            "link": "up" if self.link.up else "down",
            "uplink": self.uplink.as_dict(),
            "pools": {pool.name: pool.as_dict() for pool in self.pools},
        }

    def clear_counters(self) -> None:
        for port in self._ports():
            port.clear_counters()


def _refuse(port: Pool | Uplink, source: Pool | None, reason: Drop, count: int) -> None:
    """Count frames that go nowhere, and tell who wants to know of spoofing."""
    port.refused[reason] += count
    if source is not None and source.on_spoof is not None and reason in SPOOFS:
        source.on_spoof(source, reason)


def _groups(different: set[Verdict], verdicts: list[Verdict], frames: Sequence[Buffer]) -> Iterable[Group]:
    """The frames of a burst by verdict, such that no destination gets any of them out of order.

    Verdicts without a destination in common need no order between them; others are grouped only where they follow.
    """
    destinations = [port for verdict in different for port in (*verdict.pools, *((None,) if verdict.uplink else ()))]
    if len(set(destinations)) == len(destinations):
        groups: dict[Verdict, list[Buffer]] = {verdict: [] for verdict in verdicts}
        for verdict, frame in zip(verdicts, frames, strict=True):
            groups[verdict].append(frame)
        return groups.items()
    pairs = groupby(zip(verdicts, frames, strict=True), key=itemgetter(0))
    return ((verdict, [frame for _, frame in run]) for verdict, run in pairs)
