"""Linux's own selftests of network drivers (``tools/testing/selftests/drivers/net``) in a guest, out of Debian's sources.

In here: how they get there. Which of them are run, and what has to come of it, is for tests to say. Nothing of them is part
of this package: they come with Debian's ``linux-source`` of the default kernel, unpacked into the cache.

They are Python and talk netlink by the kernel's own descriptions of it, which are YAML and take minutes to be read under TCG
by the library that they use. So the descriptions are made JSON here, and a module ``yaml`` that reads JSON stands in for it.
Their helper programs are linked statically, with this machine's compiler; BPF programs are left out, as that has none.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from pathlib import Path

from emulators.qemu import debian
from emulators.qemu.errors import LabError

KIT = "selftests"
HOME = "usr/lib/selftests"
"""Where they are in a guest: the root of a kernel tree with little in it."""
FOLDER = f"/{HOME}/tools/testing/selftests/drivers/net"
SOURCE = "linux-source-7.2"

_PARTS = ("tools/testing/selftests/drivers/net/*", "tools/testing/selftests/net/lib/*", "tools/testing/selftests/kselftest*.h",
          "tools/net/ynl/pyynl/*", "Documentation/netlink/specs/*")
_PROGRAMS = ("net/lib/csum", "net/lib/xdp_helper")
_YAML = '''"""Reads JSON, which the descriptions are here."""

import json


class SafeLoader:
    """Only its name is needed."""


CSafeLoader = SafeLoader


def load(stream, Loader=None):
    return json.loads("".join(line for line in stream if not line.startswith("#")))
'''


def finish(tree: Path) -> None:
    """Unpack what is needed of the sources, make JSON of YAML, and compile."""
    home, archive = tree / HOME, tree / f"usr/src/{SOURCE}.tar.xz"
    home.mkdir(parents=True)
    _run(["tar", "-x", "-f", str(archive), "-C", str(home), "--strip-components=1", "--wildcards",
          *(f"{SOURCE}/{part}" for part in _PARTS)])  # fmt: skip
    shutil.rmtree(tree / "usr/src")
    _descriptions(home / "Documentation/netlink/specs")
    tests = home / "tools/testing/selftests"
    (home / "tools/yaml.py").write_text(_YAML)
    for program in _PROGRAMS:
        path = tests / program
        compiler = debian.need("gcc", "apt-get install gcc libc6-dev linux-libc-dev")
        _run([compiler, "-O2", "-static", "-w", f"-I{tests}", "-o", str(path), f"{path}.c"])


def _descriptions(folder: Path) -> None:
    try:
        import yaml
    except ModuleNotFoundError as error:
        raise LabError("PyYAML is not installed: pip install pyyaml") from error
    for path in folder.glob("*.yaml"):
        text = path.read_text()
        licence = text.partition("\n")[0]  # a comment, and their reader insists on it
        path.write_text(f"{licence}\n{json.dumps(yaml.safe_load(text), default=str)}\n")


def _run(command: list[str]) -> None:
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise LabError(f"preparing the kernel's selftests failed: {(done.stderr.strip().splitlines() or ['no message'])[0]}")


TREE = debian.Tree(
    "selftests", (SOURCE, "socat", "iperf3"), debian.BACKPORTS, ("./usr/lib/python3*", "./usr/share", "./etc"), finish
)
TAKE = (f"{HOME}/**/*", "usr/bin/socat", "usr/bin/iperf3")
