"""A virtio NIC as a JSON-able image, and back.

In here: what is saved of which part, in which order it is taken on. An image is taken with the device at rest, so that nothing
of a burst is in flight; rings are in the guest's memory and are saved with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from emulators.nics.virtio.front import Configuration
from emulators.nics.virtio.queue import Layout
from emulators.nics.virtio.receive import ReceiveQueue
from emulators.nics.virtio.rss import Automatic, Rss
from emulators.nics.virtio.transmit import TransmitQueue
from regmodel.structures.virtio_features import Feature

if TYPE_CHECKING:
    from emulators.nics.virtio.device import VirtioNet

VERSION = 1
"""Of the image."""


def save(device: VirtioNet) -> dict[str, object]:
    """See ``VirtioNet.save``."""
    rss = device.rss
    return {
        "version": VERSION,
        "device": device.device.name,
        "banks": [front.bank.save() for front in device.fronts],
        "beyond": [list(front.beyond.items()) for front in device.fronts],
        "front": device.fronts.index(device.front),
        "status": device.status,
        "broken": device.is_broken,
        "causes": device.causes,
        "features": int(device.features),
        "offloads": int(device.offloads),
        "generation": device.generation,
        "configuration": device.configuration.save(),
        "filters": device.filters.save(),
        "pairs": device.pairs,
        "steering": isinstance(device.receiver.steering, Rss),
        "rss": None if rss is None else [rss.types, rss.key.hex(), list(rss.table), rss.unclassified, rss.pairs],
        "layouts": {str(number): list(layout) for number, layout in device.layouts.items()},
        "queues": {str(number): engine.queue.save() for number, engine in device.engines.items()},
        "receivers": {str(n): e.save() for n, e in device.engines.items() if isinstance(e, ReceiveQueue)},
    }


def load(device: VirtioNet, state: Mapping[str, Any]) -> None:
    """See ``VirtioNet.load``. Raises KeyError, TypeError, ValueError, AttributeError, IndexError or ``StateError``."""
    from emulators.nics.virtio.device import NEEDS_RESET

    device.stop()
    for front, image in zip(device.fronts, state["banks"], strict=True):
        front.bank.load(image)
        front.beyond.clear()
    for front, words in zip(device.fronts, state.get("beyond", ()), strict=False):  # images of before have none
        front.beyond.update((int(word), int(features)) for word, features in words)
    device.front = device.fronts[int(state["front"])]
    device.status, device.causes, device.generation = int(state["status"]), int(state["causes"]), int(state["generation"])
    device.is_broken = bool(state.get("broken", device.status & NEEDS_RESET))  # images of before have the bit alone
    device.features, device.offloads = Feature(int(state["features"])), Feature(int(state["offloads"]))
    device.configuration = Configuration.loaded(state["configuration"])
    device.filters.mtu = device.mtu_negotiated
    device.filters.load(state["filters"])
    device.pairs = int(state["pairs"])
    device.rss = None if state["rss"] is None else _rss(state["rss"])
    device.receiver.steering = device.rss if state["steering"] and device.rss is not None else Automatic(device.pairs)
    device.layouts = {int(number): Layout(*map(int, layout)) for number, layout in state["layouts"].items()}
    if device.working:
        device.start()
        for number, image in state["queues"].items():
            device.engines[int(number)].queue.load(image)
        for number, image in state["receivers"].items():
            receiver = device.engines[int(number)]
            if not isinstance(receiver, ReceiveQueue):
                raise ValueError(f"queue {number} does not receive")
            receiver.load(image)
        for engine in device.engines.values():
            engine.notify()  # a doorbell that came before the image was taken may not have been answered
            if isinstance(engine, TransmitQueue | ReceiveQueue):
                engine.notifications.used()  # nor the driver told of what was used


def _rss(image: list[Any]) -> Rss:
    types, key, table, unclassified, pairs = image
    return Rss(int(types), bytes.fromhex(key), tuple(map(int, table)), int(unclassified), int(pairs))
