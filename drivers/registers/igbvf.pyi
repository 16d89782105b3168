"""Intel 82576 Virtual Function: its registers, for editors and mypy. Written by ``python -m drivers.stubs igbvf``."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal, SupportsIndex, TypeAlias

from drivers.registers import Array, Face, Word, WritableMemory

class Igbvf(Face):
    """Queues, a mailbox and three vectors; all else is the PF's"""

    ctrl: Ctrl
    """Device Control"""
    ctrl_dup: CtrlDup
    """Device Control, again"""
    status: Status
    """Device Status"""
    itr: Itr
    """Interrupt Throttling"""
    frtimer: Frtimer
    """Free Running Timer"""
    pbrwac: Pbrwac
    """Rx Packet Buffer Wraps"""
    pbtwac: Pbtwac
    """Tx Packet Buffer Wraps"""
    vmbmem: WritableMemory
    """Mailbox memory, shared with the PF"""
    v2pmailbox: V2pmailbox
    """Virtual Function Mailbox"""
    vfgprc: Vfgprc
    """Good Packets Received Count"""
    vfgptc: Vfgptc
    """Good Packets Transmitted Count"""
    vfgorc: Vfgorc
    """Good Octets Received Count"""
    vfgotc: Vfgotc
    """Good Octets Transmitted Count"""
    vfmprc: Vfmprc
    """Multicast Packets Received Count"""
    vfgprlbc: Vfgprlbc
    """Good Packets Received Loopback Count"""
    vfgptlbc: Vfgptlbc
    """Good Packets Transmitted Loopback Count"""
    vfgorlbc: Vfgorlbc
    """Good Octets Received Loopback Count"""
    vfgotlbc: Vfgotlbc
    """Good Octets Transmitted Loopback Count"""
    eics: Eics
    """Extended Interrupt Cause Set"""
    eims: Eims
    """Extended Interrupt Mask Set and Read"""
    eimc: Eimc
    """Extended Interrupt Mask Clear"""
    eiac: Eiac
    """Extended Interrupt Auto Clear"""
    eiam: Eiam
    """Extended Interrupt Auto Mask"""
    eicr: Eicr
    """Extended Interrupt Cause Read"""
    eitr: Array[Eitr]
    """Extended Interrupt Throttle"""
    ivar_misc: IvarMisc
    """Interrupt Vector Allocation, other"""
    pbacl: Pbacl
    """MSI-X Pending Bit Array Clear"""
    ivar0: Ivar0
    """Interrupt Vector Allocation"""
    psrtype: Psrtype
    """Packet Split Receive Type"""
    rdbal: Array[Rdbal]
    """Receive Descriptor Base Low"""
    rdbah: Array[Rdbah]
    """Receive Descriptor Base High"""
    rdlen: Array[Rdlen]
    """Receive Descriptor Length"""
    srrctl: Array[Srrctl]
    """Split and Replication Receive Control"""
    rdh: Array[Rdh]
    """Receive Descriptor Head"""
    rxctl: Array[Rxctl]
    """Rx DCA Control"""
    rdt: Array[Rdt]
    """Receive Descriptor Tail"""
    rxdctl: Array[Rxdctl]
    """Receive Descriptor Control"""
    rqdpc: Array[Rqdpc]
    """Receive Queue Drop Packet Count"""
    tdbal: Array[Tdbal]
    """Transmit Descriptor Base Low"""
    tdbah: Array[Tdbah]
    """Transmit Descriptor Base High"""
    tdlen: Array[Tdlen]
    """Transmit Descriptor Length"""
    tdh: Array[Tdh]
    """Transmit Descriptor Head"""
    txctl: Array[Txctl]
    """Tx DCA Control"""
    tdt: Array[Tdt]
    """Transmit Descriptor Tail"""
    txdctl: Array[Txdctl]
    """Transmit Descriptor Control"""
    tdwbal: Array[Tdwbal]
    """Tx Head Write-back Low"""
    tdwbah: Array[Tdwbah]
    """Tx Head Write-back High"""
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

class Ctrl(Word):
    """Device Control"""

    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, rst: SupportsIndex = ...) -> None: ...

