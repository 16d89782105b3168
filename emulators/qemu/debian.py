"""Trees of Debian packages: what the lab takes from Debian, unpacked into the cache by mmdebstrap, never installed.

May not enter: what the packages are for. The packages come from trixie and trixie-backports, over the mirror that this
machine's apt uses, and are checked against the Debian archive keys: nothing unauthenticated is unpacked.
"""

from __future__ import annotations

import fnmatch
import re
import shutil
import subprocess
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO
from urllib.parse import urlsplit

from emulators.qemu.cache import Cache, digest
from emulators.qemu.errors import LabError

SUITE = "trixie"
BACKPORTS = "trixie-backports"
FALLBACK_MIRROR = "http://deb.debian.org/debian"
KEYRING = Path("/usr/share/keyrings/debian-archive-keyring.gpg")  # bookworm's, since 2023.3+deb12u2, has trixie's keys
MULTIARCH = "usr/lib/x86_64-linux-gnu"
KEEP = 12  # so many trees stay in the cache, the latest used ones: a changed list of packages makes another one
_SPARED = 86400.0  # seconds: a tree is no file that is opened once; QEMU runs in one as long as its guest does
LOADER = f"{MULTIARCH}/ld-linux-x86-64.so.2"

_NEVER_NEEDED = ("./dev", "./proc", "./sys", "./var", "./usr/share/doc", "./usr/share/man", "./usr/share/locale",
                 "./usr/share/info", "./usr/include")


@dataclass(frozen=True)
class Tree:
    """Some packages and all that they depend on, unpacked side by side.

    A package may be a pattern (``linux-image-7.2.*+deb13-amd64``): of those that ``release`` has, the one with the highest
    numbers in its name. ``release`` is the suite that apt prefers; ``without`` are paths (``./usr/...``) that nobody here
    reads. ``finish`` does to the tree what the packages' installation scripts would have done; another finish of that name
    needs another name.
    """

    name: str
    packages: tuple[str, ...]
    release: str = SUITE
    without: tuple[str, ...] = field(default=())
    finish: Callable[[Path], None] | None = None

    @property
    def key(self) -> str:
        finish = () if self.finish is None else (f"{self.finish.__module__}.{self.finish.__qualname__}",)
        return f"{self.name}-{digest('tree 1', self.release, *self.packages, *_NEVER_NEEDED, *self.without, *finish)}"

    def path(self, cache: Cache) -> Path:
        """Where the tree is; unpacked first if it is not in the cache."""
        what = f"fetching {self.name} (Debian {self.release}: {', '.join(self.packages)})"
        path = cache.entry("trees", self.key, self._unpack, what)
        cache.prune("trees", KEEP, _SPARED)
        return path

    def _unpack(self, part: Path) -> None:
        need("mmdebstrap", "apt-get install mmdebstrap")
        if not KEYRING.exists():
            raise LabError(f"no Debian archive keys in {KEYRING}: apt-get install debian-archive-keyring")
        part.mkdir()
        sources = "".join(_source(suite) for suite in (SUITE, BACKPORTS))
        look = part.with_name(part.name + ".apt")
        packages = [newest(name, self.release, look) if "*" in name else name for name in self.packages]
        # A tar file in between, as mmdebstrap run by another user than root cannot leave a tree that belongs to that user.
        archive, log = (part.with_name(part.name + suffix) for suffix in (".tar", ".log"))
        fetch = ["mmdebstrap", "--variant=extract", "--format=tar", f'--aptopt=APT::Default-Release "{self.release}"',
                 *(f"--aptopt={option}" for option in proxies()), f"--include={','.join(packages)}", SUITE,
                 str(archive), "-"]
        unpack = ["tar", "-x", "-f", str(archive), "--no-same-owner", "-C", str(part),
                  *(f"--exclude={path}" for path in (*_NEVER_NEEDED, *self.without))]
        try:
            with log.open("wb") as stderr:
                if _run_apart(fetch, sources.encode(), stderr) or subprocess.run(unpack, stderr=stderr, check=False).returncode:
                    raise LabError(f"fetching {self.name} failed: {reason(log)} (all of it: {log})")
        finally:
            archive.unlink(missing_ok=True)
        log.unlink()
        for name in ("bin", "sbin", "lib", "lib64"):  # merged /usr, which the base-files package would have made
            if not (part / name).exists():
                (part / name).symlink_to(f"usr/{name}")
        if self.finish is not None:
            self.finish(part)


