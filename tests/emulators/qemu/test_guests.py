"""The lab with real guests: on QEMU's own devices, so that nothing of ours but the lab is under test."""

from __future__ import annotations

import hashlib
import os
import pty
import select
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from emulators.qemu import VM, CommandFailed, GuestDied, GuestError, GuestTimeout, Lab, LabError, RawDevice, userspace
from emulators.qemu import modules as kernel_modules
from emulators.qemu.console import interact
from emulators.qemu.kernels import get
from emulators.qemu.machine import VfioUser
from tests.guest.network import ADDRESSES, ping, send_file, up

pytestmark = pytest.mark.guest


@pytest.fixture(scope="module")
def guest(lab: Lab) -> Iterator[VM]:
    """One guest without a device, for tests that leave no trace in it."""
    with lab.vm(name="shared") as vm:
        yield vm


def test_exit_status_and_both_streams(guest: VM) -> None:
    result = guest.run("echo out; echo err >&2; exit 42")
    assert (result.status, result.stdout, result.stderr) == (42, b"out\n", b"err\n")
    with pytest.raises(CommandFailed, match="status 42: err"):
        result.check()


def test_output_may_be_anything(guest: VM) -> None:
    data = bytes(range(256)) * 2000 + b"reply 0 0 0\nready 1\n"
    guest.put("/tmp/any thing", data)
    assert guest.run("cat '/tmp/any thing'").stdout == data
    assert guest.get("/tmp/any thing") == data
    assert guest.run("sha256sum '/tmp/any thing'").text.split()[0] == hashlib.sha256(data).hexdigest()


def test_a_file_that_is_not_there(guest: VM) -> None:
    with pytest.raises(GuestError, match="cannot get /none in the guest"):
        guest.get("/none")
    with pytest.raises(GuestError, match="cannot put /none/x in the guest"):
        guest.put("/none/x", b"")


def test_a_command_that_takes_too_long_is_killed_and_the_guest_goes_on(guest: VM) -> None:
    with pytest.raises(GuestTimeout, match="was killed after 1 s"):
        guest.run("sleep 100", timeout=1)
    assert guest.run("echo on").text == "on"


def test_output_is_streamed_while_it_is_made(guest: VM) -> None:
    """The second line is not written before the first has been heard and answered, on the command's standard input."""
    heard = bytearray()

    def hear(data: bytes) -> None:
        heard.extend(data)
        if data and heard == b"one\n":
            guest.agent._stream.send(b"heard\n", time.monotonic() + 30)

    status = guest.stream("echo one; read -r answer; [ \"$answer\" = heard ] && echo two >&2; exit 3", hear, timeout=120)
    assert status == 3 and heard == b"one\ntwo\n"


def test_the_programs_are_the_real_ones(guest: VM) -> None:
    assert "iproute2" in guest.run("ip -V", check=True).text
    for command in ("ethtool --version", "lspci --version", "ping -V", "modprobe --version", "tc -V", "setpci --version"):
        assert "BusyBox" not in guest.run(command, check=True).text
    assert "Intel Corporation" in guest.run("lspci", check=True).text  # pci.ids is there


def test_a_guest_boots_without_complaint_and_quickly(guest: VM, lab: Lab) -> None:
    assert guest.kernel_warnings() == []
    assert "Linux version 7." in guest.dmesg()
    assert guest.qmp("query-status")["status"] == "running"
    assert lab.accelerator.name in ("kvm", "tcg") and lab.accelerator.why


def test_a_complaint_of_the_kernel_is_reported(guest: VM) -> None:
    guest.run("echo '<4>WARNING: CPU: 0 PID: 1 at made/up.c:1' > /dev/kmsg", check=True)
    assert [line.partition("] ")[2] for line in guest.kernel_warnings()] == ["WARNING: CPU: 0 PID: 1 at made/up.c:1"]


def test_two_guests_talk(lab: Lab, tmp_path: Path) -> None:
    """Stock igb on QEMU's igb in both, and a file by TCP from one to the other."""
    a, b = tmp_path / "a", tmp_path / "b"

    def machine(name: str, mine: Path, theirs: Path) -> VM:
        net = f"dgram,id=n0,local.type=unix,local.path={mine},remote.type=unix,remote.path={theirs}"
        mac = f"52:54:00:00:00:{ord(name):02x}"
        return lab.vm([RawDevice(f"igb,netdev=n0,mac={mac}")], ["igb"], name=name, arguments=["-netdev", net])

    with lab.together(machine("a", a, b), machine("b", b, a)) as (left, right):
        for vm, address in zip((left, right), ADDRESSES, strict=True):
            up(vm, address)
        ping(left, ADDRESSES[1], count=1)
        send_file(left, right, ADDRESSES[1])
        assert left.kernel_warnings() == [] and right.kernel_warnings() == []


