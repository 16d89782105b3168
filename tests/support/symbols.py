"""Preprocessor symbols and enumerators of public source trees, evaluated by a compiler.

``evaluate`` takes many symbols and compiles one small program: per cited file a function which holds that file's macros
and enumerations, so files that give different meanings to one name do not meet. Kernel headers do not compile outside of
a kernel, so only their ``#define`` lines are taken (macros that nobody uses cost nothing), after those of their neighbours.

Sources: ``linux-source`` is the tarball of Debian's package ``linux-source-*``, of which the cited folders are unpacked
into the cache once; ``libdpdk-dev`` is installed headers.
"""

from __future__ import annotations

import re
import subprocess
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from emulators.qemu.cache import Cache, digest
from regmodel.sources import Symbol
from tests.support.inputs import missing

TARBALLS = Path("/usr/src")
DPDK = Path("/usr/include/dpdk")
USR = Path("/usr")
NEIGHBOURS = 100  # folders with more headers than this do not lend their macros
PRELUDE = """
#include <stdio.h>
#include <stdint.h>
typedef uint8_t u8; typedef uint16_t u16; typedef uint32_t u32; typedef uint64_t u64;
#define BIT(n) (1UL << (n))
#define BIT_ULL(n) (1ULL << (n))
#define GENMASK(h, l) ((~0UL >> (63 - (h))) & (~0UL << (l)))
#define cpu_to_le16(x) (x)
#define cpu_to_le32(x) (x)
#define cpu_to_le64(x) (x)
"""


@dataclass(frozen=True)
class Unresolved:
    """Why a symbol has no value."""

    why: str


def evaluate(symbols: Iterable[Symbol], tree: Callable[[str, set[str]], Path] | None = None) -> dict[Symbol, int | Unresolved]:
    """The value of each symbol, before its ``base`` and ``shift``. ``tree`` says where (package, files) are unpacked."""
    wanted = sorted({_plain(s) for s in symbols}, key=str)
    files = {package: {s.file for s in wanted if s.package == package} for package in {s.package for s in wanted}}
    roots = {package: (tree or unpacked)(package, cited) for package, cited in files.items()}
    found: dict[Symbol, int | Unresolved] = {}
    functions: list[str] = []
    for package, cited in sorted(files.items()):
        for file in sorted(cited):
            here = [s for s in wanted if (s.package, s.file) == (package, file)]
            functions.append(_function(len(functions), roots[package] / file, here, wanted, found))
    for number, value in _run(functions).items():
        found[wanted[number]] = value
    return found


def _plain(symbol: Symbol) -> Symbol:
    return replace(symbol, base=0, shift=0, of=None, bit=False)


def value_of(symbol: Symbol, values: Mapping[Symbol, int | Unresolved]) -> int | Unresolved:
    """What ``symbol`` claims: its value from ``evaluate``, with ``base`` added and shifted."""
    value = values[_plain(symbol)]
    if isinstance(value, Unresolved):
        return value
    value += symbol.base
    return value << symbol.shift if symbol.shift >= 0 else value >> -symbol.shift


def _function(number: int, file: Path, symbols: list[Symbol], all_: list[Symbol], found: dict[Symbol, int | Unresolved]) -> str:
    """C source of the function that prints the values of ``symbols``, all of one ``file``."""
    if not file.is_file():
        found |= {s: Unresolved(f"there is no file {s.package}:{s.file}") for s in symbols}
        return ""
    neighbours = sorted(path for path in file.parent.glob("*.h") if path != file)
    defines: dict[str, str] = {}
    for path in (*(neighbours if len(neighbours) <= NEIGHBOURS else ()), file):
        defines |= _defines(path)
    own = _defines(file)
    enums = [body for body in _enums(file) if any(re.search(rf"\b{s.name}\b", body) for s in symbols)]
    lines = [f"static void file{number}(void)", "{"]
    for name, line in defines.items():
        lines += [f"#undef {name}", line]
    lines += [f"enum {{ {body} }};" for body in enums]
    for symbol in symbols:
        if symbol.name not in own and not any(re.search(rf"\b{symbol.name}\b", body) for body in enums):
            found[symbol] = Unresolved(f"{symbol.package}:{symbol.file} defines no {symbol.name}")
            continue
        lines.append(f'printf("%d %llu\\n", {all_.index(symbol)}, (unsigned long long)({symbol.call()}));')
    lines += ["}", *(f"#undef {name}" for name in defines)]
    return "\n".join(lines)


