"""The port of the switch that leads to the wire: a link, and the packet back end that stands for the cable.

In here: the uplink as the switch sees it, and what a back end is to it. The back ends themselves are in ``backends/``.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any, Protocol, runtime_checkable

from emulators.fabric.counters import Drop, PortCounters
from emulators.fabric.frames import SHORTEST
from emulators.fabric.link import Link
from emulators.fabric.offload import Takes, finish_all, on_wire
from regmodel.function import Buffer

if TYPE_CHECKING:
    from emulators.fabric.resolve import Verdict
    from emulators.loop import Loop


class Wire(Protocol):
    """What a back end is given: the near end of the cable."""

    @property
    def partial(self) -> bool:
        """Whether this port will ever want partial frames, or send any; fixed."""

    @property
    def wanted(self) -> Takes:
        """Partial frames that all receivers of the port take as they are, now. Others may come, and are finished here."""

    def receive(self, frames: Sequence[Buffer]) -> None:
        """A burst arrived. The frames are valid during the call only."""

    def set_carrier(self, up: bool) -> None:
        """The far end is there, or is not."""


class Backend(Protocol):
    """The far end of the cable. Never blocks; the loop that it is opened with calls it."""

    spec: str

    @property
    def takes(self) -> Takes:
        """Partial frames that ``send`` takes as they are, now."""

    def open(self, loop: Loop, wire: Wire) -> None:
        """Start. Raises ``UsageError`` with one line when the named thing cannot be had."""

    def send(self, frames: Sequence[Buffer]) -> int:
        """Transmit a burst; keep a copy of what has to wait. Says how many, from the front, it took."""

    def close(self) -> None:
        """Stop and give everything back; harmless when not open."""

    def counters(self) -> dict[str, Any]:
        """What happened, JSON-able."""


@runtime_checkable
class Parting(Protocol):
    """A back end that can end without losing a frame."""

    def let_go(self) -> Sequence[Buffer]:
        """Hand in what has arrived, and close. Returns the frames that still wait for the far end. Call it in a burst."""


class Uplink(PortCounters):
    """What comes from the wire is ``rx`` and enters the switch; what goes to the wire is ``tx`` and leaves it.

    Without a back end it is a cable to nowhere: the link is up and every frame is gone.
    """

    def __init__(self, receive: Callable[[Sequence[Buffer]], None], partial: bool = False) -> None:
        super().__init__()
        self.name = "uplink"
        self.partial = partial
        self._enter = receive
        self.link = Link()
        self.set_carrier = self.link.set_carrier
        self.backend: Backend | None = None
        self.wanted = Takes.NONE
        self.rx, self.tx = self.entered, self.left
        self.cache: dict[bytes, Verdict] = {}

    @property
    def takes(self) -> Takes:
        """What the back end takes unfinished; nobody minds on a cable to nowhere."""
        return Takes.ALL if self.backend is None else self.backend.takes

    def receive(self, frames: Sequence[Buffer]) -> None:
        """A burst from the back end. On a wire no frame is short: whoever sent it has padded it, which back ends need not."""
        if min(map(len, frames), default=SHORTEST) < SHORTEST:
            frames = [on_wire(frame) for frame in frames]
        self._enter(frames)

    def attach(self, backend: Backend, loop: Loop) -> None:
        """Plug in ``backend`` in place of the one before."""
        self.detach()
        backend.open(loop, self)
        self.backend = backend

    def let_go(self) -> list[bytes]:
        """Unplug for another process to plug in: what has arrived comes in first. Returns what waits for the far end, finished.

        Call it in a burst. Only of a back end that is ``Parting`` nothing is lost.
        """
        waiting = self.backend.let_go() if isinstance(self.backend, Parting) else ()
        self.detach()
        return [bytes(frame) for frame in finish_all(waiting, Takes.NONE)]

    def catch_up(self, frames: Sequence[Buffer]) -> None:
        """Send what ``let_go`` of another process returned; it has been counted there."""
        if frames:
            self.lost[Drop.QUEUE_FULL] += len(frames) - (0 if self.backend is None else self.backend.send(frames))

    def as_dict(self) -> dict[str, Any]:
        counters: dict[str, Any] = {"tx": self.tx.as_dict(), "rx": self.rx.as_dict(), "dropped": self.dropped()}
        if self.backend is not None:
            counters["backend"] = {"spec": self.backend.spec, **self.backend.counters()}
        return counters

    def detach(self) -> None:
        """Unplug: close the back end, if any. The carrier stays as the default has it: up."""
        backend, self.backend = self.backend, None
        if backend is not None:
            backend.close()
            self.set_carrier(True)
