"""Live migration, the host's half: the driver lets go of the device, and takes it up again where it stands then.

In here: status and acknowledge, and what happens to packets meanwhile. Which process has the device is not known in here.

- *Detach*: DETACHED and an interrupt. The driver shuts the port down, stops its queues and acknowledges. Only then are its
  queues emptied: what it has sent goes out, what it has not read is kept. Its threads may be in the middle of a burst when they
  are stopped, for which the driver waits 1 ms. A virtual processor that does not run needs longer, and so does one whose
  accesses to BAR 2 are messages, as for a second or more after an INTx (QEMU hw/vfio/pci.c ``vfio_intx_interrupt``); it would
  later look for a buffer where none is any more. But messages are seen, and so are, by the books, the buffers of who is in a
  burst.
- Packets that arrive while nobody can take them are kept, too, up to ``HELD_MOST``.
- *Attach*: the memory is arranged anew, ATTACHED and an interrupt. The driver translates everything again, configures, and
  gets what was kept, each receive queue as it makes room: none waits for another, and one that has stopped gets nothing.

A driver that does not let interrupts through cannot be asked. Then the device moves as it stands, and nothing is arranged anew.

Source: DPDK avp_ethdev.c ``avp_dev_interrupt_handler``, ``avp_dev_detach``, ``avp_dev_attach``.
"""

from __future__ import annotations

import contextlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emulators.nics.avp.fifo import Broken
from emulators.nics.avp.packing import pack, unpack_bytes
from regmodel.bank import Cause, Path
from regmodel.bars.avp import MIGRATION
from regmodel.function import Buffer, Timer

if TYPE_CHECKING:
    from emulators.nics.avp.device import Avp

NONE, DETACHED, ATTACHED, ERROR = (MIGRATION[name] for name in ("NONE", "DETACHED", "ATTACHED", "ERROR"))
SECOND = 1_000_000_000
GRACE = 20_000_000
"""ns from its acknowledgement until its queues are looked at, and between looks while they are not at rest."""
CALM = 100_000_000
"""ns without a message about BAR 2, until when its next one may be on its way."""
LOST = 1_000_000_000
"""ns without one after which it will not put the buffers back that it has in its hands."""
REST_MOST = 10_000_000_000
"""ns after which nobody waits any longer."""
HELD_MOST = 8192
"""Packets that are kept for a driver which is detached."""
DRAIN = 64
"""Looks at the queues, each of which takes 64 packets: a guest that goes on sending does not keep us here."""
RETRY = 1_000_000
"""ns after which a driver is given further packets that it had no room for."""

Done = Callable[[str], None]


