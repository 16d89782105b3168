"""Tests of a mailbox: who owns the memory, the edges of request and acknowledgement, resets of the peer, and every message.

Which bits are which, and what is said, says ``Conduct.talk``; the messages themselves are those of the catalogue.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from regmodel.catalogue import Mailbox, Message
from regmodel.conduct import Exchange, Talk
from regmodel.conformance.accesses import Listen, Read, ResetPeer, Steps, Wait, Write
from regmodel.conformance.bench import Bench
from regmodel.conformance.checks import Checks, Test
from regmodel.conformance.interrupts import Block
from regmodel.conformance.live import Live, live, not_applicable
from regmodel.registers import Register

SELF, PEER = "VF", "PF"
"""The parties as ``catalogue.Message`` names them."""

Work = Callable[["Box"], Steps[None]]


class Box:
    """One mailbox, as its driver uses it. Bits that reading clears are kept until somebody asks for them."""

    def __init__(self, live: Live, talk: Talk, mailbox: Mailbox) -> None:
        self.live, self.talk, self.mailbox = live, talk, mailbox
        entry = live.place(mailbox.control).entry
        assert isinstance(entry, Register)
        self.fields = entry.named
        self._kept = 0

    def look(self, field: str) -> Steps[int]:
        """A field of the control register; what was read and not asked for is not lost."""
        value = (yield from self.live.get(self.mailbox.control)) | self._kept
        self._kept = value & sum(f.mask for f in self.fields.values() if f.access.onread.name == "CLEAR")
        self._kept &= ~self.fields[field].mask
        return self.fields[field].of(value)

    def say(self, **fields: int) -> Steps[None]:
        word = 0
        for name, value in fields.items():
            word = self.fields[name].into(word, value)
        yield from self.live.put(self.mailbox.control, word)

    def settle(self) -> Steps[None]:
        """Wait until no reset of the peer is in progress, and forget what came before."""

        def over() -> Steps[bool]:
            return not (yield from self.look(self.talk.in_reset))

        if not (yield from self.live.until(over, 5.0)):
            self.live.claim(False, f"shows {self.talk.in_reset} for longer than 5 s")
        yield from self.live.get(self.mailbox.control)
        self._kept = 0

    def own(self) -> Steps[bool]:
        """Take the memory. The peer may have it for a moment."""

        def taken() -> Steps[bool]:
            yield from self.say(**{self.talk.own: 1})
            return bool((yield from self.look(self.talk.own)))

        return (yield from self.live.until(taken, self.talk.seconds))

    def words(self, count: int) -> Steps[list[int]]:
        place = self.live.place(self.mailbox.memory)
        found = []
        for i in range(count):
            found.append((yield Read(place.file, place.offset + 4 * i, 4)))
        return found

    def send(self, words: list[int]) -> Steps[bool]:
        """Take the memory, fill it, hand it over, and see it taken."""
        if not self.live.claim((yield from self.own()), f"does not give the memory: {self.talk.own} does not stick"):
            return False
        yield from self.look(self.talk.taken)
        yield from self.look(self.talk.arrived)
        place = self.live.place(self.mailbox.memory)
        for i, word in enumerate(words):
            yield Write(place.file, place.offset + 4 * i, 4, word)
        yield from self.say(**{self.talk.request: 1})
        return (yield from self.arrives(self.talk.taken))

    def arrives(self, field: str, seconds: float = 0.0) -> Steps[bool]:
        def there() -> Steps[bool]:
            return bool((yield from self.look(field)))

        return (yield from self.live.until(there, seconds or self.talk.seconds))

    def message(self, name: str) -> Message:
        return next(m for m in self.mailbox.messages if m.name == name)

    def request(self, exchange: Exchange) -> list[int]:
        """The words of a request."""
        message = self.message(exchange.message)
        head = message.schema.subcons[0].name
        rest = {k: v for k, v in exchange.fields.items() if k in {s.name for s in message.schema.subcons}}
        first = {"number": message.number, **{k: v for k, v in exchange.fields.items() if k not in rest}}
        data = message.schema.build({head: first, **rest})
        data += bytes(-len(data) % 4)
        return [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]

    def ask(self, exchange: Exchange) -> Steps[bool]:
        """One request and its answer, which has to be what was expected."""
        what = exchange.name
        if not self.live.claim((yield from self.send(self.request(exchange))), f"{what}: was not taken by the peer"):
            return False
        return (yield from self.answer(what, self.message(exchange.message).number, exchange.reply))

    def answer(self, what: str, number: int, reply: dict[str, int] | object) -> Steps[bool]:
        assert isinstance(reply, dict)
        if not self.live.claim((yield from self.arrives(self.talk.arrived)), f"{what}: was not answered"):
            return False
        if not self.live.claim((yield from self.own()), f"{what}: the memory with the answer cannot be taken"):
            return False
        message = self.mailbox.find(number, PEER) or next(m for m in self.mailbox.messages if m.sender == PEER)
        (word,) = yield from self.words(1)
        head = message.schema.subcons[0].parse(word.to_bytes(4, "little"))
        got = {name: int(head[name]) for name in reply}
        said = f"{what}: the answer {word:#010x}"
        fine = self.live.claim(head.number == number, f"{said} is to {head.number:#x}, not {number:#x}")
        fine &= self.live.claim(got == reply, f"{said} says {got}, not {reply}")
        yield from self.say(**{self.talk.acknowledge: 1})
        return fine

    def open(self) -> Steps[bool]:
        """What has to be said before anything else."""
        yield from self.settle()
        return (yield from self.ask(self.talk.opening))


def opened(live_: Live, bench: Bench) -> Steps[bool]:
    """The peer listens, and queues may run. True where there is no mailbox to say so through."""
    talk = bench.device.conduct.talk
    if talk is None:
        return True
    box = Box(live_, talk, next(m for m in bench.device.mailboxes if m.name == talk.mailbox))
    return (yield from box.open())


def _with_box(bench: Bench, name: str, work: Work) -> Checks:
    talk = bench.device.conduct.talk
    boxes = [m for m in bench.device.mailboxes if talk is not None and m.name == talk.mailbox]
    missing = list(
        not_applicable(
            name,
            (bool(boxes), "the description tells of no mailbox"),
            (bench.abilities.peer, "nobody is behind the mailbox: no PF driver"),
        )
    )
    yield from missing
    if not missing and talk is not None:

        def steps(live_: Live) -> Steps[None]:
            box = Box(live_, talk, boxes[0])
            yield from box.settle()
            yield from work(box)

        yield live(bench, name, steps)


def ownership(bench: Bench) -> Checks:
    """Taking, keeping and giving back the memory; what is in it stays."""

    def work(box: Box) -> Steps[None]:
        own, others = box.talk.own, box.talk.others
        box.live.claim(not (yield from box.look(own)), f"shows {own} though nobody took the memory")
        box.live.claim((yield from box.own()), f"does not give the memory: {own} does not stick")
        box.live.claim(not (yield from box.look(others)), f"shows {others} while {own} is set")
        place = box.live.place(box.mailbox.memory)
        for i in range(box.mailbox.words):
            yield Write(place.file, place.offset + 4 * i, 4, 0xC0DE0000 + i)
        yield Wait(0.005)
        stored = yield from box.words(box.mailbox.words)
        box.live.claim(stored == [0xC0DE0000 + i for i in range(box.mailbox.words)], "the memory is not what its owner wrote")
        yield from box.say(**{own: 0})
        box.live.claim(not (yield from box.look(own)), f"{own} stays when 0 is written: the memory is not given back")

    yield from _with_box(bench, "mailbox.ownership", work)


def edges(bench: Bench) -> Checks:
    """A request gives the memory away, is acknowledged once and answered once; reading clears both indications."""

    def work(box: Box) -> Steps[None]:
        talk = box.talk
        if not box.live.claim((yield from box.own()), f"does not give the memory: {talk.own} does not stick"):
            return
        place = box.live.place(box.mailbox.memory)
        for i, word in enumerate(box.request(talk.opening)):
            yield Write(place.file, place.offset + 4 * i, 4, word)
        yield from box.say(**{talk.request: 1})
        box.live.claim(not (yield from box.look(talk.request)), f"{talk.request} reads back")
        box.live.claim((yield from box.arrives(talk.taken)), f"no {talk.taken} after a request")
        box.live.claim(not (yield from box.look(talk.taken)), f"{talk.taken} stays when it was read")
        box.live.claim((yield from box.arrives(talk.arrived)), f"no {talk.arrived} after a request that is answered")
        box.live.claim(not (yield from box.look(talk.arrived)), f"{talk.arrived} stays when it was read")
        box.live.claim((yield from box.own()), "the memory with the answer cannot be taken")
        yield from box.say(**{talk.acknowledge: 1})
        box.live.claim(not (yield from box.look(talk.own)), f"{talk.acknowledge} does not give the memory back")
        yield Wait(0.005)
        box.live.claim(not (yield from box.look(talk.taken)), f"{talk.taken} without a request")
        box.live.claim(not (yield from box.look(talk.arrived)), f"{talk.arrived} without a message")

    yield from _with_box(bench, "mailbox.edges", work)


def resets(bench: Bench) -> Checks:
    """While the peer is in reset it says so; when it is back it says so once; it has to be spoken to anew."""
    name = "mailbox.resets"
    missing = list(not_applicable(name, (bench.abilities.peer_resets, "the PF of this target cannot be told to reset")))
    yield from missing

    def work(box: Box) -> Steps[None]:
        talk = box.talk
        yield from box.ask(talk.opening)
        yield ResetPeer()
        box.live.claim((yield from box.arrives(talk.in_reset, 2.0)), f"no {talk.in_reset} while the PF resets")

        def back() -> Steps[bool]:
            return not (yield from box.look(talk.in_reset))

        box.live.claim((yield from box.live.until(back, 5.0)), f"{talk.in_reset} stays when the PF is back")
        box.live.claim((yield from box.arrives(talk.was_reset)), f"no {talk.was_reset} after a reset of the PF")
        box.live.claim(not (yield from box.look(talk.was_reset)), f"{talk.was_reset} stays when it was read")
        yield from box.settle()
        yield from box.ask(talk.opening)

    if not missing:
        yield from _with_box(bench, name, work)


def interrupts(bench: Bench) -> Checks:
    """An answer raises the vector that the mailbox was given, and none when it was given none."""
    name, talk, what = "mailbox.interrupts", bench.device.conduct.talk, bench.device.conduct.interrupts
    vectors = getattr(bench.device, "msix_vectors", 0)
    missing = list(
        not_applicable(
            name,
            (what is not None and talk is not None and bool(talk.route[0]), "the description gives the mailbox no vector"),
            (bench.abilities.interrupts, "the target has no interrupts"),
        )
    )
    yield from missing
    if missing or what is None or talk is None:
        return

    def work(box: Box) -> Steps[None]:
        block = Block(box.live, what, vectors)
        yield from block.quiet()
        for vector in range(vectors):
            yield from box.live.change(talk.route[1], 1)
            yield from box.live.change(talk.route[0], vector)
            yield from block.unmask(block.all)
            yield from box.ask(talk.opening)
            yield from block.fires(1 << vector, f"an answer through a mailbox with vector {vector}")
            yield from block.causes()
        yield from box.live.change(talk.route[1], 0)
        yield from box.ask(talk.opening)
        yield from block.fires(0, "an answer through a mailbox without a vector")
        yield Listen(0)

    yield from _with_box(bench, name, work)


def messages(bench: Bench) -> Checks:
    """Every message in its accepted and refused forms, one that does not exist, and one before the opening."""
    talk = bench.device.conduct.talk
    if talk is None or not bench.abilities.peer:
        yield from _with_box(bench, "mailbox.messages", lambda box: box.settle())
        return
    yield from _with_box(bench, f"mailbox.{talk.opening.name}", partial(_said, talk.opening))
    for exchange in talk.exchanges:
        yield from _with_box(bench, f"mailbox.{exchange.name}", partial(_said, exchange))
    yield from _with_box(bench, "mailbox.unknown message", _unknown)
    yield from _with_box(bench, "mailbox.before the opening", _unheard)


def _said(exchange: Exchange, box: Box) -> Steps[None]:
    if exchange is box.talk.opening or (yield from box.ask(box.talk.opening)):
        yield from box.ask(exchange)


def _unknown(box: Box) -> Steps[None]:
    """Is refused, and does no harm."""
    if (yield from box.ask(box.talk.opening)):
        box.live.claim((yield from box.send([box.talk.unknown])), "an unknown message was not taken")
        yield from box.answer("an unknown message", box.talk.unknown, {"nack": 1, "ack": 0})
        for exchange in box.talk.exchanges[:1]:
            yield from box.ask(exchange)


def _unheard(box: Box) -> Steps[None]:
    """Is taken and refused, or not answered at all; it is not granted."""
    exchange = box.talk.unheard
    box.live.claim((yield from box.send(box.request(exchange))), "a message before the opening was not taken")
    if (yield from box.arrives(box.talk.arrived, 0.05)):
        yield from box.own()
        message = box.mailbox.find(box.message(exchange.message).number, PEER)
        assert message is not None
        (word,) = yield from box.words(1)
        head = message.schema.subcons[0].parse(word.to_bytes(4, "little"))
        box.live.claim(not head.ack, f"{exchange.name} was granted before the opening: {word:#010x}")
        yield from box.say(**{box.talk.acknowledge: 1})
    yield from box.ask(box.talk.opening)


TESTS = (
    Test("mailbox_ownership", "one party at a time owns the memory", ownership),
    Test("mailbox_edges", "request, acknowledgement and answer are indicated once each", edges),
    Test("mailbox_resets", "resets of the peer are indicated", resets),
    Test("mailbox_interrupts", "what the peer says raises the mailbox's vector", interrupts),
    Test("mailbox_messages", "every message is answered as it should be", messages),
)
