"""The vocabulary of accesses: one table, whose spellings in other languages must be words of those languages."""

from __future__ import annotations

import itertools
import re

import pytest

from regmodel.access import RSVD, VOCABULARY, Access, OnRead, OnWrite, Tie

# IEEE 1800.2 (UVM), 18.6.6.2.6: the predefined access policies of a field.
UVM = {
    "RO", "RW", "RC", "RS", "WRC", "WRS", "WC", "WS", "WSRC", "WCRS", "W1C", "W1S", "W1T", "W0C", "W0S", "W0T",
    "W1SRC", "W1CRS", "W0SRC", "W0CRS", "WO", "WOC", "WOS", "W1", "WO1",
}  # fmt: skip
# SystemRDL 2.0, tables 10 to 13: sw, hw, onread, onwrite; 9.5 singlepulse.
SYSTEMRDL = {
    "sw": {"rw", "wr", "r", "w", "rw1", "w1", "na"},
    "hw": {"rw", "wr", "r", "w", "na"},
    "onread": {"rclr", "rset", "ruser"},
    "onwrite": {"woset", "woclr", "wot", "wzs", "wzc", "wzt", "wclr", "wset", "wuser"},
}
# CMSIS-SVD 1.3: access, modifiedWriteValues, readAction.
SVD_ACCESS = {"read-only", "write-only", "read-write", "writeOnce", "read-writeOnce"}
SVD_WRITE = {"oneToClear", "oneToSet", "oneToToggle", "zeroToClear", "zeroToSet", "zeroToToggle", "clear", "set", "modify"}
SVD_READ = {"clear", "set", "modify", "modifyExternal"}
# OpenTitan reggen: swaccess.
OPENTITAN = {"none", "ro", "rc", "rw", "r0w1c", "rw1s", "rw1c", "rw0c", "wo"}

everyone = pytest.mark.parametrize("access", VOCABULARY, ids=str)


def test_names_and_legends_are_unique() -> None:
    assert len({access.name for access in VOCABULARY}) == len(VOCABULARY)
    assert len({access.prose for access in VOCABULARY}) == len(VOCABULARY)


def test_no_two_names_mean_the_same() -> None:
    """Two entries with the same axes would be one behaviour under two names."""
    for a, b in itertools.combinations(VOCABULARY, 2):
        axes = ("readable", "onwrite", "onread", "hardware", "tie", "reserved")
        assert any(getattr(a, axis) != getattr(b, axis) for axis in axes), f"{a} and {b}"


@everyone
def test_spellings_are_words_of_their_languages(access: Access) -> None:
    s = access.spelling
    assert s.uvm is None or s.uvm in UVM
    assert s.opentitan is None or s.opentitan in OPENTITAN
    assert s.systemrdl is not None and s.svd is not None
    for part in s.systemrdl.split("; "):
        name, _, value = part.partition("=")
        assert part == "singlepulse" or value in SYSTEMRDL[name]
    head, *rest = s.svd.split("/")
    assert head in SVD_ACCESS
    assert set(rest) <= SVD_WRITE | SVD_READ


@everyone
def test_spellings_say_what_the_axes_say(access: Access) -> None:
    """A spelling that contradicts the axes would export another device."""
    rdl = dict(part.partition("=")[::2] for part in str(access.spelling.systemrdl).split("; "))
    assert ("r" in rdl["sw"]) == access.readable
    assert ("w" in rdl["sw"]) == (access.onwrite is not OnWrite.NOTHING)
    assert rdl.get("onread") == {OnRead.CLEAR: "rclr", OnRead.SET: "rset"}.get(access.onread)
    expected = {
        OnWrite.ONE_CLEARS: "woclr",
        OnWrite.ZERO_CLEARS: "wzc",
        OnWrite.ONE_SETS: "woset",
        OnWrite.ONE_TOGGLES: "wot",
    }
    assert rdl.get("onwrite") == expected.get(access.onwrite)
    assert ("singlepulse" in rdl) == (access.onwrite is OnWrite.PULSE)
    assert rdl["sw"].endswith("1") == (access.onwrite is OnWrite.ONCE)
    svd = str(access.spelling.svd)
    assert svd.startswith("write-only") == (not access.readable)
    assert svd.startswith("read-only") == (access.onwrite is OnWrite.NOTHING)
    assert bool(re.search("oneTo|zeroTo", svd)) == (access.onwrite in expected)


@everyone
def test_ties_never_lose_an_event(access: Access) -> None:
    """Where software can clear what hardware sets, hardware wins: else an interrupt cause is lost between read and clear."""
    clears = access.onread is OnRead.CLEAR or access.onwrite in (OnWrite.ONE_CLEARS, OnWrite.ZERO_CLEARS)
    assert (access.tie is Tie.HARDWARE) == (clears and access.hardware)


@everyone
def test_side_effects_are_what_a_mapped_page_would_miss(access: Access) -> None:
    plain = access.onread is OnRead.NOTHING and access.onwrite in (OnWrite.NOTHING, OnWrite.STORE)
    assert access.side_effects is not plain


def test_reserved_is_one_access() -> None:
    assert [access for access in VOCABULARY if access.reserved] == [RSVD] and not RSVD.writable


def test_indexing_an_access_makes_a_field() -> None:
    for access in VOCABULARY:
        field = access[7:4]
        assert (field.lsb, field.width, field.access) == (4, 4, access)
        assert (access[3].lsb, access[3].width, access[...].lsb) == (3, 1, -1)
        assert field.where.startswith(__file__)
