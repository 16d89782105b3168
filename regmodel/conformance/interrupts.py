"""Tests of the interrupt block: every cause, masks, what a message clears, and how far apart messages are.

What the block is made of says ``Conduct.interrupts``. What its registers hold is predicted by the oracle, as for any other
register; which vectors that comes to, by the one rule of ``Block.settle``. Causes are set by software in here: those that
have a queue or the mailbox behind them are in ``routes``.
"""

from __future__ import annotations

from collections.abc import Callable

from regmodel.conduct import Interrupts
from regmodel.conformance.accesses import Fired, Listen, Now, Steps
from regmodel.conformance.bench import Bench
from regmodel.conformance.checks import Check, Checks, Skip, Test
from regmodel.conformance.live import Live, not_applicable
from regmodel.conformance.outcomes import Outcome
from regmodel.conformance.places import Place

SOON = 1.0
"""Seconds in which a message arrives that nothing holds back."""
NEVER = 0.01
"""Seconds after which one that has not arrived does not."""
SPACING = 8e-3
"""Seconds between messages for the test of throttling: more than setting a cause takes anywhere."""
RESOLUTION = 1
"""Microseconds by which two readings of the clock may be off."""
MESSAGES, MOST = 4, 16
"""How many are sent under a throttle; at most, while those of others might have come first and did not."""

Work = Callable[["Block", int], Steps[None]]


class Block:
    """The interrupt block on the bench. ``due`` are the vectors that must have been signalled and were not seen yet."""

    def __init__(self, bench: Bench, about: str, what: Interrupts, vectors: int) -> None:
        self.bench, self.live, self.what = bench, Live(bench, about), what
        self.vectors, self.all = vectors, (1 << vectors) - 1
        self.cause, self.mask = self.live.place(what.cause), self.live.place(what.mask)
        self.due = self._asserted = 0

    # -- what must happen

    def _holds(self, name: str) -> int:
        """The bits that a register holds, by the oracle."""
        place = self.live.place(name)
        held = self.bench.predictor.files[place.file].oracle.peek(place.offset, place.size)
        return place.register.named[self.what.field].of(held)

    def _becomes(self, place: Place, bits: int) -> None:
        """Tell the oracle what the device does by itself."""
        field = place.register.named[self.what.field]
        self.bench.predictor.files[place.file].drive(place.offset, place.size, field.into(0, bits), field.mask)

    def settle(self) -> None:
        """A bit that has become set in cause and mask together sends its message, which clears what it was told to."""
        cause, mask = self._holds(self.what.cause), self._holds(self.what.mask)
        sent = cause & mask & ~self._asserted
        self.due |= sent
        cause &= ~(sent & self._holds(self.what.auto_clear))
        mask &= ~(sent & self._holds(self.what.auto_mask))
        self._becomes(self.cause, cause)
        self._becomes(self.mask, mask)
        self._asserted = cause & mask

    def happens(self, bits: int) -> None:
        """Something that the judge has provoked is a cause now."""
        self._becomes(self.cause, self._holds(self.what.cause) | bits)
        self.settle()

    # -- accesses

    def write(self, register: str, bits: int) -> Steps[None]:
        place = self.live.place(register)
        yield from self.bench.act(place, place.register.named[self.what.field].into(0, bits))
        if register == self.what.set_cause:
            self._becomes(self.mask, self._holds(self.what.mask) | bits & self._holds(self.what.auto_mask))
        self.settle()

    def read(self, register: str) -> Steps[None]:
        """Compared by the bench."""
        yield from self.bench.read(self.live.place(register))
        self.settle()

    def throttle(self, vector: int, seconds: float) -> Steps[None]:
        place = self.live.place(self.what.throttle, vector)
        yield from self.bench.act(place, place.register.named[self.what.interval].into(0, round(seconds / self.what.unit)))

    def begin(self) -> Steps[None]:
        """Out of a reset; all vectors are listened to."""
        yield from self.bench.start()
        yield Listen(self.vectors)
        table = [p for p in self.bench.ground.places if p.name == "msix_vector_control"]
        for place in table:
            if not self.bench.ground.virtual(place):
                yield from self.bench.act(place, 0)
        self.settle()

    def end(self) -> Steps[None]:
        yield Listen(0)
        self.bench.predictor.forget(self.bench.predictor.names)
        yield from self.bench.start()

    def fires(self, why: str) -> Steps[None]:
        """What is due fires, and nothing else does."""
        expected, self.due = self.due, 0
        got = 0
        while expected & ~got:
            more = yield from self.live.fired(SOON)
            if not more:
                break
            got |= more
        if got == expected:
            got |= yield Fired(NEVER)
        self.live.claim(got == expected, f"{why}: vectors {bits(got)} fired, not {bits(expected)}")


