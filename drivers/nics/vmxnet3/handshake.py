"""What driver and device agree on before anything else: the revision of the interface, and what comes with it.

In here: one function, and its result. It may be asked of a device in any state, and changes nothing of a running one.

Sources: Linux vmxnet3/vmxnet3_drv.c ``vmxnet3_probe_device``; DPDK vmxnet3_ethdev.c ``eth_vmxnet3_dev_init``,
``eth_vmxnet3_setup_capabilities``.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from drivers.errors import UnsupportedReply
from drivers.registers.vmxnet3 import Vmxnet3
from drivers.transports import Transport
from regmodel.bars.vmxnet3 import REVISIONS
from regmodel.catalogue import Device
from regmodel.errors import UsageError
from regmodel.function import Irq
from regmodel.structures.vmxnet3 import MaskMode

USUAL_QUEUES = 8
"""Of either kind, where the device does not say (vmxnet3_int.h ``VMXNET3_DEVICE_DEFAULT_RX_QUEUES`` and its like)."""


@dataclass(frozen=True)
class Agreed:
    """``doorbells`` are TXPROD, RXPROD and RXPROD2 by queue; ``capabilities`` the DCR bits in force; ``automatic``: the device
    masks vectors whose message it has sent; ``vectors`` are those of MSI-X."""

    revision: int
    capabilities: int
    tx_queues: int
    rx_queues: int
    vectors: int
    automatic: bool
    doorbells: tuple[Any, Any, Any]


def agree(registers: Vmxnet3, device: Device, transport: Transport, newest: int | None = None) -> Agreed:
    """The newest revision that both know, but none newer than ``newest``. Raises ``UnsupportedReply``, ``DeviceGone``."""
    if newest is not None and not 1 <= newest <= REVISIONS:
        raise UsageError(f"revisions of {device.name} are 1 to {REVISIONS}, not {newest}")
    offered = registers.vrrs.read()
    revision = (offered & ((1 << (newest or REVISIONS)) - 1)).bit_length()
    if not revision:
        up_to = f"up to {newest or REVISIONS}"
        raise UnsupportedReply(f"{transport.name}: VRRS offers revisions {offered:#x}, and this driver was to use one {up_to}")
    registers.vrrs.write(1 << revision - 1)
    if not registers.uvrs.read() & 1:
        raise UnsupportedReply(f"{transport.name}: UVRS does not offer version 1 of UPT, the only one that there is")
    registers.uvrs.write(1)
    capabilities = _capabilities(registers) if revision >= 7 else 0
    large = bool(capabilities >> LARGE_BAR & 1)
    tx, rx = _queues(registers, revision)
    vectors = transport.irq_vectors(Irq.MSIX)
    kinds = registers.cmd.execute(command="GET_CONF_INTR")
    tx_bells, *rx_bells = (getattr(registers, ("lb_" if large else "") + name) for name in ("txprod", "rxprod", "rxprod2"))
    return Agreed(
        revision=revision,
        capabilities=capabilities,
        tx_queues=min(tx, len(tx_bells)),
        rx_queues=min(rx, len(rx_bells[0]), max(1, vectors - 2)),
        vectors=vectors,
        automatic=kinds >> 2 & 3 == MaskMode.AUTO,
        doorbells=(tx_bells, rx_bells[0], rx_bells[1]),
    )


LARGE_BAR = 16
"""Bit of DCR (vmxnet3_defs.h ``VMXNET3_CAP_LARGE_BAR``)."""


def _capabilities(registers: Vmxnet3) -> int:
    """Of all capabilities this driver can make use of the large BAR only (vmxnet3_drv.c ``vmxnet3_probe_device``)."""
    offered = registers.dcr.read()
    if offered >> LARGE_BAR & 1 and hasattr(registers, "lb_txprod"):
        registers.dcr.write(1 << LARGE_BAR)
    return registers.cmd.execute(command="GET_DCR0_REG")


def _queues(registers: Vmxnet3, revision: int) -> tuple[int, int]:
    """Transmit and receive queues, at most."""
    said = registers.cmd.execute(command="GET_MAX_QUEUES_CONF") if revision >= 6 else 0
    return (said & 0xFF, said >> 8 & 0xFF) if said else (USUAL_QUEUES, USUAL_QUEUES)
