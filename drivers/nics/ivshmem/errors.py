"""What can go wrong with what DPDK shares through IVSHMEM, by kind: mostly the errors of the original, which only logs them."""

from __future__ import annotations

from drivers.errors import DriverError


class SharedMemoryError(DriverError):
    """The root of what this library raises."""


# -- on the host


class TooManyMetadata(SharedMemoryError):
    """A host has at most 32 metadata files."""


class MetadataExists(SharedMemoryError):
    """Another metadata file has this name, or its file is in use."""


class NoSuchMetadata(SharedMemoryError):
    """There is no metadata file of this name."""


class MetadataFull(SharedMemoryError):
    """A metadata file has 128 entries."""


class BadMemzone(SharedMemoryError):
    """A memory zone that is empty, that overlaps another one of the file, or whose name is too long."""


class OutOfHugepages(SharedMemoryError):
    """The hugepages have no room for it, or there are more of them than one file can have."""


class AlreadyShared(SharedMemoryError):
    """A hugepage is in another device's memory: one BAR is one file, and a page has one place in it."""


# -- in the guest


class BadMagic(SharedMemoryError):
    """There is no magic number where metadata would begin: they are damaged, or the device is none of DPDK's."""


class MetadataTruncated(SharedMemoryError):
    """BAR 2 is smaller than the metadata that every device of a DPDK guest has to have room for."""


class SegmentOutside(SharedMemoryError):
    """An entry of the metadata points outside of BAR 2."""


class SegmentsOverlap(SharedMemoryError):
    """Two segments overlap in some of their three addresses, but not in all."""


class TooManySegments(SharedMemoryError):
    """A guest has at most 256 segments."""


# -- on both sides


class NothingThere(SharedMemoryError):
    """A pointer into no segment, or a name that no memory zone has."""


class RingDamaged(SharedMemoryError):
    """A ring whose sizes contradict each other, or whose indices cannot be."""


class MempoolDamaged(SharedMemoryError):
    """A pool whose sizes contradict each other, or an object that is none of it."""