def bits(mask: int) -> str:
    """Which ones, in words."""
    return ", ".join(str(n) for n in range(mask.bit_length()) if mask >> n & 1) or "none"


def block_of(bench: Bench) -> tuple[Interrupts | None, int]:
    """The description of the interrupt block, and how many vectors there are; None where either is missing."""
    vectors = int(getattr(bench.device, "msix_vectors", 0))
    what = bench.device.conduct.interrupts
    return (what if vectors and what is not None and 0 in bench.ground.files else None), vectors


def checked(bench: Bench, about: str, what: Interrupts, vectors: int, work: Callable[[Block], Steps[None]]) -> Check:
    """``work`` on the block, between two resets."""

    def steps() -> Steps[None]:
        block = Block(bench, about, what, vectors)
        yield from block.begin()
        yield from work(block)
        yield from block.end()

    return Check(about, steps, anything=True)


def _each_vector(work: Work, ports: Work | None = None) -> Callable[[Bench], Checks]:
    """``work`` for every vector; ``ports`` where there are no messages, but the hardware's side of registers."""

    def checks(bench: Bench) -> Checks:
        what, vectors = block_of(bench)
        if what is None:
            yield from not_applicable("interrupts", (False, "the description tells of no interrupt block"))
            return
        for vector in range(vectors):
            about = f"vector[{vector}]"
            if bench.abilities.interrupts and bench.abilities.interactive:
                yield checked(bench, about, what, vectors, lambda block, v=vector: work(block, v))  # type: ignore[misc]
            elif ports is not None and bench.abilities.ports and bench.abilities.alone:
                yield _by_ports(bench, about, what, vectors, vector, ports)
            else:
                yield from not_applicable(about, (False, "the target delivers no interrupts"))

    return checks


def _by_ports(bench: Bench, about: str, what: Interrupts, vectors: int, vector: int, ports: Work) -> Check:
    def steps() -> Steps[None]:
        yield from bench.start()
        yield from ports(Block(bench, about, what, vectors), vector)
        yield from bench.start()

    return Check(about, steps, anything=True)


# -- with messages


def _cause(block: Block, vector: int) -> Steps[None]:
    """A cause that is not masked fires its vector, once, and again when it has been read or cleared in between."""
    bit, what = 1 << vector, block.what
    yield from block.write(what.mask, bit)
    yield from block.read(what.mask)
    for why in ("cause set", "cause set while it is set"):
        yield from block.write(what.set_cause, bit)
        yield from block.fires(why)
    yield from block.read(what.cause)
    yield from block.read(what.cause)
    yield from block.write(what.set_cause, bit)
    yield from block.fires("cause set after it was read")
    yield from block.write(what.cause, bit)
    yield from block.write(what.set_cause, bit)
    yield from block.fires("cause set after it was cleared by writing 1")
    yield from block.write(what.cause, block.all & ~bit)
    yield from block.write(what.set_cause, bit)
    yield from block.fires("cause set while it is set, others cleared")
    yield from block.write(what.mask, block.all)
    yield from block.write(what.set_cause, block.all)
    yield from block.fires("all causes set")
    yield from block.read(what.cause)


