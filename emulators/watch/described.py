"""What the page must know of devices before the first value comes: registers, fields, rings. JSON-able."""

from __future__ import annotations

from typing import Any

from regmodel.bank import Bank
from regmodel.catalogue import Device, Ring
from regmodel.function import CONFIG_REGION
from regmodel.registers import Bar


def describe(device: Device) -> dict[str, Any]:
    """The device, its register files by BAR, and its rings."""
    bars = {**device.bars, CONFIG_REGION: device.config}
    return {
        "name": device.name,
        "title": device.title,
        "id": str(device.identity),
        "bars": [
            {"index": index, "name": bar.bar, "registers": _registers(bar, name_of(index, ""))}
            for index, bar in sorted(bars.items())
        ],
        "rings": [
            {"name": r.name, "head": r.head, "tail": r.tail, "length": r.length, "descriptor": _descriptor(r)}
            for r in device.rings
            if r.head and r.formats
        ],
    }


def _descriptor(ring: Ring) -> int:
    """Bytes of one, by which the length of a ring becomes a count."""
    return max(int(form.schema.sizeof()) for form in ring.formats)


def name_of(bar: int, path: str) -> str:
    """A register as the control socket names it."""
    return f"config.{path}" if bar == CONFIG_REGION else path


def _registers(bar: Bar, prefix: str) -> list[dict[str, Any]]:
    """The same cells that ``peek`` reads, in the order of their offsets: registers, and the words of small windows."""
    return [
        {
            "path": f"{prefix}{cell.path}",
            "offset": cell.offset,
            "size": cell.size,
            "doc": bar.docs_of[cell.path.name],
            "fields": [
                {
                    "name": f.name, "lsb": f.lsb, "width": f.width, "access": str(f.access), "prose": f.access.prose,
                    "doc": f.doc, "values": {str(n): name for n, name in f.values.items()},
                }
                for f in cell.fields.values()
            ],
        }
        for cell in sorted(Bank(bar), key=lambda cell: cell.offset)
    ]  # fmt: skip
