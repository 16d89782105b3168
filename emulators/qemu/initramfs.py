"""A guest's first and usually only file system: user space, modules and the agent in one archive, made once per content.

May not enter: what is in a kit (``userspace``), what a module needs (``modules``). The archive is not compressed: QEMU
copies it into the guest's memory in no time, while unpacking under TCG takes some.
"""

from __future__ import annotations

import subprocess
import sys
import tempfile
from collections.abc import Mapping
from importlib import resources
from pathlib import Path

from emulators.qemu import cpio, debian, modules, userspace
from emulators.qemu.cache import Cache, digest
from emulators.qemu.errors import LabError
from emulators.qemu.kernels import Kernel, file_digest
from emulators.qemu.userspace import Entry

KEEP = 64
"""So many archives stay in the cache: each set of modules and kits makes another one. This package's tests want about 50: were
there room for fewer, each run would make every one of them again."""

_FOLDERS = ("dev", "proc", "sys", "run", "tmp", "root", "mnt", "etc", "var")  # device nodes come with devtmpfs
_LINKS = {"bin": "usr/bin", "sbin": "usr/sbin", "lib": "usr/lib", "lib64": "usr/lib64", "var/run": "/run",
          "etc/mtab": "/proc/self/mounts",
          "usr/lib64/ld-linux-x86-64.so.2": f"/{debian.LOADER}"}
_FILES = {"etc/passwd": "root:x:0:0:root:/root:/bin/bash\n", "etc/group": "root:x:0:\n",
          "etc/hosts": "127.0.0.1 localhost\n", "root/.bashrc": "PS1='guest \\w # '\n"}


_FOR_AGENT = ("virtio_pci", "virtio_console")
"""What the agent speaks through. Debian links it into its kernels since 6.12; in others it is modules."""

_MAKERS = [Path(module.__file__ or "").read_bytes() for module in (cpio, modules, userspace, sys.modules[__name__])]
"""What an archive is made by, as it was when it was imported: the code of this process, even if somebody edits it."""


def build(cache: Cache, kernel: Kernel, wanted: tuple[str, ...] = (), own: tuple[Path, ...] = (),
          kits: tuple[str, ...] = ("base",)) -> Path:
    """The archive for a kernel with some modules (and those they need) and some kits. In the cache, by content.

    ``own`` are module files used in place of the kernel's modules of the same name.
    """
    for path in own:
        if not path.is_file():
            raise LabError(f"no module {path}: give the path of a .ko file built for Linux {kernel.release}")
    if kernel.modules is not None:
        wanted = (*wanted, *(name for name in _FOR_AGENT if name in modules.index(kernel.modules)))
    kits = tuple(dict.fromkeys(("base", *kits)))
    trees = [userspace.KITS[kit].tree.key if kit in userspace.KITS else kit for kit in kits]
    scripts = _scripts()
    key = digest(kernel.release, str(kernel.modules), *sorted(map(modules.canonical, wanted)), "own",
                 *(f"{path.name} {file_digest(path)}" for path in own), "kits", *trees, *scripts.values(), *_MAKERS)

    def make(part: Path) -> None:
        entries = dict(_skeleton(scripts))
        entries.update(userspace.collect(cache, kits))
        loadable = modules.closure(kernel.modules, wanted, own)
        entries.update(_module_files(cache, kernel.release, loadable))
        with part.open("wb") as file:
            cpio.write(file, entries.values())

    path = cache.entry("initramfs", f"{key}.cpio", make)
    cache.prune("initramfs", KEEP)
    return path


def _scripts() -> dict[str, str]:
    folder = resources.files("emulators.qemu") / "guest"
    return {name: (folder / name).read_text() for name in ("init.sh", "agent.sh")}


def _skeleton(scripts: Mapping[str, str]) -> dict[str, Entry]:
    entries = {name: Entry(name) for name in _FOLDERS}
    entries.update((name, Entry(name, 0o777, target=target)) for name, target in _LINKS.items())
    entries.update((name, Entry(name, 0o644, text.encode())) for name, text in _FILES.items())
    entries["init"] = Entry("init", 0o755, scripts["init.sh"].encode())
    entries["etc/lab/agent.sh"] = Entry("etc/lab/agent.sh", 0o644, scripts["agent.sh"].encode())
    return entries


def _module_files(cache: Cache, release: str, loadable: Mapping[str, bytes]) -> dict[str, Entry]:
    """The modules, and the indexes that modprobe reads: made by the guest's own depmod, for the guest's own modprobe."""
    folder = f"usr/lib/modules/{release}"
    entries = {f"{folder}/{name}.ko": Entry(f"{folder}/{name}.ko", 0o644, data) for name, data in loadable.items()}
    tree = userspace.KITS["base"].tree.path(cache)
    with tempfile.TemporaryDirectory(prefix="regmodel-depmod-") as stage:
        root = Path(stage, "lib/modules", release)
        root.mkdir(parents=True)
        for name, data in loadable.items():
            (root / f"{name}.ko").write_bytes(data)
        (root / "modules.order").write_text("".join(f"{name}.ko\n" for name in loadable))
        (root / "modules.builtin").touch()
        done = subprocess.run([*debian.own_loader(tree, tree / "usr/bin/kmod", "depmod"), "-b", stage, release],
                              capture_output=True, text=True, check=False)
        if done.returncode:
            raise LabError(f"depmod failed for {release}: {done.stderr.strip()}")
        for path in sorted(root.glob("modules.*")):
            entries[f"{folder}/{path.name}"] = Entry(f"{folder}/{path.name}", 0o644, path.read_bytes())
    return entries
