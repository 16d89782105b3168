"""The archive a guest starts from, read back by a reader of its own. That Linux takes it is shown by every guest test."""

from __future__ import annotations

import io
import stat

from hypothesis import given
from hypothesis import strategies as st

from emulators.qemu import cpio
from emulators.qemu.userspace import Entry

Member = tuple[int, bytes]


def _read(archive: bytes) -> dict[str, Member]:
    """Name to (mode, data), after Linux Documentation/driver-api/early-userspace/buffer-format.rst."""
    found: dict[str, Member] = {}
    at = 0
    while True:
        assert archive[at:at + 6] == b"070701" and at % 4 == 0
        fields = [int(archive[at + 6 + 8 * index:at + 14 + 8 * index], 16) for index in range(13)]
        mode, size, name_size = fields[1], fields[6], fields[11]
        name = archive[at + 110:at + 110 + name_size - 1].decode()
        assert archive[at + 110 + name_size - 1] == 0
        start = (at + 110 + name_size + 3) & ~3
        at = (start + size + 3) & ~3
        if name == "TRAILER!!!":
            assert at == len(archive)
            return found
        assert name not in found
        found[name] = (mode, archive[start:start + size])


def _write(*entries: Entry) -> bytes:
    file = io.BytesIO()
    cpio.write(file, entries)
    return file.getvalue()


def test_files_links_and_folders_come_out_as_they_went_in() -> None:
    members = _read(_write(Entry("bin", 0o777, target="usr/bin"), Entry("init", 0o755, b"#!/bin/sh\n"), Entry("proc")))
    assert members == {
        "bin": (stat.S_IFLNK | 0o777, b"usr/bin"),
        "init": (stat.S_IFREG | 0o755, b"#!/bin/sh\n"),
        "proc": (stat.S_IFDIR | 0o755, b""),
    }


def test_parents_come_first() -> None:
    assert list(_read(_write(Entry("usr/lib/x/y", data=b"")))) == ["usr", "usr/lib", "usr/lib/x", "usr/lib/x/y"]


_NAMES = st.text("abc-.", min_size=1, max_size=9).filter(lambda name: name not in (".", ".."))


@given(st.dictionaries(_NAMES, st.binary(max_size=99), max_size=9), st.randoms())
def test_any_content_survives_and_the_order_given_does_not_matter(files: dict[str, bytes], random: object) -> None:
    entries = [Entry(name, data=data) for name, data in files.items()]
    archive = _write(*entries)
    random.shuffle(entries)  # type: ignore[attr-defined]
    assert _write(*entries) == archive
    assert {name: data for name, (_, data) in _read(archive).items()} == files
