"""A device package outside of the tree is treated as ours by every command, and so is a driver of one's own.

The package (``tests/support/acme``) is installed into a folder of its own; the driver is ``igbvf`` built from Debian's
``linux-source`` for the kernel that it is loaded into.
"""

from __future__ import annotations

import re
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from emulators.process import ServerProcess
from emulators.qemu.cache import Cache
from tests.support.inputs import missing

ACME = Path(__file__).parent / "support" / "acme"
TARBALL = Path("/usr/src/linux-source-6.1.tar.xz")
IGBVF = "linux-source-6.1/drivers/net/ethernet/intel/igbvf/"


@pytest.fixture(scope="session")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder that the package was installed into, as pip does it."""
    source = tmp_path_factory.mktemp("source") / "acme"
    shutil.copytree(ACME, source, ignore=shutil.ignore_patterns("__pycache__"))
    target = tmp_path_factory.mktemp("site")
    pip = [sys.executable, "-m", "pip", "install", "-q", "--no-deps", "--disable-pip-version-check"]
    subprocess.run([*pip, "--target", str(target), str(source)], check=True)
    return target


@pytest.fixture
def regmodel(installed: Path, monkeypatch: pytest.MonkeyPatch):
    """Runs the command with the package installed; its output, and its exit status if it is not 0."""
    monkeypatch.setenv("PYTHONPATH", str(installed))

    def run(*words: str, status: int = 0, timeout: float = 120) -> str:
        command = [sys.executable, "-m", "regmodel.cli", *words]
        result = subprocess.run(command, capture_output=True, text=True, timeout=timeout)
        assert result.returncode == status, result.stderr
        assert "Traceback" not in result.stderr
        return result.stdout if status == 0 else result.stderr

    return run


@pytest.mark.parametrize("name", ["acme-vf", "FILE"])
def test_every_command_treats_it_as_ours(regmodel, installed: Path, tmp_path: Path, name: str) -> None:
    if name == "FILE":
        name = f"{installed}/acme/device.py:ACME_VF"
    else:
        assert re.search(r"acme-vf +8086:10ca +ACME VF board", regmodel("list"))
    assert "ACME VF board" in regmodel("show", name)
    assert "revision" in regmodel("show", name, "board_revision")
    assert "0x2a" in regmodel("decode", name, "board_revision", "0x2a").lower() or "42" in regmodel(
        "decode", name, "board_revision", "0x2a"
    )
    assert "dtyp" in regmodel("decode", name, "--descriptor", "tx_data", "00" * 16)
    with ServerProcess([name, name]) as server:
        functions = server.control().ask("hello")["functions"]
        assert [f["name"] for f in functions] == ["vf0", "vf1"]
        assert server.control().ask("peek", function="vf0", paths=["board_revision"]) == {"board_revision": 0x2A}
        assert "port0" in regmodel("ctl", str(server.control_path), "stats")
        assert regmodel("trace", str(server.control_path), "--recent") == ""


@pytest.fixture(scope="session")
def own_kernel(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Path, Path]:
    """A developer's own kernel: image, modules, and the headers to build more with. Here: bookworm's 6.1, by its packages."""
    headers = sorted(Path("/usr/src").glob("linux-headers-6.1.*-amd64"))
    if not headers:
        missing("linux-headers-amd64", "run `make setup`")
    release = headers[-1].name.removeprefix("linux-headers-")

    def make(part: Path) -> None:
        folder = tmp_path_factory.mktemp("kernel")
        subprocess.run(["apt-get", "download", "-qq", f"linux-image-{release}"], cwd=folder, check=True)
        subprocess.run(["dpkg-deb", "-x", str(next(folder.glob("*.deb"))), str(part)], check=True)

    tree = Cache().entry("own-kernel", release, make)
    return tree / "boot" / f"vmlinuz-{release}", tree / "lib/modules" / release, headers[-1]


@pytest.fixture(scope="session")
def own_igbvf(own_kernel: tuple[Path, Path, Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """``igbvf.ko`` as a driver developer has it: built from source, with a version of its own."""
    if not TARBALL.exists():
        missing(str(TARBALL), "run `make setup`")
    folder = tmp_path_factory.mktemp("igbvf")
    with tarfile.open(TARBALL) as tar:
        for member in tar:
            if member.name.startswith(IGBVF) and member.isfile():
                member.name = Path(member.name).name
                tar.extract(member, folder, filter="data")
    netdev = folder / "netdev.c"
    stock = "Intel(R) Gigabit Virtual Function Network Driver"
    netdev.write_text(netdev.read_text().replace(stock, "igbvf of a driver developer"))
    make = ["make", "-s", "-C", str(own_kernel[2]), f"M={folder}", "CONFIG_IGBVF=m", "modules"]
    subprocess.run(make, check=True, capture_output=True)
    return folder / "igbvf.ko"


@pytest.mark.guest
def test_own_device_kernel_and_driver_in_one_command(regmodel, own_kernel, own_igbvf: Path, tmp_path: Path) -> None:
    saved = tmp_path / "boot.jsonl"
    script = "ip link set eth0 up; sleep 2; dmesg | grep igbvf; ethtool -i eth0; lspci -nnv; uname -r; exit 7"
    command = [
        "vm", "--device", "acme-vf", "--kernel", str(own_kernel[0]), "--modules", str(own_kernel[1]),
        "--module", str(own_igbvf), "--trace", str(saved), "--share", str(tmp_path),
        "--", "sh", "-c", f"({script}) > /mnt/share/said 2>&1",
    ]  # fmt: skip
    regmodel(*command, status=7)
    said = (tmp_path / "said").read_text()
    assert "igbvf of a driver developer" in said
    assert "driver: igbvf" in said
    assert "ACME" not in said and "[ace0:0001]" in said
    assert own_kernel[0].name.removeprefix("vmlinuz-") in said
    assert "Link is Up 1000 Mbps Full Duplex" in said
    decoded = regmodel("trace", str(saved))
    assert re.search(r"W v2pmailbox +0x0+4 +vfu", decoded)
    assert "VF->PF reset" in decoded and "PF->VF reset_reply" in decoded