class CtrlDup(Word):
    """Device Control, again"""

    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, rst: SupportsIndex = ...) -> None: ...

StatusSpeed: TypeAlias = Literal[
    "MB10", "MB100", "MB1000"
]

class Status(Word):
    """Device Status"""

    @property
    def fd(self) -> int:
        """[0] full duplex"""
    @property
    def lu(self) -> int:
        """[1] link up"""
    @property
    def lan_id(self) -> int:
        """[3:2] port of the card"""
    @property
    def txoff(self) -> int:
        """[4] transmission is paused by flow control"""
    @property
    def speed(self) -> int:
        """[7:6] link speed"""
    @property
    def num_vfs(self) -> int:
        """[17:14] VFs that are enabled"""
    @property
    def iov_mode(self) -> int:
        """[18] the PF has VFs"""
    @property
    def gio_master_enable(self) -> int:
        """[19] the port may issue DMA"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(
        self,
        *,
        timeout: float,
        fd: SupportsIndex = ...,
        lu: SupportsIndex = ...,
        lan_id: SupportsIndex = ...,
        txoff: SupportsIndex = ...,
        speed: SupportsIndex | StatusSpeed = ...,
        num_vfs: SupportsIndex = ...,
        iov_mode: SupportsIndex = ...,
        gio_master_enable: SupportsIndex = ...,
    ) -> int: ...

class Itr(Word):
    """Interrupt Throttling"""

    def read(self) -> int: ...

class Frtimer(Word):
    """Free Running Timer"""

    @property
    def microsecond(self) -> int:
        """[9:0] 0 to 999"""
    @property
    def millisecond(self) -> int:
        """[19:10] 0 to 999"""
    @property
    def second(self) -> int:
        """[31:20] 0 to 4095"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(
        self,
        *,
        timeout: float,
        microsecond: SupportsIndex = ...,
        millisecond: SupportsIndex = ...,
        second: SupportsIndex = ...,
    ) -> int: ...

class Pbrwac(Word):
    """Rx Packet Buffer Wraps"""

    @property
    def walpb(self) -> int:
        """[2:0] wraps"""
    @property
    def pbe(self) -> int:
        """[3] empty"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, walpb: SupportsIndex = ..., pbe: SupportsIndex = ...) -> int: ...

class Pbtwac(Word):
    """Tx Packet Buffer Wraps"""

    @property
    def walpb(self) -> int:
        """[2:0] wraps"""
    @property
    def pbe(self) -> int:
        """[3] empty"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, walpb: SupportsIndex = ..., pbe: SupportsIndex = ...) -> int: ...

class V2pmailbox(Word):
    """Virtual Function Mailbox"""

    @property
    def vfu(self) -> int:
        """[2] we own the memory; sticks only while pfu is 0"""
    @property
    def pfu(self) -> int:
        """[3] the PF owns the memory"""
    @property
    def pfsts(self) -> int:
        """[4] a message of the PF is in the memory"""
    @property
    def pfack(self) -> int:
        """[5] the PF has read our message"""
    @property
    def rsti(self) -> int:
        """[6] the PF is in reset"""
    @property
    def rstd(self) -> int:
        """[7] the PF has come out of reset"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(
        self,
        *,
        timeout: float,
        vfu: SupportsIndex = ...,
        pfu: SupportsIndex = ...,
        pfsts: SupportsIndex = ...,
        pfack: SupportsIndex = ...,
        rsti: SupportsIndex = ...,
        rstd: SupportsIndex = ...,
    ) -> int: ...
    def take(self, name: Literal["pfsts", "pfack", "rstd"]) -> int: ...
    @property
    def latched(self) -> int: ...
    store: Callable[[int], None]
    def write(
        self,
        whole: SupportsIndex | None = ...,
        /,
        *,
        req: SupportsIndex = ...,
        ack: SupportsIndex = ...,
        vfu: SupportsIndex = ...,
    ) -> None: ...
    def modify(self) -> AbstractContextManager[V2pmailboxDraft]: ...

class V2pmailboxDraft:
    req: int
    ack: int
    vfu: int
    @property
    def pfu(self) -> int: ...
    @property
    def pfsts(self) -> int: ...
    @property
    def pfack(self) -> int: ...
    @property
    def rsti(self) -> int: ...
    @property
    def rstd(self) -> int: ...

class Vfgprc(Word):
    """Good Packets Received Count"""

    @property
    def count(self) -> int:
        """[31:0] read only, hardware sets it"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, count: SupportsIndex = ...) -> int: ...

