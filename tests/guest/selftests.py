"""What comes of Linux's own selftests of network drivers on our devices: a page, and the record that it is made from.

``python -m tests.guest.selftests`` writes ``docs/selftests.md`` from ``selftests.json``; with ``--record DEVICE ...`` it first
runs them in a guest and records what came of it. ``test_selftests`` runs them again and holds the record to it.

A case that does not apply says why itself. What fails, and what is not run at all, is explained here (``FAILS``,
``NOT_RUN``); without an explanation no page is made.
"""

from __future__ import annotations

import argparse
import json
import re
import shlex
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from fnmatch import fnmatch
from pathlib import Path
from tempfile import TemporaryDirectory

from emulators.process import ServerProcess
from emulators.qemu import VM, Lab, VfioUser
from emulators.qemu.selftests import FOLDER, KIT, SOURCE
from tests.guest.virtio import FAR, apart

RECORD = Path(__file__).with_name("selftests.json")
PAGE = Path(__file__).resolve().parents[2] / "docs" / "selftests.md"
QUEUES = "4"
"""So many pairs, and processors: fewer are not enough for the tests of RSS tables."""
DEVICES: dict[str, dict[str, str]] = {
    "virtio-net": {"queue_pairs": QUEUES, "rss": "on", "hash": "on"},
    "vmxnet3": {},
}
"""What they are run on, with its options."""
MODULES = {"virtio-net": "virtio_net", "vmxnet3": "vmxnet3"}
TRAFFIC_CONTROL = ("sch_fq", "sch_ingress", "cls_flower", "cls_matchall", "act_skbedit")
"""Modules that a test of transmit queues steers frames with."""
BPF = "needs a BPF program, for which the lab has no compiler"
TESTS: dict[str, dict[str, str]] = {
    "ping.py": {"test_xdp_*": BPF},
    "queues.py": {},
    "stats.py": {},
    "hw/csum.py": {},
    "hw/tso.py": {},
    "hw/uso.py": {},
    "hw/irq.py": {"check_reconfig_xdp": BPF},
    "hw/rss_api.py": {},
    "hw/rss_drv.py": {},
    "ring_reconfig.py": {},
}
"""What is run, and which of its cases are not, and why. The last one is last because it leaves one of the queues with a
discipline that drops what is more than 64 frames of a flow."""
NOT_RUN: dict[str, str] = {
    "xdp.py, hw/xdp_metadata.py, hw/xsk_reconfig.py, hw/nk_*.py": BPF,
    "hw/rss_ctx.py":
        "most of it steers by several indirection tables or by rules, which the driver has none of; of the other four cases "
        "three need 1000 frames a second of `iperf3` before they begin, and none was tried",
    "hw/rss_flow_label.py, hw/ntuple.py, hw/rss_input_xfrm.py":
        "flow steering by several indirection tables or by rules, and symmetric hashing: the driver has none of them",
    "hw/toeplitz.py": "its receiver needs the kernel's C library for netlink, which is generated when a kernel is built",
    "hds.py, hw/devmem.py, hw/userns_devmem.py, hw/iou-zcrx.py": "split headers, which the driver does not have",
    "psp.py, macsec.py, shaper.py, so_txtime.py, hw/nic_timestamp.py, hw/ipsec_vxlan.py":
        "offloads that the driver does not have",
    "gro.py, hw/gro_hw.py": "GRO in hardware, as a list of flows, which the device does not keep",
    "napi_id.py, napi_threaded.py, netpoll_basic.py, netconsole, bonding, team":
        "the network stack above a driver, the same for all",
    "hw/ethtool*.sh, hw/loopback.sh, hw/devlink_*.py, hw/hw_stats_l3*.sh": "a cable between two ports of a switch chip",
    "hw/pp_alloc_fail.py": "needs a kernel with CONFIG_FAIL_FUNCTION, which Debian's 6.12 is built without",
    "virtio_net/basic_features.sh":
        "needs `net/forwarding/lib.sh`, which the lab leaves out, and CONFIG_VIRTIO_DEBUG, which Debian's 6.12 is "
        "built without",
    "netdevsim, mlxsw, dsa, ocelot, microchip": "drivers of their own",
}
"""What of the folder is not run, and why."""
BEFORE = "(before its cases)"
"""Stands for all cases of a test that failed before it said which it has."""
BY_CHANCE = {("ring_reconfig.py", "reconfig_tx_stall")}
"""Cases that say that they do not apply if they find the device too quick, and pass if they do not."""
NO_CONTEXTS = "asks for a second indirection table without asking first whether there can be one; the driver has one"
NO_SOURCE = "hashes by the source address alone, for which VIRTIO has no type of hash: `virtio_net` refuses it"
NO_IRQ = "the driver does not tell the stack which interrupt is whose (`netif_napi_set_irq`)"
AS_ONE = "all octets arrive; `virtio_net` counts a datagram that the device cuts as one packet"
NO_CHANNELS = "sets the number of queues without asking first whether it can be set; `vmxnet3` takes it when it is loaded"
NO_QUEUE_STATISTICS = "asks for statistics by queue without asking first whether there are any; `vmxnet3` has none"
NO_KEY = "expects a key of the hash, which `vmxnet3` does not show"
TCP_AS_IT_IS = "changes what TCP is hashed by: `vmxnet3` hashes it by addresses and ports, always"
FAILS: dict[tuple[str, str, str], str] = {
    **{
        (device, test, case): why
        for device in DEVICES
        for test, case, why in (
            ("hw/irq.py", "check_irqs_reported", NO_IRQ),
            ("hw/rss_api.py", "test_rxfh_nl_set_indir_ctx", NO_CONTEXTS),
            ("hw/rss_api.py", "test_rxfh_indir_ctx_ntf", NO_CONTEXTS),
            ("hw/rss_api.py", "test_rss_ctx_add", NO_CONTEXTS),
            ("hw/rss_api.py", "test_rss_ctx_ntf", NO_CONTEXTS),
        )
    },
    ("virtio-net", "hw/uso.py", "test_uso.v4_partial"): AS_ONE,
    ("virtio-net", "hw/uso.py", "test_uso.v4_exact"): AS_ONE,
    ("virtio-net", "hw/uso.py", "test_uso.v6_partial"): AS_ONE,
    ("virtio-net", "hw/uso.py", "test_uso.v6_exact"): AS_ONE,
    ("virtio-net", "hw/rss_api.py", "test_rxfh_fields_set"): NO_SOURCE,
    ("virtio-net", "hw/rss_api.py", "test_rxfh_fields_set_xfrm"): NO_SOURCE,
    **{
        ("vmxnet3", "hw/rss_drv.py", f"{case}.{context}"): NO_CHANNELS
        for context in ("main", "ctx")
        for case in (
            "indir_size_4x", "resize_periodic", "resize_below_user_size_reject", "resize_nonperiodic_reject",
            "resize_nonperiodic_no_corruption",
        )
    },
    ("vmxnet3", "queues.py", "addremove_queues"): NO_CHANNELS,
    ("vmxnet3", "stats.py", "procfs_downup_hammer"): NO_CHANNELS,
    ("vmxnet3", "ring_reconfig.py", "channels"): NO_CHANNELS,
    ("vmxnet3", "ring_reconfig.py", "ringparam"): NO_CHANNELS,
    ("vmxnet3", "hw/tso.py", BEFORE): NO_QUEUE_STATISTICS,
    ("vmxnet3", "hw/rss_api.py", "test_rxfh_nl_set_key"): NO_KEY,
    ("vmxnet3", "hw/rss_api.py", "test_rxfh_fields_set"): TCP_AS_IT_IS,
    ("vmxnet3", "hw/rss_api.py", "test_rxfh_fields_set_xfrm"): TCP_AS_IT_IS,
    ("vmxnet3", "hw/rss_api.py", "test_rxfh_fields_ntf"): TCP_AS_IT_IS,
}
"""Device, test and case: why it fails."""

