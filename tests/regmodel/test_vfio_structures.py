"""The sizes of VFIO's structures and of the messages of vfio-user, as their specifications give them.

Sources: <linux/vfio.h>, sizeof of each structure on a 64-bit host; QEMU docs/interop/vfio-user.rst, the tables of each
command. That construct, ``struct`` and numpy agree on their bytes is for ``test_layout``.
"""

from __future__ import annotations

from regmodel.structures import vfio, vfio_user


def test_structures_of_vfio() -> None:
    sizes = {
        "DEVICE_INFO": 16, "REGION_INFO": 32, "CAPABILITY": 8, "SPARSE_MMAP": 16, "SPARSE_AREA": 16, "IRQ_INFO": 16, "IRQ_SET": 20,
    }  # fmt: skip
    assert {name: getattr(vfio, name).size for name in sizes} == sizes


def test_messages_of_vfio_user() -> None:
    sizes = {
        "HEADER": 16, "VERSION": 4, "DMA_MAP": 32, "DMA_UNMAP": 24, "REGION_ACCESS": 16, "WRITE_MULTI": 8,
        "SINGLE_WRITE": 24, "DMA_ACCESS": 16, "DMA_ACCESS_10": 12,
    }  # fmt: skip
    assert {name: getattr(vfio_user, name).size for name in sizes} == sizes
    assert {width: codec.size for width, codec in vfio_user.REGION_DATA.items()} == {1: 33, 2: 34, 4: 36, 8: 40}