class Vfgptc(Word):
    """Good Packets Transmitted Count"""

    @property
    def count(self) -> int:
        """[31:0] read only, hardware sets it"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, count: SupportsIndex = ...) -> int: ...

class Vfgorc(Word):
    """Good Octets Received Count"""

    @property
    def count(self) -> int:
        """[31:0] read only, hardware sets it"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, count: SupportsIndex = ...) -> int: ...

class Vfgotc(Word):
    """Good Octets Transmitted Count"""

    @property
    def count(self) -> int:
        """[31:0] read only, hardware sets it"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, count: SupportsIndex = ...) -> int: ...

class Vfmprc(Word):
    """Multicast Packets Received Count"""

    @property
    def count(self) -> int:
        """[31:0] read only, hardware sets it"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, count: SupportsIndex = ...) -> int: ...

class Vfgprlbc(Word):
    """Good Packets Received Loopback Count"""

    @property
    def count(self) -> int:
        """[31:0] read only, hardware sets it"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, count: SupportsIndex = ...) -> int: ...

class Vfgptlbc(Word):
    """Good Packets Transmitted Loopback Count"""

    @property
    def count(self) -> int:
        """[31:0] read only, hardware sets it"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, count: SupportsIndex = ...) -> int: ...

class Vfgorlbc(Word):
    """Good Octets Received Loopback Count"""

    @property
    def count(self) -> int:
        """[31:0] read only, hardware sets it"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, count: SupportsIndex = ...) -> int: ...

class Vfgotlbc(Word):
    """Good Octets Transmitted Loopback Count"""

    @property
    def count(self) -> int:
        """[31:0] read only, hardware sets it"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, count: SupportsIndex = ...) -> int: ...

class Eics(Word):
    """Extended Interrupt Cause Set"""

    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, msix: SupportsIndex = ...) -> None: ...

class Eims(Word):
    """Extended Interrupt Mask Set and Read"""

    @property
    def msix(self) -> int:
        """[2:0] one bit per vector"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, msix: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, msix: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[EimsDraft]: ...

class EimsDraft:
    @property
    def msix(self) -> int: ...

class Eimc(Word):
    """Extended Interrupt Mask Clear"""

    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, msix: SupportsIndex = ...) -> None: ...

class Eiac(Word):
    """Extended Interrupt Auto Clear"""

    @property
    def msix(self) -> int:
        """[2:0] causes that their message clears"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, msix: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, msix: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[EiacDraft]: ...

class EiacDraft:
    msix: int

class Eiam(Word):
    """Extended Interrupt Auto Mask"""

    @property
    def msix(self) -> int:
        """[2:0] masks that their message clears"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, msix: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, msix: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[EiamDraft]: ...

class EiamDraft:
    msix: int

class Eicr(Word):
    """Extended Interrupt Cause Read"""

    @property
    def msix(self) -> int:
        """[2:0] one bit per vector"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, msix: SupportsIndex = ...) -> int: ...
    def take(self, name: Literal["msix"]) -> int: ...
    @property
    def latched(self) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, msix: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[EicrDraft]: ...

class EicrDraft:
    @property
    def msix(self) -> int: ...

