"""The datasheet site: complete, linked, small, and something a person would be glad to look at."""

from __future__ import annotations

import re
from html import unescape
from html.parser import HTMLParser
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

import pytest

from regmodel.catalogue import Device, devices
from regmodel.conduct import base_of
from regmodel.coverage import gaps
from regmodel.layout import layout
from regmodel.registers import Register
from regmodel.render.svg import _folded as folded
from regmodel.render.svg import _rows as rows_of
from regmodel.sphinx.content import _byte_parts as byte_parts
from tests.docs.conftest import ROOT, Site, build, spent
from tests.support.browser import violations

if TYPE_CHECKING:
    from playwright.sync_api import Browser

DEVICES = devices()
SCREENS = {"desktop": (1280, 900), "phone": (390, 844)}
LOOKED_AT = (
    "index.html", "devices/igbvf/index.html", "devices/igbvf/bar0.html", "devices/igbvf/configuration.html",
    "devices/igbvf/formats.html", "devices/igbvf/handshakes.html", "devices/vmxnet3/formats.html", "devices/avp/formats.html",
    "devices/ivshmem/formats.html", "devices/virtio-net-legacy/handshakes.html", "devices/avp/handshakes.html",
)  # fmt: skip
OVERLAPS = """() => [...document.querySelectorAll('.rm-svg svg')].flatMap(svg => {
  if (!svg.checkVisibility()) return [];
  const boxes = [...svg.querySelectorAll('text')].map(t => [t.textContent, t.getBoundingClientRect()]);
  const found = [];
  for (let i = 0; i < boxes.length; i++) for (let j = i + 1; j < boxes.length; j++) {
    const [a, b] = [boxes[i][1], boxes[j][1]];
    const x = Math.min(a.right, b.right) - Math.max(a.left, b.left), y = Math.min(a.bottom, b.bottom) - Math.max(a.top, b.top);
    if (x > 0.2 * Math.min(a.width, b.width) && y > 0.3 * Math.min(a.height, b.height))
      found.push(boxes[i][0] + ' | ' + boxes[j][0]);
  }
  return found;
})"""

FOCUS = "(e => e.matches('input[name=q]') ? 'search' : e.getAttribute('href') || '')(document.activeElement)"


class Page(HTMLParser):
    """The anchors of a page and where its links go."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self.anchors: set[str] = set()
        self.links: list[str] = []
        self.feed(path.read_text())

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        known = dict(attrs)
        if known.get("id"):
            self.anchors.add(str(known["id"]))
        if tag == "a" and known.get("href"):
            self.links.append(str(known["href"]))


@pytest.mark.parametrize("name", DEVICES)
def test_everything_has_a_description_and_a_source(name: str) -> None:
    assert list(gaps(DEVICES[name])) == []


def test_what_is_missing_is_found() -> None:
    from construct import Int32ul, Struct

    from regmodel.access import RW
    from regmodel.catalogue import Description
    from regmodel.registers import Bar, Reg32

    bare = Bar("b", 16, "x" / Reg32(0, "a" / RW[0], "c" / RW[31:1]))
    record = Struct("n" / Int32ul, "m" / Int32ul * "told")
    found = list(gaps(Description(name="d", title="", doc="", bars={0: bare}, structures={"s": record})))
    assert found == [
        "b.x: no description", "b.x: no source", "b.x.a: no description", "b.x.c: no description",
        "s: no description", "s: no source", "s.n: no description",
    ]  # fmt: skip


@pytest.mark.parametrize("name", DEVICES)
def test_the_datasheet_says_what_the_readme_says_of_clients(site: Site, name: str) -> None:
    """Each of them stands in the README's row of the device, where a PMD may be DPDK's without its name."""
    device = DEVICES[name]
    named, cell = readme_row(name)
    text = (site.folder / "devices" / name / "index.html").read_text()
    found = re.search(r"<p>Proven with</p></td>\s*<td><p>(.*?)</p>", text, re.S)
    assert found is not None
    said = unescape(re.sub(r"<[^>]*>", "", found[1]).replace("’", "'"))
    assert cell and said != "nothing yet"
    clients = [*([", ".join(device.drivers)] if device.drivers else []), *device.proven]
    assert said == "; ".join(clients)
    drivers = [d for d in device.drivers if f"`{d}`" not in cell and not (d.startswith("net_") and "DPDK" in cell)]
    assert drivers == [] and [text for text in device.proven if text not in cell] == []
    if not device.drivers:  # nothing that the README says of the row is said of none of its devices
        rest = cell
        for part in {part for other in named for part in DEVICES[other].proven}:
            rest = rest.replace(part, "")
        assert not rest.strip(" ,;"), rest


def readme_row(name: str) -> tuple[list[str], str]:
    """The devices of the README's row that has this one, and what they are proven with."""
    for line in (ROOT / "README.md").read_text().splitlines():
        cells = [cell.strip() for cell in line.strip("| ").split(" | ")]
        if len(cells) == 3 and line.startswith("| `"):
            named = re.findall(r"`([^`]+)`", cells[0])
            named = [named[0] + n if n.startswith("-") else n for n in named]
            if name in named:
                return named, cells[2]
    return [], ""


