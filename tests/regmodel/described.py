"""All that is described in this repository, found rather than listed: what the property tests run over."""

from __future__ import annotations

import importlib
from functools import cache
from pathlib import Path

from construct import Construct

from regmodel.catalogue import Description, Device, devices
from regmodel.registers import Bar

SKETCHES = Path(__file__).parents[1] / "sketches"


@cache
def descriptions() -> dict[str, Description]:
    """The sketches and the installed devices, by name."""
    found: dict[str, Description] = {}
    for path in sorted(SKETCHES.glob("*.py")):
        if not path.stem.startswith(("_", "test_")):
            found[path.stem] = importlib.import_module(f"tests.sketches.{path.stem}").DESCRIPTION
    return found | devices()


def bars() -> dict[str, Bar]:
    """Every register file, configuration spaces included."""
    found = {f"{name}.{bar.bar}": bar for name, d in descriptions().items() for bar in d.bars.values()}
    return found | {f"{name}.config": d.config for name, d in descriptions().items() if isinstance(d, Device)}


def schemas() -> dict[str, Construct]:
    """Everything of a fixed layout: register files, descriptors, messages, structures."""
    found: dict[str, Construct] = dict(bars())
    for name, d in descriptions().items():
        found |= {f"{name}.{structure}": schema for structure, schema in d.structures.items()}
        found |= {f"{name}.{box.name}.{m.name}": m.schema for box in d.mailboxes for m in box.messages}
        for ring in d.rings:
            formats = (*ring.formats, *ring.device_writes)
            found |= {f"{name}.{ring.name}.{f.name}": f.schema for f in formats}
    return found
