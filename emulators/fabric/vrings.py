"""Split virtqueues seen from the driver's side, in memory of our own that is shared with a back end.

In here: the memory, a transmit ring and a receive ring with their buffers. Who the back end is, and how it learns of the
memory, is in ``backends/vhost_user``. It may write anything into the memory at any time: what it writes there is checked,
and what we go by we keep to ourselves. Each vring has ``SIZE`` descriptors, and descriptor ``n`` always stands for the
buffer ``n`` of ``SLOT`` octets.

Sources: VIRTIO 1.2, 2.7 (split virtqueues), 5.1.6 (``struct virtio_net_hdr``, merged receive buffers).
"""

from __future__ import annotations

import fcntl
import mmap
import os
from collections.abc import Iterable, Sequence
from threading import Lock

from emulators.fabric import vnet
from emulators.fabric.offload import Partial
from regmodel.function import Buffer
from regmodel.layout import layout
from regmodel.rings.virtio import AVAIL, SPLIT_DESCRIPTOR, USED

SIZE, SLOT = 512, 2048
"""Descriptors of a vring, a power of two; octets of each buffer, the header of a frame included."""

HEADER = vnet.MERGEABLE
"""Octets before each frame: those of a virtio 1 device."""

GUEST, USER = 1 << 32, 1 << 44
"""Where the memory begins in guest addresses, which descriptors have, and in user addresses, which messages have."""

_NEXT, _WRITE = (1 << layout(SPLIT_DESCRIPTOR).field("flags", name).lsb for name in ("next", "write"))
_NO_INTERRUPT = 1 << layout(AVAIL).field("flags", "no_interrupt").lsb
_NO_NOTIFY = 1 << layout(USED).field("flags", "no_notify").lsb
_FLAGS, _NEXT_AT = 32, 48  # bits of the second half of a descriptor, above the length
_MASK = SIZE - 1
_PLAIN = bytes(HEADER)

_DESCRIPTORS, _AVAILABLE, _USED = 0, 16 * SIZE, 16 * SIZE + mmap.PAGESIZE
_BUFFERS = _USED + 3 * mmap.PAGESIZE
OCTETS = _BUFFERS + SIZE * SLOT
"""What one vring with its buffers takes."""

_lock = Lock()


class VringError(Exception):
    """The back end wrote into a ring what no device may write."""


def _fence() -> None:
    """A full memory barrier, which taking a lock is on every host: nothing before it is done after what stands behind it."""
    with _lock:
        pass


class SharedMemory:
    """Memory for ``vrings`` vrings, in a file which a peer can map, but neither shrink nor grow."""

    def __init__(self, vrings: int) -> None:
        self.size = vrings * OCTETS
        self.fd = os.memfd_create("vrings", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        os.ftruncate(self.fd, self.size)
        fcntl.fcntl(self.fd, fcntl.F_ADD_SEALS, fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_SEAL)
        self.view = memoryview(mmap.mmap(self.fd, self.size))

    def close(self) -> None:
        """Give the file back; the memory goes when the last view of it goes."""
        os.close(self.fd)


class Vring:
    """What both kinds have in common. ``kick`` and ``call`` are eventfds: to the back end, and from it."""

    def __init__(self, memory: SharedMemory, index: int) -> None:
        self.index, self.offset = index, index * OCTETS
        self.kick, self.call = (os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK) for _ in range(2))
        view = memory.view[self.offset : self.offset + OCTETS]
        self._descriptors = view[_DESCRIPTORS:_AVAILABLE].cast("Q")  # two each: the address; length, flags and next
        self._available = view[_AVAILABLE : _AVAILABLE + 4 + 2 * SIZE].cast("H")  # flags, idx, then the ring
        self._used = view[_USED : _USED + 4].cast("H")  # flags, idx
        self._elements = view[_USED + 4 : _USED + 4 + 8 * SIZE].cast("Q")  # number, length << 32
        self._buffers = [view[at : at + SLOT] for at in range(_BUFFERS, OCTETS, SLOT)]
        for number in range(SIZE):
            self._descriptors[2 * number] = GUEST + self.offset + _BUFFERS + SLOT * number
        self._made_available = self._seen = 0  # modulo 65536
        self._out = 0  # chains that the back end has

    @property
    def addresses(self) -> tuple[int, int, int]:
        """User addresses of the descriptor table, the available ring and the used ring."""
        base = USER + self.offset
        return base + _DESCRIPTORS, base + _AVAILABLE, base + _USED

    def close(self) -> None:
        os.close(self.kick)
        os.close(self.call)

    def notify(self) -> None:
        """Tell the back end of what was made available, unless it said that it looks by itself."""
        _fence()
        if not self._used[0] & _NO_NOTIFY:
            os.eventfd_write(self.kick, 1)

    def _give(self, heads: Sequence[int]) -> None:
        """Make chains available."""
        at = self._made_available
        for head in heads:
            self._available[2 + (at & _MASK)] = head
            at += 1
        self._made_available = at & 0xFFFF
        self._out += len(heads)
        _fence()
        self._available[1] = self._made_available

    def _new(self) -> int:
        """How many elements the used ring has that were not looked at. Raises ``VringError``."""
        count = (self._used[1] - self._seen) & 0xFFFF
        _fence()
        if count > self._out:
            raise VringError(f"it used {count} buffers of vring {self.index}, of {self._out} that it had")
        return count