def _source(suite: str) -> str:
    """A suite as a line of apt's sources."""
    return f"deb [signed-by={KEYRING}] {mirror()} {suite} main\n"


def newest(pattern: str, suite: str, folder: Path) -> str:
    """Of a suite's packages whose names match, the one with the highest numbers in its name.

    For what Debian names by version: a metapackage such as linux-image-amd64 moves on to the next series, and its earlier
    images stay beside it. ``folder`` is apt's while it looks, and is removed.
    """
    options = [f"Dir::State={folder}", f"Dir::State::status={folder}/status", f"Dir::Cache={folder}", "APT::Architecture=amd64",
               f"Dir::Etc::SourceList={folder}/sources.list", "Dir::Etc::SourceParts=-", "Dir::Etc::PreferencesParts=-",
               "APT::Sandbox::User=root", "Acquire::Languages=none"]  # fmt: skip
    apt = [word for option in options for word in ("-o", option)]
    folder.mkdir()
    try:
        (folder / "lists").mkdir()
        (folder / "status").touch()
        (folder / "sources.list").write_text(_source(suite))
        with (folder / "log").open("wb") as log:
            update = subprocess.run(["apt-get", "-qq", *apt, "update", "--error-on=any"], stdout=log, stderr=log, check=False)
        if update.returncode:
            raise LabError(f"reading what Debian {suite} has failed: {reason(folder / 'log')}")
        command = ["apt-cache", *apt, "pkgnames", pattern.partition("*")[0]]
        names = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout.split()
    finally:
        shutil.rmtree(folder)
    found = fnmatch.filter(names, pattern)
    if not found:
        raise LabError(f"Debian {suite} has no package {pattern}: its archive keeps only the latest ones")
    return max(found, key=lambda name: [int(number) for number in re.findall(r"\d+", name)])


def _run_apart(command: list[str], stdin: bytes, stderr: IO[bytes]) -> int:
    """Run a program in a session of its own: mmdebstrap in trouble sends SIGHUP to its whole process group."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=stderr, stderr=stderr, start_new_session=True) as process:
        try:
            process.communicate(stdin)
        except BaseException:  # Ctrl-C does not reach another session by itself
            process.terminate()
            raise
        return process.returncode


def reason(log: Path) -> str:
    """The line of an mmdebstrap log that says why: apt's first error, or else the last line."""
    lines = [line for line in log.read_text(errors="replace").splitlines() if line.strip()]
    errors = [line for line in lines if line.startswith(("E:", "Err:", "W: GPG")) or "tar:" in line]
    return (errors or lines or ["no message"])[0 if errors else -1].strip()


def need(program: str, remedy: str) -> str:
    """The path of a program of this machine, or an error that says how to get it."""
    found = shutil.which(program)
    if found is None:
        raise LabError(f"{program} is not installed: {remedy}")
    return found


def mirror(apt: Path = Path("/etc/apt")) -> str:
    """The Debian mirror of this machine's apt sources, or deb.debian.org. Security and third-party archives do not count."""
    parts = apt / "sources.list.d"
    listings = [*sorted(parts.glob("*.sources")), apt / "sources.list", *sorted(parts.glob("*.list"))]
    for path in listings:
        if not path.is_file():
            continue
        text = path.read_text(errors="replace")
        found = re.findall(r"^URIs:\s*(\S+)", text, re.M) if path.suffix == ".sources" else \
            re.findall(r"^deb\s+(?:\[[^]]*\]\s+)?(\S+)", text, re.M)
        for uri in found:
            if urlsplit(uri).scheme in ("http", "https") and urlsplit(uri).path.rstrip("/").endswith("/debian"):
                return str(uri).rstrip("/")
    return FALLBACK_MIRROR


def proxies() -> list[str]:
    """This machine's apt proxies as apt options: mmdebstrap's own apt does not read the host's configuration."""
    try:
        dump = subprocess.run(["apt-config", "dump"], capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        return []
    return re.findall(r'^(Acquire::https?::Proxy(?:::\S+)? ".+");$', dump, re.M)


def own_loader(tree: Path, program: Path, argv0: str | None = None) -> list[str]:
    """The arguments that run a program of a tree with the tree's own C library, on a host with another one."""
    return [str(tree / LOADER), "--library-path", str(tree / MULTIARCH), "--argv0", argv0 or str(program), str(program)]
