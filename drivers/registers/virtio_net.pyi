"""virtio-net, modern: its registers, for editors and mypy. Written by ``python -m drivers.stubs virtio-net``."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal, SupportsIndex, TypeAlias

from drivers.registers import Array, Face, Word

class VirtioNet(Face):
    """Packets through virtqueues, which the driver puts into its memory"""

    device_feature_select: DeviceFeatureSelect
    """which 32 feature bits the next shows"""
    device_feature: Array[DeviceFeature]
    """feature bits that the device offers"""
    driver_feature_select: DriverFeatureSelect
    """which 32 feature bits the next shows"""
    driver_feature: Array[DriverFeature]
    """feature bits that the driver accepts"""
    config_msix_vector: ConfigMsixVector
    """vector of configuration changes"""
    num_queues: NumQueues
    """virtqueues that the device has"""
    device_status: DeviceStatus
    """writing 0 resets the device"""
    config_generation: ConfigGeneration
    """counts changes of the configuration"""
    queue_select: QueueSelect
    """which queue the rest is about"""
    queue_size: Array[QueueSize]
    """descriptors; 0: no such queue"""
    queue_msix_vector: Array[QueueMsixVector]
    """vector of the queue"""
    queue_enable: Array[QueueEnable]
    """a reset alone disables it again"""
    queue_notify_off: Array[QueueNotifyOff]
    """number of its doorbell"""
    queue_desc: Array[QueueDesc]
    """address of the descriptor area"""
    queue_driver: Array[QueueDriver]
    """address of the driver area"""
    queue_device: Array[QueueDevice]
    """address of the device area"""
    queue_notify_data: Array[QueueNotifyData]
    """what to write to the doorbell"""
    queue_reset: Array[QueueReset]
    """1 resets this queue; 0: done"""
    isr: Isr
    """interrupt cause, without MSI-X"""
    mac: Array[Mac]
    """MAC address, by octet"""
    net_status: NetStatus
    """link status"""
    max_virtqueue_pairs: MaxVirtqueuePairs
    """queue pairs at most"""
    mtu: Mtu
    """largest MTU, in octets"""
    speed: Speed
    """Mbit/s; ffffffff: unknown"""
    duplex: Duplex
    """duplex mode"""
    rss_max_key_size: RssMaxKeySize
    """octets of the RSS key"""
    rss_max_indirection_table_length: RssMaxIndirectionTableLength
    """entries of the RSS table"""
    supported_hash_types: SupportedHashTypes
    """what can be hashed"""
    notify: Array[Notify]
    """buffers were made available"""
    notify_data: Array[NotifyData]
    """upper half of a notification with NOTIFICATION_DATA"""
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

class DeviceFeatureSelect(Word):
    """which 32 feature bits the next shows"""

    @property
    def value(self) -> int:
        """[31:0] read and write"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, value: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[DeviceFeatureSelectDraft]: ...

class DeviceFeatureSelectDraft:
    value: int

class DeviceFeature(Word):
    """feature bits that the device offers"""

    @property
    def value(self) -> int:
        """[31:0] read only, hardware sets it"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...

class DriverFeatureSelect(Word):
    """which 32 feature bits the next shows"""

    @property
    def value(self) -> int:
        """[31:0] read and write"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, value: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[DriverFeatureSelectDraft]: ...

class DriverFeatureSelectDraft:
    value: int

class DriverFeature(Word):
    """feature bits that the driver accepts"""

    @property
    def value(self) -> int:
        """[31:0] read and write"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, value: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[DriverFeatureDraft]: ...

class DriverFeatureDraft:
    value: int

class ConfigMsixVector(Word):
    """vector of configuration changes"""

    @property
    def value(self) -> int:
        """[15:0] read and write"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, value: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[ConfigMsixVectorDraft]: ...

class ConfigMsixVectorDraft:
    value: int

class NumQueues(Word):
    """virtqueues that the device has"""

    @property
    def value(self) -> int:
        """[15:0] read only, hardware sets it"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...

class DeviceStatus(Word):
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
    def device_needs_reset(self) -> int:
        """[6] the device met what it cannot go on from"""
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
        device_needs_reset: SupportsIndex = ...,
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
    def modify(self) -> AbstractContextManager[DeviceStatusDraft]: ...

class DeviceStatusDraft:
    acknowledge: int
    driver: int
    driver_ok: int
    features_ok: int
    @property
    def device_needs_reset(self) -> int: ...
    failed: int

class ConfigGeneration(Word):
    """counts changes of the configuration"""

    @property
    def value(self) -> int:
        """[7:0] read only, hardware sets it"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...

class QueueSelect(Word):
    """which queue the rest is about"""

    @property
    def value(self) -> int:
        """[15:0] read and write"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, value: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[QueueSelectDraft]: ...

class QueueSelectDraft:
    value: int

class QueueSize(Word):
    """descriptors; 0: no such queue"""

    @property
    def value(self) -> int:
        """[15:0] read and write"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, value: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[QueueSizeDraft]: ...

