"""The Toeplitz hash, by which NICs of all families spread flows over queues.

In here: the hash of octets under a key. Which octets of a frame are hashed, and what comes of it, is each family's own.

Source: Microsoft, "RSS hashing functions" (NDIS), whose verification suite is the test; VIRTIO 1.3, 5.1.6.4.3.
"""

from __future__ import annotations

from regmodel.function import Buffer


class Toeplitz:
    """The hash under ``key``; one of 40 octets hashes up to 36."""

    def __init__(self, key: bytes) -> None:
        bits, value = 8 * len(key), int.from_bytes(key, "big")
        windows = [value >> bits - 32 - at & 0xFFFF_FFFF for at in range(bits - 32 + 1)]
        self._rows = [_row(windows[8 * at : 8 * at + 8]) for at in range((bits - 32) // 8)]

    def hash(self, data: Buffer) -> int:
        """32 bits."""
        value = 0
        for row, octet in zip(self._rows, data, strict=False):
            value ^= row[octet]
        return value


def _row(windows: list[int]) -> list[int]:
    """What one octet of the input adds to the hash, for each of its values; ``windows`` by its bits, the highest first."""
    row = [0] * 256
    for value in range(1, 256):
        low = value & -value  # the rest of the bits is a row that is known
        row[value] = row[value ^ low] ^ windows[8 - low.bit_length()]
    return row
