"""Two transports in lock-step: the driver drives both, sees the first, and is stopped where the second does something else.

What is compared, and when:

- A write goes to both.
- A read is made on both. Bits that only software changes must agree there and then; bits that hardware changes, once the
  poll is over, that is before the next call that is neither the same read nor ``sleep`` nor ``now``. Whoever is late has
  ``grace`` seconds. So a loop may see one device ready before the other, and is compared by what ended it. Bits that reading
  clears are compared as events: each device must show each, in its own time. ``rules`` tells which bits are which.
- Memory handed to the device is copied to both. Memory taken from it shows the driver what the first has written, when the
  second has written the same bytes: each may be late. What the second writes alone is compared when the first writes there.
- Interrupts: a vector of the first must be one of the second, in time.
- A call that raises must raise the same on both.
- At the end all memory must be equal, and neither device may have shown events that the other has not.

Addresses of DMA memory are equal because all transports allocate alike. Both devices must be given the same packets.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from typing import Any, Final, Self, TypeVar

from drivers.errors import DeviceTimeout, Difference
from drivers.transports import MappedBar, Transport
from drivers.transports.decode import CONFIG, Decoder
from drivers.transports.rules import Rule, Rules
from drivers.transports.tee_memory import PAUSE, Finding, TeeBuffer, TeeMemory
from drivers.transports.wrapped import WrappedBar
from regmodel.catalogue import Device
from regmodel.errors import RegmodelError, UsageError
from regmodel.function import Irq

T = TypeVar("T")

HISTORY: Final = 16
"""Calls that a difference tells of."""
STEP: Final = 50e-6
"""The second device's time is moved on when it is so many seconds behind; clocks that are the same one never are."""

Key = tuple[int, int, int]


