"""What is kept when something fails, and what counts as a kernel's complaint."""

from __future__ import annotations

import os
import signal
import time
from pathlib import Path

import pytest

from emulators.process import ServerProcess
from emulators.qemu import Lab
from emulators.qemu.cache import Cache
from emulators.qemu.failure import KEEP, Keeper, kernel_warnings
from tests.support.interleaving import At

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
OF_DRIVERS = """\
<3>[    6.2] vmxnet3 0000:00:01.0 eth0: tx hang
<6>[    6.3] vmxnet3 0000:00:01.0: Failed to enable MSI-X, error -28
<4>[    6.4] virtio_net virtio0 eth0: Unexpected TXQ (0) queue failure: -5
<4>[    6.5] virtio_net virtio1: Failed to set RSS config
<3>[    6.6] igbvf 0000:00:01.0: PF still in reset state. Is the PF interface up?
<4>[    6.7] virtio-pci 0000:00:01.0: what nobody has thought of
<3>[    6.8] eth0: a word of the stack
<12>[    6.9] vmxnet3 0000:00:01.0 eth0: another facility
<3>[    7.0][   T12] igbvf 0000:00:01.0: a kernel that names the thread (CONFIG_PRINTK_CALLER)
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
<4>[    2.4] mtrr: your CPUs had inconsistent MTRRdefType settings
<6>[    2.5] vmxnet3 0000:00:01.0 eth0: NIC Link is Down
<6>[    2.6] vmxnet3 0000:00:01.0 eth0: intr type 3, mode 0, 3 vectors allocated
<4>[    2.7] vfio-pci 0000:01:00.0: resetting
<4>[    2.8] vfio-pci 0000:01:00.0: reset done
"""


@pytest.mark.parametrize("line", COMPLAINTS.splitlines())
def test_complaints_are_seen(line: str) -> None:
    assert kernel_warnings(ORDINARY + line + "\n" + ORDINARY) == [line]


@pytest.mark.parametrize("line", OF_DRIVERS.splitlines())
def test_what_drivers_under_test_complain_of_is_seen(line: str) -> None:
    """By its level, or by what it says; it is told without its level."""
    assert kernel_warnings(ORDINARY + line + "\n" + ORDINARY) == [line.partition(">")[2]]


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


def test_two_failures_at_once_have_a_folder_each(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, at: At) -> None:
    """Of two threads, in the same second: the other one is faster when this one knows the name of its folder."""
    monkeypatch.setattr(time, "strftime", lambda form: "20261121-200500")

    def when_the_root_is_there() -> None:
        at(Path, "mkdir", lambda: Keeper(tmp_path).keep("failed", lambda folder: None))

    at(Path, "mkdir", when_the_root_is_there)
    Keeper(tmp_path).keep("failed", lambda folder: None)
    assert len(list(tmp_path.iterdir())) == 2


def kept(lab: Lab) -> dict[str, set[str]]:
    """The files of each folder that a failure now leaves."""
    folder = lab.keeper.keep("failed", lambda folder: None)
    lab.keeper.guest_starts()  # what comes next is another story
    lab.keeper.guest_stops()
    return {path.name: {file.name for file in path.iterdir()} for path in folder.iterdir()}


def test_what_servers_know_is_kept_as_long_as_they_run(tmp_path: Path) -> None:
    """Each server that runs, whoever began it, and whatever was served before; of one that died or is stopped, its log."""
    lab = Lab(Cache(tmp_path / "cache"), failures=tmp_path / "failures")
    all_of_it = {"server.log", "stats.json", "trace-vf0.txt"}
    with ServerProcess(["igbvf"]):
        assert kept(lab) == {"server0": all_of_it}
    with ServerProcess(["igbvf"]) as first, ServerProcess(["avp"]) as second:
        assert kept(lab) == {"server0": all_of_it, "server1": {"server.log", "stats.json", "trace-nic0.txt"}}
        os.kill(first.pid, signal.SIGKILL)
        os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)
        os.kill(second.pid, signal.SIGSTOP)
        os.waitid(os.P_PID, second.pid, os.WSTOPPED | os.WNOWAIT)
        assert kept(lab) == {"server0": {"server.log"}, "server1": {"server.log", "server1-not-saved.txt"}}
        assert "kill -CONT" in next(tmp_path.glob("failures/*/server1/server1-not-saved.txt")).read_text()
        os.kill(second.pid, signal.SIGCONT)
    assert kept(lab) == {}
