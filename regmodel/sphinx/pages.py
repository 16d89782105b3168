"""The pages of each device, as source files of the documentation: a few lines each, which name directives.

They are written anew at each build, only where they differ, so that nothing is built twice for nothing.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from regmodel.catalogue import Description, Device

FOLDER = "devices"


def write(folder: Path, described: dict[str, Description]) -> None:
    """The pages of these devices below ``folder``/devices; those of others go."""
    wanted = {Path(name): text for key, device in described.items() for name, text in _pages(key, device)}
    wanted[Path("index.rst")] = _index(described)
    root = folder / FOLDER
    for name, text in wanted.items():
        path = root / name
        if not path.exists() or path.read_text() != text:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text)
    for path in root.rglob("*.rst"):
        if path.relative_to(root) not in wanted:
            path.unlink()


def _page(title: str, *lines: str) -> str:
    return "\n".join([title, "=" * len(title), "", *lines, ""])


def _toc(*names: str) -> list[str]:
    return [".. toctree::", "   :maxdepth: 1", "", *(f"   {name}" for name in names)]


def _index(described: dict[str, Description]) -> str:
    about = "What each device is, read off its description."
    return _page("Datasheets", about, "", *_toc(*(f"{device.name}/index" for device in described.values())))


def _pages(key: str, device: Description) -> Iterator[tuple[str, str]]:
    """Names below ``devices`` and texts. ``key`` is what the user calls the device, its name is what the pages are called."""
    pages: dict[str, tuple[str, str]] = {}
    for index, bar in sorted(device.bars.items()):
        pages[f"bar{index}"] = (f"BAR {index}: {bar.about or bar.bar}", f".. regmodel:bar:: {key} {index}")
    if isinstance(device, Device):
        pages["configuration"] = ("Configuration space", f".. regmodel:bar:: {key} config")
    if device.schemas:
        pages["formats"] = (_formats(device), f".. regmodel:schema:: {key}")
    if device.handshakes:
        pages["handshakes"] = ("Handshakes", f".. regmodel:handshakes:: {key}")
    for name, (title, directive) in pages.items():
        yield f"{device.name}/{name}.rst", _page(title, directive)
    overview = (f".. regmodel:device:: {key}", "", *_toc(*pages))
    yield f"{device.name}/index.rst", _page(f"{device.name}: {device.title}", *overview)


def _formats(device: Description) -> str:
    """What its records are, for a title."""
    kinds = {"descriptors": device.rings, "messages": device.mailboxes, "structures": device.structures}
    found = [kind for kind, there in kinds.items() if there]
    title = f"{', '.join(found[:-1])} and {found[-1]}" if found[1:] else found[0]
    return title[0].upper() + title[1:]