class Eitr(Word):
    """Extended Interrupt Throttle"""

    @property
    def interval(self) -> int:
        """[14:2] least time between messages, in us"""
    @property
    def lli_en(self) -> int:
        """[15] low latency interrupts are moderated"""
    @property
    def ll_counter(self) -> int:
        """[20:16] low latency credits"""
    @property
    def moderation_counter(self) -> int:
        """[30:21] time left, in 4 us"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(
        self,
        *,
        timeout: float,
        interval: SupportsIndex = ...,
        lli_en: SupportsIndex = ...,
        ll_counter: SupportsIndex = ...,
        moderation_counter: SupportsIndex = ...,
    ) -> int: ...
    store: Callable[[int], None]
    def write(
        self,
        whole: SupportsIndex | None = ...,
        /,
        *,
        interval: SupportsIndex = ...,
        lli_en: SupportsIndex = ...,
        ll_counter: SupportsIndex = ...,
        moderation_counter: SupportsIndex = ...,
        cnt_ingr: SupportsIndex = ...,
    ) -> None: ...
    def modify(self) -> AbstractContextManager[EitrDraft]: ...

class EitrDraft:
    interval: int
    lli_en: int
    ll_counter: int
    moderation_counter: int
    cnt_ingr: int

class IvarMisc(Word):
    """Interrupt Vector Allocation, other"""

    @property
    def int_alloc(self) -> int:
        """[1:0] vector of mailbox and reset events"""
    @property
    def int_alloc_val(self) -> int:
        """[7] the event has a vector"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, int_alloc: SupportsIndex = ..., int_alloc_val: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(
        self,
        whole: SupportsIndex | None = ...,
        /,
        *,
        int_alloc: SupportsIndex = ...,
        int_alloc_val: SupportsIndex = ...,
    ) -> None: ...
    def modify(self) -> AbstractContextManager[IvarMiscDraft]: ...

class IvarMiscDraft:
    int_alloc: int
    int_alloc_val: int

class Pbacl(Word):
    """MSI-X Pending Bit Array Clear"""

    @property
    def penbit(self) -> int:
        """[2:0] pending MSI-X messages; write 1 to drop"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, penbit: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, penbit: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[PbaclDraft]: ...

class PbaclDraft:
    @property
    def penbit(self) -> int: ...

class Ivar0(Word):
    """Interrupt Vector Allocation"""

    @property
    def int_alloc_rx0(self) -> int:
        """[1:0] vector of receive queue 0"""
    @property
    def int_alloc_val_rx0(self) -> int:
        """[7] receive queue 0 has a vector"""
    @property
    def int_alloc_tx0(self) -> int:
        """[9:8] vector of transmit queue 0"""
    @property
    def int_alloc_val_tx0(self) -> int:
        """[15] transmit queue 0 has a vector"""
    @property
    def int_alloc_rx1(self) -> int:
        """[17:16] vector of receive queue 1"""
    @property
    def int_alloc_val_rx1(self) -> int:
        """[23] receive queue 1 has a vector"""
    @property
    def int_alloc_tx1(self) -> int:
        """[25:24] vector of transmit queue 1"""
    @property
    def int_alloc_val_tx1(self) -> int:
        """[31] transmit queue 1 has a vector"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(
        self,
        *,
        timeout: float,
        int_alloc_rx0: SupportsIndex = ...,
        int_alloc_val_rx0: SupportsIndex = ...,
        int_alloc_tx0: SupportsIndex = ...,
        int_alloc_val_tx0: SupportsIndex = ...,
        int_alloc_rx1: SupportsIndex = ...,
        int_alloc_val_rx1: SupportsIndex = ...,
        int_alloc_tx1: SupportsIndex = ...,
        int_alloc_val_tx1: SupportsIndex = ...,
    ) -> int: ...
    store: Callable[[int], None]
    def write(
        self,
        whole: SupportsIndex | None = ...,
        /,
        *,
        int_alloc_rx0: SupportsIndex = ...,
        int_alloc_val_rx0: SupportsIndex = ...,
        int_alloc_tx0: SupportsIndex = ...,
        int_alloc_val_tx0: SupportsIndex = ...,
        int_alloc_rx1: SupportsIndex = ...,
        int_alloc_val_rx1: SupportsIndex = ...,
        int_alloc_tx1: SupportsIndex = ...,
        int_alloc_val_tx1: SupportsIndex = ...,
    ) -> None: ...
    def modify(self) -> AbstractContextManager[Ivar0Draft]: ...

class Ivar0Draft:
    int_alloc_rx0: int
    int_alloc_val_rx0: int
    int_alloc_tx0: int
    int_alloc_val_tx0: int
    int_alloc_rx1: int
    int_alloc_val_rx1: int
    int_alloc_tx1: int
    int_alloc_val_tx1: int