@pytest.mark.parametrize("name", DEVICES)
def test_every_register_and_record_has_a_permalink(site: Site, name: str) -> None:
    device = DEVICES[name]
    folder = site.folder / "devices" / name
    for index, bar in device.bars.items():
        assert {f"{name}-{register}" for register in bar.entries} <= Page(folder / f"bar{index}.html").anchors
    assert isinstance(device, Device)
    assert {f"{name}-{register}" for register in device.config.entries} <= Page(folder / "configuration.html").anchors
    if device.schemas:
        assert {f"{name}-{schema}".lower() for schema in device.schemas} <= Page(folder / "formats.html").anchors


def sections(page: Path) -> dict[str, str]:
    """What a page has below each of its anchors, by id."""
    parts = re.split(r'<section id="([^"]*)">', page.read_text())
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@pytest.mark.parametrize("name", DEVICES)
def test_a_register_has_its_bits_its_reset_and_its_sources(site: Site, name: str) -> None:
    device = DEVICES[name]
    lacking = []
    for index, bar in device.bars.items():
        found = sections(site.folder / "devices" / name / f"bar{index}.html")
        for register, entry in bar.entries.items():
            text = found[f"{name}-{register}"]
            wanted = {"source": 'class="rm-sure' in text}
            if isinstance(entry, Register):
                wanted["reset"] = "<p>Reset</p>" in text or "Reset value" in text
                wanted["picture"] = '<svg class="rm-picture' in text
            lacking += [f"{register}: no {what}" for what, there in wanted.items() if not there]
    assert lacking == []


@pytest.mark.parametrize("name", DEVICES)
def test_every_record_is_drawn(site: Site, name: str) -> None:
    """Descriptors, messages and structures, however long: their bytes, with a ruler, and the bits of each word of fields."""
    device = DEVICES[name]
    if not device.schemas:
        return
    found = sections(site.folder / "devices" / name / "formats.html")
    lacking = []
    for schema, record in device.schemas.items():
        text, shape = found[f"{name}-{schema}".lower()], layout(record)
        if f'aria-label="the bytes of {schema}, as in the table below"' not in text and any(leaf.path for leaf in shape.leaves):
            lacking.append(f"{schema}: no bytes")
        rulers = [int(n) for n in re.findall(r'class="ruler">(\d+)<', text)]
        if shape.size - 1 not in rulers and any(leaf.path for leaf in shape.leaves):
            lacking.append(f"{schema}: its last byte has no number")
        words = {leaf.path or schema for leaf in shape.leaves if leaf.fields and not re.search(r"\[[1-9]", leaf.path)}
        drawn = set(re.findall(r'aria-label="the bits of ([^"]*), as in the table below"', text))
        lacking += [f"{schema}.{word}: no bits" for word in words - drawn if not shared(word, drawn, shape)]
    assert lacking == []


def shared(word: str, drawn: set[str], shape: Any) -> bool:
    """Whether a word has the same fields as one that is drawn."""
    fields = {leaf.path: leaf.fields for leaf in shape.leaves}
    return any(fields.get(word) is fields.get(other) for other in drawn)


