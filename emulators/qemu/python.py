"""Python in a guest: the interpreter and binary packages of Debian, and this package as it is at the moment of the boot.

May not enter: what is run there. Two things come together in a guest with the kit ``python``:

- the kit (``userspace.KITS``): Debian's interpreter, standard library, numpy and what the command line needs. It is in the
  guest's archive as byte code alone, which is half the size, and starts twice as fast under TCG as sources do;
- the *parcel*: the sources of this package and of installed plug-ins, with their entry points and byte code. It is unpacked
  into the running guest, so that the guest has what was last saved, and an edit makes no archive anew.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from pathlib import Path

from emulators.qemu import debian
from emulators.qemu.cache import Cache, digest
from emulators.qemu.errors import LabError

KIT = "python"
KEEP = 4  # so many parcels stay in the cache: each edit makes another one
PACKAGES = "usr/lib/python3/dist-packages"  # where Debian's interpreter finds them, whatever its version

_STDLIB = "usr/lib/python3.*"
_OURS = ("regmodel", "emulators", "drivers", "firmware")
_FROM_HERE = ("construct",)  # Debian's is another version than the one that descriptions are written for
_SCRIPT = "#!/usr/bin/python3\nfrom regmodel.cli import main\n\nmain()\n"
_NOT_IN_PARCELS = ("__pycache__",)


def finish(tree: Path) -> None:
    """Do what the installation scripts of the packages would have done: default libraries, byte code beside the sources."""
    for name in ("blas", "lapack"):  # Debian's alternatives
        (tree / debian.MULTIARCH / f"lib{name}.so.3").symlink_to(f"{name}/lib{name}.so.3")
    (tree / "usr/bin/python").symlink_to("python3")
    stdlib = next(tree.glob(_STDLIB))
    _compile(tree, tree, stdlib, tree / PACKAGES, beside=True)


TREE = debian.Tree(
    "python", ("python3", "python3-numpy", "python3-greenlet", "python3-scapy", "python3-typer", "libatomic1"),
    without=(  # patterns of tar(1)
        *(f"./usr/lib/python3*/{name}" for name in ("test", "ensurepip", "pydoc_data", "idlelib")),
        f"./{PACKAGES}/*/tests", f"./{PACKAGES}/numpy/f2py", f"./{PACKAGES}/numpy/*_tests.*.so",
        f"./{PACKAGES}/numpy/_core/_simd.*.so", "./usr/share",
        *(f"./{PACKAGES}/scapy/{name}" for name in ("contrib", "layers", "modules", "tools")),  # it reads and writes captures
    ),
    finish=finish,
)  # fmt: skip

TAKE = ("usr/bin/python3", "usr/bin/python", f"{_STDLIB}/**/*.pyc", f"{_STDLIB}/lib-dynload/*.so",
        f"{PACKAGES}/**/*.pyc", f"{PACKAGES}/**/*.so", f"{PACKAGES}/*-info/*",
        f"{debian.MULTIARCH}/libatomic.so.1*")  # for rings with several producers, which load it by name
"""What the kit takes from the tree; sources are not among it."""


def parcel(cache: Cache) -> Path:
    """A tar archive to unpack at the root of a guest: this package and installed plug-ins, as they are now."""
    files = dict(_contents())
    key = digest("parcel 1", TREE.key, *(part for name in sorted(files) for part in (name, files[name])))

    def make(part: Path) -> None:
        with tempfile.TemporaryDirectory(prefix="regmodel-parcel-") as stage:
            for name, data in files.items():
                path = Path(stage, name)
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            Path(stage, "usr/bin/regmodel").chmod(0o755)
            _compile(TREE.path(cache), Path(stage), Path(stage, PACKAGES), beside=False)
            with tarfile.open(part, "w") as archive:
                archive.add(stage, ".", filter=_owned_by_root)

    path = cache.entry("parcels", f"{key}.tar", make)
    cache.prune("parcels", KEEP)
    return path


def wanted(command: str) -> bool:
    """Whether a shell command runs a program of this kit."""
    return re.search(r"(?<![\w.-])(regmodel|python3?)(?![\w.-])", command) is not None


def _contents() -> Iterator[tuple[str, bytes]]:
    """Path in the guest and content of every file of a parcel, byte code left out."""
    modules = [*_OURS, *_FROM_HERE]
    for distribution in _with_entry_points():
        modules += [point.module.partition(".")[0] for point in distribution.entry_points if _is_ours(point)]
        name, version = distribution.name, distribution.version
        folder = f"{PACKAGES}/{name}-{version}.dist-info"
        yield f"{folder}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n".encode()
        yield f"{folder}/entry_points.txt", (distribution.read_text("entry_points.txt") or "").encode()
    for module in dict.fromkeys(modules):
        yield from _module(module)
    yield "usr/bin/regmodel", _SCRIPT.encode()


def _with_entry_points() -> list[importlib.metadata.Distribution]:
    """This package and its plug-ins, the first one of each name, as the import system does it."""
    found: dict[str, importlib.metadata.Distribution] = {}
    for distribution in importlib.metadata.distributions():
        if any(map(_is_ours, distribution.entry_points)):
            found.setdefault(distribution.name, distribution)
    return list(found.values())


def _is_ours(point: importlib.metadata.EntryPoint) -> bool:
    return point.group.startswith("regmodel.")


def _module(name: str) -> Iterator[tuple[str, bytes]]:
    """The files of a top-level module or package of this process's."""
    spec = importlib.util.find_spec(name)
    if spec is None:
        return  # an entry point of something that was moved: the guest then says what the host would
    if spec.submodule_search_locations is None:
        if spec.origin is not None:
            yield f"{PACKAGES}/{Path(spec.origin).name}", Path(spec.origin).read_bytes()
        return
    for folder in map(Path, spec.submodule_search_locations):
        for path in sorted(folder.rglob("*")):
            inside = path.relative_to(folder)
            if path.is_file() and not any(part in _NOT_IN_PARCELS for part in inside.parts):
                yield f"{PACKAGES}/{name}/{inside}", path.read_bytes()


def _compile(tree: Path, root: Path, *folders: Path, beside: bool) -> None:
    """Byte code for what is in ``folders``, by the interpreter of ``tree``; ``root`` is ``/`` in the guest.

    It is not checked against the sources (PEP 552, "unchecked hash"): in a guest those do not change or are not there.
    ``beside`` puts it where an import finds it without the source. Where it is not, a source that does not compile is left
    for the guest to complain about, as this interpreter would.
    """
    interpreter = debian.own_loader(tree, tree / "usr/bin/python3", "python3")
    place = ["-b"] if beside else []
    done = subprocess.run(
        [*interpreter, "-m", "compileall", "-q", *place, "--invalidation-mode", "unchecked-hash", "-s", str(root), "-p", "/",
         *map(str, folders)],
        env={"PYTHONHOME": str(tree / "usr"), "PYTHONDONTWRITEBYTECODE": "1"}, capture_output=True, text=True, check=False,
    )  # fmt: skip
    if done.returncode and (beside or done.stderr):
        raise LabError(f"making byte code for the guest failed: {(done.stdout + done.stderr).strip().splitlines()[-1]}")


def _owned_by_root(member: tarfile.TarInfo) -> tarfile.TarInfo:
    member.uid = member.gid = member.mtime = 0
    member.uname = member.gname = "root"
    member.mode |= 0o755 if member.isdir() else 0o644
    return member