LOCAL = {"LOCAL_V4": "198.51.100.1", "LOCAL_V6": "fd00::1", "REMOTE_V4": "198.51.100.2", "REMOTE_V6": "fd00::2"}
_LINE = re.compile(r"^(not )?ok \d+ [^.\s]+\.(\S+)(?: # (SKIP|XFAIL) ?(.*))?$", re.M)
MARKS = {"pass": "pass", "fail": "**fail**", "not applicable": "n/a"}
Outcomes = dict[str, tuple[str, str]]
"""Case: pass, fail or not applicable, and what it says about that."""


@contextmanager
def machine(lab: Lab, device: str) -> Iterator[VM]:
    """A guest with two NICs of this device and the selftests.

    Each is on a card of its own, with a cable between them: on the cable frames are finished, as a remote end expects.
    """
    with TemporaryDirectory(prefix="regmodel-selftests-") as folder, ExitStack() as stack:
        ends = (f"{folder}/a", f"{folder}/b")
        nets = [f"dgram:local={here},remote={there}" for here, there in (ends, ends[::-1])]
        options = [{**DEVICES[device], "mac": mac} for mac in ("02:00:00:00:00:a1", "02:00:00:00:00:b1")]
        servers = [
            stack.enter_context(ServerProcess([device], nets=[net], options=each))
            for net, each in zip(nets, options, strict=True)
        ]
        devices = [VfioUser(str(server.sockets[0])) for server in servers]
        with lab.vm(devices, [MODULES[device], *TRAFFIC_CONTROL], kits=["python", KIT], cpus=int(QUEUES)) as vm:
            connect(vm)
            yield vm


