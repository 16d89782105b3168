"""One guest: started, spoken to, stopped; on failure, remembered.

May not enter: where QEMU, kernels and archives come from (``lab``), how the command line is composed (``machine``), what is
said to the agent (``agent``).
"""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any

from emulators.qemu import failure, machine
from emulators.qemu.agent import Agent, Channel, Result
from emulators.qemu.binary import Qemu
from emulators.qemu.errors import GuestError
from emulators.qemu.machine import Device, Machine
from emulators.qemu.monitor import Monitor

BOOT_TIMEOUT = 90.0  # seconds; user space is there after 3 on an idle machine
_SHARE, _ROOTFS = "/mnt/share", "/mnt/rootfs"
_PARCEL = "/run/parcel.tar"
_9P = "trans=virtio,version=9p2000.L,msize=512000"


class VM:
    """A guest, as a context manager: entering boots it and loads its modules, leaving stops it.

    An exception that leaves the ``with`` block keeps console, kernel log and QEMU's messages in a folder first. A VM lives
    no longer than the thread that started it: QEMU gets SIGKILL when that thread ends (prctl(2), PR_SET_PDEATHSIG).
    """

    def __init__(self, name: str, qemu: Qemu, accelerator: str, spec: Machine, load: tuple[str, ...],
                 keeper: failure.Keeper) -> None:
        self.name = name
        self.spec = spec
        self.boot_seconds = 0.0  # from starting QEMU to the agent's first word
        self._qemu, self._accelerator, self._load, self._keeper = qemu, accelerator, load, keeper
        self._logs: dict[str, int] = {}  # memory files: nothing is left on disk when this process is killed
        self._process: subprocess.Popen[bytes] | None = None
        self._sockets: list[socket.socket] = []
        self._said = b""
        self._hooks: dict[str, failure.Hook] = {}
        self.command: list[str] = []
        self.agent: Agent
        self.monitor: Monitor
        self._terminal: socket.socket

    # -- lifecycle ------------------------------------------------------------------------------------------------

    def start(self) -> None:
        """Start QEMU and return at once; ``wait`` is the other half."""
        self._logs = {name: os.memfd_create(name) for name in ("console.log", "qemu.stderr")}
        ours, theirs = zip(*(socket.socketpair() for _ in range(4)), strict=True)
        self._sockets = list(ours)
        fds = [sock.fileno() for sock in theirs]
        console, stderr = self._logs.values()
        self.command = [*self._qemu.command, *machine.command_line(self.spec, self._accelerator, console, *fds)]
        setpriv = shutil.which("setpriv")
        guard = [setpriv, "--pdeathsig", "KILL", "--"] if setpriv else []
        self._started = time.monotonic()
        self._process = subprocess.Popen([*guard, *self.command], stdin=subprocess.DEVNULL, stdout=stderr, stderr=stderr,
                                         pass_fds=[*fds, console], env=self._qemu.environ(), start_new_session=True)
        for sock in theirs:
            sock.close()
        self._keeper.guest_starts()
        requests, stream, self._terminal, monitor = ours
        self.agent = Agent(Channel(requests, self._death), Channel(stream, self._death))
        self.monitor = Monitor(monitor)

    def wait(self) -> None:
        """Wait for user space, then mount what was shared, unpack the parcel and load the modules."""
        self.agent.ready(BOOT_TIMEOUT)
        self.boot_seconds = time.monotonic() - self._started
        if self.spec.share is not None:
            self._raw_run(f"mkdir -p {_SHARE} && mount -t 9p -o {_9P} share {_SHARE}").check()
        if self.spec.parcel is not None:
            self.agent.put(_PARCEL, self.spec.parcel.read_bytes(), 60)
            self._raw_run(f"tar -x -f {_PARCEL} -C / && rm {_PARCEL}").check()
        if self.spec.rootfs is not None:
            self._enter_rootfs()
        if self._load:
            self._raw_run("modprobe -a " + " ".join(map(shlex.quote, self._load)), 60).check()

    def __enter__(self) -> VM:
        try:
            self.start()
            self.wait()
        except BaseException as error:
            self.fail(error)
            self.stop()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        if error is not None:
            self.fail(error)
        self.stop()

    def stop(self) -> None:
        """Stop QEMU: SIGTERM, so that it closes its devices; SIGKILL after 5 s. Safe to call twice."""
        if self._process is not None:
            if self._process.poll() is None:
                self._process.terminate()
                try:
                    self._process.wait(5)
                except subprocess.TimeoutExpired:
                    self._process.kill()
                    self._process.wait()
            self.monitor.close()
            self._said = self._read("qemu.stderr")
            self._process = None
            self._keeper.guest_stops()
        for sock in self._sockets:
            sock.close()
        for fd in self._logs.values():
            os.close(fd)
        self._sockets, self._logs = [], {}

    def kill(self) -> None:
        """SIGKILL to QEMU, as a crash would be."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()

    def power_off(self, timeout: float = 20.0) -> None:
        """Let the guest power itself off, and wait until QEMU has ended."""
        assert self._process is not None
        self.agent.quit()
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired as error:
            raise GuestError(f"{self.name} did not power off in {timeout:.0f} s") from error

    # -- what a test does with it ---------------------------------------------------------------------------------

    def run(self, command: str, timeout: float = 60.0, check: bool = False) -> Result:
        """Run a shell command; its exit status and output. ``check`` makes a status other than 0 CommandFailed."""
        result = self.agent.run(self._within(command), timeout)
        result = Result(command, result.status, result.stdout, result.stderr)
        return result.check() if check else result

    def stream(self, command: str, sink: Callable[[bytes], object], timeout: float = 3600.0) -> int:
        """Run a shell command whose output (both streams) is handed over while it comes; its exit status."""
        return self.agent.stream(self._within(command), sink, timeout)

    def put(self, path: str, data: bytes | Path, timeout: float = 60.0) -> None:
        """Write a file in the guest: bytes, or the content of a file of the host."""
        self.agent.put(self._prefix + path, data.read_bytes() if isinstance(data, Path) else data, timeout)

    def get(self, path: str, timeout: float = 60.0) -> bytes:
        """Read a file of the guest."""
        return self.agent.get(self._prefix + path, timeout)

    def qmp(self, command: str, **arguments: object) -> Any:
        """A QMP command's return value; in argument names ``_`` stands for ``-``."""
        return self.monitor.execute(command, {key.replace("_", "-"): value for key, value in arguments.items()})

    def plug(self, device: Device, name: str, bus: str) -> None:
        """Hot-plug a device into an empty root port (``rp0``, ``rp1``, ...) of a guest made with ``root_port=True``."""
        self.monitor.execute("device_add", {**device.properties(), "id": name, "bus": bus})

    def unplug(self, name: str, timeout: float = 30.0) -> None:
        """Ask the guest to give up a device, and wait until it has."""
        self.monitor.execute("device_del", {"id": name})
        deadline = time.monotonic() + timeout
        while (left := deadline - time.monotonic()) > 0:
            if self.monitor.event("DEVICE_DELETED", left)["data"].get("device") == name:
                return
        raise GuestError(f"{self.name} did not give up {name} in {timeout:.0f} s")

    def dmesg(self) -> str:
        """The guest kernel's log."""
        return self._raw_run("dmesg").check().stdout.decode(errors="replace")

    def kernel_warnings(self) -> list[str]:
        """The lines of the kernel's log with which it complains: WARNING, BUG, Tx hang, DMA fault and the like."""
        return failure.kernel_warnings(self._raw_run("dmesg -r").check().stdout.decode(errors="replace"))

    def console(self) -> str:
        """What the kernel wrote to its console so far."""
        return self._read("console.log").decode(errors="replace")

    @property
    def qemu_said(self) -> str:
        """QEMU's own messages."""
        return (self._said if self._process is None else self._read("qemu.stderr")).decode(errors="replace")

    @property
    def pid(self) -> int:
        """QEMU's process id."""
        assert self._process is not None
        return self._process.pid

    @property
    def bdfs(self) -> list[str]:
        """The PCI addresses of the devices that the lab placed, in their order (``0000:00:01.0``)."""
        return [f"0000:{placed.bdf}" for placed in self.spec.placed() if placed.bdf is not None]

    @property
    def terminal(self) -> socket.socket:
        """The guest's ``/dev/hvc0``, for an interactive shell."""
        return self._terminal

    @property
    def requests(self) -> socket.socket:
        """The agent's socket: readable when an interactive shell has ended."""
        return self._sockets[0]

    # -- failure ---------------------------------------------------------------------------------------------------

    def on_failure(self, label: str, hook: failure.Hook) -> None:
        """Let ``hook(folder)`` add files of this guest when a failure is kept; it replaces an earlier hook of that label."""
        self._hooks[label] = hook

    def fail(self, error: BaseException | str) -> Path | None:
        """Keep what is known now in the run's failure folder; its path."""
        if self._process is None:
            return self._keeper.folder
        folder = self._keeper.keep(f"{self.name} failed: {str(error).splitlines()[0] if str(error) else type(error).__name__}",
                                   self._save, self.name)
        if isinstance(error, GuestError) and error.folder is None:
            error.folder = folder
        return folder

    def _save(self, folder: Path) -> None:
        (folder / "qemu.command").write_text(shlex.join(self.command) + "\n")
        for name in ("console.log", "qemu.stderr"):
            (folder / name).write_bytes(self._read(name))
        if self._process is None or self._process.poll() is not None:
            (folder / "dmesg.txt").write_text(f"not available: {self._death()}\n")
            return
        for label, hook in self._hooks.items():
            failure.guarded(hook, folder, label)
        said = [f"(qemu) {line}\n{self.monitor.execute('human-monitor-command', {'command-line': line}, 5)}"
                for line in ("info status", "info registers -a", "info pci", "info qtree")]
        (folder / "qemu.txt").write_text("\n".join(said))
        try:
            (folder / "dmesg.txt").write_bytes(self.agent.run("dmesg", 5, grace=2).stdout)
        except GuestError as error:
            (folder / "dmesg.txt").write_text(f"not available, see console.log: {error}\n")

    def _death(self) -> str | None:
        """Why nothing more can come from the guest, if QEMU has ended."""
        if self._process is None:
            return f"{self.name} is not running"
        try:
            status = self._process.wait(0.5)
        except subprocess.TimeoutExpired:
            return None
        said = self._read("qemu.stderr").decode(errors="replace").strip().splitlines()
        panic = [line for line in self.console().splitlines() if "Kernel panic" in line]
        how = f"signal {signal.Signals(-status).name}" if status < 0 else f"status {status}"
        return f"{self.name}: QEMU ended with {how}" + (f": {(panic or said)[-1].strip()}" if panic or said else "")

    def _read(self, name: str) -> bytes:
        fd = self._logs.get(name)
        return b"" if fd is None else os.pread(fd, os.fstat(fd).st_size, 0)

    # -- a root file system of the user's ------------------------------------------------------------------------------

    @property
    def _prefix(self) -> str:
        return _ROOTFS if self.spec.rootfs is not None else ""

    def _raw_run(self, command: str, timeout: float = 60.0) -> Result:
        return self.agent.run(command, timeout)

    def _within(self, command: str) -> str:
        """The command as the agent runs it: inside the user's root file system, if there is one."""
        if self.spec.rootfs is None:
            return command
        return f"exec chroot {_ROOTFS} /bin/sh -c {shlex.quote(f'cd /root 2>/dev/null; {command}')}"

    def _enter_rootfs(self) -> None:
        """The user's tree, read-only from the host, under a layer in memory that takes the writes."""
        steps = [
            "mkdir -p /mnt/lower /mnt/layer " + _ROOTFS,
            f"mount -t 9p -o {_9P},ro,cache=loose rootfs /mnt/lower",
            "mount -t tmpfs layer /mnt/layer && mkdir /mnt/layer/upper /mnt/layer/work",
            f"mount -t overlay -o lowerdir=/mnt/lower,upperdir=/mnt/layer/upper,workdir=/mnt/layer/work overlay {_ROOTFS}",
            f"cd {_ROOTFS} && mkdir -p dev proc sys run tmp mnt/share lib/modules",
            *(f"mount --rbind /{name} {_ROOTFS}/{name}" for name in ("dev", "proc", "sys", "run")),
            f"mount --bind /lib/modules {_ROOTFS}/lib/modules",
            *([f"mount --bind {_SHARE} {_ROOTFS}{_SHARE}"] if self.spec.share is not None else []),
        ]
        self._raw_run("set -e\n" + "\n".join(steps)).check()


def together(*machines: VM) -> Together:
    """Several guests as one context manager; they boot at the same time."""
    return Together(machines)


class Together:
    """See ``together``."""

    def __init__(self, machines: tuple[VM, ...]) -> None:
        self._machines = machines

    def __enter__(self) -> tuple[VM, ...]:
        try:
            for vm in self._machines:
                vm.start()
            for vm in self._machines:
                vm.wait()
        except BaseException as error:
            self._end(error)
            raise
        return self._machines

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None) -> None:
        self._end(error)

    def _end(self, error: BaseException | None) -> None:
        if error is not None:
            for vm in self._machines:
                vm.fail(error)
        for vm in reversed(self._machines):
            vm.stop()


