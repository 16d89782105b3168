"""Tests of a mailbox: who owns the memory, the edges of request and acknowledgement, resets of the peer, and every message.

Which bits are which, what is said and what a stock peer answers, says ``Conduct.talk``; the messages themselves are those
of the catalogue. What is predicted of an answer is its whole first word.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from regmodel.catalogue import Mailbox, Message
from regmodel.conduct import Exchange, Talk
from regmodel.conformance.accesses import ConformanceError, Now, Read, ResetPeer, Steps, Wait, Write
from regmodel.conformance.bench import STRONGEST, Bench
from regmodel.conformance.checks import Checks, Test
from regmodel.conformance.live import Live, live, not_applicable
from regmodel.function import ResetCause
from regmodel.registers import Register

PEER = "PF"
"""The other party, as ``catalogue.Message`` names it."""
QUIET = 0.01
"""Seconds after which what the peer has not said, it does not say."""
BACK = 5.0
"""The longest that a peer is in reset, in seconds."""
MARK = 0xC0DE0000
TRIES = 8
"""How often a judge in a slow guest may keep the memory for longer than the peer waits."""

Work = Callable[["Box"], Steps[None]]


class Box:
    """One mailbox, as its driver uses it. Bits that reading clears are kept until somebody asks for them."""

    def __init__(self, live: Live, talk: Talk, mailbox: Mailbox) -> None:
        self.live, self.talk, self.mailbox = live, talk, mailbox
        entry = live.place(mailbox.control).entry
        assert isinstance(entry, Register)
        self.fields = entry.named
        self._clearing = sum(f.mask for f in self.fields.values() if f.access.onread.name == "CLEAR")
        self._kept = 0
        self.address = b""
        """Ours, once the peer has told it."""

    # -- the control register

    def seen(self) -> Steps[dict[str, int]]:
        """All fields, and what was read before and nobody has asked for."""
        value = (yield from self.live.get(self.mailbox.control)) | self._kept
        self._kept = value & self._clearing
        return {name: f.of(value) for name, f in self.fields.items()}

    def look(self, field: str) -> Steps[int]:
        """One field; what was read beside it is not lost."""
        found = (yield from self.seen())[field]
        self._kept &= ~self.fields[field].mask
        return found

    def say(self, **fields: int) -> Steps[None]:
        word = 0
        for name, value in fields.items():
            word = self.fields[name].into(word, value)
        yield from self.live.put(self.mailbox.control, word)

    def forget(self) -> Steps[None]:
        """What has happened up to now is of no interest."""
        yield from self.seen()
        self._kept = 0

    def arrives(self, field: str, seconds: float = 0.0) -> Steps[bool]:
        def there() -> Steps[bool]:
            return bool((yield from self.look(field)))

        return (yield from self.live.until(there, seconds or self.talk.seconds))

    def answers(self) -> Steps[bool]:
        """A message comes, which need not come."""

        def there() -> Steps[bool]:
            return bool((yield from self.look(self.talk.arrived)))

        return (yield from self.live.within(there, QUIET))

    def goes(self, field: str, seconds: float) -> Steps[bool]:
        def gone() -> Steps[bool]:
            return not (yield from self.look(field))

        return (yield from self.live.until(gone, seconds))

    def settle(self) -> Steps[None]:
        """Wait until no reset of the peer is in progress, and forget what came before."""
        field = self.talk.in_reset
        self.live.claim((yield from self.goes(field, BACK)), f"shows {field} for more than {BACK:g} s")
        yield Wait(QUIET)
        yield from self.forget()

    def silent(self, after: str) -> Steps[None]:
        """The peer says nothing."""
        yield Wait(QUIET)
        seen = yield from self.seen()
        for field in (self.talk.taken, self.talk.arrived):
            self.live.claim(not seen[field], f"shows {field} after {after}")

    # -- the memory

    def own(self) -> Steps[bool]:
        """Take it. The peer may have it for a moment."""

        def taken() -> Steps[bool]:
            yield from self.say(**{self.talk.own: 1})
            return bool((yield from self.look(self.talk.own)))

        got = yield from self.live.until(taken, self.talk.seconds)
        return self.live.claim(got, f"does not give the memory: {self.talk.own} does not stick")

    def words(self, count: int) -> Steps[list[int]]:
        place = self.live.place(self.mailbox.memory)
        found = []
        for i in range(count):
            found.append((yield Read(place.file, place.offset + 4 * i, 4)))
        return found

    def fill(self, words: Sequence[int]) -> Steps[None]:
        place = self.live.place(self.mailbox.memory)
        for i, word in enumerate(words):
            yield Write(place.file, place.offset + 4 * i, 4, word)

    # -- messages

    def message(self, name: str) -> Message:
        return next(m for m in self.mailbox.messages if m.name == name)

    def request(self, exchange: Exchange) -> list[int]:
        """The words of a request."""
        if exchange.words:
            return list(exchange.words)
        message = self.message(exchange.message)
        head = message.schema.subcons[0].name
        rest = {k: v for k, v in exchange.fields.items() if k in {s.name for s in message.schema.subcons}}
        first = {"number": message.number, **{k: v for k, v in exchange.fields.items() if k not in rest}}
        data = message.schema.build({head: first, **rest})
        data += bytes(-len(data) % 4)
        return [int.from_bytes(data[i : i + 4], "little") for i in range(0, len(data), 4)]

    def header(self, exchange: Exchange) -> Any:
        """The schema of the first word of an answer."""
        number = self.message(exchange.message).number if exchange.message else -1
        found = self.mailbox.find(number, PEER) or self.message(self.talk.unasked)
        return found.schema.subcons[0]

    def predicted(self, exchange: Exchange) -> int:
        """The first word of the answer: the request's, with some fields changed."""
        head = self.header(exchange)
        word = int(self.request(exchange)[0])
        for name, value in (exchange.reply or {}).items():
            word = head.subcon.named[name].into(word, value)
        return word

    def send(self, words: Sequence[int]) -> Steps[bool]:
        """Take the memory, fill it, hand it over, and see it taken."""
        if not (yield from self.own()):
            return False
        yield from self.forget()
        yield from self.fill(words)
        yield from self.say(**{self.talk.request: 1})
        return (yield from self.arrives(self.talk.taken))

    def receive(self, count: int) -> Steps[list[int]]:
        """Take the memory with an answer in it, read, and give it back; nothing if it cannot be taken."""
        if not (yield from self.own()):
            return []
        words = yield from self.words(count)
        yield from self.say(**{self.talk.acknowledge: 1})
        return words

    def ask(self, exchange: Exchange) -> Steps[bool]:
        """One request and its answer, which has to be what was predicted."""
        what = f"{exchange.message or 'message'} {exchange.name or dict(exchange.fields) or ''}".strip()
        if not self.live.claim((yield from self.send(self.request(exchange))), f"{what}: was not taken by the peer"):
            return False
        if exchange.reply is None:
            yield Wait(QUIET)
            return self.live.claim(not (yield from self.look(self.talk.arrived)), f"{what}: was answered")
        if not self.live.claim((yield from self.arrives(self.talk.arrived)), f"{what}: was not answered"):
            return False
        words = yield from self.receive(1)
        predicted = self.predicted(exchange)
        said = f"{what}: the answer is {words[0] if words else 0:#010x}, not {predicted:#010x}"
        return exchange.either or self.live.claim(words == [predicted], said)

    def open(self) -> Steps[bool]:
        """What has to be said before anything else; its answer brings our address, or says that there is none."""
        talk, opening = self.talk, self.talk.opening
        yield from self.settle()
        if not self.live.claim((yield from self.send(self.request(opening))), f"{opening.message} is not taken by the peer"):
            return False
        if not self.live.claim((yield from self.arrives(talk.arrived)), f"{opening.message} is not answered"):
            return False
        reply = self.mailbox.find(self.message(opening.message).number, PEER)
        assert reply is not None
        words = yield from self.receive(int(reply.schema.sizeof()) // 4)
        if not words:
            return False
        answer = reply.schema.parse(b"".join(word.to_bytes(4, "little") for word in words))
        granted = {"number": answer.header.number, talk.granted: 1}
        refused = {"number": answer.header.number, talk.refused: 1}
        head = reply.schema.subcons[0]
        predicted = {int.from_bytes(head.build(form), "little"): form is granted for form in (granted, refused)}
        number = self.message(opening.message).number
        said = f"{opening.message}: the answer is {words[0]:#010x}, not {' or '.join(f'{word:#010x}' for word in predicted)}"
        if not self.live.claim(words[0] in predicted and answer.header.number == number, said):
            return False
        self.address = bytes(answer[talk.address])
        real = any(self.address) and not self.address[0] & 1
        fits = real if predicted[words[0]] else not any(self.address)
        self.live.claim(fits, f"{opening.message}: the answer {words[0]:#010x} brings {self.address.hex(':')} as address")
        if not real:
            self.address = bytes(talk.claim.fields[talk.address])  # type: ignore[call-overload]
            return (yield from self.ask(talk.claim))
        return True


def box_of(bench: Bench, live_: Live) -> Box | None:
    """The mailbox that is described to be talked through; None where there is none."""
    talk = bench.device.conduct.talk
    boxes = [m for m in bench.device.mailboxes if talk is not None and m.name == talk.mailbox]
    return Box(live_, talk, boxes[0]) if boxes and talk is not None else None


def opened(live_: Live, bench: Bench) -> Steps[Box | None]:
    """The peer listens, and queues may run. None when it does not."""
    box = box_of(bench, live_)
    return box if box is not None and (yield from box.open()) else None


def why_not(bench: Bench) -> tuple[tuple[bool, str], ...]:
    """What talking through a mailbox needs."""
    talk, able = bench.device.conduct.talk, bench.abilities
    return (
        (talk is not None, "the description tells of no mailbox"),
        (able.peer, f"no {PEER} driver is behind the mailbox"),
        (able.interactive, "the target takes its accesses beforehand, and a mailbox has to be waited for"),
    )


def _with_box(bench: Bench, name: str, work: Work) -> Checks:
    missing = list(not_applicable(name, *why_not(bench)))
    yield from missing
    if missing:
        return

    def steps(live_: Live) -> Steps[None]:
        box = box_of(bench, live_)
        assert box is not None
        yield from box.settle()
        yield from work(box)

    yield live(bench, name, steps)


# -- ownership and edges


def ownership(bench: Bench) -> Checks:
    """Taking, keeping and giving back the memory; while we have it, the peer does not get it."""
    yield from _with_box(bench, "mailbox.ownership", _ownership)
    yield from _with_box(bench, "mailbox.exclusion", _exclusion)


def _ownership(box: Box) -> Steps[None]:
    own, others = box.talk.own, box.talk.others
    box.live.claim(not (yield from box.look(own)), f"shows {own} though nobody took the memory")
    yield from box.own()
    yield from box.say(**{own: 0})
    yield from box.silent(f"{own} was set and cleared, which is no request")
    yield from box.own()
    box.live.claim(not (yield from box.look(others)), f"shows {others} while {own} is set")
    marks = [MARK + i for i in range(box.mailbox.words)]
    yield from box.fill(marks)
    yield from box.own()
    yield from box.silent(f"{own} was set again, which is no request")
    box.live.claim((yield from box.words(len(marks))) == marks, "the memory is not what its owner wrote")
    box.live.claim(bool((yield from box.look(own))), f"{own} did not stay set")
    yield from box.say(**{own: 0})
    box.live.claim(not (yield from box.look(own)), f"{own} stays when 0 is written: the memory is not given back")


def _exclusion(box: Box) -> Steps[None]:
    """A request made without giving the memory away is not read before that. The peer waits, but not for long: who was too
    slow gives the memory back sooner the next time.
    """
    talk = box.talk
    for attempt in range(TRIES):
        if not (yield from box.own()):
            return
        yield from box.forget()
        yield from box.fill(box.request(talk.opening))
        began = yield Now()
        yield from box.say(**{talk.own: 1, talk.request: 1})
        yield Wait(talk.patience / 4 / 2**attempt)
        seen = yield from box.seen()
        yield from box.say(**{talk.own: 0})
        kept = ((yield Now()) - began) / 1e6
        box.live.claim(bool(seen[talk.own]), f"{talk.request} takes the memory away from its owner, who keeps {talk.own}")
        box.live.claim(not seen[talk.others], f"shows {talk.others} while {talk.own} is set")
        box.live.claim(not seen[talk.taken], "the peer has read the memory while we owned it")
        if (yield from box.arrives(talk.taken)):
            box.live.claim((yield from box.arrives(talk.arrived)), "no answer after the memory was given back")
            return
        late = kept >= talk.patience
        if not box.live.claim(late, f"the peer does not take what was given back to it after {kept * 1e3:.1f} ms"):
            return
        yield from box.settle()  # we were too slow for the peer, which has given up
    waits = f"{talk.patience * 1e3:g} ms"
    raise ConformanceError(f"a peer waits {waits} for memory that we keep; {TRIES} times the judge kept it longer")


def edges(bench: Bench) -> Checks:
    """A request is an event: taken once and answered once. Reading clears both indications."""
    yield from _with_box(bench, "mailbox.edges", _edges)


def _edges(box: Box) -> Steps[None]:
    talk = box.talk
    if not (yield from box.own()):
        return
    yield from box.forget()
    yield from box.fill(box.request(talk.opening))
    yield from box.say(**{talk.request: 1})
    seen = yield from box.seen()
    box.live.claim(not seen[talk.request], f"{talk.request} reads back")
    box.live.claim(not seen[talk.own], f"{talk.request} does not give the memory away")
    box.live.claim((yield from box.arrives(talk.taken)), f"no {talk.taken} after a request")
    box.live.claim((yield from box.arrives(talk.arrived)), f"no {talk.arrived} after a request that is answered")
    yield from box.silent(f"{talk.taken} and {talk.arrived} were read, and nothing was asked")
    if not (yield from box.own()):
        return
    yield from box.say(**{talk.acknowledge: 1})
    seen = yield from box.seen()
    box.live.claim(not seen[talk.own], f"{talk.acknowledge} does not give the memory back")
    box.live.claim(not seen[talk.acknowledge], f"{talk.acknowledge} reads back")
    yield from box.silent(f"{talk.acknowledge}, which is no request")
    yield from box.say(**{talk.request: 1})  # the answer is still there, and nobody answers an answer
    box.live.claim((yield from box.arrives(talk.taken)), f"no {talk.taken} after a second request")
    yield from box.silent("a request that is the peer's own answer")


# -- resets


def resets(bench: Bench) -> Checks:
    """While the peer is in reset it says so, and when it is back, once; it has to be spoken to anew."""
    talk = bench.device.conduct.talk
    for cause in [c for c in talk.announced if c in bench.abilities.resets] if talk is not None else ():

        def forgotten(box: Box, cause: ResetCause = cause) -> Steps[None]:
            yield from box.live.bench.reset(cause)
            yield from _comes_back(box)

        yield from _with_box(bench, f"mailbox.reset ({cause.value})", forgotten)
    name = "mailbox.reset of the peer"
    missing = list(not_applicable(name, (bench.abilities.peer_resets, f"the {PEER} of this target cannot be told to reset")))
    yield from missing
    if not missing:
        yield from _with_box(bench, name, _peer_resets)
    name = "mailbox.reset of ours"
    yield from _with_box(bench, name, _kept)


def _comes_back(box: Box) -> Steps[None]:
    """The end of a reset of the peer."""
    talk = box.talk
    box.live.claim((yield from box.goes(talk.in_reset, BACK)), f"{talk.in_reset} stays when the peer is back")
    box.live.claim((yield from box.arrives(talk.was_reset)), f"no {talk.was_reset} when the peer is back")
    box.live.claim(not (yield from box.look(talk.was_reset)), f"{talk.was_reset} stays when it was read")


def _kept(box: Box) -> Steps[None]:
    """A reset that reaches the function alone says nothing of the peer, and takes the memory away from us."""
    talk, bench = box.talk, box.live.bench
    weak = [c for c in (*STRONGEST, *bench.abilities.resets) if c in bench.abilities.resets and c not in talk.announced]
    effect = next(((p, m) for (f, n), es in bench.predictor.effects.items() for m, e in es for p in bench.ground.registers(f)
                   if p.name == n and e.resets is not None and e.resets not in talk.announced), None)  # fmt: skip
    yield from box.own()
    if weak:
        yield from bench.reset(weak[0])
    elif effect is not None:
        yield from bench.act(effect[0], effect[0].rest | effect[1])
    seen = yield from box.seen()
    for field in (talk.own, talk.others, talk.in_reset, talk.was_reset, talk.taken, talk.arrived):
        box.live.claim(not seen[field], f"shows {field} after a reset of the function")


def _peer_resets(box: Box) -> Steps[None]:
    """It says that it goes, is gone, and comes back; before the opening it does not listen."""
    talk, unasked = box.talk, box.message(box.talk.unasked)
    yield from box.open()
    yield ResetPeer()
    if box.live.claim((yield from box.arrives(talk.arrived)), f"no {unasked.name} before the peer resets"):
        words = yield from box.receive(1)
        said = f"{[*map(hex, words)]} is said before the peer resets, not {unasked.number:#x}"
        box.live.claim(words == [unasked.number], said)
    box.live.claim((yield from box.arrives(talk.in_reset, BACK)), f"no {talk.in_reset} while the peer resets")
    yield from _comes_back(box)
    yield from box.settle()
    first = next(e for group in talk.exchanges.values() for e in group if e.reply)
    yield from box.send(box.request(first))
    if (yield from box.answers()):
        words = yield from box.receive(1)
        box.live.claim(words != [box.predicted(first)], "the peer goes on after its reset as if nothing had been")
    if (yield from box.open()):
        yield from box.ask(first)


# -- every message


def messages(bench: Bench) -> Checks:
    """Every message in its accepted and refused forms, those that do not exist, and those that come too early."""
    talk = bench.device.conduct.talk
    if talk is None:
        yield from not_applicable("mailbox.messages", *why_not(bench))
        return
    yield from _with_box(bench, f"mailbox.{talk.opening.message}", _opening)
    yield from _with_box(bench, f"mailbox.before {talk.opening.message}", _unheard)
    for name, exchanges in talk.exchanges.items():
        yield from _with_box(bench, f"mailbox.{name}", partial(_said, exchanges))


def _opening(box: Box) -> Steps[None]:
    """As often as one likes."""
    yield from box.open()
    address = box.address
    yield from box.open()
    box.live.claim(box.address == address, f"{box.talk.opening.message} brings another address the second time")


def _said(exchanges: Sequence[Exchange], box: Box) -> Steps[None]:
    if (yield from box.open()):
        for exchange in exchanges:
            yield from box.ask(exchange)


def _unheard(box: Box) -> Steps[None]:
    """Until the opening, nothing is granted, and who goes on is told off."""
    talk = box.talk
    for exchange in talk.unheard:
        if exchange.pause:
            yield Wait(exchange.pause)
            yield from box.own()
            yield from box.say(**{talk.own: 0})
            yield from box.silent(f"{talk.own} was set and cleared, which is no acknowledgement")
        yield from box.ask(exchange)
    if talk.rebuke is not None and box.live.claim(
        (yield from box.arrives(talk.arrived)), f"an acknowledgement before {talk.opening.message} is not answered"
    ):
        words = yield from box.receive(1)
        said = f"an acknowledgement before {talk.opening.message} is answered with {[*map(hex, words)]}"
        box.live.claim(words == [talk.rebuke], f"{said}, not {talk.rebuke:#x}")
        yield from box.silent("having been told off")
    yield from box.open()


TESTS = (
    Test("mailbox_ownership", "one party at a time owns the memory", ownership),
    Test("mailbox_edges", "request, acknowledgement and answer are indicated once each", edges),
    Test("mailbox_resets", "resets of the peer are indicated", resets),
    Test("mailbox_messages", "every message is answered as it should be", messages),
)
