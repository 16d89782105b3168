"""The lab: QEMU guests that drive the devices under test. See ``lab`` for the door, ``guest/`` for what runs inside."""

from emulators.qemu.agent import Result
from emulators.qemu.errors import CommandFailed, GuestDied, GuestError, GuestTimeout, LabError
from emulators.qemu.lab import Lab
from emulators.qemu.machine import RawDevice, VfioUser
from emulators.qemu.vm import VM

__all__ = [
    "VM", "CommandFailed", "GuestDied", "GuestError", "GuestTimeout", "Lab", "LabError", "RawDevice", "Result", "VfioUser",
]
