"""Tests of the interrupt block: every cause, masks, what a message clears, and how far apart messages are.

What the block is made of says ``Conduct.interrupts``. Causes are set by software, so nothing has to move.
"""

from __future__ import annotations

from collections.abc import Callable

from regmodel.conduct import Interrupts
from regmodel.conformance.accesses import Fired, Listen, Now, Steps
from regmodel.conformance.bench import Bench
from regmodel.conformance.checks import Checks, Test
from regmodel.conformance.live import Live, live, not_applicable

SOON = 1.0
"""Seconds in which a message arrives that nothing holds back."""
NEVER = 0.02
"""Seconds after which one that has not arrived does not."""
SPACING = 6e-3
"""Seconds between messages for the test of throttling: more than setting a cause takes anywhere."""

Work = Callable[["Block", int], Steps[None]]


class Block:
    """The interrupt block of a device, by what its registers are for."""

    def __init__(self, live: Live, what: Interrupts, vectors: int) -> None:
        self.live, self.what, self.vectors = live, what, vectors
        self.all = (1 << vectors) - 1

    def write(self, register: str, bits: int) -> Steps[None]:
        yield from self.live.put(f"{register}.{self.what.field}", bits)

    def raise_(self, bits: int) -> Steps[None]:
        yield from self.write(self.what.set_cause, bits)

    def unmask(self, bits: int) -> Steps[None]:
        yield from self.write(self.what.mask, bits)

    def mask(self, bits: int) -> Steps[None]:
        yield from self.write(self.what.mask_clear, bits)

    def masks(self) -> Steps[int]:
        return (yield from self.live.field(f"{self.what.mask}.{self.what.field}"))

    def causes(self) -> Steps[int]:
        """Reading clears them."""
        return (yield from self.live.field(f"{self.what.cause}.{self.what.field}"))

    def quiet(self) -> Steps[None]:
        """Nothing masked in, nothing pending, nothing automatic, no throttle; and no message is on its way."""
        yield from self.mask(self.all)
        yield from self.causes()
        for register in (self.what.auto_clear, self.what.auto_mask):
            yield from self.write(register, 0)
        for vector in range(self.vectors):
            yield from self.live.put(self.what.throttle, 0, vector)
        yield Listen(self.vectors)
        yield Fired(0)

    def fires(self, expected: int, why: str, seconds: float = SOON) -> Steps[None]:
        """Exactly these vectors are signalled (none: not within a while)."""
        got = 0
        while got != expected or not expected:
            more = yield Fired(seconds if expected else NEVER)
            if not more:
                break
            got |= more
        self.live.claim(got == expected, f"{why}: vectors {_bits(got)} fired, not {_bits(expected)}")


def _bits(mask: int) -> str:
    return ", ".join(str(n) for n in range(mask.bit_length()) if mask >> n & 1) or "none"


def _each_vector(work: Work) -> Callable[[Bench], Checks]:
    """``work`` for every vector."""

    def checks(bench: Bench) -> Checks:
        what, vectors = bench.device.conduct.interrupts, getattr(bench.device, "msix_vectors", 0)
        about = f"bar0.{what.cause}" if what else "interrupts"
        missing = list(
            not_applicable(
                about,
                (what is not None, "the description tells of no interrupt block"),
                (bench.abilities.interrupts, "the target has no interrupts"),
                (vectors > 0, "the device has no vectors"),
            )
        )
        yield from missing
        if missing or what is None:
            return
        for vector in range(vectors):

            def steps(work_live: Live, vector: int = vector) -> Steps[None]:
                block = Block(work_live, what, vectors)
                yield from block.quiet()
                yield from work(block, vector)
                yield from block.mask(block.all)
                yield Listen(0)

            yield live(bench, f"vector[{vector}]", steps)

    return checks


