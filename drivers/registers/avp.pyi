"""Wind River Accelerated Virtual Port: its registers, for editors and mypy. Written by ``python -m drivers.stubs avp``."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal, SupportsIndex, TypeAlias

from drivers.registers import Array, Face, Memory, Place, Word, WritableMemory

class Avp(Face):
    """Packets travel through memory that host and guest share; there is no DMA and no doorbell"""

    interrupt_mask: InterruptMask
    """Interrupt Mask: 1 lets a cause through; drivers write all or none"""
    interrupt_status: InterruptStatus
    """Interrupt Status; reading clears it"""
    migration_status: MigrationStatus
    """Migration Status"""
    migration_ack: MigrationAck
    """Migration Acknowledge"""
    msix_address: Array[MsixAddress]
    """Message address"""
    msix_upper_address: Array[MsixUpperAddress]
    """Message address, high half"""
    msix_data: Array[MsixData]
    """Message data"""
    msix_vector_control: Array[MsixVectorControl]
    """Vector control"""
    msix_pending: Array[MsixPending]
    """Pending vectors"""
    memory: WritableMemory
    """all regions of the memory map, one behind the other"""
    memmap: Memory[Place]
    """which host memory BAR 2 shows"""
    device_info: Memory[Place]
    """what this device is, and where its queues are"""

class InterruptMask(Word):
    """Interrupt Mask: 1 lets a cause through; drivers write all or none"""

    @property
    def value(self) -> int:
        """[31:0] read and write"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, value: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[InterruptMaskDraft]: ...

class InterruptMaskDraft:
    value: int

class InterruptStatus(Word):
    """Interrupt Status; reading clears it"""

    @property
    def migration(self) -> int:
        """[1] look at migration_status"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, migration: SupportsIndex = ...) -> int: ...
    def take(self, name: Literal["migration"]) -> int: ...
    @property
    def latched(self) -> int: ...

MigrationStatusStatus: TypeAlias = Literal[
    "NONE", "DETACHED", "ATTACHED", "ERROR"
]

class MigrationStatus(Word):
    """Migration Status"""

    @property
    def status(self) -> int:
        """[31:0] what the host wants or has done"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, status: SupportsIndex | MigrationStatusStatus = ...) -> int: ...

MigrationAckStatus: TypeAlias = Literal[
    "NONE", "DETACHED", "ATTACHED", "ERROR"
]

class MigrationAck(Word):
    """Migration Acknowledge"""

    @property
    def status(self) -> int:
        """[31:0] the status that the driver has followed, or ERROR"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, status: SupportsIndex | MigrationAckStatus = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, status: SupportsIndex | MigrationAckStatus = ...) -> None: ...
    def modify(self) -> AbstractContextManager[MigrationAckDraft]: ...

class MigrationAckDraft:
    @property
    def status(self) -> int: ...
    @status.setter
    def status(self, value: SupportsIndex | MigrationAckStatus) -> None: ...

class MsixAddress(Word):
    """Message address"""

    @property
    def address(self) -> int:
        """[31:2] read and write"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, address: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, address: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[MsixAddressDraft]: ...

class MsixAddressDraft:
    address: int

class MsixUpperAddress(Word):
    """Message address, high half"""

    @property
    def address(self) -> int:
        """[31:0] read and write"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, address: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, address: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[MsixUpperAddressDraft]: ...

class MsixUpperAddressDraft:
    address: int

class MsixData(Word):
    """Message data"""

    @property
    def data(self) -> int:
        """[31:0] read and write"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, data: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, data: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[MsixDataDraft]: ...

class MsixDataDraft:
    data: int

class MsixVectorControl(Word):
    """Vector control"""

    @property
    def mask(self) -> int:
        """[0] may not be sent"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, mask: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, mask: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[MsixVectorControlDraft]: ...

class MsixVectorControlDraft:
    mask: int

class MsixPending(Word):
    """Pending vectors"""

    @property
    def pending(self) -> int:
        """[63:0] read only, hardware sets it"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, pending: SupportsIndex = ...) -> int: ...