class Tee(Transport):
    """``ours`` and ``theirs``, two open functions of ``device``. ``accept`` is asked about each difference: True goes on.

    ``exclude`` is as in ``rules.Rules``; ``accepted`` collects what was accepted, ``unmatched`` vectors that only ``theirs``
    has signalled. Raises ``Difference``, on which the last calls are noted (``__notes__``), and ``UsageError``.
    """

    coherent = False

    def __init__(
        self,
        ours: Transport,
        theirs: Transport,
        device: Device,
        *,
        exclude: Iterable[str] = (),
        grace: float = 0.25,
        accept: Callable[[Finding], bool] | None = None,
    ) -> None:
        self.name = f"tee of {ours.name} and {theirs.name}"
        self.virtualised = ours.virtualised | theirs.virtualised
        self._ours, self._theirs, self._grace, self._accept = ours, theirs, grace, accept
        self._rules, self._decoder = Rules(device, self.virtualised, exclude), Decoder(device)
        self._bars: dict[int, tuple[WrappedBar, MappedBar, MappedBar]] = {}
        self._memory = TeeMemory(self, device, self._rules)
        self._history: deque[tuple[Any, ...]] = deque(maxlen=HISTORY)
        self._poll: tuple[Key, int, int] | None = None
        """The place that is polled, and what the last read gave on each device."""
        self._ahead: dict[Key, tuple[int, int]] = {}
        """Events that only ours has shown, and only theirs, by place."""
        self._owed: dict[Key, int] = {}
        """Bits of ours that a read which the driver did not ask for has cleared; his next read has them."""
        self._fired: set[int] = set()
        """Vectors that only theirs has signalled."""
        self._behind = theirs.now() - ours.now()
        self._stopped = False
        """Nothing is compared any more."""
        self.accepted: list[Finding] = []
        self.unmatched: list[int] = []

    # -- both at once

    def tell(self, verb: str, arguments: tuple[Any, ...], *result: Any) -> None:
        """Remember a call for the message of a difference."""
        self._history.append((verb, arguments, *result))

    def _both(self, verb: str, arguments: tuple[Any, ...], act: Callable[[Transport], T]) -> tuple[T, T]:
        """Do ``act`` on both; an exception of both is raised, one of either is a difference."""
        self.finish_poll()
        self.tell(verb, arguments)
        return self._pair(verb, arguments, lambda: act(self._ours), lambda: act(self._theirs))

    def _pair(
        self, verb: str, arguments: tuple[Any, ...], ours: Callable[[], T], theirs: Callable[[], T]
    ) -> tuple[T, T]:
        results: list[Any] = []
        raised: list[RegmodelError | None] = []
        for act in (ours, theirs):
            try:
                results.append(act())
                raised.append(None)
            except RegmodelError as error:
                raised.append(error)
        if type(raised[0]) is not type(raised[1]):
            what = self._decoder.call(verb, arguments)
            said = [f"{type(e).__name__} ({e})" if e is not None else "no error" for e in raised]
            self.differ(Finding(what, raised[0], raised[1], f"{what}: ours {said[0]}, theirs {said[1]}"))
        failure = raised[0] or raised[1]
        if failure is not None:
            raise failure
        return results[0], results[1]

    def _same(self, verb: str, arguments: tuple[Any, ...], act: Callable[[Transport], T]) -> T:
        ours, theirs = self._both(verb, arguments, act)
        if ours != theirs:
            what = self._decoder.call(verb, arguments)
            self.differ(Finding(what, ours, theirs, f"{what}: ours {ours}, theirs {theirs}"))
        return ours

    def differ(self, finding: Finding) -> None:
        """Stop at a difference, unless it is accepted. Raises ``Difference``, once: the driver may still clean up."""
        if self._stopped:
            return
        if self._accept is not None and self._accept(finding):
            self.accepted.append(finding)
            return
        self._stopped = True
        difference = Difference(f"{finding.text} (ours is {self._ours.name}, theirs {self._theirs.name})")
        difference.add_note("the last calls, oldest first:")
        for verb, arguments, *result in self._history:
            difference.add_note(f"  {self._decoder.call(verb, arguments, *result)}")
        raise difference

    # -- reads

    def bar_read(self, index: int, offset: int, size: int) -> int:
        """One access on each."""
        _, ours, theirs = self._bars[index]
        return self._read((index, offset, size), lambda: ours.read(offset, size), lambda: theirs.read(offset, size))

    def config_read(self, offset: int, size: int) -> int:
        ours, theirs = self._ours, self._theirs
        return self._read(
            (CONFIG, offset, size), lambda: ours.config_read(offset, size), lambda: theirs.config_read(offset, size)
        )

    def _read(self, key: Key, read_ours: Callable[[], int], read_theirs: Callable[[], int]) -> int:
        if self._poll is not None and self._poll[0] != key:
            self.finish_poll()
        rule = self._rules.rule(*key)
        verb, arguments = ("config_read", key[1:]) if key[0] == CONFIG else ("read", key)
        ours, theirs = self._pair(verb, arguments, read_ours, read_theirs)
        self.tell(verb, arguments, int(ours))
        if (ours ^ theirs) & rule.steady:
            self._differ_in(rule, rule.steady, ours, theirs)
        self._meet(key, rule.events, ours, theirs)
        self._poll = key, int(ours), int(theirs)
        return int(ours) | self._owed.pop(key, 0)

    def _meet(self, key: Key, events: int, ours: int, theirs: int) -> None:
        """Account for the events that each has shown: what both have, is done."""
        if events:
            mine, others = self._ahead.get(key, (0, 0))
            mine, others = mine | ours & events, others | theirs & events
            self._ahead[key] = mine & ~others, others & ~mine

    def finish_poll(self) -> None:
        """The driver goes on after reads of one place: see whether the devices agree on what it saw. Raises ``Difference``."""
        if self._poll is None:
            return
        (key, ours, theirs), self._poll = self._poll, None
        rule = self._rules.rule(*key)

        def agreed() -> bool:
            return not (ours ^ theirs) & rule.settling and not self._ahead.get(key, (0, 0))[0]

        end = self.grace_end()
        while not agreed():
            if self._ours.now() >= end:
                mine = self._ahead.pop(key, (0, 0))[0]
                self._differ_in(rule, rule.settling | mine, ours | mine, theirs & ~mine)
                return
            self.pass_time(PAUSE)
            theirs = self._once(self._theirs, key)
            if rule.again:
                ours = self._once(self._ours, key)
                self._owed[key] = self._owed.get(key, 0) | ours & rule.place.clears
            self._meet(key, rule.events, ours if rule.again else 0, theirs)

    def _once(self, transport: Transport, key: Key) -> int:
        """One read of one device, which the driver did not ask for."""
        bar, offset, size = key
        return transport.config_read(offset, size) if bar == CONFIG else transport.bar(bar).read(offset, size)

    def _differ_in(self, rule: Rule, mask: int, ours: int, theirs: int) -> None:
        bits = (ours ^ theirs) & mask
        place = rule.place
        text = f"read {place.path}: ours {ours:#x}{place.fields(ours, bits)}, theirs {theirs:#x}{place.fields(theirs, bits)}"
        self.differ(Finding(place.path, ours, theirs, text, bits))

    # -- writes and what else is done to both

    def bar_write(self, index: int, offset: int, size: int, value: int) -> None:
        """One access on each."""
        _, ours, theirs = self._bars[index]
        self.finish_poll()
        self._memory.rings.written(index, offset, value)
        call = index, offset, size, value
        self.tell("write", call)
        self._pair("write", call, lambda: ours.write(offset, size, value), lambda: theirs.write(offset, size, value))

    def config_write(self, offset: int, size: int, value: int) -> None:
        self._both("config_write", (offset, size, value), lambda t: t.config_write(offset, size, value))

    def bar(self, index: int) -> MappedBar:
        if index in self._bars:
            self._ours.bar(index)  # which knows whether it is still open
            return self._bars[index][0]
        size = self._same("bar", (index,), lambda t: t.bar(index).size)
        self._bars[index] = WrappedBar(self, index, size), self._ours.bar(index), self._theirs.bar(index)
        return self._bars[index][0]

    def reset(self) -> None:
        self._both("reset", (), lambda t: t.reset())
        self._ahead.clear()
        self._owed.clear()
        self._fired.clear()

    # -- memory

    def alloc(self, size: int) -> TeeBuffer:
        ours, theirs = self._both("alloc", (size,), lambda t: t.alloc(size))
        if (ours.iova, ours.size) != (theirs.iova, theirs.size):
            said = f"ours {ours.iova:#x}, {ours.size} bytes, theirs {theirs.iova:#x}, {theirs.size} bytes"
            self.differ(Finding(f"alloc({size})", ours.iova, theirs.iova, f"alloc({size}): {said}"))
        return self._memory.add(ours, theirs)

    def free(self, buffer: TeeBuffer) -> None:
        """Take it back from both, after a last comparison."""
        self.finish_poll()
        self._memory.remove(buffer)
        self.tell("free", (buffer.iova,))
        self._pair("free", (buffer.iova,), buffer.ours.free, buffer.theirs.free)

    # -- interrupts

    def irq_vectors(self, irq: Irq = Irq.MSIX) -> int:
        return self._same("irq_vectors", (irq.name,), lambda t: t.irq_vectors(irq))

    def enable_irqs(self, count: int, irq: Irq = Irq.MSIX) -> None:
        self._both("enable_irqs", (count, irq.name), lambda t: t.enable_irqs(count, irq))
        self._fired.clear()

    def disable_irqs(self) -> None:
        self._both("disable_irqs", (), lambda t: t.disable_irqs())
        self.unmatched += sorted(self._fired)
        self._fired.clear()

    def wait_irq(self, timeout: float) -> Sequence[int]:
        self.finish_poll()
        fired = list(self._ours.wait_irq(timeout))
        self.tell("wait_irq", (timeout,), fired)
        self._align()
        self._fired |= set(self._theirs.wait_irq(0))
        end = self._theirs.now() + self._grace
        while not self._fired >= set(fired):
            left = end - self._theirs.now()
            if left <= 0:
                missing = sorted(set(fired) - self._fired)
                text = f"wait_irq: ours signalled vectors {fired}, theirs not {missing}"
                self.differ(Finding("wait_irq", fired, sorted(self._fired), text))
                break
            self._fired |= set(self._theirs.wait_irq(left))
        self._fired -= set(fired)
        return fired

    # -- time and the end

    def now(self) -> float:
        return self._ours.now()

    def grace_end(self) -> float:
        """When who is late from now on is too late."""
        return self._ours.now() + (0.0 if self._stopped else self._grace)

    def sleep(self, seconds: float) -> None:
        self.pass_time(seconds)

    def pass_time(self, seconds: float) -> None:
        """On both."""
        self._ours.sleep(seconds)
        self._align()

    def _align(self) -> None:
        """Time that passed for ours passes for theirs. It has, where both are told by one clock; a turn is due all the same:
        a device that lives in this thread has none otherwise, and would do late what ours has done.
        """
        lag = self._ours.now() + self._behind - self._theirs.now()
        self._theirs.sleep(lag if lag > STEP else 0.0)

    def close(self) -> None:
        """Compare what is left, and close both. Raises ``Difference``."""
        try:
            if not self._stopped:
                self._compare_end()
        finally:
            self._stopped = True
            self._ours.close()
            self._theirs.close()

    def _compare_end(self) -> None:
        self.finish_poll()
        self._memory.compare_all()
        end = self.grace_end()
        for key, (_, missing) in list(self._ahead.items()):
            rule = self._rules.rule(*key)
            while missing and self._ours.now() < end:
                missing &= ~self._once(self._ours, key)
                self.pass_time(PAUSE if missing else 0)
            if missing:
                self._differ_in(rule, missing, 0, missing)
        self.unmatched += sorted(self._fired)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if kind is None:
            self.close()
            return
        try:
            if issubclass(kind, DeviceTimeout):
                self.finish_poll()  # the driver gave up on ours: theirs may have gone on
        finally:
            self._stopped = True
            with suppress(RegmodelError):  # what is in flight says more
                self.close()


def open(rest: str, device: Device, *, exclude: Iterable[str] = (), grace: float = 0.25) -> Tee:
    """``tee:OURS,THEIRS``, each as behind ``--via``. Raises ``UsageError``."""
    from drivers.transports.opening import open_transport

    first, comma, second = rest.partition(",")
    if not (first and comma and second):
        raise UsageError(f"--via tee:{rest}: write it as tee:OURS,THEIRS, each as behind --via")
    with ExitStack() as opened:
        ours = opened.enter_context(open_transport(first, device))
        theirs = opened.enter_context(open_transport(second, device))
        tee = Tee(ours, theirs, device, exclude=exclude, grace=grace)
        opened.pop_all()
    return tee
