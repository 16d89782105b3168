"""What a virtqueue hands over to the device, and what it looks at: bytes that the other side may be writing stay its own."""

from __future__ import annotations

from typing import Any, cast

import numpy as np
import pytest

from drivers.nics.virtio.packed import DESC, PackedQueue
from drivers.nics.virtio.split import SplitQueue
from drivers.nics.virtio.virtqueue import Virtqueue
from drivers.transports import Transport

SIZE = 8
QUEUES = pytest.mark.parametrize("kind", [SplitQueue, PackedQueue])


class Memory:
    """One allocation, which tells what is handed over."""

    def __init__(self, size: int) -> None:
        self.iova, self.size, self.view = 0x1000_0000, size, memoryview(bytearray(size))
        self.given: list[tuple[int, int]] = []
        self.looked: list[tuple[int, int]] = []

    def sync_for_device(self, offset: int = 0, size: int | None = None) -> None:
        self.given.append((offset, self.size - offset if size is None else size))

    def sync_for_cpu(self, offset: int = 0, size: int | None = None) -> None:
        self.looked.append((offset, self.size - offset if size is None else size))


class Platform:
    def alloc(self, size: int) -> Any:
        self.memory = Memory(size)
        return self.memory


def made(kind: Any, **more: bool) -> tuple[Virtqueue, Memory]:
    platform = Platform()
    queue = kind(cast(Transport, platform), SIZE, event_idx=True, **more)
    platform.memory.given.clear()
    return queue, platform.memory


def add(queue: Virtqueue, count: int) -> None:
    queue.add(np.zeros(count, np.uint64), 64, np.arange(count), written=False)


def test_of_a_packed_ring_what_is_new_and_no_more() -> None:
    queue, memory = made(PackedQueue)
    add(queue, 3)
    queue.publish()
    assert memory.given == [(0, 3 * DESC)]


def test_a_chain_over_the_end_of_a_packed_ring_begins_last() -> None:
    queue, memory = made(PackedQueue)
    add(queue, SIZE - 1)
    queue.publish()
    words = memory.view.cast("H")
    for at in range(SIZE - 1):
        words[8 * at + 7] = 0x8080  # used
    assert len(queue.take(SIZE)[0]) == SIZE - 1
    memory.given.clear()
    queue.add_chain([(0, 64, False)] * 3, 0)
    queue.publish()
    assert memory.given == [(0, 2 * DESC), ((SIZE - 1) * DESC, DESC)]


@QUEUES
def test_always_means_without_a_look_at_the_device(kind: Any) -> None:
    queue, memory = made(kind, always=True)
    for _ in range(3):
        add(queue, 1)
        assert queue.publish()
    assert memory.looked == [] and not queue.publish()


def test_a_wish_of_a_split_queue_is_two_bytes() -> None:
    queue, memory = made(SplitQueue)
    add(queue, 1)
    queue.publish()
    assert memory.looked == [(memory.size - 2, 2)]
    queue.take(1)
    (_, (first, octets)) = memory.looked
    assert first % 4 == 2 and octets == 2 + 8 * SIZE