def connect(vm: VM) -> None:
    """The second interface in a namespace of its own, both with their addresses.

    What the stack wants to send waits first in, first out. Debian's default, fq_codel, drops of a queue in which frames wait
    for longer than 5 ms (RFC 8289): under TCG they do, and the tests count every frame at the other end. And an interface
    keeps its IPv6 address when a test takes it down, which it would lose for all tests after that.
    """
    vm.run("sysctl -q -w net.core.default_qdisc=pfifo_fast net.ipv6.conf.all.keep_addr_on_down=1", check=True)
    far = apart(vm)
    for side, name, whose in ((vm, "eth0", "LOCAL"), (far, "eth1", "REMOTE")):
        side.run(f"ip addr add {LOCAL[whose + '_V4']}/24 dev {name}; ip addr add {LOCAL[whose + '_V6']}/64 dev {name} nodad; "
                 f"ip link set lo up; ip link set {name} up", check=True)  # fmt: skip


def run(vm: VM, test: str) -> Outcomes:
    """Run one test; what came of its cases, or that it failed before the first. Raises AssertionError when it broke off."""
    folder, _, name = f"{FOLDER}/{test}".rpartition("/")
    environment = {"NETIF": "eth0", **LOCAL, "REMOTE_TYPE": "netns", "REMOTE_ARGS": FAR, "NO_COLOR": "1"}
    words = ["env", *(f"{k}={v}" for k, v in environment.items()), "timeout", "280", "python3", "-S", name]
    words += [word for pattern in TESTS[test] for word in ("-T", pattern)]
    said = vm.run(f"cd {folder} && {shlex.join(words)} 2>&1", timeout=300).text
    announced = re.search(r"^1\.\.(\d+)$", said, re.M)
    found = dict(outcomes(said))
    vm.run(f"echo {shlex.quote(said)} >> /tmp/selftests.txt")
    if announced is None:
        assert said.startswith("Traceback"), said
        return {BEFORE: ("fail", "")}
    assert len(found) == int(announced[1]), said
    return found


def outcomes(said: str) -> Iterator[tuple[str, tuple[str, str]]]:
    """The cases in what a test said."""
    for bad, case, directive, reason in _LINE.findall(said):
        yield case, ("fail", "") if bad else ("not applicable", reason) if directive else ("pass", "")