class Migration:
    """Of one port."""

    def __init__(self, model: Avp) -> None:
        self.model = model
        self.held: deque[bytes] = deque()
        """What came for a driver that could not take it, in order."""
        self.behind: dict[int, deque[bytes]] = {}
        """The same once there are receive queues again: what each of them, by number, has yet to get; none is empty."""
        self.holds = False
        """Whether packets that come now may have to be kept."""
        self.problem = ""
        """Why the last migration did not succeed."""
        self._done: Done | None = None
        self._timer: Timer | None = None
        self._since: int | None = None  # when the driver acknowledged
        model.registers.on_write("migration_ack", self._acknowledged)

    @property
    def under_way(self) -> bool:
        """The driver was told to let go, and has not yet been told to come back."""
        return bool(self.status == DETACHED)

    @property
    def status(self) -> int:
        """What the register says."""
        value: int = self.model.registers["migration_status"].value
        return value

    @status.setter
    def status(self, value: int) -> None:
        self.model.registers["migration_status"].value = value
        self.model.interrupt()

    # -- away

    def detach(self, done: Done) -> None:
        """See ``Avp.detach``."""
        if self._done is not None:
            done("a migration is under way already")
            return
        self.problem = ""
        if not self.model.listening or self.model.config is None:
            done("")
            return
        self._done, self.holds, self._since = done, True, None
        self.gather()
        patience = self.model.properties.patience * SECOND
        self._set_timer(patience, lambda: self._refused("the driver does not acknowledge that it is to let go"))
        self.status = DETACHED

    def _acknowledged(self, path: Path, old: int, new: int, size: int, cause: Cause) -> None:
        if self.status == DETACHED and self._done is not None:
            if new == DETACHED:
                if self._since is None:  # whoever says it again wins no time
                    self._since = self.model.host.clock.now()
                    self._set_timer(GRACE, self._rest)
            else:
                self._refused("the driver acknowledged an error")
        elif self.status == ATTACHED and new != ATTACHED:
            self.problem = "the driver could not take the device up again"
            self.model.host.diagnose("migration-refused", acknowledged=new)

    def _rest(self) -> None:
        """Empty the driver's queues, once it touches nothing any more."""
        model = self.model
        for _ in range(DRAIN):
            if not model.burst():
                break
        if self._busy(model.host.clock.now()):
            self._set_timer(GRACE, self._rest)
            return
        unread = [frame for queue in model.receive for frame in queue.unread()]
        self.held.extendleft(reversed(unread))
        self._finish("")

    def _busy(self, now: int) -> bool:
        """Whether the driver may still be in the middle of something."""
        accesses = self.model.banks[2].ring
        last, since = accesses[-1][0] if accesses else 0, self._since or 0
        talks = now - last < CALM
        waits = now - max(last, since) < LOST and self._in_a_burst()
        return now - since < REST_MOST and (talks or waits)

    def _in_a_burst(self) -> bool:
        """Whether the driver has taken buffers out of a queue, and has not put them into the other one yet."""
        model = self.model
        queues = [(queue.owner, queue.alloc) for queue in model.transmit if not queue.error]
        queues += [(queue.owner, queue.rx) for queue in model.receive if not queue.error]
        with contextlib.suppress(Broken):
            return any(int((model.buffers.owner == owner).sum()) > len(fifo.held()) for owner, fifo in queues)
        return False

    def _refused(self, why: str) -> None:
        self.problem = why
        self.model.host.diagnose("migration-refused", why=why)
        done, self._done = self._done, None
        self._cancel_timer()
        self.status = ATTACHED  # harmless to a driver that has not let go
        self.model.host.defer(self.catch_up)
        if done is not None:
            done(why)

    def _finish(self, why: str) -> None:
        done, self._done = self._done, None
        self._cancel_timer()
        if done is not None:
            done(why)

    def driver_gone(self) -> None:
        """A reset: nobody is left to be asked, or to take what was kept."""
        self._release()
        if self.under_way:
            self.model.registers["migration_status"].value = NONE
            self.model.registers["interrupt_status"].value = 0
        self._finish("")

    # -- and back

    def attach(self) -> None:
        """See ``Avp.attach``."""
        if not self.under_way:
            return
        self.model.config = None
        self.model.arrange(self.model.arrangement.generation + 1)
        self.model.requests.open()
        self.status = ATTACHED

    def around(self) -> None:
        """Away and back, in the same process."""
        self.detach(lambda why: self.attach() if not why else None)

    def hold(self, frames: Sequence[Buffer]) -> int:
        """Keep ``frames``; how many there was room for. A queue that has got what was kept for it gets its share at once."""
        if not self.behind:
            return _keep(self.held, frames, HELD_MOST)
        model, count = self.model, 0
        if not model.up:
            return 0
        for number, share in model.shares(frames).items():
            behind = self.behind.get(number)
            if behind is None:
                count += model.give(number, share)
            else:
                count += _keep(behind, share, HELD_MOST // len(model.receive))
        return count

    def gather(self) -> None:
        """The receive queues are about to go: what they have yet to get is for those that come."""
        self.held = deque(self.kept())
        self.behind.clear()

    def kept(self) -> list[bytes]:
        """All that a driver has yet to get, each queue's in order."""
        return [frame for kept in (*self.behind.values(), self.held) for frame in kept]

    def catch_up(self) -> bool:
        """Hand over what was kept, as the driver makes room; whether to come back at once. Not while it lets go, or has not
        configured: then it comes with the next configuration.
        """
        model = self.model
        if self.under_way or (model.up and model.config is None):
            return False
        if not model.up:
            self._release()
            return False
        for number, share in model.shares(self.held).items():
            self.behind.setdefault(number, deque()).extend(map(bytes, share))
        self.held.clear()
        for number, behind in list(self.behind.items()):
            while behind and model.give(number, [behind[0]]):
                behind.popleft()
            if not behind or model.receive[number].error:
                del self.behind[number]
        if self.behind:
            self._set_timer(RETRY, lambda: model.host.defer(self.catch_up))
        else:
            self._release()
        return False

    def _release(self) -> None:
        """Packets take their usual way again."""
        self.holds = False
        self.held.clear()
        self.behind.clear()

    # -- state

    def _set_timer(self, after: int, action: Callable[[], None]) -> None:
        self._cancel_timer()
        clock = self.model.host.clock
        self._timer = clock.call_at(clock.now() + after, action)

    def _cancel_timer(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def save(self) -> dict[str, object]:
        """A migration that waits for its driver is not saved as such: whoever loads it attaches."""
        kept = self.kept()
        lengths = b"".join(len(frame).to_bytes(4, "little") for frame in kept)
        return {"holds": self.holds, "lengths": pack(lengths), "held": pack(b"".join(kept)), "problem": self.problem}

    def load(self, state: Mapping[str, Any]) -> None:
        """Raises ``KeyError``, ``TypeError`` or ``ValueError``."""
        lengths, data = unpack_bytes(state["lengths"]), unpack_bytes(state["held"])
        sizes = [int.from_bytes(lengths[i : i + 4], "little") for i in range(0, len(lengths), 4)]
        if sum(sizes) != len(data):
            raise ValueError("packets that were kept do not have their lengths")
        self._cancel_timer()
        self._done = None
        self.holds, self.problem = bool(state["holds"]), str(state["problem"])
        self.held.clear()
        self.behind.clear()
        at = 0
        for size in sizes:
            self.held.append(data[at : at + size])
            at += size
        if self.holds and self.model.config is not None and not self.under_way:  # it was handing them over
            self.model.host.defer(self.catch_up)


def _keep(kept: deque[bytes], frames: Sequence[Buffer], most: int) -> int:
    """Append as many of ``frames`` as make no more than ``most``; how many."""
    count = max(min(len(frames), most - len(kept)), 0)
    kept.extend(bytes(frame) for frame in frames[:count])
    return count