@pytest.mark.parametrize("name", DEVICES)
def test_a_picture_of_bytes_has_each_byte_once(name: str) -> None:
    """Rows that stand for many among them; and no picture is longer than a person scrolls."""
    for schema, record in DEVICES[name].schemas.items():
        shape = layout(record)
        parts = list(byte_parts(shape.leaves, shape.size))
        assert [p.first for p in parts] == [0, *(p.end for p in parts[:-1])] and parts[-1].end == shape.size, schema
        for per_row in (4, 8, 16):
            rows = list(folded(rows_of(parts, per_row), per_row))
            pieces = [piece for _, row in rows for piece in row]
            assert [first for _, first, _ in pieces] == [0, *(f + n for _, f, n in pieces[:-1])], schema
            assert sum(n for _, _, n in pieces) == shape.size and (len(rows) < 60 or per_row == 4), schema


@pytest.mark.parametrize("name", DEVICES)
def test_each_bar_is_drawn_to_scale_and_each_handshake_as_a_chart(site: Site, name: str) -> None:
    device, folder = DEVICES[name], site.folder / "devices" / name
    front = (folder / "index.html").read_text()
    for bar in device.bars.values():
        assert f'aria-label="{bar.bar}, {bar.size} bytes, drawn to scale"' in front
    if device.handshakes:
        charts = [text for anchor, text in sections(folder / "handshakes.html").items() if anchor != "handshakes"]
        assert len(charts) == len(device.handshakes) and all("<svg" in text for text in charts)


CHARTS: dict[str, tuple[str, str, str]] = {
    "igbvf": ("Reset", "A receive queue starts", "A message and its answer"),
    "igbvf-i350": ("Reset", "A receive queue starts", "A message and its answer"),
    "virtio-net": ("Initialisation", "A virtqueue is set up", "A command by the control queue"),
    "virtio-net-transitional": ("Initialisation, legacy", "A virtqueue is set up, legacy", "A command by the control queue"),
    "virtio-net-legacy": ("Initialisation, legacy", "A virtqueue is set up, legacy", "A command by the control queue"),
    "vmxnet3": ("The device stops, and is reset", "The device starts", ""),
    "vmxnet3-large": ("The device stops, and is reset", "The device starts", ""),
    "avp": ("", "Start and stop", "A request and its response"),
    "ivshmem": ("", "", "A device connects to its server"),
    "ivshmem-doorbell": ("", "", "A device connects to its server"),
    "ivshmem-plain": ("", "", ""),
}
"""Of each device the charts of reset, queue start and mailbox; none where no register resets it, or there is nothing such."""


@pytest.mark.parametrize("name", DEVICES)
def test_reset_queue_start_and_mailbox_have_charts(name: str) -> None:
    device = DEVICES[name]
    shakes = {shake.name: shake for shake in device.handshakes}
    reset, start, mailbox = CHARTS[name]
    assert bool(start) == bool(device.rings) and bool(mailbox) == bool(device.mailboxes)
    for wanted in (reset, start, mailbox):
        assert not wanted or wanted in shakes
    places = {place for r in device.rings for place in (*r.base, r.length, r.control, r.tail) if place}
    assert not places or any(places & shake.named() for shake in device.handshakes)
    if start and name != "avp" and not name.startswith("vmxnet3"):
        assert shakes[start].named() & places, "the chart of a queue's start names the registers that place it"
    said = {m.name for box in device.mailboxes for m in box.messages} | {box.control for box in device.mailboxes}
    assert not mailbox or shakes[mailbox].named() & said


@pytest.mark.parametrize("name", DEVICES)
def test_a_register_leads_to_the_steps_that_use_it(site: Site, name: str) -> None:
    device = DEVICES[name]
    steps = {base_of(n) for shake in device.handshakes for step in shake.steps for n in step.names}
    for index, bar in device.bars.items():
        found = sections(site.folder / "devices" / name / f"bar{index}.html")
        for register in bar.entries:
            links = re.search(r'Used in: <a [^>]*href="handshakes.html#', found[f"{name}-{register}"])
            assert bool(links) == (register in steps), register


def test_no_link_is_broken(site: Site) -> None:
    known = {path: Page(path) for path in site.pages()}
    broken = []
    for path, page in known.items():
        for link in page.links:
            parts = urlsplit(link)
            if parts.scheme or parts.netloc:
                continue
            goal = (path.parent / unquote(parts.path)).resolve() if parts.path else path
            if not goal.exists() or (parts.fragment and goal in known and unquote(parts.fragment) not in known[goal].anchors):
                broken.append(f"{path.relative_to(site.folder)}: {link}")
    assert broken == []