def _cause(block: Block, vector: int) -> Steps[None]:
    """A cause that is masked in fires its vector once, and stays until it is read or cleared."""
    bit = 1 << vector
    yield from block.unmask(bit)
    block.live.claim((yield from block.masks()) == bit, "is not what alone was masked in")
    yield from block.raise_(bit)
    yield from block.fires(bit, "cause set")
    yield from block.fires(0, "nothing new")
    yield from block.raise_(bit)
    yield from block.fires(0, "cause set while it is set")
    block.live.claim((yield from block.causes()) == bit, "is not the cause that is shown")
    block.live.claim((yield from block.causes()) == 0, "is still shown after its cause was read")
    yield from block.raise_(bit)
    yield from block.fires(bit, "cause set again")
    yield from block.live.put(f"{block.what.cause}.{block.what.field}", bit)
    block.live.claim((yield from block.causes()) == 0, "is still shown after its cause was cleared by writing 1")


def _mask(block: Block, vector: int) -> Steps[None]:
    """A masked cause is shown and fires nothing, until it is masked in; the others do not count."""
    bit = 1 << vector
    yield from block.raise_(bit)
    yield from block.fires(0, "cause set while masked")
    yield from block.unmask(block.all & ~bit)
    yield from block.fires(0, "others masked in")
    yield from block.unmask(bit)
    yield from block.fires(bit, "cause pending, now masked in")
    yield from block.mask(bit)
    block.live.claim((yield from block.masks()) == block.all & ~bit, "is not what alone was masked")
    yield from block.causes()
    yield from block.raise_(bit)
    yield from block.fires(0, "cause set while masked again")
    block.live.claim((yield from block.causes()) == bit, "is not shown while masked")
    yield from block.raise_(block.all)
    yield from block.fires(block.all & ~bit, "all causes set, one masked")


def _automatic(block: Block, vector: int) -> Steps[None]:
    """A message clears its cause and its mask where it is told to, and only its own."""
    bit, what = 1 << vector, block.what
    yield from block.write(what.auto_clear, bit)
    yield from block.unmask(block.all)
    yield from block.raise_(block.all)
    yield from block.fires(block.all, "all causes set")
    yield from block.raise_(bit)  # before anything else is looked at: the message itself has to have cleared it
    yield from block.fires(bit, "cause set again, which its message cleared")
    block.live.claim((yield from block.causes()) == block.all & ~bit, "is not the cause that its message cleared")
    yield from block.write(what.auto_clear, 0)
    yield from block.write(what.auto_mask, bit)
    yield from block.raise_(block.all)
    yield from block.fires(block.all, "all causes set")
    yield from block.raise_(bit)
    yield from block.fires(bit, "cause set by software, which takes auto-masking back")
    block.live.claim((yield from block.masks()) == block.all & ~bit, "is not the mask that its message cleared")


def _throttle(block: Block, vector: int) -> Steps[None]:
    """Messages of a vector keep their distance; those of others do not wait for it."""
    bit, what = 1 << vector, block.what
    yield from block.live.put(f"{what.throttle}.{what.interval}", round(SPACING / what.unit), vector)
    yield from block.unmask(block.all)
    began = yield Now()
    for message in range(3):
        yield from block.raise_(bit)
        yield from block.fires(bit, f"message {message + 1} under a throttle")
        yield from block.causes()
    took = ((yield Now()) - began) / 1e6
    block.live.claim(took >= 2 * SPACING, f"sent 3 messages in {took * 1e3:.1f} ms, which are {SPACING * 1e3:.0f} ms apart")
    other = bit << 1 if bit << 1 & block.all else 1
    if other != bit:
        yield from block.raise_(bit | other)
        first = yield Fired(SOON)
        block.live.claim(bool(first & other), "held back a vector that is not throttled")


TESTS = (
    Test("irq_causes", "each cause fires its vector, once", _each_vector(_cause)),
    Test("irq_masks", "masked causes wait", _each_vector(_mask)),
    Test("irq_automatic", "a message clears its cause and mask where told to", _each_vector(_automatic)),
    Test("irq_moderation", "messages keep their distance", _each_vector(_throttle)),
)