class Psrtype(Word):
    """Packet Split Receive Type"""

    @property
    def ipv4(self) -> int:
        """[1] split behind MAC, IPv4"""
    @property
    def ipv4_tcp(self) -> int:
        """[2] split behind MAC, IPv4, TCP"""
    @property
    def ipv4_udp(self) -> int:
        """[3] split behind MAC, IPv4, UDP"""
    @property
    def ipv4_ipv6(self) -> int:
        """[4] split behind MAC, IPv4, IPv6"""
    @property
    def ipv4_ipv6_tcp(self) -> int:
        """[5] split behind MAC, IPv4, IPv6, TCP"""
    @property
    def ipv4_ipv6_udp(self) -> int:
        """[6] split behind MAC, IPv4, IPv6, UDP"""
    @property
    def ipv6(self) -> int:
        """[7] split behind MAC, IPv6"""
    @property
    def ipv6_tcp(self) -> int:
        """[8] split behind MAC, IPv6, TCP"""
    @property
    def ipv6_udp(self) -> int:
        """[9] split behind MAC, IPv6, UDP"""
    @property
    def ipv4_tcp_nfs(self) -> int:
        """[11] split behind MAC, IPv4, TCP, NFS"""
    @property
    def ipv4_udp_nfs(self) -> int:
        """[12] split behind MAC, IPv4, UDP, NFS"""
    @property
    def ipv4_ipv6_tcp_nfs(self) -> int:
        """[14] split behind MAC, IPv4, IPv6, TCP, NFS"""
    @property
    def ipv4_ipv6_udp_nfs(self) -> int:
        """[15] split behind MAC, IPv4, IPv6, UDP, NFS"""
    @property
    def ipv6_tcp_nfs(self) -> int:
        """[17] split behind MAC, IPv6, TCP, NFS"""
    @property
    def ipv6_udp_nfs(self) -> int:
        """[18] split behind MAC, IPv6, UDP, NFS"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(
        self,
        *,
        timeout: float,
        ipv4: SupportsIndex = ...,
        ipv4_tcp: SupportsIndex = ...,
        ipv4_udp: SupportsIndex = ...,
        ipv4_ipv6: SupportsIndex = ...,
        ipv4_ipv6_tcp: SupportsIndex = ...,
        ipv4_ipv6_udp: SupportsIndex = ...,
        ipv6: SupportsIndex = ...,
        ipv6_tcp: SupportsIndex = ...,
        ipv6_udp: SupportsIndex = ...,
        ipv4_tcp_nfs: SupportsIndex = ...,
        ipv4_udp_nfs: SupportsIndex = ...,
        ipv4_ipv6_tcp_nfs: SupportsIndex = ...,
        ipv4_ipv6_udp_nfs: SupportsIndex = ...,
        ipv6_tcp_nfs: SupportsIndex = ...,
        ipv6_udp_nfs: SupportsIndex = ...,
    ) -> int: ...
    store: Callable[[int], None]
    def write(
        self,
        whole: SupportsIndex | None = ...,
        /,
        *,
        ipv4: SupportsIndex = ...,
        ipv4_tcp: SupportsIndex = ...,
        ipv4_udp: SupportsIndex = ...,
        ipv4_ipv6: SupportsIndex = ...,
        ipv4_ipv6_tcp: SupportsIndex = ...,
        ipv4_ipv6_udp: SupportsIndex = ...,
        ipv6: SupportsIndex = ...,
        ipv6_tcp: SupportsIndex = ...,
        ipv6_udp: SupportsIndex = ...,
        ipv4_tcp_nfs: SupportsIndex = ...,
        ipv4_udp_nfs: SupportsIndex = ...,
        ipv4_ipv6_tcp_nfs: SupportsIndex = ...,
        ipv4_ipv6_udp_nfs: SupportsIndex = ...,
        ipv6_tcp_nfs: SupportsIndex = ...,
        ipv6_udp_nfs: SupportsIndex = ...,
    ) -> None: ...
    def modify(self) -> AbstractContextManager[PsrtypeDraft]: ...

class PsrtypeDraft:
    ipv4: int
    ipv4_tcp: int
    ipv4_udp: int
    ipv4_ipv6: int
    ipv4_ipv6_tcp: int
    ipv4_ipv6_udp: int
    ipv6: int
    ipv6_tcp: int
    ipv6_udp: int
    ipv4_tcp_nfs: int
    ipv4_udp_nfs: int
    ipv4_ipv6_tcp_nfs: int
    ipv4_ipv6_udp_nfs: int
    ipv6_tcp_nfs: int
    ipv6_udp_nfs: int

class Rdbal(Word):
    """Receive Descriptor Base Low"""

    @property
    def rdbal(self) -> int:
        """[31:7] read and write"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, rdbal: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, rdbal: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[RdbalDraft]: ...

