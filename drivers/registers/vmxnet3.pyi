"""VMware VMXNET3: its registers, for editors and mypy. Written by ``python -m drivers.stubs vmxnet3``."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal, SupportsIndex, TypeAlias

from drivers.registers import Array, Face, Pair, Word

class Vmxnet3(Face):
    """A revision is negotiated; shared memory says the rest"""

    imr: Array[Imr]
    """Interrupt Mask, by vector"""
    txprod: Array[Txprod]
    """Transmit Producer, by queue"""
    rxprod: Array[Rxprod]
    """Receive Producer of ring 1, by queue"""
    rxprod2: Array[Rxprod2]
    """Receive Producer of ring 2, by queue"""
    vrrs: Vrrs
    """Revision Report and Selection"""
    uvrs: Uvrs
    """UPT Version Report and Selection"""
    dsal: Dsal
    """Driver Shared Address (low half)"""
    dsah: Dsah
    """Driver Shared Address (high half)"""
    cmd: Cmd
    """Command, and its result"""
    macl: Macl
    """MAC Address, first four bytes"""
    mach: Mach
    """MAC Address, last two bytes"""
    icr: Icr
    """Interrupt Cause"""
    ecr: Ecr
    """Event Cause"""
    dcr: Dcr
    """Device Capabilities: reads what there is, a write enables"""
    dcr_more: Array[DcrMore]
    """Device Capabilities, further"""
    ptcr: Ptcr
    """Capabilities in pass-through"""
    ptcr_more: Array[PtcrMore]
    """Capabilities in pass-through, further"""
    dsa: Pair
    """dsal and dsah as one"""
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

class Imr(Word):
    """Interrupt Mask, by vector"""

    @property
    def masked(self) -> int:
        """[0] may not be sent; set by auto masking, too"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, masked: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, masked: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[ImrDraft]: ...

class ImrDraft:
    masked: int

class Txprod(Word):
    """Transmit Producer, by queue"""

    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, index: SupportsIndex = ...) -> None: ...

class Rxprod(Word):
    """Receive Producer of ring 1, by queue"""

    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, index: SupportsIndex = ...) -> None: ...

class Rxprod2(Word):
    """Receive Producer of ring 2, by queue"""

    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, index: SupportsIndex = ...) -> None: ...

class Vrrs(Word):
    """Revision Report and Selection"""

    def read(self) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, revisions: SupportsIndex = ...) -> None: ...
    def execute(self, whole: SupportsIndex | None = ..., /, *, revisions: SupportsIndex = ...) -> int: ...

class Uvrs(Word):
    """UPT Version Report and Selection"""

    def read(self) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, versions: SupportsIndex = ...) -> None: ...
    def execute(self, whole: SupportsIndex | None = ..., /, *, versions: SupportsIndex = ...) -> int: ...

class Dsal(Word):
    """Driver Shared Address (low half)"""

    @property
    def value(self) -> int:
        """[31:0] read and write"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, value: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[DsalDraft]: ...

class DsalDraft:
    value: int

class Dsah(Word):
    """Driver Shared Address (high half)"""

    @property
    def value(self) -> int:
        """[31:0] read and write"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, value: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, value: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[DsahDraft]: ...

class DsahDraft:
    value: int

CmdCommand: TypeAlias = Literal[
    "ACTIVATE_DEV", "QUIESCE_DEV", "RESET_DEV", "UPDATE_RX_MODE", "UPDATE_MAC_FILTERS", "UPDATE_VLAN_FILTERS",
    "UPDATE_RSSIDT", "UPDATE_IML", "UPDATE_PMCFG", "UPDATE_FEATURE", "LOAD_PLUGIN", "SET_COALESCE", "REGISTER_MEMREGS",
    "SET_RSS_FIELDS", "SET_RING_BUFFER_SIZE", "GET_QUEUE_STATUS", "GET_STATS", "GET_LINK", "GET_PERM_MAC_LO",
    "GET_PERM_MAC_HI", "GET_DID_LO", "GET_DID_HI", "GET_DEV_EXTRA_INFO", "GET_CONF_INTR", "GET_ADAPTIVE_RING_INFO",
    "GET_TXDATA_DESC_SIZE", "GET_COALESCE", "GET_RSS_FIELDS", "GET_MAX_QUEUES_CONF", "GET_MAX_CAPABILITIES", "GET_DCR0_REG",
    "GET_TSRING_DESC_SIZE", "GET_DISABLED_OFFLOADS"
]

