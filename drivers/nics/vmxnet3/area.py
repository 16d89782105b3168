"""A described structure in DMA memory: each access of a number is one access of memory.

In here: paths of a layout onto words of a buffer, and the hand-over of what they cover. Nothing of what a number means.
"""

from __future__ import annotations

from construct import Construct

from drivers.transports import DmaBuffer
from regmodel.layout import layout


class Area:
    """``schema`` at offset ``at`` (bytes) of ``memory``: ``area["devRead.misc.mtu"] = 1500``.

    Raises KeyError for a path that the structure does not have, ValueError for a number that does not fit.
    """

    def __init__(self, memory: DmaBuffer, schema: Construct, at: int = 0) -> None:
        self.schema, self.iova, self.size = schema, memory.iova + at, layout(schema).size
        self._memory, self._at, self._view = memory, at, memory.view[at : at + self.size]
        self._leaves = {leaf.path: leaf for leaf in layout(schema).leaves}
        self._words: dict[str, memoryview] = {}

    def __getitem__(self, path: str) -> int:
        words, index = self._place(path)
        return int(words[index])

    def __setitem__(self, path: str, value: int) -> None:
        words, index = self._place(path)
        words[index] = value

    def _place(self, path: str) -> tuple[memoryview, int]:
        leaf = self._leaves[path]
        if leaf.format not in self._words:
            whole = self.size // leaf.size * leaf.size
            self._words[leaf.format] = self._view[:whole].cast(leaf.format)  # type: ignore[call-overload]
        return self._words[leaf.format], leaf.offset // leaf.size

    def octets(self, path: str) -> memoryview:
        """The bytes of what has no number, to be written."""
        leaf = self._leaves[path]
        return self._view[leaf.offset : leaf.offset + leaf.size]

    def put(self, path: str, **fields: int | str) -> None:
        """Write a word of fields: those that are named, 0 elsewhere."""
        value, known = 0, {f.name: f for f in self._leaves[path].fields}
        for name, wanted in fields.items():
            field = known[name]
            value |= (field.number(wanted) if isinstance(wanted, str) else wanted) << field.lsb
        self[path] = value

    def clear(self) -> None:
        """All bytes 0."""
        self._view[:] = bytes(self.size)

    def sync_for_device(self, path: str = "") -> None:
        """Hand over one number, or all of it."""
        self._memory.sync_for_device(*self._span(path))

    def sync_for_cpu(self, path: str = "") -> None:
        """Take over one number, or all of it."""
        self._memory.sync_for_cpu(*self._span(path))

    def _span(self, path: str) -> tuple[int, int]:
        if not path:
            return self._at, self.size
        leaf = self._leaves[path]
        return self._at + leaf.offset, leaf.size

    def release(self) -> None:
        """Let go of the memory, which is given back next."""
        for words in self._words.values():
            words.release()
        self._words.clear()
        self._view.release()
