"""Python in a guest: what a parcel has in it, and when it is made anew; that it runs, in a guest of its own."""

from __future__ import annotations

import importlib
import os
import re
import sys
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulators.qemu import VM, Lab, LabError, debian, python, userspace
from emulators.qemu.cache import Cache
from tests.support.interleaving import At, aged

PACKAGES = python.PACKAGES


@pytest.fixture
def compiled(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """The roots of what was compiled; Debian's interpreter, which does it, is left out of these tests."""
    roots: list[Path] = []
    monkeypatch.setattr(python, "_compile", lambda tree, root, *folders, beside: roots.append(root))
    monkeypatch.setattr(debian.Tree, "path", lambda self, cache: Path("/tree"))
    return roots


@pytest.fixture
def plugin(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An installed distribution of somebody else's, which brings a device."""
    site = tmp_path / "site"
    info = site / "acme-2.0.dist-info"
    info.mkdir(parents=True)
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: acme\nVersion: 2.0\n")
    (info / "entry_points.txt").write_text("[regmodel.devices]\nacme-vf = acme_nic:DEVICE\n")
    (site / "acme_nic.py").write_text("DEVICE = 1\n")
    monkeypatch.syspath_prepend(str(site))
    importlib.invalidate_caches()
    return site / "acme_nic.py"


def members(path: Path) -> dict[str, bytes]:
    with tarfile.open(path) as archive:
        files = {member.name.removeprefix("./"): archive.extractfile(member) for member in archive if member.isfile()}
        return {name: file.read() for name, file in files.items() if file is not None}


def test_a_parcel_has_this_package_and_its_entry_points(tmp_path: Path, compiled: list[Path]) -> None:
    files = members(python.parcel(Cache(tmp_path)))
    assert files[f"{PACKAGES}/regmodel/cli.py"] == Path("regmodel/cli.py").read_bytes()
    assert f"{PACKAGES}/emulators/qemu/guest/agent.sh" in files and f"{PACKAGES}/drivers/errors.py" in files
    assert f"{PACKAGES}/construct/core.py" in files
    points = [data for name, data in files.items() if name.endswith("entry_points.txt")]
    assert any(b"[regmodel.commands]" in data for data in points)
    assert b"from regmodel.cli import main" in files["usr/bin/regmodel"]
    assert not any("__pycache__" in name for name in files)  # of this interpreter, which the guest's cannot read
    with tarfile.open(python.parcel(Cache(tmp_path))) as archive:
        assert archive.getmember("./usr/bin/regmodel").mode & 0o111 == 0o111
        assert {(member.uid, member.gid, member.mtime) for member in archive} == {(0, 0, 0)}


def test_plugins_come_along_and_an_edit_makes_a_new_parcel(tmp_path: Path, compiled: list[Path], plugin: Path) -> None:
    cache = Cache(tmp_path / "cache")
    first = python.parcel(cache)
    files = members(first)
    assert files[f"{PACKAGES}/acme_nic.py"] == b"DEVICE = 1\n"
    assert b"acme-vf = acme_nic:DEVICE" in files[f"{PACKAGES}/acme-2.0.dist-info/entry_points.txt"]
    assert python.parcel(cache) == first and len(compiled) == 1
    plugin.write_text("DEVICE = 2\n")
    assert members(python.parcel(cache))[f"{PACKAGES}/acme_nic.py"] == b"DEVICE = 2\n" and len(compiled) == 2


def test_old_parcels_go(tmp_path: Path, compiled: list[Path], plugin: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(python, "KEEP", 2)
    cache = Cache(tmp_path / "cache")
    for number in range(4):
        plugin.write_text(f"DEVICE = {number}\n")
        aged(python.parcel(cache), hours=9 - number)
    python.parcel(cache)
    assert len(list((cache.root / "parcels").iterdir())) == 2


def test_a_parcel_that_another_process_wants_to_remove_is_whole(tmp_path: Path, compiled: list[Path], at: At) -> None:
    cache = Cache(tmp_path)
    whole = aged(python.parcel(cache), hours=9).read_bytes()
    at(os, "utime", lambda: Cache(tmp_path).prune("parcels", 0))
    assert python.parcel(cache).read_bytes() == whole != b""


def test_byte_code_for_the_guest(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """With this interpreter in place of Debian's: where the files are put, which path they name, and what is said of errors."""
    monkeypatch.setattr(debian, "own_loader", lambda tree, program, argv0=None: [sys.executable])
    monkeypatch.setattr(python.subprocess, "run", _without_home(python.subprocess.run))
    source = tmp_path / PACKAGES / "thing.py"
    source.parent.mkdir(parents=True)
    source.write_text("def where():\n    return where.__code__.co_filename\n")
    python._compile(tmp_path, tmp_path, source.parent, beside=True)
    assert f"/{PACKAGES}/thing.py".encode() in source.with_suffix(".pyc").read_bytes()
    python._compile(tmp_path, tmp_path, source.parent, beside=False)
    assert len(list((source.parent / "__pycache__").iterdir())) == 1
    source.write_text("def where(:\n")
    python._compile(tmp_path, tmp_path, source.parent, beside=False)
    with pytest.raises(LabError, match="making byte code for the guest failed: "):
        python._compile(tmp_path, tmp_path, source.parent, beside=True)


def _without_home(run: object) -> object:
    def without(*args: object, env: object, **more: object) -> object:
        return run(*args, **more)  # type: ignore[operator]

    return without


@pytest.mark.parametrize(
    ("command", "expected"),
    [("regmodel list", True), ("python3 -c 'print(1)'", True), ("/usr/bin/python x.py", True), ("ip link", False), ("", False),
     ("pythonic", False), ("timeout 9 regmodel pmd igbvf", True), ("sleep 1;python x", True), ("cat regmodel.txt", False)],
)  # fmt: skip
def test_which_commands_want_it(command: str, expected: bool) -> None:
    assert python.wanted(command) is expected


def test_a_guest_has_the_memory_that_its_kits_need() -> None:
    assert userspace.memory(()) == "256M"
    assert userspace.memory(("tcpdump", "python")) == "512M"


@pytest.fixture(scope="module")
def guest(lab: Lab) -> Iterator[VM]:
    with lab.vm(kits=["python"], name="python") as vm:
        yield vm


@pytest.mark.guest
class TestInTheGuest:
    def test_the_binary_packages_work(self, guest: VM) -> None:
        import construct

        script = "import numpy, construct, greenlet; print(numpy.ones((2, 3)) @ numpy.arange(3), construct.__version__)"
        assert guest.run(f"python3 -c '{script}'", check=True).text == f"[3. 3.] {construct.__version__}"
        eigenvalues = "import numpy; print(numpy.linalg.eigvalsh([[2, 0], [0, 3]]))"
        assert guest.run(f"python3 -c '{eigenvalues}'", check=True).text == "[2. 3.]"

    def test_commands_and_devices_are_found(self, guest: VM) -> None:
        said = guest.run("regmodel list", check=True)
        assert re.search(r"^igbvf +8086:10ca ", said.text, re.M) and said.stderr == b""
        assert guest.run("regmodel nonsense").stderr.decode().startswith("regmodel: No such command 'nonsense'")
        assert "STATUS" in guest.run("regmodel show igbvf status", check=True).text.upper()

    def test_what_is_imported_was_compiled_before(self, guest: VM) -> None:
        script = "import regmodel.cli as m; print(m.__cached__, m.__spec__.loader.get_source('regmodel.cli')[:3])"
        cached, quotes = guest.run(f'python3 -c "{script}"', check=True).text.split()
        assert quotes == '"""' and guest.run(f"[ -e {cached} ]").status == 0
