"""Named text values: interfaces that are keys and strings rather than bytes at offsets (XenStore).

A ``Key`` is a path with places for numbers and the grammar of its value; ``Keys`` is a directory of them, which finds the
key of a path and writes the path of a key. What is written per line is::

    "rx_vring" / Key("{port}_rx_vring_gref", DECIMALS, ...) * "pages that list the receive ring's grants"

Watching, storing and transactions are not in here: they belong to whoever serves the store.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from regmodel.access import declaring_line
from regmodel.errors import DescriptionError, UsageError
from regmodel.sources import Source


@dataclass(frozen=True)
class Grammar:
    """How a value is spelled: a regular expression that a valid text matches whole, and the two directions."""

    name: str
    pattern: str
    read: Callable[[str], Any] = field(compare=False)
    write: Callable[[Any], str] = field(compare=False)

    def parse(self, text: str) -> Any:
        """The value of ``text``. Raises ``UsageError`` when it is spelled otherwise."""
        if re.fullmatch(self.pattern, text, re.ASCII) is None:
            raise UsageError(f"{text!r} is not {self.name}")
        return self.read(text)

    def build(self, value: Any) -> str:
        """The text of ``value``. Raises ``UsageError`` when it has none."""
        text = self.write(value)
        if re.fullmatch(self.pattern, text, re.ASCII) is None:
            raise UsageError(f"{value!r} cannot be written as {self.name}")
        return text


DECIMAL = Grammar("a decimal number", r"[0-9]+", int, str)
HEX = Grammar("a hexadecimal number without prefix", r"[0-9a-f]+", lambda text: int(text, 16), "{:x}".format)
DECIMALS = Grammar(
    "decimal numbers between commas",
    r"[0-9]+(,[0-9]+)*",
    lambda text: [int(number) for number in text.split(",")],
    lambda numbers: ",".join(str(number) for number in numbers),
)
MAC = Grammar(
    "a MAC address",
    r"[0-9a-f]{2}(:[0-9a-f]{2}){5}",
    lambda text: bytes.fromhex(text.replace(":", "")),
    lambda mac: mac.hex(":"),
)


class Key:
    """One key: ``path`` below its directory, with ``{place}`` where a decimal number stands, and how its value is spelled."""

    def __init__(self, path: str, grammar: Grammar, *sources: Source, name: str = "", doc: str = "", where: str = "") -> None:
        self.path, self.grammar, self.sources, self.name, self.doc = path, grammar, sources, name, doc
        self.where = where or declaring_line()

    def __rtruediv__(self, name: str) -> Key:
        return Key(self.path, self.grammar, *self.sources, name=name, doc=self.doc, where=self.where)

    def __mul__(self, doc: str) -> Key:
        return Key(self.path, self.grammar, *self.sources, name=self.name, doc=doc, where=self.where)


@dataclass(frozen=True)
class Found:
    """What ``Keys.find`` finds: the key and the numbers in its path."""

    key: Key
    places: Mapping[str, int]


class Keys:
    """The keys below one ``directory``, which may hold places of its own: ``/local/domain/{domid}/control/dpdk``.

    Raises ``DescriptionError``: ``key-name``, ``key-duplicate``, ``key-place``, ``key-clash``.
    """

    def __init__(self, directory: str, *keys: Key, doc: str = "") -> None:
        self.directory, self.about, self.where = directory, doc, declaring_line()
        self.entries: dict[str, Key] = {}
        self._patterns: dict[str, re.Pattern[str]] = {}
        for key in keys:
            self._add(key)

    def _add(self, key: Key) -> None:
        path = f"{self.directory}/{key.path}"
        if not key.name:
            raise DescriptionError("key-name", path, key.where, "the key has no name")
        if key.name in self.entries:
            raise DescriptionError("key-duplicate", path, key.where, f"two keys are named {key.name}")
        places = re.findall(r"{(\w*)}", path)
        if len(places) != len(set(places)) or not all(place.isidentifier() for place in places):
            raise DescriptionError("key-place", path, key.where, "each place in a path has a name of its own")
        example = path.format(**dict.fromkeys(places, 0))
        for name, other in self._patterns.items():
            if other.fullmatch(example):
                raise DescriptionError("key-clash", path, key.where, f"{example} would also be {name}")
        self.entries[key.name] = key
        self._patterns[key.name] = re.compile(re.sub(r"\\{(\w+)\\}", r"(?P<\1>[0-9]+)", re.escape(path)), re.ASCII)

    def path(self, name: str, **places: int) -> str:
        """The whole path of key ``name``. Raises ``UsageError`` when a number is missing or there is no such key."""
        if name not in self.entries:
            raise UsageError(f"there is no key {name!r}; there are {', '.join(self.entries)}")
        try:
            return f"{self.directory}/{self.entries[name].path}".format(**places)
        except KeyError as missing:
            raise UsageError(f"the path of {name} needs a number for {missing}") from None

    def find(self, path: str) -> Found | None:
        """The key that ``path`` is, or None."""
        for name, pattern in self._patterns.items():
            if match := pattern.fullmatch(path):
                return Found(self.entries[name], {place: int(number) for place, number in match.groupdict().items()})
        return None

    def __iter__(self) -> Iterator[Key]:
        return iter(self.entries.values())