class Cmd(Word):
    """Command, and its result"""

    def read(self) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, command: SupportsIndex | CmdCommand = ...) -> None: ...
    def execute(self, whole: SupportsIndex | None = ..., /, *, command: SupportsIndex | CmdCommand = ...) -> int: ...

class Macl(Word):
    """MAC Address, first four bytes"""

    @property
    def mac(self) -> int:
        """[31:0] takes effect with mach"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, mac: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, mac: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[MaclDraft]: ...

class MaclDraft:
    mac: int

class Mach(Word):
    """MAC Address, last two bytes"""

    @property
    def mac(self) -> int:
        """[15:0] read and write"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, mac: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, mac: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[MachDraft]: ...

class MachDraft:
    mac: int

class Icr(Word):
    """Interrupt Cause"""

    @property
    def cause(self) -> int:
        """[0] INTx is ours; reading lets go of it"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, cause: SupportsIndex = ...) -> int: ...
    def take(self, name: Literal["cause"]) -> int: ...
    @property
    def latched(self) -> int: ...

class Ecr(Word):
    """Event Cause"""

    @property
    def rqerr(self) -> int:
        """[0] a receive queue has stopped"""
    @property
    def tqerr(self) -> int:
        """[1] a transmit queue has stopped"""
    @property
    def link(self) -> int:
        """[2] the link has changed"""
    @property
    def dic(self) -> int:
        """[3] the device behind the interface has changed"""
    @property
    def debug(self) -> int:
        """[4] for debugging"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(
        self,
        *,
        timeout: float,
        rqerr: SupportsIndex = ...,
        tqerr: SupportsIndex = ...,
        link: SupportsIndex = ...,
        dic: SupportsIndex = ...,
        debug: SupportsIndex = ...,
    ) -> int: ...
    store: Callable[[int], None]
    def write(
        self,
        whole: SupportsIndex | None = ...,
        /,
        *,
        rqerr: SupportsIndex = ...,
        tqerr: SupportsIndex = ...,
        link: SupportsIndex = ...,
        dic: SupportsIndex = ...,
        debug: SupportsIndex = ...,
    ) -> None: ...
    def modify(self) -> AbstractContextManager[EcrDraft]: ...

class EcrDraft:
    @property
    def rqerr(self) -> int: ...
    @property
    def tqerr(self) -> int: ...
    @property
    def link(self) -> int: ...
    @property
    def dic(self) -> int: ...
    @property
    def debug(self) -> int: ...

class Dcr(Word):
    """Device Capabilities: reads what there is, a write enables"""

    def read(self) -> int: ...
    store: Callable[[int], None]
    def write(
        self,
        whole: SupportsIndex | None = ...,
        /,
        *,
        udp_rss: SupportsIndex = ...,
        esp_rss_ipv4: SupportsIndex = ...,
        geneve_checksum_offload: SupportsIndex = ...,
        geneve_tso: SupportsIndex = ...,
        vxlan_checksum_offload: SupportsIndex = ...,
        vxlan_tso: SupportsIndex = ...,
        geneve_outer_checksum_offload: SupportsIndex = ...,
        vxlan_outer_checksum_offload: SupportsIndex = ...,
        pkt_steering_ipv4: SupportsIndex = ...,
        esp_rss_ipv6: SupportsIndex = ...,
        esp_over_udp_rss: SupportsIndex = ...,
        inner_rss: SupportsIndex = ...,
        inner_esp_rss: SupportsIndex = ...,
        crc32_hash_func: SupportsIndex = ...,
        oam_filter: SupportsIndex = ...,
        esp_qs: SupportsIndex = ...,
        large_bar: SupportsIndex = ...,
        ooorx_comp: SupportsIndex = ...,
    ) -> None: ...
    def execute(
        self,
        whole: SupportsIndex | None = ...,
        /,
        *,
        udp_rss: SupportsIndex = ...,
        esp_rss_ipv4: SupportsIndex = ...,
        geneve_checksum_offload: SupportsIndex = ...,
        geneve_tso: SupportsIndex = ...,
        vxlan_checksum_offload: SupportsIndex = ...,
        vxlan_tso: SupportsIndex = ...,
        geneve_outer_checksum_offload: SupportsIndex = ...,
        vxlan_outer_checksum_offload: SupportsIndex = ...,
        pkt_steering_ipv4: SupportsIndex = ...,
        esp_rss_ipv6: SupportsIndex = ...,
        esp_over_udp_rss: SupportsIndex = ...,
        inner_rss: SupportsIndex = ...,
        inner_esp_rss: SupportsIndex = ...,
        crc32_hash_func: SupportsIndex = ...,
        oam_filter: SupportsIndex = ...,
        esp_qs: SupportsIndex = ...,
        large_bar: SupportsIndex = ...,
        ooorx_comp: SupportsIndex = ...,
    ) -> int: ...