def _mask(block: Block, vector: int) -> Steps[None]:
    """A masked cause is shown and fires nothing, until it is unmasked; the other vectors do not mind."""
    bit, what = 1 << vector, block.what
    yield from block.write(what.set_cause, bit)
    yield from block.fires("cause set while masked")
    yield from block.write(what.mask, block.all & ~bit)
    yield from block.fires("others unmasked")
    yield from block.write(what.mask, bit)
    yield from block.fires("cause pending, now unmasked")
    yield from block.write(what.mask, bit)
    yield from block.fires("unmasked again")
    yield from block.write(what.mask_clear, bit)
    yield from block.read(what.mask)
    yield from block.read(what.cause)
    yield from block.write(what.set_cause, block.all)
    yield from block.fires("all causes set, one masked")
    yield from block.write(what.cause, bit)
    yield from block.write(what.mask, bit)
    yield from block.fires("cause cleared while masked, then unmasked")
    yield from block.read(what.cause)


def _automatic(block: Block, vector: int) -> Steps[None]:
    """A message clears its cause and its mask where it is told to, and only its own."""
    bit, what = 1 << vector, block.what
    yield from block.write(what.auto_clear, bit)
    yield from block.write(what.mask, block.all)
    yield from block.write(what.set_cause, block.all)
    yield from block.fires("all causes set")
    yield from block.write(what.set_cause, block.all)
    yield from block.fires("all causes set again, one of which its message had cleared")
    yield from block.read(what.cause)
    yield from block.write(what.auto_clear, block.all & ~bit)
    yield from block.write(what.auto_mask, bit)
    yield from block.write(what.set_cause, block.all)
    yield from block.fires("all causes set, one of which its message does not clear")
    yield from block.write(what.mask, bit)
    yield from block.fires("unmasked, the cause being set")
    yield from block.read(what.mask)
    yield from block.read(what.cause)
    yield from block.write(what.mask, bit)
    yield from block.fires("unmasked, no cause being set")
    yield from block.write(what.set_cause, bit)
    yield from block.fires("cause set after its message had masked it and it was unmasked")
    yield from block.read(what.mask)
    yield from block.read(what.cause)
    yield from block.write(what.set_cause, bit)
    yield from block.fires("cause set by software, which takes back that its message had masked it")
    yield from block.read(what.mask)


def _throttle(block: Block, vector: int) -> Steps[None]:
    """Messages of a vector keep their distance and none is lost; those of others come before it.

    The clock is read before the first cause is set and after each message was seen: whatever takes time in between can
    only make the distance look longer than it is. Whether others came first can be told of a message that was not nearly
    due when the first was waited for; where setting causes takes as long as the throttle, there is none.
    """
    bit, what, spacing = 1 << vector, block.what, round(SPACING * 1e6)
    yield from block.write(what.auto_clear, block.all)
    yield from block.write(what.mask, block.all)
    for each in range(block.vectors):  # as a driver does: what a reset leaves there is said by reset_domains
        yield from block.throttle(each, SPACING if each == vector else 0)
    others, ahead, chance = block.all & ~bit, False, False
    began = before = yield Now()
    for message in range(MOST):
        if message >= MESSAGES and (ahead or not chance or not others):
            break
        last, before = before, (yield Now())
        yield from block.write(what.set_cause, block.all)
        block.due, seen = 0, 0
        chance |= bool(message) and (yield Now()) - last < spacing // 2
        while seen != block.all:  # the first message of a vector is not held back, and may overtake those of others
            more = yield from block.live.fired(SOON)
            if not more:
                break
            ahead |= bool(message) and not (seen | more) & bit and (seen | more) == others
            seen |= more
        took, least = (yield Now()) - began, message * spacing - RESOLUTION
        block.live.claim(seen == block.all, f"message {message + 1} under a throttle: vectors {bits(seen)} fired, not all")
        apart = f"message {message + 1} came {took} us after the first cause was set, not {least} us"
        if not block.live.claim(took >= least, apart):
            break
    block.live.claim(ahead or not chance or not others, "its throttle holds back the other vectors")
    yield from block.throttle(vector, 0)
    yield from block.write(what.set_cause, bit)
    yield from block.fires("cause set, no throttle any more")
    yield from block.read(what.cause)


