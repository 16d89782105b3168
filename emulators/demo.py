"""``make demo``: the main job, on real input, in front of your eyes.

Two guests, each with one VF of the same emulated 82576 port and the stock ``igbvf`` of a Debian kernel. They ping each other
through the emulated L2 switch and move a file by TCP. Printed is what the guests see, and what their driver said to the
device. Exits with 1 if anything of it did not happen.
"""

from __future__ import annotations

import hashlib
import os
import sys
import threading
import time
from typing import Any

from emulators.control.decoder import Decoder
from emulators.process import ServerProcess
from emulators.qemu import VM, Lab, VfioUser
from regmodel.catalogue import find
from regmodel.errors import RegmodelError

DEVICE = "igbvf"
FILE_BYTES = 4 << 20
CARRIER = "for i in $(seq 100); do [ $(cat /sys/class/net/eth0/carrier) = 1 ] && exit 0; sleep 0.1; done; exit 1"
HOSTS = ("192.0.2.1", "192.0.2.2")


class Demo:
    """The run, step by step; ``steps`` keeps what each took, in seconds."""

    def __init__(self) -> None:
        from rich.console import Console

        self.console = Console(highlight=False, soft_wrap=True)
        self.started = self.last = time.monotonic()
        self.mailbox: list[dict[str, Any]] = []

    def step(self, text: str) -> None:
        """Say what has been done, and how long it took."""
        now = time.monotonic()
        self.console.print(f"[green]ok[/] {text} [dim]({now - self.last:.1f} s)[/]")
        self.last = now

    def title(self, text: str) -> None:
        self.console.print()
        self.console.rule(f"[bold]{text}", align="left", characters="-")

    def run(self) -> None:
        with ServerProcess([DEVICE, DEVICE]) as server:
            self.step(f"`{' '.join(['regmodel', *server.command[3:6]])} ...` serves two VFs of one port")
            threading.Thread(target=self._listen, args=(server,), daemon=True).start()
            lab = Lab()
            machines = [
                lab.vm(devices=[VfioUser(str(socket))], modules=["igbvf"], name=f"guest{i}")
                for i, socket in enumerate(server.sockets)
            ]
            with lab.together(*machines) as guests:
                self.step(f"two guests run, stock igbvf loaded ({lab.qemu}, {lab.accelerator.name})")
                self._network(*guests)
                self._show(guests[0])
                with server.control() as client:
                    coverage = client.ask("coverage", function="vf0")["0"]
                for guest in guests:
                    if warnings := guest.kernel_warnings():
                        raise RegmodelError(f"{guest.name}: its kernel complains: {warnings[0]}")
            self._conversation()
            self._registers(coverage)
        self.title("done")
        self.console.print(f"everything in {time.monotonic() - self.started:.1f} s")

    def _listen(self, server: ServerProcess) -> None:
        with server.control() as client:
            self.mailbox.extend(client.events(["mailbox"]))

    def _network(self, a: VM, b: VM) -> None:
        for guest, address in zip((a, b), HOSTS, strict=True):
            guest.run(f"ip addr add {address}/24 dev eth0 && ip link set eth0 up", check=True)
        for guest in (a, b):
            guest.run(CARRIER, check=True)
        self.step("link is up in both")
        ping = a.run(f"ping -c 5 -i 0.2 {HOSTS[1]}", check=True)
        self.step("guest0 pings guest1 through the L2 switch: " + ping.text.strip().splitlines()[-2])
        data = os.urandom(FILE_BYTES)
        a.put("/tmp/file", data)
        self.last = time.monotonic()
        b.run("mkfifo /tmp/open; nc -l -p 5000 0<> /tmp/open > /tmp/file & echo", check=True)  # nc ends with its input
        a.run(f"for i in 1 2 3 4 5; do nc -w 20 {HOSTS[1]} 5000 < /tmp/file && exit 0; sleep 0.2; done; exit 1", check=True)
        took = time.monotonic() - self.last
        digest = b.run("sleep 0.2; sha256sum /tmp/file", check=True).text.split()[0]
        if digest != hashlib.sha256(data).hexdigest():
            raise RegmodelError("the file that arrived by TCP is not the file that was sent")
        self.step(f"{FILE_BYTES >> 20} MiB by TCP, SHA-256 equal, {FILE_BYTES / took / 1e6:.1f} MB/s")

    def _show(self, guest: VM) -> None:
        for command in ("lspci -vv -s 00:01.0", "ethtool -i eth0", "ethtool -S eth0"):
            self.title(f"guest0# {command}")
            self.console.print(guest.run(command, check=True).text.rstrip(), markup=False)

    def _conversation(self) -> None:
        self.title("what vf0's driver and the PF said through the mailbox")
        decoder = Decoder({"vf0": find(DEVICE)})
        for line in decoder.lines(event for event in list(self.mailbox) if event.get("function") == "vf0"):
            self.console.print(line, markup=False)

    def _registers(self, coverage: dict[str, Any]) -> None:
        from rich.columns import Columns

        self.title("the registers that igbvf touched (reads/writes)")
        touched = {path.upper(): c for path, c in coverage.items() if c["reads"] or c["writes"]}
        cells = [f"{path} {c['reads']}/{c['writes']}" for path, c in sorted(touched.items())]
        self.console.print(Columns(cells, padding=(0, 3), column_first=True))
        missing = {"V2PMAILBOX", "CTRL", "STATUS", "TDT[0]", "RDT[0]"} - set(touched)
        if missing:
            raise RegmodelError(f"the driver never touched {', '.join(sorted(missing))}: this is no igbvf")


def main() -> None:
    """Run the demo; one line and exit status 1 if it fails."""
    try:
        Demo().run()
    except RegmodelError as error:
        print(f"regmodel: {error}", file=sys.stderr)
        raise SystemExit(error.status) from None
    except KeyboardInterrupt:
        raise SystemExit(130) from None


if __name__ == "__main__":
    main()
