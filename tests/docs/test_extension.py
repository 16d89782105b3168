"""The Sphinx extension in somebody else's manual, and ``regmodel docs``."""

from __future__ import annotations

import itertools
import subprocess
import sys
from pathlib import Path

import pytest

from regmodel.sphinx.domain import RegmodelDomain

INDEX = """\
My driver
=========

It enables the queue by :regmodel:any:`igbvf rxdctl`.

.. regmodel:register:: igbvf RXDCTL

.. regmodel:schema:: igbvf rx_read
"""


def sphinx(folder: Path, text: str) -> subprocess.CompletedProcess[str]:
    (folder / "conf.py").write_text('extensions = ["regmodel.sphinx"]\n')
    (folder / "index.rst").write_text(text)
    words = ("-q", "-W", "--keep-going", "-b", "html", str(folder), str(folder / "out"))
    return subprocess.run([sys.executable, "-m", "sphinx", *words], capture_output=True, text=True, timeout=120)


def test_one_register_in_another_manual(tmp_path: Path) -> None:
    done = sphinx(tmp_path, INDEX)
    assert done.returncode == 0, done.stderr
    html = (tmp_path / "out" / "index.html").read_text()
    assert '<section id="igbvf-rxdctl">' in html and '<section id="igbvf-rx_read">' in html
    assert 'href="#igbvf-rxdctl"><code' in html and "<svg" in html
    assert "devices" not in {path.name for path in (tmp_path / "out").iterdir()}
    assert (tmp_path / "out" / "_static" / "regmodel.css").is_file()


class Domain(RegmodelDomain):
    """One without a build."""

    def __init__(self) -> None:
        self.data = {"places": {}}


@pytest.mark.parametrize(
    ("documents", "last"),
    [
        (["devices/igbvf/bar0", "devices/igbvf/config", "guide", "intro"], "devices/igbvf/config"),
        (["devices/igbvf-i350/bar0", "guide", "intro"], "devices/igbvf-i350/bar0"),
    ],
)
def test_links_do_not_depend_on_which_worker_is_first(documents: list[str], last: str) -> None:
    """``sphinx -j``: each worker has read one document, and another one that is not its own to report."""
    for order in itertools.permutations(documents):
        whole = Domain()
        for document in order:
            worker = Domain()
            for seen in (document, "stale"):
                worker.note("igbvf", "register", f"of {seen}", seen, "x")
            worker.note("igbvf", "register", "rxdctl", document, "igbvf-rxdctl")
            whole.merge_domaindata({document}, worker.data)
        assert whole.places["igbvf", "rxdctl"] == (last, "igbvf-rxdctl", "register"), order
        assert {name for _, name in whole.places} == {"rxdctl", *(f"of {document}" for document in documents)}


@pytest.mark.parametrize(
    ("line", "said"),
    [
        (".. regmodel:register:: igbvf NOTHING", "igbvf has no register 'nothing'"),
        (".. regmodel:register:: nic RXDCTL", "unknown device 'nic'"),
        (".. regmodel:bar:: igbvf 5", "igbvf has no BAR '5'; it has 0, 3, config"),
        (".. regmodel:schema:: igbvf nothing", "igbvf has no descriptor or message 'nothing'"),
    ],
)
def test_a_wrong_name_is_one_line_with_its_place(tmp_path: Path, line: str, said: str) -> None:
    done = sphinx(tmp_path, f"T\n=\n\n{line}\n")
    assert done.returncode != 0
    (found,) = [text for text in done.stderr.splitlines() if said in text]
    assert "index.rst:4" in found and "Traceback" not in done.stderr


def docs(*words: str) -> subprocess.CompletedProcess[str]:
    command = [str(Path(sys.executable).with_name("regmodel")), "docs", *words]
    return subprocess.run(command, capture_output=True, text=True, timeout=120)


def test_the_datasheet_of_ones_own_device(tmp_path: Path) -> None:
    mine = Path(__file__).parents[1] / "support" / "acme" / "acme" / "device.py"
    done = docs(f"{mine}:ACME_VF", "-o", str(tmp_path / "site"))
    assert done.returncode == 0, done.stderr
    assert (tmp_path / "site" / "index.html").is_file() and list((tmp_path / "site" / "devices").rglob("bar0.html"))
    assert "index.html" in done.stdout


def test_what_docs_refuses(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for words in (("nothing",), ("igbvf", "-o", str(tmp_path / "file"))):
        done = docs(*words)
        assert done.returncode == 2 and len(done.stderr.strip().splitlines()) == 1, done.stderr


def test_strict_fails_for_what_is_not_described(tmp_path: Path) -> None:
    (tmp_path / "bare.py").write_text(
        "from regmodel.access import RW\nfrom regmodel.catalogue import Description\n"
        "from regmodel.registers import Bar, Reg32\n"
        "BARE = Description(name='bare', title='Bare', doc='', bars={0: Bar('b', 16, 'x' / Reg32(0, RW))})\n"
    )
    done = docs(f"{tmp_path}/bare.py:BARE", "--strict", "-o", str(tmp_path / "site"))
    assert done.returncode == 1 and "b.x: no description" in done.stderr and "Traceback" not in done.stderr