class RdbalDraft:
    rdbal: int

class Rdbah(Word):
    """Receive Descriptor Base High"""

    @property
    def rdbah(self) -> int:
        """[31:0] read and write"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, rdbah: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, rdbah: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[RdbahDraft]: ...

class RdbahDraft:
    rdbah: int

class Rdlen(Word):
    """Receive Descriptor Length"""

    @property
    def len(self) -> int:
        """[19:4] bytes, in 16"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, len: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, len: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[RdlenDraft]: ...

class RdlenDraft:
    len: int

SrrctlDesctype: TypeAlias = Literal[
    "LEGACY", "ADV_ONEBUF", "HDR_SPLIT", "HDR_REPLICATION", "HDR_REPLICATION_LARGE_PKT", "HDR_SPLIT_ALWAYS"
]

class Srrctl(Word):
    """Split and Replication Receive Control"""

    @property
    def bsizepacket(self) -> int:
        """[6:0] size of a packet buffer in KiB"""
    @property
    def bsizeheader(self) -> int:
        """[13:8] size of a header buffer in 64 bytes"""
    @property
    def rdmts(self) -> int:
        """[24:20] minimum of free descriptors, in 16"""
    @property
    def desctype(self) -> int:
        """[27:25] format of descriptors"""
    @property
    def drop_en(self) -> int:
        """[31] drop rather than wait for a descriptor"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(
        self,
        *,
        timeout: float,
        bsizepacket: SupportsIndex = ...,
        bsizeheader: SupportsIndex = ...,
        rdmts: SupportsIndex = ...,
        desctype: SupportsIndex | SrrctlDesctype = ...,
        drop_en: SupportsIndex = ...,
    ) -> int: ...
    store: Callable[[int], None]
    def write(
        self,
        whole: SupportsIndex | None = ...,
        /,
        *,
        bsizepacket: SupportsIndex = ...,
        bsizeheader: SupportsIndex = ...,
        rdmts: SupportsIndex = ...,
        desctype: SupportsIndex | SrrctlDesctype = ...,
        drop_en: SupportsIndex = ...,
    ) -> None: ...
    def modify(self) -> AbstractContextManager[SrrctlDraft]: ...

class SrrctlDraft:
    bsizepacket: int
    bsizeheader: int
    rdmts: int
    @property
    def desctype(self) -> int: ...
    @desctype.setter
    def desctype(self, value: SupportsIndex | SrrctlDesctype) -> None: ...
    drop_en: int

class Rdh(Word):
    """Receive Descriptor Head"""

    @property
    def rdh(self) -> int:
        """[15:0] next descriptor that hardware takes"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, rdh: SupportsIndex = ...) -> int: ...