class QueueSizeDraft:
    value: int

class QueueMsixVector(Word):
    """vector of the queue"""

    @property
    def value(self) -> int:
        """[15:0] read and write"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, value: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[QueueMsixVectorDraft]: ...

class QueueMsixVectorDraft:
    value: int

class QueueEnable(Word):
    """a reset alone disables it again"""

    @property
    def enable(self) -> int:
        """[0] write 1 to set"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, enable: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, enable: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[QueueEnableDraft]: ...

class QueueEnableDraft:
    @property
    def enable(self) -> int: ...

class QueueNotifyOff(Word):
    """number of its doorbell"""

    @property
    def value(self) -> int:
        """[15:0] read only, hardware sets it"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...

class QueueDesc(Word):
    """address of the descriptor area"""

    @property
    def value(self) -> int:
        """[63:0] read and write"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, value: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[QueueDescDraft]: ...

class QueueDescDraft:
    value: int

class QueueDriver(Word):
    """address of the driver area"""

    @property
    def value(self) -> int:
        """[63:0] read and write"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, value: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[QueueDriverDraft]: ...

class QueueDriverDraft:
    value: int

class QueueDevice(Word):
    """address of the device area"""

    @property
    def value(self) -> int:
        """[63:0] read and write"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, value: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[QueueDeviceDraft]: ...

class QueueDeviceDraft:
    value: int

class QueueNotifyData(Word):
    """what to write to the doorbell"""

    @property
    def value(self) -> int:
        """[15:0] read only, hardware sets it"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...

class QueueReset(Word):
    """1 resets this queue; 0: done"""

    @property
    def reset(self) -> int:
        """[0] write 1 to set"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, reset: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, reset: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[QueueResetDraft]: ...

class QueueResetDraft:
    @property
    def reset(self) -> int: ...

class Isr(Word):
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

class Mac(Word):
    """MAC address, by octet"""

    @property
    def value(self) -> int:
        """[7:0] read only, hardware sets it"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...

class NetStatus(Word):
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

class MaxVirtqueuePairs(Word):
    """queue pairs at most"""

    @property
    def value(self) -> int:
        """[15:0] read only, hardware sets it"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...

class Mtu(Word):
    """largest MTU, in octets"""

    @property
    def value(self) -> int:
        """[15:0] read only, hardware sets it"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...

class Speed(Word):
    """Mbit/s; ffffffff: unknown"""

    @property
    def value(self) -> int:
        """[31:0] read only, hardware sets it"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...

DuplexDuplex: TypeAlias = Literal[
    "HALF", "FULL", "UNKNOWN"
]

class Duplex(Word):
    """duplex mode"""

    @property
    def duplex(self) -> int:
        """[7:0] read only, hardware sets it"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, duplex: SupportsIndex | DuplexDuplex = ...) -> int: ...

class RssMaxKeySize(Word):
    """octets of the RSS key"""

    @property
    def value(self) -> int:
        """[7:0] read only, hardware sets it"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...

class RssMaxIndirectionTableLength(Word):
    """entries of the RSS table"""

    @property
    def value(self) -> int:
        """[15:0] read only, hardware sets it"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...

class SupportedHashTypes(Word):
    """what can be hashed"""

    @property
    def ipv4(self) -> int:
        """[0] IPv4 addresses"""
    @property
    def tcpv4(self) -> int:
        """[1] IPv4 addresses and TCP ports"""
    @property
    def udpv4(self) -> int:
        """[2] IPv4 addresses and UDP ports"""
    @property
    def ipv6(self) -> int:
        """[3] IPv6 addresses"""
    @property
    def tcpv6(self) -> int:
        """[4] IPv6 addresses and TCP ports"""
    @property
    def udpv6(self) -> int:
        """[5] IPv6 addresses and UDP ports"""
    @property
    def ip_ex(self) -> int:
        """[6] addresses of IPv6 extension headers"""
    @property
    def tcp_ex(self) -> int:
        """[7] these and TCP ports"""
    @property
    def udp_ex(self) -> int:
        """[8] these and UDP ports"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(
        self,
        *,
        timeout: float,
        ipv4: SupportsIndex = ...,
        tcpv4: SupportsIndex = ...,
        udpv4: SupportsIndex = ...,
        ipv6: SupportsIndex = ...,
        tcpv6: SupportsIndex = ...,
        udpv6: SupportsIndex = ...,
        ip_ex: SupportsIndex = ...,
        tcp_ex: SupportsIndex = ...,
        udp_ex: SupportsIndex = ...,
    ) -> int: ...

class Notify(Word):
    """buffers were made available"""

    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, queue_index: SupportsIndex = ...) -> None: ...

class NotifyData(Word):
    """upper half of a notification with NOTIFICATION_DATA"""

    store: Callable[[int], None]
    def write(
        self,
        whole: SupportsIndex | None = ...,
        /,
        *,
        next_off: SupportsIndex = ...,
        next_wrap: SupportsIndex = ...,
    ) -> None: ...

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
