"""Stock igbvf on our VF and on the VF of QEMU's igb, whose PF is stock igb: access by access, and configuration space.

Not compared, because QEMU's trace or chance does not tell: how often an interrupt came, interrupt moderation under load, tails
of rings under traffic, widths of accesses to configuration space, the MSI-X table (QEMU's own code on both sides), what is
in rings and packets (other tests judge that), and what the watchdog saw while the PF reset. QEMU has no I350.
"""

from __future__ import annotations

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path

import pytest

from emulators.qemu import Lab
from regmodel.devices.igbvf import IGBVF
from tests.differential import capture
from tests.differential.canonical import Canonical, Phase
from tests.differential.capture import ADDRESS, PHASES, Capture
from tests.differential.compare import compare, configuration, judge, load

pytestmark = [pytest.mark.guest, pytest.mark.timeout(600)]

ENTRIES = load(Path(__file__).with_name("differences.toml"))
FAULTY = f"{Path(__file__).with_name('faulty.py')}:FAULTY"
GIVEN = (ADDRESS, "02:00:5e:10:00:77", "02:00:5e:10:00:99")  # all addresses that the phases name


def canonical(captured: Capture, phases: Iterable[capture.Phase]) -> dict[str, Phase]:
    words = [bytes.fromhex(text.replace(":", "")) for text in GIVEN]
    known = [int.from_bytes(part, "little") for word in words for part in (word[:4], word[4:])]
    form = Canonical(IGBVF, known)
    return {
        phase.name: form.phase(captured.phases[phase.name], traffic=phase.traffic, unasked=not phase.watch) for phase in phases
    }


def text(captured: Capture, phases: dict[str, Phase]) -> str:
    """All accesses, as they were and as they are compared."""
    lines: list[str] = []
    for name, phase in phases.items():
        lines += [f"== {name}", *map(str, phase.steps), f"-- {name}, raw"]
        lines += [f"{a.op} {a.space}+{a.offset:#06x} {a.value:#010x}" for a in captured.phases[name]]
    return "\n".join(lines) + "\n"


@cache
def reference(lab: Lab, kernel: str) -> Capture:
    """QEMU's VF, once per kernel and run."""
    with capture.theirs(lab, kernel) as side:
        return capture.run(side)


WATCH = {phase.name: phase.watch for phase in PHASES}


@pytest.mark.only(device=["igbvf"])
def test_stock_igbvf_does_the_same_with_both(lab: Lab, device: str, kernel: str, tmp_path: Path) -> None:
    with ThreadPoolExecutor() as pool:  # a guest waits for its driver's timers most of the time
        going = pool.submit(reference, lab, kernel)
        with capture.ours(lab, kernel, device) as side:
            ours = capture.run(side)
            assert side.vm.kernel_warnings() == []
        theirs = going.result()
    mine, other = canonical(ours, PHASES), canonical(theirs, PHASES)
    differences = compare(mine, other, WATCH) | configuration(IGBVF.config, ours.config, theirs.config)
    verdict = judge(differences, ENTRIES)
    if not verdict:
        (tmp_path / "ours.txt").write_text(text(ours, mine))
        (tmp_path / "theirs.txt").write_text(text(theirs, other))
    assert verdict, f"{verdict}\n\nall accesses of both are in {tmp_path}"
    assert ours.statistics == theirs.statistics and ours.statistics["rx_packets"] == 5


def test_faults_in_the_description_are_noticed(lab: Lab) -> None:
    """A wrong reset value and a bit that is not cleared by reading (``faulty``), up to where a driver meets both."""
    first = PHASES[: [phase.name for phase in PHASES].index("open") + 1]
    theirs = canonical(reference(lab, "7.2"), first)
    with capture.ours(lab, "7.2", FAULTY) as side:
        ours = canonical(capture.run(side, first), first)
    found = {d.at: d for d in judge(compare(ours, theirs, {phase.name: "" for phase in first}), ENTRIES).unexplained}
    assert (found["R txctl[0]"].ours, found["R txctl[0]"].theirs) == ("0xa00", "0x2a00"), "the reset value of DCA_TXCTRL"
    assert int(found["R v2pmailbox"].ours, 16) & 0x20, "PFACK stays when it is read"
    assert set(found) == {"R txctl[0]", "W txctl[0]", "R v2pmailbox"}, "nothing else"