class Rxctl(Word):
    """Rx DCA Control"""

    @property
    def rx_descriptor_dca_en(self) -> int:
        """[5] hint the descriptor into a cache"""
    @property
    def rx_header_dca_en(self) -> int:
        """[6] hint the header into a cache"""
    @property
    def rx_payload_dca_en(self) -> int:
        """[7] hint the payload into a cache"""
    @property
    def rxdesc_read_ro_en(self) -> int:
        """[9] read descriptors with relaxed ordering"""
    @property
    def cpuid(self) -> int:
        """[31:24] whose cache the hints name"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(
        self,
        *,
        timeout: float,
        rx_descriptor_dca_en: SupportsIndex = ...,
        rx_header_dca_en: SupportsIndex = ...,
        rx_payload_dca_en: SupportsIndex = ...,
        rxdesc_read_ro_en: SupportsIndex = ...,
        cpuid: SupportsIndex = ...,
    ) -> int: ...
    store: Callable[[int], None]
    def write(
        self,
        whole: SupportsIndex | None = ...,
        /,
        *,
        rx_descriptor_dca_en: SupportsIndex = ...,
        rx_header_dca_en: SupportsIndex = ...,
        rx_payload_dca_en: SupportsIndex = ...,
        rxdesc_read_ro_en: SupportsIndex = ...,
        cpuid: SupportsIndex = ...,
    ) -> None: ...
    def modify(self) -> AbstractContextManager[RxctlDraft]: ...

class RxctlDraft:
    rx_descriptor_dca_en: int
    rx_header_dca_en: int
    rx_payload_dca_en: int
    rxdesc_read_ro_en: int
    cpuid: int

class Rdt(Word):
    """Receive Descriptor Tail"""

    @property
    def rdt(self) -> int:
        """[15:0] behind the last descriptor that software gave"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, rdt: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, rdt: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[RdtDraft]: ...

class RdtDraft:
    rdt: int

class Rxdctl(Word):
    """Receive Descriptor Control"""

    @property
    def pthresh(self) -> int:
        """[4:0] prefetch when fewer are left"""
    @property
    def hthresh(self) -> int:
        """[12:8] prefetch only when as many are offered"""
    @property
    def wthresh(self) -> int:
        """[20:16] write back when as many are done"""
    @property
    def enable(self) -> int:
        """[25] the queue runs"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(
        self,
        *,
        timeout: float,
        pthresh: SupportsIndex = ...,
        hthresh: SupportsIndex = ...,
        wthresh: SupportsIndex = ...,
        enable: SupportsIndex = ...,
    ) -> int: ...
    store: Callable[[int], None]
    def write(
        self,
        whole: SupportsIndex | None = ...,
        /,
        *,
        pthresh: SupportsIndex = ...,
        hthresh: SupportsIndex = ...,
        wthresh: SupportsIndex = ...,
        enable: SupportsIndex = ...,
        swflush: SupportsIndex = ...,
    ) -> None: ...
    def modify(self) -> AbstractContextManager[RxdctlDraft]: ...

class RxdctlDraft:
    pthresh: int
    hthresh: int
    wthresh: int
    enable: int
    swflush: int

class Rqdpc(Word):
    """Receive Queue Drop Packet Count"""

    @property
    def rqdpc(self) -> int:
        """[11:0] packets without a descriptor"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, rqdpc: SupportsIndex = ...) -> int: ...
    def take(self, name: Literal["rqdpc"]) -> int: ...
    @property
    def latched(self) -> int: ...

class Tdbal(Word):
    """Transmit Descriptor Base Low"""

    @property
    def tdbal(self) -> int:
        """[31:7] read and write"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, tdbal: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, tdbal: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[TdbalDraft]: ...

class TdbalDraft:
    tdbal: int

class Tdbah(Word):
    """Transmit Descriptor Base High"""

    @property
    def tdbah(self) -> int:
        """[31:0] read and write"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, tdbah: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, tdbah: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[TdbahDraft]: ...

class TdbahDraft:
    tdbah: int

class Tdlen(Word):
    """Transmit Descriptor Length"""

    @property
    def len(self) -> int:
        """[19:4] bytes, in 16"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, len: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, len: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[TdlenDraft]: ...

class TdlenDraft:
    len: int

class Tdh(Word):
    """Transmit Descriptor Head"""

    @property
    def tdh(self) -> int:
        """[15:0] next descriptor that hardware takes"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, tdh: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, tdh: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[TdhDraft]: ...

class TdhDraft:
    tdh: int

