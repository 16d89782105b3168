"""What a user asks of a running VMXNET3 through ``regmodel ctl``, and what it says of itself.

In here: words and answers. What a revision or a kind of interrupts means is the model's business (``device``).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from emulators.nics.vmxnet3.ring import Ring
from regmodel.bars.vmxnet3 import REVISIONS
from regmodel.errors import UsageError
from regmodel.structures.vmxnet3 import VLANS, CoalesceMode, Feature, InterruptType, MaskMode, RssField, RxMode

if TYPE_CHECKING:
    from emulators.nics.vmxnet3.device import Vmxnet3

KINDS = {kind.name.lower(): kind for kind in InterruptType}
MASKING = {mode.name.lower(): mode for mode in MaskMode}
HELP = f"""a VMXNET3 knows 'status', 'revision 1' to 'revision {REVISIONS}', 'interrupts {"|".join(KINDS)}', 'masking \
{"|".join(MASKING)}'"""


def control(model: Vmxnet3, words: Sequence[str]) -> object:
    """``status`` tells. What else there is holds from the next driver on: ``revision``, the newest on offer; ``interrupts``,
    the kind that drivers are told to use; ``masking``, who masks a vector that was sent. Raises ``UsageError``.
    """
    match list(words):
        case ["status"]:
            return status(model)
        case ["revision", number] if number.isdecimal() and 1 <= int(number) <= REVISIONS:
            model.offer(int(number))
        case ["interrupts", kind] if kind in KINDS:
            model.interrupt_type = KINDS[kind]
        case ["masking", mode] if mode in MASKING:
            model.mask_mode = MASKING[mode]
        case _:
            raise UsageError(f"{' '.join(words)!r}: {HELP}")
    return None


def stats(model: Vmxnet3) -> Mapping[str, Any]:
    """Counters by queue, and why it stopped if it did."""
    return {
        "transmit": [{"error": queue.error, **queue.statistics.values} for queue in model.transmit],
        "receive": [{"error": queue.error, **queue.statistics.values} for queue in model.receive],
    }


def status(model: Vmxnet3) -> Mapping[str, Any]:
    """What driver and device have agreed on, and what the driver has asked for."""
    shared, filters, rss = model.conf, model.filters, model.rss_conf
    vlans = int.from_bytes(filters.vlans, "little")
    return {
        "revision": model.revision,
        "capabilities": model.capabilities,
        "active": shared is not None,
        "address": filters.address.hex(":"),
        "mtu": 0 if shared is None else shared.mtu,
        "features": [] if shared is None else [str(f.name).lower() for f in Feature if f & shared.features],
        "modes": [str(mode.name).lower() for mode in RxMode if mode & filters.mode],
        "groups": sorted(group.hex(":") for group in filters.groups),
        "vlans": [vlan for vlan in range(VLANS) if vlans >> vlan & 1],
        "fields": [str(field.name).lower() for field in RssField if field & model.fields],
        "coalescing": CoalesceMode(int.from_bytes(model.scheme[:4], "little")).name.lower(),
        "rss": None if rss is None else {"types": rss.types, "key": rss.key.hex(), "table": list(rss.table)},
        "auto_mask": shared is not None and shared.auto_mask,
        "event_vector": None if shared is None else shared.event_vector,
        "transmit": [
            {"size": queue.conf.size, "completions": queue.conf.completions_size, "vector": queue.conf.vector,
             "rings": _standing(queue.ring, queue.completions)} for queue in model.transmit
        ],
        "receive": [
            {"sizes": list(queue.conf.sizes), "completions": queue.conf.completions_size, "vector": queue.conf.vector,
             "data": queue.conf.data_size, "data_ring": queue.conf.data, "rings": _standing(*queue.rings, queue.completions)}
            for queue in model.receive
        ],
    }  # fmt: skip


def _standing(*rings: Ring) -> list[dict[str, int]]:
    """Where rings are in memory, and where the device stands in each: those of commands first, that of completions last."""
    return [{"address": ring.base, "size": ring.size, "next": ring.next, "gen": ring.gen} for ring in rings]
