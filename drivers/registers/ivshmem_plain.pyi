"""Inter-VM shared memory: its registers, for editors and mypy. Written by ``python -m drivers.stubs ivshmem-plain``."""

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Literal, SupportsIndex

from drivers.registers import Face, Word, WritableMemory

class IvshmemPlain(Face):
    """Memory that several guests and the host share"""

    intrmask: Intrmask
    """Interrupt Mask"""
    intrstatus: Intrstatus
    """Interrupt Status"""
    ivposition: Ivposition
    """IVPosition: the own ID"""
    doorbell: Doorbell
    """Doorbell: ignored where there is no such peer or vector"""
    shm: WritableMemory
    """the shared memory object, whole"""

class Intrmask(Word):
    """Interrupt Mask"""

    @property
    def peer(self) -> int:
        """[0] revision 0: an interrupt request from a peer asserts INTx"""
    @property
    def other(self) -> int:
        """[31:1] reserved; stores, and takes part in INTx as bit 0 does"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, peer: SupportsIndex = ..., other: SupportsIndex = ...) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, peer: SupportsIndex = ..., other: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[IntrmaskDraft]: ...

class IntrmaskDraft:
    peer: int
    other: int

class Intrstatus(Word):
    """Interrupt Status"""

    @property
    def peer(self) -> int:
        """[0] revision 0 without MSI-X: a peer has requested an interrupt"""
    @property
    def other(self) -> int:
        """[31:1] reserved; stores"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, peer: SupportsIndex = ..., other: SupportsIndex = ...) -> int: ...
    def take(self, name: Literal["peer", "other"]) -> int: ...
    @property
    def latched(self) -> int: ...
    store: Callable[[int], None]
    def write(self, whole: SupportsIndex | None = ..., /, *, peer: SupportsIndex = ..., other: SupportsIndex = ...) -> None: ...
    def modify(self) -> AbstractContextManager[IntrstatusDraft]: ...

class IntrstatusDraft:
    peer: int
    other: int

class Ivposition(Word):
    """IVPosition: the own ID"""

    @property
    def id(self) -> int:
        """[31:0] 0 without a server; revision 0: -1 until it has given one"""
    def read(self) -> int: ...
    def fields(self) -> dict[str, int]: ...
    def wait(self, *, timeout: float, id: SupportsIndex = ...) -> int: ...

class Doorbell(Word):
    """Doorbell: ignored where there is no such peer or vector"""

    store: Callable[[int], None]
    def write(
        self,
        whole: SupportsIndex | None = ...,
        /,
        *,
        vector: SupportsIndex = ...,
        peer: SupportsIndex = ...,
    ) -> None: ...