class TransmitVring(Vring):
    """Frames to the back end. It is asked not to interrupt: what it has sent is looked at when room is needed."""

    def __init__(self, memory: SharedMemory, index: int) -> None:
        super().__init__(memory, index)
        self._available[0] = _NO_INTERRUPT
        self._free = list(range(SIZE))
        self._chains: dict[int, list[int]] = {}

    def send(self, frames: Sequence[Buffer]) -> int:
        """As many of ``frames``, from the front, as there is room for. Raises ``VringError``."""
        heads: list[int] = []
        reclaimed = False
        for frame in frames:
            octets = HEADER + len(frame)
            need = -(-octets // SLOT)
            if need > len(self._free):
                if not reclaimed:
                    self._reclaim()
                    reclaimed = True
                if need > len(self._free):
                    break
            header = vnet.build(frame) + bytes(2) if isinstance(frame, Partial) else _PLAIN
            if need == 1:
                number = self._free.pop()
                buffer = self._buffers[number]
                buffer[:HEADER] = header
                buffer[HEADER:octets] = frame
                self._descriptors[2 * number + 1] = octets
                self._chains[number] = [number]
                heads.append(number)
            else:
                heads.append(self._chain(b"".join((header, frame)), need))
        if heads:
            self._give(heads)
            self.notify()
        return len(heads)

    def _chain(self, octets: bytes, need: int) -> int:
        """Spread ``octets`` over ``need`` free buffers; the number of the first."""
        chain = [self._free.pop() for _ in range(need)]
        source = memoryview(octets)
        for place, number in enumerate(chain):
            piece = source[place * SLOT : (place + 1) * SLOT]
            self._buffers[number][: len(piece)] = piece
            link = 0 if place == need - 1 else _NEXT << _FLAGS | chain[place + 1] << _NEXT_AT
            self._descriptors[2 * number + 1] = len(piece) | link
        self._chains[chain[0]] = chain
        return chain[0]

    def _reclaim(self) -> None:
        """Take back the buffers of frames that the back end is done with."""
        for _ in range(self._new()):
            number = self._elements[self._seen & _MASK] & 0xFFFFFFFF
            chain = self._chains.pop(number, None)
            if chain is None:
                raise VringError(f"it gave back buffer {number} of vring {self.index}, which it did not have")
            self._free += chain
            self._seen = self._seen + 1 & 0xFFFF
            self._out -= 1


class ReceiveVring(Vring):
    """Frames from the back end. All buffers are its, except between ``take`` and ``give_back``."""

    def __init__(self, memory: SharedMemory, index: int, *, merged: bool) -> None:
        """``merged``: a frame may have several buffers (MRG_RXBUF)."""
        super().__init__(memory, index)
        self._merged = merged
        self._theirs = bytearray(b"\1" * SIZE)
        self._taken: list[int] = []
        for number in range(SIZE):
            self._descriptors[2 * number + 1] = SLOT | _WRITE << _FLAGS
        self._give(range(SIZE))

    def interrupts(self, wanted: bool) -> bool:
        """Whether the back end is to call when it used buffers. True when it has already, and may not have called."""
        self._available[0] = 0 if wanted else _NO_INTERRUPT
        _fence()
        return self._used[1] != self._seen

    def take(self, limit: int) -> list[Buffer]:
        """Up to ``limit`` frames, in place where they have one buffer; valid until ``give_back``. Raises ``VringError``."""
        count = self._new()
        frames: list[Buffer] = []
        while count and len(frames) < limit:
            first = self._next(HEADER)
            merged = int.from_bytes(first[HEADER - 2 : HEADER], "little") if self._merged else 1
            if not 1 <= merged <= count:
                raise VringError(f"it says that a frame has {merged} buffers of vring {self.index}, of which there are {count}")
            count -= merged
            octets: Buffer = first[HEADER:]
            if merged > 1:
                octets = b"".join((octets, *(self._next(0) for _ in range(merged - 1))))
            offload = vnet.parse(bytes(first[: vnet.LEGACY]))
            frames.append(octets if offload is None else Partial(octets, offload))
        return frames

    def _next(self, shortest: int) -> memoryview:
        """The octets of the next used buffer."""
        element = self._elements[self._seen & _MASK]
        number, length = element & 0xFFFFFFFF, element >> 32
        if number >= SIZE or not self._theirs[number]:
            raise VringError(f"it gave back buffer {number} of vring {self.index}, which it did not have")
        if not shortest <= length <= SLOT:
            raise VringError(f"it wrote {length} octets into a buffer of {SLOT} of vring {self.index}")
        self._theirs[number] = 0
        self._taken.append(number)
        self._seen = self._seen + 1 & 0xFFFF
        self._out -= 1
        return self._buffers[number][:length]

    def give_back(self) -> None:
        """What was taken is the back end's again."""
        taken, self._taken = self._taken, []
        for number in taken:
            self._theirs[number] = 1
        self._give(taken)
        self.notify()


def make(memory: SharedMemory, pairs: int, *, merged: bool) -> tuple[list[ReceiveVring], list[TransmitVring]]:
    """All vrings of a network device with ``pairs`` queue pairs: even indexes receive, odd ones transmit."""
    receiving = [ReceiveVring(memory, 2 * pair, merged=merged) for pair in range(pairs)]
    return receiving, [TransmitVring(memory, 2 * pair + 1) for pair in range(pairs)]


def close(vrings: Iterable[Vring]) -> None:
    for vring in vrings:
        vring.close()
