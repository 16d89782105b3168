"""The simulator: whether there is one, whether it is new enough, and how it is started.

What lives here: versions and command lines. cocotb 2 wants Icarus Verilog 11; it is started as its "custom flows" say,
without a Makefile: https://docs.cocotb.org/en/stable/custom_flows.html.
"""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
from collections.abc import Iterable, Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from regmodel.conformance.accesses import TargetGone
from regmodel.errors import RegmodelError

ICARUS = (11, 0)
PACKAGES = {"cocotb": (2, 1), "cocotbext-axi": (0, 1, 28)}


class SimulatorError(RegmodelError):
    """There is no simulator, or not one that will do, or it refuses the source. Nothing was judged: incomplete."""

    status = 3


class SimulationGone(TargetGone):
    """The simulation ended, or does not answer."""


def check() -> None:
    """Raise ``SimulatorError`` unless simulator and packages are there, and say what to install."""
    icarus = shutil.which("iverilog")
    if icarus is None or shutil.which("vvp") is None:
        raise SimulatorError("iverilog is not on the PATH; install Icarus Verilog 11 or later (apt install iverilog)")
    text = subprocess.run([icarus, "-V"], capture_output=True, text=True, timeout=30).stdout
    found = re.search(r"Icarus Verilog version (\d+)\.(\d+)", text)
    if found is None:
        raise SimulatorError(f"{icarus} does not say that it is Icarus Verilog")
    if (int(found[1]), int(found[2])) < ICARUS:
        raise SimulatorError(f"{icarus} is Icarus Verilog {found[1]}.{found[2]}; cocotb 2 needs 11.0 or later")
    for package, least in PACKAGES.items():
        wanted = ".".join(map(str, least))
        try:
            have = version(package)
        except PackageNotFoundError:
            raise SimulatorError(f"{package} is not installed; pip install '{package}>={wanted}'") from None
        if tuple(int(n) for n in re.findall(r"\d+", have)[: len(least)]) < least:
            raise SimulatorError(f"{package} is {have}; pip install '{package}>={wanted}'")


def compile_verilog(source: Path, top: str) -> Path:
    """Compile one file. Raises ``SimulatorError`` with the first complaint."""
    program = source.with_suffix(".vvp")
    command = ["iverilog", "-g2005", "-s", top, "-o", str(program), str(source)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    if done.returncode:
        complaint = (done.stderr or done.stdout).strip().partition("\n")[0]
        raise SimulatorError(f"iverilog refuses {source}: {complaint}")
    return program


def start(
    program: Path, top: str, module: str, log: Path, fds: Iterable[int] = (), more: Mapping[str, str] | None = None
) -> subprocess.Popen[bytes]:
    """Run a compiled simulation with the cocotb tests of ``module`` in it.

    It inherits ``fds`` and ``more`` environment; its output goes to ``log``, its results to the XML file beside it.
    """
    from cocotb_tools import config
    from find_libpython import find_libpython

    library = find_libpython()
    if library is None:
        raise SimulatorError(f"cocotb needs the shared library of {sys.executable}; install libpython3-dev")
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(p for p in sys.path if p),
        "PYGPI_PYTHON_BIN": sys.executable,
        "GPI_USERS": f"{library};{config.pygpi_entry_point()}",
        "COCOTB_TOPLEVEL": top,
        "COCOTB_TEST_MODULES": module,
        "COCOTB_RESULTS_FILE": str(log.with_suffix(".xml")),
        "COCOTB_LOG_LEVEL": "WARNING",
        "PYTHONWARNINGS": "ignore::DeprecationWarning",  # of cocotb, told to cocotbext-axi
        "TOPLEVEL_LANG": "verilog",
        **(more or {}),
    }
    command = ["vvp", "-m", config.lib_entry("vpi", "icarus"), str(program), "-none"]
    with log.open("wb") as out:
        return subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=out, stderr=out, env=environment, cwd=log.parent, pass_fds=tuple(fds)
        )
