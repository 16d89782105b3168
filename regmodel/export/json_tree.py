"""A description as JSON: the elaborated tree as it is, and the JSON Schema that it follows.

What lives here: the backend ``json``, and ``read``, which takes such a file back. ``docs/schema/description.json`` is the
published schema; it is generated (``python -m regmodel.export.json_tree > docs/schema/description.json``).
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from pydantic import ValidationError

from regmodel.catalogue import Description
from regmodel.errors import UsageError
from regmodel.export import tree
from regmodel.export.elaborate import elaborate
from regmodel.export.omissions import Exported, LeftOut

SCHEMA_ID = "urn:regmodel:description:1"


def json_tree(description: Description, bar: int | None) -> Exported:
    """One file. Left out is what judges and documents need beside the interface itself."""
    found = elaborate(description, bar)
    suffix = f"_{found.bars[0].name}" if bar is not None else ""
    omitted = [
        LeftOut(f":{name}", why)
        for name, why in _BESIDE.items()
        if getattr(description, name, None) and bar is None and getattr(description, name) != type(getattr(description, name))()
    ]
    return Exported({f"{description.name}{suffix}.json": write(found)}, omitted)


_BESIDE = {
    "conduct": "how a judge puts the device to work is code of ours",
    "handshakes": "the order of steps is for people",
    "btf": "which kernel types agree is for tests",
}


def write(found: tree.Description) -> str:
    """The text of a tree; what holds its default is not in it."""
    data = found.model_dump(mode="json", exclude_defaults=True)
    return json.dumps({"format": found.format, **data}, indent=1, ensure_ascii=False) + "\n"


def read(path: Path) -> tree.Description:
    """The tree of a file that ``write`` wrote. Raises ``UsageError`` with the first thing that is wrong with it."""
    try:
        return tree.Description.model_validate_json(path.read_bytes(), strict=False)
    except OSError as error:
        raise UsageError(f"cannot read {path}: {error.strerror}") from None
    except ValidationError as error:
        first = error.errors()[0]
        where = ".".join(str(part) for part in first["loc"])
        text = f"{where}: {first['msg']}" if where else first["msg"]
        raise UsageError(f"{path}: {text}; make such a file with `regmodel export DEVICE --format json`") from None


def schema() -> dict[str, Any]:
    """The JSON Schema (draft 2020-12) of a tree."""
    head = {"$schema": "https://json-schema.org/draft/2020-12/schema", "$id": SCHEMA_ID}
    found: dict[str, Any] = {**head, **tree.Description.model_json_schema()}
    found["required"] = ["format", *found["required"]]
    return found


if __name__ == "__main__":
    print(json.dumps(schema(), indent=1))