def test_stock_igb_makes_vfs_which_stock_igbvf_binds(lab: Lab, kernel: str) -> None:
    with lab.vm([RawDevice("igb,netdev=n0")], ["igb", "igbvf"], kernel=kernel, arguments=["-netdev", "user,id=n0"]) as vm:
        assert vm.run("uname -r").text.startswith(kernel)
        vm.run("ip link set eth0 up && echo 2 > /sys/class/net/eth0/device/sriov_numvfs", check=True)
        found = vm.run("lspci -knd 8086:10ca", check=True).text
        assert found.count("8086:10ca") == 2 and found.count("Kernel driver in use: igbvf") == 2
        assert vm.kernel_warnings() == []


def _unsigned(module: bytes) -> bytes:
    """A module as a developer builds it: without what Linux ``scripts/sign-file.c`` appends."""
    end = module.rindex(b"~Module signature appended~\n")
    return module[:end - 12 - int.from_bytes(module[end - 4:end], "big")]


def test_a_module_of_ones_own_replaces_the_stock_one(lab: Lab, tmp_path: Path) -> None:
    stock = get(lab.cache).modules
    assert stock is not None
    own = tmp_path / "igbvf.ko"
    signed = kernel_modules.read(kernel_modules.index(stock)["igbvf"])
    own.write_bytes(_unsigned(signed).replace(
        b"Intel(R) Gigabit Virtual Function Network Driver", b"A Gigabit Virtual Function driver of my own, so!"))
    with lab.vm(modules=[own]) as vm:
        assert "of my own, so!" in vm.run("modinfo igbvf", check=True).text
        assert "igbvf" in vm.run("lsmod").text


def test_kits_add_programs(lab: Lab) -> None:
    with lab.vm(kits=["iperf3", "tcpdump"]) as vm:
        attempt = "for i in $(seq 50); do iperf3 -c 127.0.0.1 -n 1M && exit 0; sleep 0.1; done; exit 1"
        vm.run(f"iperf3 -s -1 -D && {attempt}", check=True)
        assert "libpcap" in vm.run("tcpdump --version 2>&1", check=True).text


def test_a_module_that_is_there_but_not_loaded(lab: Lab) -> None:
    with lab.vm(modules=["igbvf", "pktgen"], load=["pktgen"]) as vm:
        loaded = vm.run("lsmod").text
        assert "pktgen" in loaded and "igbvf" not in loaded
        vm.run("modprobe igbvf", check=True)


def test_a_folder_of_the_host_and_a_root_file_system_of_ones_own(lab: Lab, tmp_path: Path) -> None:
    (tmp_path / "here").write_text("from the host")
    rootfs = userspace.KITS["base"].tree.path(lab.cache)  # unpacked Debian packages: not what guests usually run in
    with lab.vm(rootfs=rootfs, share=tmp_path) as vm:
        assert vm.run("busybox cat /mnt/share/here; echo /usr/bin/busyb*", check=True).text == "from the host/usr/bin/busybox"
        vm.run("echo from the guest > /mnt/share/there; echo forgotten > /usr/new; [ ! -e /etc/lab ]", check=True)
        vm.put("/tmp/x", b"in the root file system")
        assert vm.run("busybox cat /tmp/x", check=True).text == "in the root file system"
        assert vm.run("echo \"it's\" '$HOME'; exit 9").status == 9
    assert (tmp_path / "there").read_text() == "from the guest\n"
    assert not (rootfs / "usr/new").exists()


def test_plug_and_unplug(lab: Lab) -> None:
    with lab.vm(modules=["e1000e"], root_port=True) as vm:
        vm.plug(RawDevice("e1000e"), "late", "rp0")
        vm.run("n=0; while [ ! -e /sys/class/net/eth0 ] && [ $n -lt 100 ]; do usleep 100000; n=$((n+1)); done; "
               "ethtool -i eth0 | grep -q 'bus-info: 0000:01:00.0'", check=True)
        vm.unplug("late")
        assert vm.run("ls /sys/class/net").text == "lo"


