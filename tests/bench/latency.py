"""How long a register read of one VF takes while another VF of the same server is busy.

The idle VF is read by a vfio-user client of this process on its own socket, so that what is measured is the server's: in a
guest both VFs would share a processor and QEMU's locks. The busy one carries the kernel's packet generator in a guest.
"""

from __future__ import annotations

import os
import socket
import statistics
import struct
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path

from emulators.process import ServerProcess
from emulators.qemu import VM, Lab, VfioUser

STATUS = 0x8
"""Offset of a register whose reading changes nothing (82576 datasheet, 8.2.2)."""
_VERSION = struct.pack("<HHIIIHH", 1, 1, 20, 0, 0, 0, 0)
_ENABLE = struct.pack("<HHIIIQIIH", 3, 10, 34, 0, 0, 4, 7, 2, 2)  # the command register: memory decoded
_READ = struct.pack("<HHIIIQII", 2, 9, 32, 0, 0, STATUS, 0, 4)
_REPLY = 36
_PAUSE = 0.0005  # seconds: so that reads fall anywhere into what the server does, not always behind the last one


class Reader:
    """A client that reads one register of a served function, over and over."""

    def __init__(self, path: Path) -> None:
        self._socket = socket.socket(socket.AF_UNIX)
        self._socket.connect(str(path))
        self._socket.sendall(_VERSION)
        if len(self._socket.recv(4096)) < 16:
            raise AssertionError("the server does not agree on a version")
        self._socket.sendall(_ENABLE)
        if len(self._socket.recv(4096)) != 32:
            raise AssertionError("the server does not let the registers be decoded")

    def samples(self, count: int, pause: float = 0.0) -> list[int]:
        """``count`` round trips in ns, ``pause`` seconds apart."""
        took = []
        for _ in range(count):
            start = time.perf_counter_ns()
            self._socket.sendall(_READ)
            reply = self._socket.recv(_REPLY)
            took.append(time.perf_counter_ns() - start)
            if len(reply) != _REPLY:
                raise AssertionError(f"a register read was answered with {reply.hex()}")
            if pause:
                time.sleep(pause)
        return took

    def close(self) -> None:
        self._socket.close()


@dataclass
class Latency:
    """Round trips in ns, with the other VF at rest and under load, in rounds that took turns."""

    at_rest: list[list[int]] = field(default_factory=list)
    loaded: list[list[int]] = field(default_factory=list)
    rates: list[float] = field(default_factory=list)  # frames per second that the busy VF sent during the reads of ``loaded``

    def figures(self, quantile: Callable[[Sequence[float]], float]) -> tuple[list[float], list[float]]:
        """One figure per round: loaded, at rest."""
        return [quantile(samples) for samples in self.loaded], [quantile(samples) for samples in self.at_rest]


def median(samples: Sequence[float]) -> float:
    return statistics.median(samples)


def p99(samples: Sequence[float]) -> float:
    return float(sorted(samples)[len(samples) * 99 // 100])


def measure(lab: Lab, *, rounds: int = 5, reads: int = 1000) -> Latency:
    """Boots a guest with the busy VF."""
    result = Latency()
    with ExitStack() as stack:
        server = stack.enter_context(ServerProcess(["igbvf", "igbvf"], nets=["sink:"]))
        vm = stack.enter_context(lab.vm([VfioUser(server.sockets[0])], ["igbvf", "pktgen"]))
        wait = "for i in $(seq 100); do [ $(cat /sys/class/net/eth0/carrier) = 1 ] && exit 0; sleep 0.1; done; exit 1"
        vm.run(f"ip link set eth0 up && {wait}", check=True)
        reader = Reader(server.sockets[1])
        stack.callback(reader.close)
        reader.samples(100)
        for _ in range(rounds):
            with undisturbed(server, vm):
                result.at_rest.append(reader.samples(reads, _PAUSE))
            with undisturbed(server, vm), pktgen_running(vm, "eth0"):
                before, start = _sent(server), time.monotonic()
                result.loaded.append(reader.samples(reads, _PAUSE))
                result.rates.append((_sent(server) - before) / (time.monotonic() - start))
    return result


@contextmanager
def undisturbed(server: ServerProcess, vm: VM) -> Iterator[None]:
    """What else the machine does is not to be measured: where that is allowed (root), server and reader run whenever they
    want to, and the guest before everybody else."""
    threads = [int(task.name) for task in Path(f"/proc/{vm.pid}/task").iterdir()]
    try:
        _prefer(server.pid, threads, os.SCHED_RR, 1, -20)
    except PermissionError:
        yield
        return
    try:
        yield
    finally:
        _prefer(server.pid, threads, os.SCHED_OTHER, 0, 0)


def _prefer(server: int, threads: list[int], policy: int, priority: int, nice: int) -> None:
    for process in (server, 0):
        os.sched_setscheduler(process, policy, os.sched_param(priority))
    for thread in threads:
        with suppress(ProcessLookupError):
            os.setpriority(os.PRIO_PROCESS, thread, nice)


def _sent(server: ServerProcess) -> int:
    with server.control() as client:
        frames: int = client.ask("stats")["card"]["ports"][0]["pools"]["vf0"]["tx"]["frames"]
        return frames


@contextmanager
def pktgen_running(vm: VM, device: str) -> Iterator[None]:
    """The packet generator sends frames of 60 octets for as long as the block runs."""
    vm.run(
        f"echo rem_device_all > /proc/net/pktgen/kpktgend_0; echo add_device {device} > /proc/net/pktgen/kpktgend_0; "
        "for line in 'count 0' 'clone_skb 1000' 'pkt_size 60' 'delay 0' 'dst_mac 02:00:00:00:00:99' 'dst 192.0.2.9'; do "
        f'echo "$line" > /proc/net/pktgen/{device}; done; (echo start > /proc/net/pktgen/pgctrl) > /dev/null 2>&1 & sleep 0.3',
        check=True,
    )
    try:
        yield
    finally:
        vm.run("echo stop > /proc/net/pktgen/pgctrl; sleep 0.1", check=True)