def _text(file: Path) -> str:
    """The file without comments and line continuations."""
    text = re.sub(r"/\*.*?\*/", " ", file.read_text(errors="replace"), flags=re.S)
    return re.sub(r"//[^\n]*", "", text).replace("\\\n", " ")


def _defines(file: Path) -> dict[str, str]:
    """``#define`` lines by name."""
    found = re.findall(r"^[ \t]*#[ \t]*define[ \t]+(\w+)((?:\([^)]*\))?[^\n]*)$", _text(file), flags=re.M)
    return {name: f"#define {name}{rest}" for name, rest in found}


def _enums(file: Path) -> list[str]:
    return re.findall(r"\benum\b[^{};()]*\{([^}]*)\}", re.sub(r"^[ \t]*#.*$", "", _text(file), flags=re.M))


def _run(functions: list[str]) -> dict[int, int]:
    """Compile and run, from standard input to a file in memory."""
    calls = "".join(f"file{i}(); " for i, text in enumerate(functions) if text)
    program = "\n".join((PRELUDE, *functions, f"int main(void) {{ {calls} return 0; }}\n"))

    def make(part: Path) -> None:
        try:
            done = subprocess.run(["gcc", "-xc", "-O0", "-w", "-o", part, "-"], input=program, text=True, capture_output=True)
        except FileNotFoundError:
            missing("gcc, which evaluates cited symbols,", "apt-get install gcc libc6-dev")
        assert done.returncode == 0, f"cited symbols do not compile:\n{done.stderr[:3000]}"

    binary = Cache().entry("symbols", digest(program), make)
    printed = subprocess.run([binary], text=True, capture_output=True, check=True).stdout
    return {int(number): int(value) for number, value in (line.split() for line in printed.splitlines())}


def unpacked(package: str, files: set[str]) -> Path:
    """The folder below which ``files`` of ``package`` stand."""
    if package == "libdpdk-dev":
        if not DPDK.is_dir():
            missing("libdpdk-dev, whose headers are cited,", "apt-get install libdpdk-dev")
        return USR
    assert package == "linux-source", f"nobody knows where to find the sources of {package}"
    tarballs = sorted(TARBALLS.glob("linux-source-*.tar.xz"))
    if not tarballs:
        missing("linux-source, whose headers are cited,", "apt-get install linux-source-6.1")
    return _kernel_sources(tarballs[-1], {str(Path(file).parent) for file in files})


def _kernel_sources(tarball: Path, folders: set[str]) -> Path:
    """``folders``, headers and sources; a folder that was not cited before costs one pass over the tarball (20 s)."""
    cache, stat = Cache(), tarball.stat()
    root = cache.path("linux-source", digest(tarball.name, str(stat.st_size), str(stat.st_mtime_ns)))
    with cache.lock(f"linux-source-{root.name}"):
        if absent := sorted(folder for folder in folders if not (root / folder / ".sources").exists()):
            for folder in absent:
                (root / folder).mkdir(parents=True, exist_ok=True)
            # Status 2 is that of a folder without such files: whatever is cited there will be reported as missing.
            wanted = [f"*/{folder}/*.[ch]" for folder in absent]
            options = ["--strip-components=1", "--wildcards", "--no-wildcards-match-slash", "-C", root]
            done = subprocess.run(["tar", "-xJf", tarball, *options, *wanted], text=True, capture_output=True)
            assert done.returncode == 0 or "Not found in archive" in done.stderr, done.stderr
            for folder in absent:
                (root / folder / ".sources").touch()
    return root
