"""The Python driver drives our virtio-net and QEMU's ``virtio-net-pci`` in lock-step, both in one guest through Linux VFIO.

Every read, every byte that a device wrote to memory and every interrupt is compared (``drivers.transports.tee``), while the
driver asks for all that there is, resets, and passes packets that come to both. ``tee_virtio_net.toml`` explains what differs.

The driver rings the doorbell for all that it publishes: a device wants one when it has looked at its ring, each in its own
time, so that one which ours can do without may be one that QEMU's waits for.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from emulators.qemu import VM, RawDevice, VfioUser
from emulators.qemu.vfio import bind
from tests.differential.compare import Difference, judge, load
from tests.guest.conftest import Bench
from tests.guest.pmd import Cable, frame
from tests.guest.stations import MACHINE, GuestStation, echoed
from tests.guest.virtio import FRONTS, serve

pytestmark = pytest.mark.guest

ENTRIES = Path(__file__).with_name("tee_virtio_net.toml")
ADDRESS = "02:00:00:00:00:31"
SAME = {"mac": ADDRESS, "csum": "off", "guest_csum": "off"}
"""QEMU's datagram back end carries no ``virtio_net_hdr``, so that its device offers neither checksums nor segmentation."""
RESERVED = {"memory": "512M", "append": "memmap=64M$0x10000000"}
"""For devices that pass the IOMMU by, see ``test_virtio_python``."""
NO_COMMANDS = ("ctrl_vq", "ctrl_rx", "ctrl_rx_extra", "ctrl_vlan", "ctrl_mac_addr", "guest_announce", "ctrl_guest_offloads")
"""Off on legacy devices: these say how long a ring is, and QEMU's control queue is another length than ours."""
CHANCE = Difference("traffic", "wait_irq", "[1]", "[]")
"""The driver asks for an interrupt by memory, and a device that has just used the buffer sends none (VIRTIO 1.3, 2.7.7): which
of two devices is still to do so, when the driver asks both, is a race. That it is the right vector is not."""
WISHES = {front: {at + byte for at in places for byte in range(size)} for front, places, size in (
    ("split", (0x404, 0x204), 2), ("transitional-split", (0x404, 0x204), 2), ("legacy", (0x804,), 2),
    ("packed", (0x804, 0x404), 4),
)}  # fmt: skip
"""What is taken out here need not occur, and cannot be demanded: whether a doorbell is wished for at the moment of a look hangs
on how far each of two devices has come, as does ``CHANCE``. All others are demanded by ``judge``, which fails for those that it
knows and does not find.

Where in its page the device says of a ring of 256, 128 or 64 descriptors when it wants a doorbell, and in how many bytes."""
FLAGS = 14
"""Where in a packed descriptor they are; its 16 bytes do not cross a page."""
SIZES = (60, 64, 127, 128, 500, 1024, 1514)


@pytest.mark.only(kernel=["7.2"], front=["split", "packed", "transitional-split", "legacy"])
def test_lock_step_with_qemus(bench: Bench, front: str, kernel: str, tmp_path: Path, clean: Callable[[VM], None]) -> None:
    cables = Cable(tmp_path, "a"), Cable(tmp_path, "b")
    off = NO_COMMANDS if front == "legacy" else ()
    passes_by = FRONTS[front].device != "virtio-net"
    alone = {"access_platform": "off"} if passes_by else {}
    found = serve(bench, front, count=1, options=SAME | alone | dict.fromkeys(off, "off"), nets=[cables[0].net])
    more = [f"{name}=off" for name in off] if passes_by else ["iommu_platform=on"]
    theirs = ",".join(("virtio-net-pci,netdev=n0", f"mac={ADDRESS},vectors=18,{found.qemu}", *more))
    options: dict[str, Any] = {**MACHINE, **RESERVED, "kernel": kernel, "arguments": ["-netdev", cables[1].netdev("n0")]}
    with bench.lab.vm([VfioUser(str(bench.server.sockets[0])), RawDevice(theirs)], **options) as vm:
        bind(vm, *vm.bdfs)
        both = (f"vfio:{vm.bdfs[0]}", "echo", "--against", f"vfio:{vm.bdfs[1]}", "--interrupts", "--device", found.device)
        alike = ["--with", "always_notify=1", *(["--against-physical"] if passes_by else [])]
        alike += ["--grace", "0.5"]  # for which each of the many known differences is waited, too
        with GuestStation(vm, *both, *alike, "--tour", "--count", str(len(SIZES) * 4)) as station:
            frames = [frame(station.mac, size=size, mark=number) for number, size in enumerate(SIZES * 4)]
            for each in frames:  # one at a time: indexes of rings go on as frames come, at each device's own pace
                for cable in reversed(cables):  # ours last: when it has done its part, the driver waits a grace for theirs
                    cable.send(each)
                assert [cable.receive(1) for cable in cables] == [[echoed(each, station.mac)]] * 2
            said = station.result()
        assert (said["echoed"], said["missing"]) == (len(frames), 0) and said["woken"]
        verdict = judge(set(compared(front, station)) - {CHANCE}, load(ENTRIES, front))
        assert verdict, str(verdict)
        clean(vm)
    for cable in cables:
        cable.close()


def compared(front: str, station: GuestStation) -> Iterator[Difference]:
    """What differs in memory by what is there: flags of packed descriptors. Wishes for doorbells are not compared."""
    for finding in station.findings():
        found = Difference(**finding)
        if not found.at.startswith("0x"):
            yield found
            continue
        at = int(found.at, 16)
        if len(found.ours) <= 8 and at % 4096 in WISHES[front]:
            continue
        is_flags = front == "packed" and at % 16 == FLAGS
        yield replace(found, at="flags", ours=found.ours[:2], theirs=found.theirs[:2]) if is_flags else found
