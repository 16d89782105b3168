"""What a user asks of a running AVP port through ``regmodel ctl``, and what it says of itself.

In here: words and answers.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from regmodel.bars.avp import MIGRATION
from regmodel.errors import UsageError
from regmodel.mailboxes.avp import DRIVER_TYPES

if TYPE_CHECKING:
    from emulators.nics.avp.device import Avp

HELP = "an AVP port knows 'status' and 'migrate'"
_TYPES = {number: name for name, number in DRIVER_TYPES.items()}
_STATES = {number: name for name, number in MIGRATION.items()}


def control(model: Avp, words: Sequence[str]) -> object:
    """``status`` tells. ``migrate`` takes the device from its driver and brings it back arranged otherwise, in this process.

    Raises ``UsageError``.
    """
    match list(words):
        case ["status"]:
            return status(model)
        case ["migrate"]:
            model.migration.around()
        case _:
            raise UsageError(f"{' '.join(words)!r}: {HELP}")
    return None


def stats(model: Avp) -> Mapping[str, Any]:
    """Counters by queue, and why it stopped if it did."""
    return {
        "transmit": [queue.stats() for queue in model.transmit],
        "receive": [queue.stats() for queue in model.receive],
        "buffers": {"all": model.buffers.count, "free": model.buffers.left},
    }


def status(model: Avp) -> Mapping[str, Any]:
    """What driver and device have agreed on."""
    c, registers = model.config, model.registers
    errors = [model.requests.error, *(q.error for q in model.transmit), *(q.error for q in model.receive)]
    return {
        "mac": model.mac.hex(),
        "up": model.up,
        "configured": c is not None,
        "driver": None if c is None else _TYPES[c.driver_type],
        "driver_version": None if c is None else _dotted(c.driver_version),
        "features": [] if c is None or not c.features else ["vlan_offload"],
        "tx_queues": 0 if c is None else c.tx_queues,
        "rx_queues": 0 if c is None else c.rx_queues,
        "generation": model.arrangement.generation,
        "listening": model.listening,
        "migration": {
            "status": _STATES[registers["migration_status"].value],
            "ack": _STATES.get(registers["migration_ack"].value, "unknown"),
            "held": len(model.migration.kept()),
            "problem": model.migration.problem,
        },
        "errors": [name for name in errors if name],
    }


def _dotted(version: int) -> str:
    return f"{version >> 16}.{version >> 8 & 0xFF}.{version & 0xFF}"
