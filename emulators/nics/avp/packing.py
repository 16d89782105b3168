"""Large numbers of numbers in a JSON-able state: compressed, in base 64."""

from __future__ import annotations

import base64
import zlib
from typing import Any

import numpy
from numpy.typing import NDArray

from regmodel.function import Buffer


def pack(data: NDArray[Any] | Buffer) -> str:
    return base64.b64encode(zlib.compress(bytes(data), 1)).decode()


def unpack_bytes(text: object, size: int | None = None) -> bytes:
    """Raises ``ValueError`` when it is damaged or not ``size`` bytes."""
    try:
        data = zlib.decompress(base64.b64decode(str(text), validate=True))
    except zlib.error as error:
        raise ValueError(f"compressed state is damaged: {error}") from error
    if size is not None and len(data) != size:
        raise ValueError(f"{len(data)} bytes of compressed state, not {size}")
    return data


def unpack(text: object, dtype: numpy.dtype[Any], count: int) -> NDArray[Any]:
    """Raises ``ValueError``."""
    return numpy.frombuffer(unpack_bytes(text, count * dtype.itemsize), dtype)
