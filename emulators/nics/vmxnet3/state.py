"""A VMXNET3 as a JSON-able image, and back.

In here: what is saved of which part, and in which order it is taken on. What the driver said in shared memory is saved as it
was read; the rings are in the guest's memory, and are saved with it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from emulators.nics.vmxnet3.shared import RssConf, Shared
from regmodel.structures.vmxnet3 import InterruptType, MaskMode, RssField

if TYPE_CHECKING:
    from emulators.nics.vmxnet3.device import Vmxnet3

VERSION = 1
"""Of the image."""


def save(device: Vmxnet3) -> dict[str, object]:
    """See ``Vmxnet3.save``."""
    return {
        "version": VERSION,
        "device": device.device.name,
        "pt": device.pt.save(),
        "vd": device.vd.save(),
        "revision": device.revision,
        "capabilities": device.capabilities,
        "on_offer": device.on_offer,
        "interrupt_type": int(device.interrupt_type),
        "mask_mode": int(device.mask_mode),
        "fields": int(device.fields),
        "scheme": device.scheme.hex(),
        "filters": device.filters.save(),
        "interrupts": device.interrupts.save(),
        "conf": None if device.conf is None else device.conf.save(),
        "rss": None if device.rss_conf is None else device.rss_conf.save(),
        "transmit": [queue.save() for queue in device.transmit],
        "receive": [queue.save() for queue in device.receive],
    }


def load(device: Vmxnet3, state: Mapping[str, Any]) -> None:
    """See ``Vmxnet3.load``. Raises KeyError, TypeError, ValueError, AttributeError, IndexError or ``StateError``."""
    device.stop()
    device.pt.load(state["pt"])
    device.vd.load(state["vd"])
    device.revision, device.capabilities = int(state["revision"]), int(state["capabilities"])
    device.on_offer = int(state["on_offer"])
    device.interrupt_type, device.mask_mode = InterruptType(state["interrupt_type"]), MaskMode(state["mask_mode"])
    device.fields, device.scheme = RssField(state["fields"]), bytes.fromhex(state["scheme"])
    if state["conf"] is not None:
        device.conf = Shared.loaded(state["conf"])
        device.make_queues(device.conf)
        for sender, image in zip(device.transmit, state["transmit"], strict=True):
            sender.load(image)
        for receiver, image in zip(device.receive, state["receive"], strict=True):
            receiver.load(image)
    if state["rss"] is not None:
        types, key, table = state["rss"]
        device.rss_conf = RssConf(int(types), bytes.fromhex(key), bytes.fromhex(table))
    device.make_rss()
    device.filters.load(state["filters"])
    control, moderated = (0, 0) if device.conf is None else (device.conf.control, device.conf.moderated)
    device.interrupts.load(state["interrupts"], control, moderated, device.conf is not None)
    device.apply()