# -- without


def _cause_ports(block: Block, vector: int) -> Steps[None]:
    """A cause that hardware or software sets is seen by both, until it is read or cleared."""
    bench, what, bit = block.bench, block.what, 1 << vector
    field = block.cause.register.named[what.field]
    for pattern in (bit, block.all & ~bit, block.all):
        yield from bench.drive(block.cause, field.into(0, pattern), field.mask)
        yield from bench.observe(block.cause)
        yield from bench.read(block.cause)
        yield from bench.observe(block.cause)
        yield from bench.act(block.live.place(what.set_cause), field.into(0, pattern))
        yield from bench.observe(block.cause)
        yield from bench.act(block.cause, field.into(0, bit))
        yield from bench.observe(block.cause)
        yield from bench.read(block.cause)


def _mask_ports(block: Block, vector: int) -> Steps[None]:
    """Masks are set and cleared bit by bit, and hardware sees it; causes under them stay."""
    bench, what, bit = block.bench, block.what, 1 << vector
    field = block.mask.register.named[what.field]
    yield from bench.drive(block.cause, field.into(0, block.all), field.mask)
    for register, bits in ((what.mask, bit), (what.mask, block.all), (what.mask_clear, bit), (what.mask_clear, block.all)):
        yield from bench.act(block.live.place(register), field.into(0, bits))
        yield from bench.observe(block.mask)
        yield from bench.read(block.mask)
        yield from bench.observe(block.cause)


# -- the mask bits of MSI-X


def vector_masks(bench: Bench) -> Checks:
    """A vector that is masked in the MSI-X table keeps its message pending (PCI Express Base 5.0, 6.1.4.5)."""
    what, vectors = block_of(bench)
    controls = [p for p in bench.ground.places if p.name == "msix_vector_control"]
    if what is None or not controls:
        yield from not_applicable(
            "msix_vector_control",
            (bool(controls), "the target shows no MSI-X table"),
            (False, "the description tells of no interrupt block, by whose causes a masked vector could be made pending"),
        )
        return
    for control in controls:
        if who := bench.ground.virtual(control):
            yield Skip(control.path, who, Outcome.VIRTUALISED)
        elif not bench.abilities.interrupts:
            yield from not_applicable(control.path, (False, "the target delivers no interrupts"))
        else:
            yield checked(bench, control.path, what, vectors, lambda b, c=control: _vector_mask(b, c))  # type: ignore[misc]


def _vector_mask(block: Block, control: Place) -> Steps[None]:
    bit, what, bench = 1 << control.element, block.what, block.bench
    masked = control.register.named["mask"].mask
    pending = block.live.place("msix_pending", control.element // 64)
    word = 1 << control.element % 64

    def pends(bits: int) -> None:
        bench.predictor.files[pending.file].drive(pending.offset, pending.size, bits, pending.full)

    yield from block.write(what.mask, block.all)
    yield from bench.act(control, masked)
    yield from block.write(what.set_cause, block.all)
    block.due &= ~bit
    yield from block.fires("all causes set, one vector masked in the table")
    pends(word)
    yield from bench.read(pending)
    yield from bench.act(control, 0)
    block.due = bit
    yield from block.fires("pending in the table, now unmasked")
    pends(0)
    yield from bench.read(pending)
    yield from block.read(what.cause)


TESTS = (
    Test("irq_causes", "each cause fires its vector, once", _each_vector(_cause, _cause_ports)),
    Test("irq_masks", "masked causes wait", _each_vector(_mask, _mask_ports)),
    Test("irq_automatic", "a message clears its cause and mask where told to", _each_vector(_automatic)),
    Test("irq_moderation", "messages keep their distance", _each_vector(_throttle)),
    Test("irq_vector_masks", "vectors masked in the MSI-X table wait", vector_masks),
)
