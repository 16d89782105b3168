"""What a vhost-user front end says to a back end, from the first word until both may use the rings.

In here: the conversation, as a generator of messages; no sockets, no rings. ``backends/vhost_user`` carries it.

Sources: "Vhost-user Protocol", QEMU docs/interop/vhost-user.rst (sections "Communication", "Multiple queue support",
"REPLY_ACK"); QEMU hw/virtio/vhost-user.c for the order of messages; VIRTIO 1.2, 5.1.3 (which features need which).
"""

from __future__ import annotations

from collections.abc import Generator, Sequence
from typing import NamedTuple

from emulators.fabric.offload import Takes
from emulators.fabric.vrings import GUEST, SIZE, USER, SharedMemory, Vring
from regmodel.structures.vhost_user import (
    F_PROTOCOL_FEATURES,
    HEADER,
    NEED_REPLY,
    NUMBER,
    ONE_REGION,
    REPLY,
    VERSION,
    VERSION_MASK,
    VRING_ADDRESS,
    VRING_STATE,
    ProtocolFeature,
    Request,
)
from regmodel.structures.virtio_features import Feature

PAIRS = 8
"""Queue pairs at most: a choice of this project; the protocol has room for 128."""

ALWAYS = Feature.VERSION_1 | Feature.MRG_RXBUF
SEND = Feature.CSUM | Feature.HOST_TSO4 | Feature.HOST_TSO6 | Feature.HOST_ECN | Feature.HOST_USO
RECEIVE = (
    Feature.GUEST_CSUM | Feature.GUEST_TSO4 | Feature.GUEST_TSO6 | Feature.GUEST_ECN | Feature.GUEST_USO4 | Feature.GUEST_USO6
)
_SEGMENTS = {
    Feature.HOST_TSO4: Takes.TSO4, Feature.HOST_TSO6: Takes.TSO6, Feature.HOST_ECN: Takes.ECN, Feature.HOST_USO: Takes.USO,
}  # fmt: skip


class Refused(Exception):
    """The back end is none that we can work with; the text says why."""


class Message(NamedTuple):
    """A message to the back end. ``wait`` for a reply; with REPLY_ACK every message that sets something has one."""

    request: Request
    payload: bytes = b""
    fds: tuple[int, ...] = ()
    wait: bool = False
    acknowledged: bool = False

    def octets(self) -> bytes:
        flags = VERSION | NEED_REPLY * self.acknowledged
        return HEADER.pack(self.request, flags, len(self.payload)) + self.payload


class Terms(NamedTuple):
    """What both sides can do. ``acknowledged``: each setting (REPLY_ACK); ``enabled``: rings have to be, by a message."""

    features: Feature
    acknowledged: bool
    enabled: bool


def reply_size(header: bytes, asked: Message) -> int:
    """How many octets follow the header of a reply to ``asked``. Raises ``Refused`` when it is none."""
    request, flags, size = HEADER.unpack(header)
    if request != asked.request or flags & (VERSION_MASK | REPLY) != VERSION | REPLY or size != NUMBER.size:
        raise Refused(f"it does not answer {asked.request.name} as vhost-user does")
    return int(size)


def chosen(offered: Feature, *, partial: bool, pairs: int) -> Feature:
    """What we use of it, so that nothing stands without what it needs (VIRTIO 1.2, 5.1.3.1)."""
    wanted = ALWAYS | (SEND | RECEIVE if partial else Feature(0)) | (Feature.MQ if pairs > 1 else Feature(0))
    features = offered & wanted
    if Feature.CSUM not in features:
        features &= ~SEND
    if not features & (Feature.HOST_TSO4 | Feature.HOST_TSO6):
        features &= ~Feature.HOST_ECN
    if Feature.GUEST_CSUM not in features or Feature.MRG_RXBUF not in features:
        features &= ~(RECEIVE & ~Feature.GUEST_CSUM)  # a buffer alone has no room for 64 KiB
    if not features & (Feature.GUEST_TSO4 | Feature.GUEST_TSO6):
        features &= ~Feature.GUEST_ECN
    return features


def takes(features: Feature) -> Takes:
    """What the back end takes unfinished."""
    found = Takes.CSUM if Feature.CSUM in features else Takes.NONE
    for feature, take in _SEGMENTS.items():
        if feature in features:
            found |= take
    return found


def introduce(pairs: int, *, partial: bool) -> Generator[Message, int, Terms]:
    """The first half: who are you? Sent into it: the number in each reply, or anything after a message that has none."""
    yield Message(Request.SET_OWNER)
    offered = yield Message(Request.GET_FEATURES, wait=True)
    features = chosen(Feature(offered), partial=partial, pairs=pairs)
    if Feature.VERSION_1 not in features:
        raise Refused("it is a legacy device only, without VERSION_1")
    enabled, protocol = bool(offered & F_PROTOCOL_FEATURES), 0
    if enabled:
        protocol = (yield Message(Request.GET_PROTOCOL_FEATURES, wait=True)) & (ProtocolFeature.MQ | ProtocolFeature.REPLY_ACK)
        yield Message(Request.SET_PROTOCOL_FEATURES, NUMBER.pack(protocol))
    if pairs > 1:
        several = Feature.MQ in features and protocol & ProtocolFeature.MQ
        most = (yield Message(Request.GET_QUEUE_NUM, wait=True)) if several else 1
        if most < pairs:
            raise Refused(f"it has {most} queue pair{'s' * (most != 1)}, not {pairs}: write queues={most}, or give it more")
    return Terms(features, bool(protocol & ProtocolFeature.REPLY_ACK), enabled)


def set_up(terms: Terms, memory: SharedMemory, vrings: Sequence[Vring]) -> Generator[Message, int, None]:
    """The second half: these are the rings. Raises ``Refused``, as the first."""

    def tell(request: Request, payload: bytes, *fds: int) -> Generator[Message, int, None]:
        answer = yield Message(request, payload, fds, wait=terms.acknowledged, acknowledged=terms.acknowledged)
        if terms.acknowledged and answer:
            raise Refused(f"it refuses {request.name}")

    yield from tell(Request.SET_FEATURES, NUMBER.pack(terms.features | F_PROTOCOL_FEATURES * terms.enabled))
    yield from tell(Request.SET_MEM_TABLE, ONE_REGION.pack(1, 0, GUEST, memory.size, USER, 0), memory.fd)
    for vring in vrings:
        descriptors, available, used = vring.addresses
        yield from tell(Request.SET_VRING_NUM, VRING_STATE.pack(vring.index, SIZE))
        yield from tell(Request.SET_VRING_BASE, VRING_STATE.pack(vring.index, 0))
        yield from tell(Request.SET_VRING_ADDR, VRING_ADDRESS.pack(vring.index, 0, descriptors, used, available, 0))
        yield from tell(Request.SET_VRING_KICK, NUMBER.pack(vring.index), vring.kick)
        yield from tell(Request.SET_VRING_CALL, NUMBER.pack(vring.index), vring.call)
    for vring in vrings if terms.enabled else ():
        yield from tell(Request.SET_VRING_ENABLE, VRING_STATE.pack(vring.index, 1))
    yield Message(Request.GET_FEATURES, wait=True)  # answered when all before it is done