def test_a_failure_is_kept_with_all_that_is_known(lab: Lab, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    mine = Lab(lab.cache, failures=tmp_path)
    mine.on_failure("trace", lambda folder: (folder / "trace.txt").write_text("V2PMAILBOX"))
    with pytest.raises(AssertionError), mine.vm(name="subject") as vm:
        vm.run("echo seen in dmesg > /dev/kmsg")
        raise AssertionError("the counters do not add up")
    folder = mine.keeper.folder
    assert folder is not None and folder.parent == tmp_path
    assert {path.name for path in (folder / "subject").iterdir()} == {
        "console.log", "dmesg.txt", "qemu.stderr", "qemu.command", "qemu.txt"}
    assert "seen in dmesg" in (folder / "subject/dmesg.txt").read_text()
    assert "VM status: running" in (folder / "subject/qemu.txt").read_text()
    assert (folder / "trace.txt").read_text() == "V2PMAILBOX"
    said = capfd.readouterr().err
    assert "subject failed: the counters do not add up" in said and str(folder) in said


def test_a_guest_that_panics_is_dead_and_the_console_says_why(lab: Lab, tmp_path: Path) -> None:
    mine = Lab(lab.cache, failures=tmp_path)
    with pytest.raises(GuestDied, match="Kernel panic - not syncing: sysrq triggered crash") as caught, mine.vm() as vm:
        vm.run("echo c > /proc/sysrq-trigger")
    assert caught.value.folder == mine.keeper.folder
    assert "sysrq triggered crash" in (mine.keeper.folder / "vm1/console.log").read_text()  # type: ignore[operator]


def test_a_device_that_nobody_serves_is_one_clear_line(lab: Lab, tmp_path: Path) -> None:
    mine = Lab(lab.cache, failures=tmp_path / "failures")
    with pytest.raises(GuestDied, match=r"QEMU ended with status 1: .*none\.sock.*No such file"), \
            mine.vm([VfioUser(tmp_path / "none.sock")]):
        pass


def test_what_cannot_be_is_refused_before_anything_starts(lab: Lab, tmp_path: Path) -> None:
    with pytest.raises(LabError, match="no module nonesuch"):
        lab.vm(modules=["nonesuch"])
    with pytest.raises(LabError, match="no guest kit 'gcc'"):
        lab.vm(kits=["gcc"])
    with pytest.raises(LabError, match="is not a folder of this machine"):
        lab.vm(share=tmp_path / "none")
    with pytest.raises(LabError, match=r"give the path of a \.ko file"):
        lab.vm(modules=[tmp_path / "none.ko"])


def test_an_interactive_shell_is_on_a_terminal(guest: VM) -> None:
    ours, theirs = pty.openpty()

    said, prompt = bytearray(), b"# "
    talk = [(prompt, b"tty; stty size\n"), (b"24 80", b""), (prompt, b"dash -c \"echo as''leep; exec sleep 1000\"\n"),
            (b"asleep", b"\x03"), (prompt, b"exit 5\n")]

    def typist() -> None:
        """Types when the shell has said what comes first, and when it is silent for so long that something is wrong."""
        start = 0
        for awaited, line in talk:
            while (found := said.find(awaited, start)) < 0 and select.select([ours], [], [], 30)[0]:
                said.extend(os.read(ours, 1 << 16))
            start = found + len(awaited)
            os.write(ours, line)

    thread = threading.Thread(target=typist)
    thread.start()
    status = interact(guest, theirs, theirs)
    thread.join()
    os.close(ours)
    os.close(theirs)
    assert status == 5 and b"/dev/hvc0" in said and b"24 80" in said and b"^C" in said, said
    assert guest.run("echo on").text == "on"


def test_a_script_comes_in_by_a_pipe(guest: VM, tmp_path: Path) -> None:
    script, output = tmp_path / "script", tmp_path / "output"
    script.write_text("echo from the script\nexit 6\n")
    with script.open() as stdin, output.open("w") as stdout:
        assert interact(guest, stdin.fileno(), stdout.fileno()) == 6
    assert output.read_text() == "from the script\n"


def test_nothing_is_left_behind(lab: Lab) -> None:
    def open_files() -> set[str]:
        listed = list(Path("/proc/self/fd").iterdir())
        return {f"{fd.name}: {fd.readlink()}" for fd in listed if fd.is_symlink()}  # all but the listing's own

    _ = lab.accelerator
    files, threads = open_files(), set(threading.enumerate())
    with lab.vm() as vm:
        vm.qmp("query-status")
        pid = vm.pid
    assert open_files() <= files  # what earlier tests left may go meanwhile
    assert set(threading.enumerate()) <= threads
    assert not Path(f"/proc/{pid}").exists()


def ended(pidfd: int, seconds: float) -> bool:
    """Whether the process ends within that time."""
    return bool(select.select([pidfd], [], [], seconds)[0])


def test_qemu_does_not_outlive_who_started_it() -> None:
    code = ("from emulators.qemu import Lab\nimport time\n"
            "vm = Lab().vm(); vm.start(); vm.agent.ready(60); print(vm.pid, flush=True); time.sleep(100)")
    parent = subprocess.Popen([sys.executable, "-c", code], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL)
    assert parent.stdout is not None
    qemu = os.pidfd_open(int(parent.stdout.readline()))  # names no other process, also when this one is gone
    try:
        assert not ended(qemu, 0)
        parent.kill()
        parent.wait()
        assert ended(qemu, 20), "QEMU is still there"
    finally:
        if not ended(qemu, 0):
            signal.pidfd_send_signal(qemu, signal.SIGKILL)
        os.close(qemu)
