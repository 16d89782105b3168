"""The guest image, made of the sources in ``x86/`` by the host's gcc and ld.

May not enter: where it is kept. ``key`` names its content, for a cache; building takes half a second.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
from pathlib import Path

from firmware import header
from firmware.errors import BuildError

SOURCES = Path(__file__).with_name("x86")
LINKER_SCRIPT = SOURCES / "image.ld"
COMPILER, LINKER = "gcc", "ld"
PACKAGES = {COMPILER: "gcc", LINKER: "binutils"}
"""What Debian calls them."""
FLAGS = (
    "-m64", "-std=gnu11", "-O2", "-g", "-Wall", "-Wextra", "-ffreestanding", "-fno-pic", "-mcmodel=small",
    "-mno-red-zone",  # interrupts use the stack that they meet
    "-mgeneral-regs-only",  # nobody saves others
    "-fno-stack-protector", "-fcf-protection=none", "-fno-asynchronous-unwind-tables", "-fno-common",
    "-fno-tree-loop-distribute-patterns",  # would call memset and memcpy, of which there is none
)  # fmt: skip


def sources() -> list[Path]:
    """What is compiled, in the order in which it is linked."""
    return sorted(path for path in SOURCES.iterdir() if path.suffix in (".S", ".c"))


def key() -> str:
    """A name for the content of the image: 16 hexadecimal digits over sources, layouts, flags and compiler."""
    sha = hashlib.sha256(repr((FLAGS, _version(COMPILER), _version(LINKER))).encode())
    sha.update(header.text().encode())
    for path in sorted(SOURCES.iterdir()):
        sha.update(path.name.encode() + b"\0" + path.read_bytes())
    return sha.hexdigest()[:16]


def build(target: Path) -> None:
    """Write the image to ``target``. Raises ``BuildError`` where a tool is missing, or refuses a source."""
    for tool in (COMPILER, LINKER):
        _find(tool)
    with tempfile.TemporaryDirectory(prefix="regmodel-firmware-") as folder:
        (Path(folder) / "format.h").write_text(header.text())
        objects = []
        for source in sources():
            objects.append(str(Path(folder) / f"{source.stem}.o"))
            _run([COMPILER, *FLAGS, "-I", folder, "-c", str(source), "-o", objects[-1]])
        _run([LINKER, "-nostdlib", "-static", "--build-id=none", "-z", "noexecstack", "-z", "max-page-size=4096",
              "-T", str(LINKER_SCRIPT), "-o", str(target), *objects])


def _find(tool: str) -> str:
    found = shutil.which(tool)
    if found is None:
        raise BuildError(f"{tool} is missing, and the firmware image is built with it: apt install {PACKAGES[tool]}")
    return found


def _version(tool: str) -> str:
    return subprocess.run([_find(tool), "--version"], capture_output=True, text=True, check=False).stdout


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if "error" in line] or done.stderr.splitlines() or ["no message"]
        raise BuildError(f"{command[0]} does not build the firmware image: {said[0]}")
