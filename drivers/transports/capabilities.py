"""The few words of configuration space that a transport itself needs: where a capability stands, bus mastering, FLR, MSI-X.

Sources: PCI Express Base Specification 5.0, §7.5.1.1.3 (Command), §7.5.1.1.11 (Capabilities Pointer), §7.5.3.3 and §7.5.3.4
(Device Capabilities and Control), §7.7.2.2 (Message Control of MSI-X).
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final, Protocol

COMMAND: Final = 0x04
MEMORY_SPACE: Final = 1 << 1
BUS_MASTER: Final = 1 << 2
POINTER: Final = 0x34
PCI_EXPRESS, MSIX = 0x10, 0x11
_DEVICE_CAPABILITIES: Final = 0x04
_FLR: Final = 1 << 28
_MESSAGE_CONTROL: Final = 0x02
_MSIX_ENABLE: Final = 1 << 15
_MOST: Final = 48  # capabilities of four bytes that fit behind the header; a chain that is longer is a loop


class Config(Protocol):
    """Configuration space, of whatever transport."""

    def config_read(self, offset: int, size: int) -> int: ...

    def config_write(self, offset: int, size: int, value: int) -> None: ...


def find(config: Config, capability: int) -> int | None:
    """The offset of the first capability of that number among the first 256 bytes, in bytes."""
    return next(every(config, capability), None)


def every(config: Config, capability: int) -> Iterator[int]:
    """The offsets of all capabilities of that number among the first 256 bytes, in the order of the list."""
    at = config.config_read(POINTER, 1) & 0xFC
    for _ in range(_MOST):
        if at < 0x40:
            return
        number = config.config_read(at, 1)
        if number == capability:
            yield at
        if number == 0xFF:  # nobody answers
            return
        at = config.config_read(at + 1, 1) & 0xFC


def has_flr(config: Config) -> bool:
    """Whether the function resets alone."""
    at = find(config, PCI_EXPRESS)
    return at is not None and bool(config.config_read(at + _DEVICE_CAPABILITIES, 4) & _FLR)


def bus_master_off(config: Config) -> None:
    """No more DMA and no more messages."""
    command = config.config_read(COMMAND, 2)
    if command & BUS_MASTER and command != 0xFFFF:
        config.config_write(COMMAND, 2, command & ~BUS_MASTER)


def msix_off(config: Config) -> None:
    """Clear MSI-X Enable, as the operating system does where one stands between."""
    at = find(config, MSIX)
    if at is not None:
        control = config.config_read(at + _MESSAGE_CONTROL, 2)
        config.config_write(at + _MESSAGE_CONTROL, 2, control & ~_MSIX_ENABLE)
