"""What is kept when something fails, and what counts as a kernel's complaint."""

from __future__ import annotations

from pathlib import Path

import pytest

from emulators.qemu.failure import KEEP, Keeper, kernel_warnings

COMPLAINTS = """\
[    5.1] WARNING: CPU: 0 PID: 1 at net/sched/sch_generic.c:525 dev_watchdog+0x23a/0x250
[    5.2] BUG: kernel NULL pointer dereference, address: 0000000000000008
[    5.3] BUG: soft lockup - CPU#0 stuck for 22s!
[    5.4] igbvf 0000:00:01.0: Detected Tx Unit Hang
[    5.5] NETDEV WATCHDOG: CPU: 0: transmit queue 0 timed out 5120 ms
[    5.6] DMAR: [DMA Read NO_PASID] Request device [00:01.0] fault addr 0xfffff000 [fault reason 0x06] PTE Read access
[    5.7] irq 11: nobody cared (try booting with the "irqpoll" option)
[    5.8] rcu: INFO: rcu_preempt detected stalls on CPUs/tasks:
[    5.9] pcieport 0000:00:01.0: AER: Correctable error message received from 0000:01:00.0
[    6.0] Kernel panic - not syncing: sysrq triggered crash
[    6.1] INFO: task ip:123 blocked for more than 120 seconds.
"""
ORDINARY = """\
[    0.0] DMAR: IOMMU enabled
[    0.0] DMAR: DRHD base: 0x000000fed90000 flags: 0x0
[    0.0] DMAR: dmar0: reg_base_addr fed90000 ver 1:0 cap d2008c22260286 ecap f00f5a
[    1.8] pcieport 0000:00:01.0: AER: enabled with IRQ 25
[    2.0] igbvf 0000:00:01.0: Intel(R) 82576 Virtual Function
[    2.1] igbvf 0000:00:01.0: MAC address not assigned by administrator.
[    2.2] igbvf 0000:00:01.0 eth0: Link is Up 1000 Mbps Full Duplex
[    2.3] rcu: Preemptible hierarchical RCU implementation.
"""


@pytest.mark.parametrize("line", COMPLAINTS.splitlines())
def test_complaints_are_seen(line: str) -> None:
    assert kernel_warnings(ORDINARY + line + "\n" + ORDINARY) == [line]


def test_ordinary_messages_are_none() -> None:
    assert kernel_warnings(ORDINARY) == []


def test_one_folder_per_run_announced_once(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    keeper = Keeper(tmp_path)
    hooked: list[Path] = []
    keeper.hooks["trace"] = hooked.append
    folder = keeper.keep("a failed: no link", lambda path: (path / "console.log").write_text("x"), "a")
    assert keeper.keep("b failed: no link", lambda path: (path / "console.log").write_text("y"), "b") == folder
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*.log")) == ["a/console.log", "b/console.log"]
    said = capsys.readouterr().err
    assert said.count(str(folder)) == 1 and "a failed: no link" in said
    assert hooked == [folder]


def test_guests_that_run_one_after_the_other_fail_separately(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path)
    folders = []
    for _ in range(2):
        keeper.guest_starts()
        keeper.guest_starts()
        folders += [keeper.keep("failed", lambda folder: None, name) for name in ("a", "b")]
        keeper.guest_stops()
        keeper.guest_stops()
    assert folders[0] == folders[1] != folders[2] == folders[3]


def test_a_saver_that_fails_hides_nothing(tmp_path: Path) -> None:
    keeper = Keeper(tmp_path)

    def broken(folder: Path) -> None:
        raise ValueError("the server is gone")

    keeper.hooks |= {"trace": broken, "other": lambda folder: (folder / "other.txt").touch()}
    folder = keeper.keep("a failed", broken)
    assert "the server is gone" in (folder / "trace-not-saved.txt").read_text()
    assert (folder / "guest-not-saved.txt").exists() and (folder / "other.txt").exists()


def test_old_folders_go(tmp_path: Path) -> None:
    for number in range(KEEP + 5):
        (tmp_path / f"2020-{number:03}").mkdir()
    Keeper(tmp_path).keep("failed", lambda folder: None)
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == KEEP + 1 and names[0] == "2020-005"
