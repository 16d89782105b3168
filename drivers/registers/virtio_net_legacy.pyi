"""virtio-net, legacy: its registers, for editors and mypy. Written by ``python -m drivers.stubs virtio-net-legacy``."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal, SupportsIndex

from drivers.registers import Array, Face, Word

class VirtioNetLegacy(Face):
    """Packets through virtqueues, which the driver puts into its memory"""

    host_features: HostFeatures
    """what the device offers"""
    guest_features: GuestFeatures
    """what the driver accepts"""
    queue_pfn: Array[QueuePfn]
    """address of the queue, in 4 KiB"""
    queue_num: Array[QueueNum]
    """descriptors; 0: no such queue"""
    queue_sel: QueueSel
    """which queue the rest is about"""
    queue_notify: QueueNotify
    """buffers were made available"""
    status: Status
    """writing 0 resets the device"""
    isr_status: IsrStatus
    """interrupt cause, without MSI-X"""
    config_vector: ConfigVector
    """vector of new configurations"""
    queue_vector: Array[QueueVector]
    """vector of the queue"""
    legacy_mac: Array[LegacyMac]
    """MAC address, by octet"""
    legacy_net_status: LegacyNetStatus
    """link status"""
    legacy_max_virtqueue_pairs: LegacyMaxVirtqueuePairs
    """queue pairs at most"""
    legacy_mtu: LegacyMtu
    """largest MTU, in octets"""
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

class HostFeatures(Word):
    """what the device offers"""

    @property
    def value(self) -> int:
        """[31:0] read only, hardware sets it"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...

class GuestFeatures(Word):
    """what the driver accepts"""

    @property
    def value(self) -> int:
        """[31:0] read and write"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, value: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[GuestFeaturesDraft]: ...

class GuestFeaturesDraft:
    value: int

class QueuePfn(Word):
    """address of the queue, in 4 KiB"""

    @property
    def value(self) -> int:
        """[31:0] read and write"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, value: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[QueuePfnDraft]: ...

class QueuePfnDraft:
    value: int

class QueueNum(Word):
    """descriptors; 0: no such queue"""

    @property
    def value(self) -> int:
        """[15:0] read only, hardware sets it"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...

class QueueSel(Word):
    """which queue the rest is about"""

    @property
    def value(self) -> int:
        """[15:0] read and write"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, value: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[QueueSelDraft]: ...

class QueueSelDraft:
    value: int

class QueueNotify(Word):
    """buffers were made available"""

    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, queue_index: SupportsIndex = ...) -> None: ...

class Status(Word):
    """writing 0 resets the device"""

    @property
    def acknowledge(self) -> int:
        """[0] the guest noticed the device"""
    @property
    def driver(self) -> int:
        """[1] the guest has a driver for it"""
    @property
    def driver_ok(self) -> int:
        """[2] the driver is ready: the device works"""
    @property
    def features_ok(self) -> int:
        """[3] negotiation is over; does not stick if the device disagrees"""
    @property
    def failed(self) -> int:
        """[7] the driver gave up"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(
        self,
        *,
        timeout: float,
        acknowledge: SupportsIndex = ...,
        driver: SupportsIndex = ...,
        driver_ok: SupportsIndex = ...,
        features_ok: SupportsIndex = ...,
        failed: SupportsIndex = ...,
    ) -> int: ...
    store: Callable[[int], None]
    def write(
        self,
        whole: SupportsIndex | None = ...,
        /,
        *,
        acknowledge: SupportsIndex = ...,
        driver: SupportsIndex = ...,
        driver_ok: SupportsIndex = ...,
        features_ok: SupportsIndex = ...,
        failed: SupportsIndex = ...,
    ) -> None: ...
    def modify(self) -> AbstractContextManager[StatusDraft]: ...

class StatusDraft:
    acknowledge: int
    driver: int
    driver_ok: int
    features_ok: int
    failed: int

class IsrStatus(Word):
    """interrupt cause, without MSI-X"""

    @property
    def queue(self) -> int:
        """[0] a queue has used buffers"""
    @property
    def config(self) -> int:
        """[1] the configuration changed"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, queue: SupportsIndex = ..., config: SupportsIndex = ...) -> int: ...
    def take(self, name: Literal["queue", "config"]) -> int: ...
    @property
    def latched(self) -> int: ...

class ConfigVector(Word):
    """vector of new configurations"""

    @property
    def value(self) -> int:
        """[15:0] read and write"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, value: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[ConfigVectorDraft]: ...

class ConfigVectorDraft:
    value: int

class QueueVector(Word):
    """vector of the queue"""

    @property
    def value(self) -> int:
        """[15:0] read and write"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, value: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[QueueVectorDraft]: ...

class QueueVectorDraft:
    value: int

class LegacyMac(Word):
    """MAC address, by octet"""

    @property
    def value(self) -> int:
        """[7:0] read and write"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, value: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[LegacyMacDraft]: ...

class LegacyMacDraft:
    value: int

class LegacyNetStatus(Word):
    """link status"""

    @property
    def link_up(self) -> int:
        """[0] the link is up"""
    @property
    def announce(self) -> int:
        """[1] the driver should announce itself"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, link_up: SupportsIndex = ..., announce: SupportsIndex = ...) -> int: ...

class LegacyMaxVirtqueuePairs(Word):
    """queue pairs at most"""

    @property
    def value(self) -> int:
        """[15:0] read only, hardware sets it"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...

class LegacyMtu(Word):
    """largest MTU, in octets"""

    @property
    def value(self) -> int:
        """[15:0] read only, hardware sets it"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...

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