class DcrMore(Word):
    """Device Capabilities, further"""

    def read(self) -> int: ...

class Ptcr(Word):
    """Capabilities in pass-through"""

    @property
    def udp_rss(self) -> int:
        """[0] RSS by UDP ports"""
    @property
    def esp_rss_ipv4(self) -> int:
        """[1] RSS by ESP SPI over IPv4"""
    @property
    def geneve_checksum_offload(self) -> int:
        """[2] inner checksums of Geneve"""
    @property
    def geneve_tso(self) -> int:
        """[3] segmentation inside of Geneve"""
    @property
    def vxlan_checksum_offload(self) -> int:
        """[4] inner checksums of VXLAN"""
    @property
    def vxlan_tso(self) -> int:
        """[5] segmentation inside of VXLAN"""
    @property
    def geneve_outer_checksum_offload(self) -> int:
        """[6] outer checksums of Geneve"""
    @property
    def vxlan_outer_checksum_offload(self) -> int:
        """[7] outer checksums of VXLAN"""
    @property
    def pkt_steering_ipv4(self) -> int:
        """[8] steering by IPv4"""
    @property
    def esp_rss_ipv6(self) -> int:
        """[9] RSS by ESP SPI over IPv6"""
    @property
    def esp_over_udp_rss(self) -> int:
        """[10] RSS by ESP SPI over UDP"""
    @property
    def inner_rss(self) -> int:
        """[11] RSS by inner headers"""
    @property
    def inner_esp_rss(self) -> int:
        """[12] RSS by inner ESP SPI"""
    @property
    def crc32_hash_func(self) -> int:
        """[13] RSS by CRC32"""
    @property
    def oam_filter(self) -> int:
        """[14] OAM frames apart"""
    @property
    def esp_qs(self) -> int:
        """[15] queue selection by ESP"""
    @property
    def large_bar(self) -> int:
        """[16] the second set of doorbells"""
    @property
    def ooorx_comp(self) -> int:
        """[17] receive completions out of order"""
    @property
    def error(self) -> int:
        """[31] the other bits mean nothing"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(
        self,
        *,
        timeout: float,
        udp_rss: SupportsIndex = ...,
        esp_rss_ipv4: SupportsIndex = ...,
        geneve_checksum_offload: SupportsIndex = ...,
        geneve_tso: SupportsIndex = ...,
        vxlan_checksum_offload: SupportsIndex = ...,
        vxlan_tso: SupportsIndex = ...,
        geneve_outer_checksum_offload: SupportsIndex = ...,
        vxlan_outer_checksum_offload: SupportsIndex = ...,
        pkt_steering_ipv4: SupportsIndex = ...,
        esp_rss_ipv6: SupportsIndex = ...,
        esp_over_udp_rss: SupportsIndex = ...,
        inner_rss: SupportsIndex = ...,
        inner_esp_rss: SupportsIndex = ...,
        crc32_hash_func: SupportsIndex = ...,
        oam_filter: SupportsIndex = ...,
        esp_qs: SupportsIndex = ...,
        large_bar: SupportsIndex = ...,
        ooorx_comp: SupportsIndex = ...,
        error: SupportsIndex = ...,
    ) -> int: ...

class PtcrMore(Word):
    """Capabilities in pass-through, further"""

    def read(self) -> int: ...

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
