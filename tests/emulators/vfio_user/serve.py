"""Serves the test device of ``test_qemu`` until SIGTERM, then prints what happened to it as JSON: half of ``test_guest``."""

import json
import signal
import sys

from emulators.loop import Loop
from emulators.vfio_user.server import Server
from tests.emulators.vfio_user.test_qemu import pci_device


class Witness:
    """An observer that keeps what it is told."""

    def __init__(self) -> None:
        self.seen: list[tuple[object, ...]] = []

    def __getattr__(self, name: str):
        return lambda *what: self.seen.append((name, *what))


loop, device, witness = Loop(), pci_device(), Witness()
server = Server(loop, device, sys.argv[1], observer=witness)
signal.signal(signal.SIGTERM, lambda *_: loop.stop())
print("ready", flush=True)
loop.run()
server.close()
print(json.dumps({
    "maps": [what[1:3] for what in witness.seen if what[0] == "dma_mapped"],
    "unmaps": [what[1:3] for what in witness.seen if what[0] == "dma_unmapped"],
    "resets": sum(1 for what in witness.seen if what[0] == "reset"),
    "refused": [what[1:] for what in witness.seen if what[0] == "refused"],
    "accesses": [entry for entry in device.log if entry[0] in ("read", "write")],
}))  # fmt: skip