@pytest.mark.parametrize("name", DEVICES)
def test_a_device_takes_less_than_a_megabyte(site: Site, name: str) -> None:
    pages = list((site.folder / "devices" / name).rglob("*.html"))
    assert sum(path.stat().st_size for path in pages) < 1_000_000


@pytest.mark.alone
def test_all_of_it_is_built_within_a_minute(site: Site) -> None:
    """Of one processor, however many it had, and whatever else the machine did."""
    assert 1 < site.seconds < 60


@pytest.mark.alone
def test_a_build_after_a_change_is_quick(site: Site) -> None:
    """Measured likewise. Where a description was changed its pages are made anew, and those of other devices are not."""
    file = site.folder.parent / "regmodel" / "bars" / "avp.py"
    page, other = (site.folder / "devices" / name / "bar0.html" for name in ("avp", "igbvf"))
    before, text = file.read_text(), page.read_text()
    old, new = "Interrupt Mask: 1 lets a cause through", "Interrupt Mask: a cause passes where it has a 1"
    assert before.count(old) == 1 and old in text and new not in text
    kept = other.stat().st_mtime_ns
    file.write_text(before.replace(old, new))
    start = spent()
    done = build(site.folder.parent)
    took = spent() - start
    assert done.returncode == 0, done.stderr
    assert new in page.read_text() and old not in page.read_text()
    assert other.stat().st_mtime_ns == kept
    assert took < 5, took


@pytest.mark.parametrize("scheme", ["light", "dark"])
@pytest.mark.parametrize("screen", SCREENS)
def test_pages_look_well(site: Site, browser: Browser, screen: str, scheme: str) -> None:
    """No page scrolls sideways, no text of a picture lies on another, nothing is missed by keyboard and screen reader."""
    shots = ROOT / "artifacts" / "screenshots"
    shots.mkdir(parents=True, exist_ok=True)
    width, height = SCREENS[screen]
    context = browser.new_context(viewport={"width": width, "height": height}, color_scheme=scheme)  # type: ignore[arg-type]
    page = context.new_page()
    for name in LOOKED_AT:
        page.goto((site.folder / name).as_uri())
        assert page.evaluate("document.documentElement.scrollWidth") <= width, name
        assert page.evaluate(OVERLAPS) == [], name
        page.screenshot(path=shots / f"{name.removesuffix('.html').replace('/', '-')}-{screen}-{scheme}.png")
    missed = []
    for name in LOOKED_AT[:3]:
        page.goto((site.folder / name).as_uri())
        missed += [(name, *found) for found in violations(page)]
    assert missed == []
    context.close()


def test_the_keyboard_reaches_the_search_and_a_register(site: Site, browser: Browser) -> None:
    """By Tab alone; what is reached can be seen to be."""
    page = browser.new_page(viewport={"width": 1280, "height": 900})
    page.goto((site.folder / "devices" / "igbvf" / "bar0.html").as_uri())
    reached: list[str] = []
    for _ in range(400):
        page.keyboard.press("Tab")
        reached.append(page.evaluate(FOCUS))
        if "search" in reached and "#igbvf-rxdctl" in reached:
            break
    assert "search" in reached and "#igbvf-rxdctl" in reached, reached[:40]
    page.keyboard.press("Enter")
    page.wait_for_url("**#igbvf-rxdctl")
    page.close()


def test_a_page_without_landmarks_is_found(browser: Browser) -> None:
    """What axe-core holds to be moderate counts here."""
    page = browser.new_page()
    page.set_content("<html lang=en><title>bare</title><body><p>no landmark, no heading</p></body></html>")
    assert {name for name, *_ in violations(page)} >= {"landmark-one-main", "page-has-heading-one", "region"}
    page.close()


def test_the_search_finds_a_register(site: Site) -> None:
    """Sphinx's index knows each by device and name."""
    index = (site.folder / "searchindex.js").read_text()
    assert re.search(r"igbvf RXDCTL", index)


def test_hover_tells_what_an_access_does(site: Site) -> None:
    text = (site.folder / "devices" / "igbvf" / "bar0.html").read_text()
    assert re.search(r'<abbr[^>]*title="reading clears">RC</abbr>', text)
    assert "<title>pfsts [4] RC: reading clears. a message of the PF is in the memory</title>" in text