class Txctl(Word):
    """Tx DCA Control"""

    @property
    def tx_descriptor_dca_en(self) -> int:
        """[5] hint the descriptor into a cache"""
    @property
    def txdesc_rdro_en(self) -> int:
        """[9] read descriptors with relaxed ordering"""
    @property
    def txdesc_wbro_en(self) -> int:
        """[11] write descriptors back with relaxed ordering"""
    @property
    def txdata_read_ro_en(self) -> int:
        """[13] read data with relaxed ordering"""
    @property
    def cpuid(self) -> int:
        """[31:24] whose cache the hints name"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(
        self,
        *,
        timeout: float,
        tx_descriptor_dca_en: SupportsIndex = ...,
        txdesc_rdro_en: SupportsIndex = ...,
        txdesc_wbro_en: SupportsIndex = ...,
        txdata_read_ro_en: SupportsIndex = ...,
        cpuid: SupportsIndex = ...,
    ) -> int: ...
    store: Callable[[int], None]
    def write(
        self,
        whole: SupportsIndex | None = ...,
        /,
        *,
        tx_descriptor_dca_en: SupportsIndex = ...,
        txdesc_rdro_en: SupportsIndex = ...,
        txdesc_wbro_en: SupportsIndex = ...,
        txdata_read_ro_en: SupportsIndex = ...,
        cpuid: SupportsIndex = ...,
    ) -> None: ...
    def modify(self) -> AbstractContextManager[TxctlDraft]: ...

class TxctlDraft:
    tx_descriptor_dca_en: int
    txdesc_rdro_en: int
    txdesc_wbro_en: int
    txdata_read_ro_en: int
    cpuid: int

class Tdt(Word):
    """Transmit Descriptor Tail"""

    @property
    def tdt(self) -> int:
        """[15:0] behind the last descriptor that software gave"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, tdt: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, tdt: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[TdtDraft]: ...

class TdtDraft:
    tdt: int

class Txdctl(Word):
    """Transmit Descriptor Control"""

    @property
    def pthresh(self) -> int:
        """[4:0] prefetch when fewer are left"""
    @property
    def hthresh(self) -> int:
        """[12:8] prefetch only when as many are offered"""
    @property
    def wthresh(self) -> int:
        """[20:16] write back when as many are done"""
    @property
    def enable(self) -> int:
        """[25] the queue runs"""
    @property
    def priority(self) -> int:
        """[27] goes before the other queues"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(
        self,
        *,
        timeout: float,
        pthresh: SupportsIndex = ...,
        hthresh: SupportsIndex = ...,
        wthresh: SupportsIndex = ...,
        enable: SupportsIndex = ...,
        priority: SupportsIndex = ...,
    ) -> int: ...
    store: Callable[[int], None]
    def write(
        self,
        whole: SupportsIndex | None = ...,
        /,
        *,
        pthresh: SupportsIndex = ...,
        hthresh: SupportsIndex = ...,
        wthresh: SupportsIndex = ...,
        enable: SupportsIndex = ...,
        swflsh: SupportsIndex = ...,
        priority: SupportsIndex = ...,
    ) -> None: ...
    def modify(self) -> AbstractContextManager[TxdctlDraft]: ...

class TxdctlDraft:
    pthresh: int
    hthresh: int
    wthresh: int
    enable: int
    swflsh: int
    priority: int

class Tdwbal(Word):
    """Tx Head Write-back Low"""

    @property
    def head_wb_en(self) -> int:
        """[0] write the head to memory instead of descriptors"""
    @property
    def wb_on_eitr(self) -> int:
        """[1] write it when the interrupt is sent"""
    @property
    def headwb_low(self) -> int:
        """[31:2] where, in 4 bytes"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(
        self,
        *,
        timeout: float,
        head_wb_en: SupportsIndex = ...,
        wb_on_eitr: SupportsIndex = ...,
        headwb_low: SupportsIndex = ...,
    ) -> int: ...
    store: Callable[[int], None]
    def write(
        self,
        whole: SupportsIndex | None = ...,
        /,
        *,
        head_wb_en: SupportsIndex = ...,
        wb_on_eitr: SupportsIndex = ...,
        headwb_low: SupportsIndex = ...,
    ) -> None: ...
    def modify(self) -> AbstractContextManager[TdwbalDraft]: ...

class TdwbalDraft:
    head_wb_en: int
    wb_on_eitr: int
    headwb_low: int

class Tdwbah(Word):
    """Tx Head Write-back High"""

    @property
    def headwb_high(self) -> int:
        """[31:0] read and write"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, headwb_high: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, headwb_high: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[TdwbahDraft]: ...

class TdwbahDraft:
    headwb_high: int

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