def unnamed(folder: Path) -> list[str]:
    """The programs in the folder that neither ``TESTS`` nor ``NOT_RUN`` names; libraries are none."""
    words = [word for names in (*TESTS, *NOT_RUN) for word in names.split(", ")]
    found = (path.relative_to(folder) for path in sorted(folder.rglob("*")) if path.suffix in (".py", ".sh"))
    return [
        str(path) for path in found
        if "lib" not in path.parts and not path.stem.endswith(("_lib", "_common"))
        and not any(fnmatch(str(path), word) or word in map(str, path.parents) for word in words)
    ]  # fmt: skip


def judged(said: dict[str, Outcomes]) -> dict[tuple[str, str], tuple[str, str]]:
    """What came of each case, as it is held to the record: of one in ``BY_CHANCE`` it only counts that it did not fail."""
    return {
        (test, case): ("not failed", "") if (test, case) in BY_CHANCE and outcome != "fail" else (outcome, reason)
        for test, cases in said.items() for case, (outcome, reason) in cases.items()
    }  # fmt: skip


def load() -> dict[str, dict[str, Outcomes]]:
    """What is recorded, by device and test."""
    record = json.loads(RECORD.read_text())
    return {
        device: {test: {case: (outcome, reason) for case, (outcome, reason) in cases.items()} for test, cases in tests.items()}
        for device, tests in record.items()
    }


def page() -> str:
    """``docs/selftests.md``."""
    record = load()
    lines = [
        "# Linux's selftests of network drivers", "",
        "Made by `python -m tests.guest.selftests`; do not edit.", "",
        f"The tests are those of Debian's `{SOURCE}` (`tools/testing/selftests/drivers/net`), run in a guest with that kernel "
        "that has two NICs and a cable between them; the remote end is the second, in a network namespace. `virtio-net` has "
        "four queue pairs, RSS and hash reports; `vmxnet3` four transmit and four receive queues, one for each processor.", "",
        f"| test | case | {' | '.join(DEVICES)} | why |", f"|---|---|{'---|' * len(DEVICES)}---|",
    ]  # fmt: skip
    for test, left_out in TESTS.items():
        for case in dict.fromkeys(case for device in DEVICES for case in record[device][test]):
            found = {device: record[device][test].get(case, ("not applicable", "")) for device in DEVICES}
            marks = " | ".join(MARKS[outcome] for outcome, _ in found.values())
            lines.append(f"| {test} | {case} | {marks} | {'; '.join(_why(test, case, found))} |")
        lines += [f"| {test} | {case} | {' | '.join('n/a' for _ in DEVICES)} | {why} |" for case, why in left_out.items()]
    lines += ["", "## Not run", "", "| tests | why |", "|---|---|", *(f"| {test} | {why} |" for test, why in NOT_RUN.items())]
    return "\n".join(lines) + "\n"


def _why(test: str, case: str, found: Outcomes) -> list[str]:
    """The reasons, each with its devices where not all share it."""
    whose: dict[str, list[str]] = {}
    for device, (outcome, reason) in found.items():
        if outcome == "fail":
            reason = FAILS[device, test, case]
        if reason:
            whose.setdefault(reason.replace("|", "\\|"), []).append(device)
    return [why if len(devices) == len(found) else f"{', '.join(devices)}: {why}" for why, devices in whose.items()]


def record(devices: list[str]) -> None:
    """Run everything on ``devices`` and write down what came of it."""
    known = json.loads(RECORD.read_text()) if RECORD.exists() else {}
    lab = Lab()
    for device in devices:
        with machine(lab, device) as vm:
            known[device] = {test: run(vm, test) for test in TESTS}
            print(vm.get("/tmp/selftests.txt").decode())
    RECORD.write_text(json.dumps(known, indent=1) + "\n")


def main() -> None:
    parser = argparse.ArgumentParser(prog="python -m tests.guest.selftests", description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--record", nargs="+", choices=list(DEVICES), default=[], metavar="DEVICE", help="run them first")
    record(parser.parse_args().record)
    PAGE.write_text(page())
    print(PAGE)


if __name__ == "__main__":
    main()
