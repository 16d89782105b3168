"""The test function judged by those who did not write it: QEMU, the Linux PCI core, pciutils, uio_pci_generic.

One guest has it twice: on the root complex, and behind a root port where a bus reset is possible. Messages are observed without
a driver: their address points into reserved guest memory, where QEMU then writes the message's data.
"""

from __future__ import annotations

import hashlib
import re
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from emulators.loop import Loop
from emulators.model import load_card
from emulators.pci.function import PciFunction
from emulators.qemu import VM, Lab, VfioUser
from emulators.vfio_user.server import Server
from regmodel.bank import Cause
from regmodel.function import ResetCause
from tests.emulators.pci import testdevice

pytestmark = pytest.mark.guest

ROOT, PORT = "00:01.0", "01:00.0"
RESERVED = 0x8000000
"""64 KiB of guest memory that its kernel does not use."""
PATTERN = 0x11111111


class Guest:
    """A running guest, and the two functions in it as this process sees them."""

    def __init__(self, vm: VM, functions: dict[str, PciFunction]) -> None:
        self.vm, self.functions = vm, functions

    def run(self, command: str) -> str:
        return self.vm.run(command, timeout=30, check=True).text.strip()

    def sysfs(self, bdf: str, name: str) -> str:
        return f"/sys/bus/pci/devices/0000:{bdf}/{name}"

    def get(self, bdf: str, register: str) -> int:
        return int(self.run(f"setpci -s {bdf} {register}"), 16)

    def set(self, bdf: str, *pairs: str) -> None:
        self.run(f"setpci -s {bdf} {' '.join(pairs)}")

    def address(self, bdf: str, bar: int) -> int:
        line = self.run(f"cat {self.sysfs(bdf, 'resource')}").splitlines()[bar]
        return int(line.split()[0], 16)

    def peek(self, address: int, width: int = 32) -> int:
        return int(self.run(f"devmem {address:#x} {width}"), 16)

    def poke(self, address: int, value: int, width: int = 32) -> None:
        self.run(f"devmem {address:#x} {width} {value:#x}")

    def wait(self, address: int, value: int) -> None:
        """Until the word at ``address`` is ``value``; a message or a DMA write may still be on its way."""
        deadline = time.monotonic() + 60
        while self.peek(address) != value:
            over = time.monotonic() >= deadline
            time.sleep(0.1)
            if over:  # the look may be what took the time: one more
                found = self.peek(address)
                assert found == value, f"{address:#x} holds {found:#x}, not {value:#x}"
                return

    def lspci(self, bdf: str, options: str = "-vvv") -> str:
        return self.run(f"lspci {options} -s {bdf}")


@pytest.fixture(scope="module")
def guest(lab: Lab, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Guest]:
    folder: Path = tmp_path_factory.mktemp("pci")
    with ExitStack() as stack:
        loop, functions, servers = Loop(), {}, []
        for bdf in (ROOT, PORT):
            slot = load_card(testdevice.DEVICE, loop).slots[0]
            functions[bdf] = PciFunction(testdevice.DEVICE, loop, slot, rom=testdevice.rom_image())
            servers.append(Server(loop, functions[bdf], folder / f"{bdf}.sock"))

        def serve() -> None:
            loop.run()
            for part in (*servers, *functions.values(), loop):
                part.close()

        thread = threading.Thread(target=serve)
        thread.start()
        stack.callback(lambda: (loop.stop(), thread.join()))
        vm = lab.vm(
            devices=[VfioUser(folder / f"{ROOT}.sock"), VfioUser(folder / f"{PORT}.sock", options={"bus": "below"})],
            modules=["uio_pci_generic"],
            load=[],
            append=f"memmap=64K${RESERVED:#x}",
            arguments=["-device", "pcie-root-port,id=below,chassis=1,slot=1,addr=0x10"],
        )
        yield Guest(stack.enter_context(vm), functions)


@pytest.fixture(params=[ROOT, PORT], ids=["root-complex", "root-port"])
def bdf(request: pytest.FixtureRequest, guest: Guest) -> str:
    """Each of the two functions, decoding and with bus master, its registers as after a reset."""
    place = str(request.param)
    guest.poke(guest.address(place, 0) + 0x30, 1)
    guest.set(place, "COMMAND=0007:0407")
    return place


def test_lspci_names_everything(guest: Guest, bdf: str) -> None:
    text = guest.lspci(bdf)
    kind = "Root Complex Integrated Endpoint" if bdf == ROOT else "Endpoint"
    for line in (
        r"Device 1234:7e57 \(rev 03\)",
        r"Subsystem: Device 1234:0001",
        r"Interrupt: pin A routed to IRQ \d+",
        r"Region 0: Memory at \w+ \(32-bit, non-prefetchable\) \[size=4K\]",
        r"Region 1: I/O ports at \w+ \[size=32\]",
        r"Region 2: Memory at \w+ \(64-bit, prefetchable\) \[size=16K\]",
        r"Region 4: Memory at \w+ \(32-bit, non-prefetchable\) \[size=4K\]",
        r"Expansion ROM at \w+ \[disabled\] \[size=4K\]",
        r"\[40\] Power Management version 3\n\s+Flags: .*PME\(D0\+,D1-,D2-,D3hot\+,D3cold\+\)\n\s+Status: D0 NoSoftRst-",
        r"\[50\] MSI: Enable- Count=1/4 Maskable\+ 64bit\+",
        r"\[70\] MSI-X: Enable- Count=3 Masked-\n\s+Vector table: BAR=4 offset=00000000\n\s+PBA: BAR=4 offset=00000800",
        r"\[80\] Vendor Specific Information: Len=08",
        r"\[90\] PCI Advanced Features\n\s+AFCap: TP\+ FLR\+",
        rf"\[a0\] Express \(v2\) {kind}, .*\n\s+DevCap:\s+MaxPayload 256 bytes.*\n.*FLReset\+",
        r"\[100 v1\] Advanced Error Reporting",
        r"\[140 v1\] Device Serial Number 01-23-45-67-89-ab-cd-ef",
    ):
        assert re.search(line, text), f"{line!r} is not in\n{text}"


def test_lspci_reads_what_the_function_holds(guest: Guest, bdf: str) -> None:
    """Byte for byte, but for what QEMU owns: BARs, ROM, MSI, MSI-X, and how an endpoint on the root complex looks."""
    rows = re.findall(r"^[0-9a-f]+: ((?:[0-9a-f]{2} ?){16})", guest.lspci(bdf, "-xxxx"), re.MULTILINE)
    theirs, ours = bytes.fromhex("".join(rows)), guest.functions[bdf].config_read(0, 4096)
    assert len(theirs) == 4096
    owned = {*range(0x10, 0x28), *range(0x30, 0x34), 0x3C, *range(0x50, 0x7C)}
    lists = {c.at + 1 for c in testdevice.CONFIG.capabilities if not c.extended}
    pcie = {*range(0xA2, 0xA4), *range(0xAC, 0xB4)} if bdf == ROOT else set()
    different = {i for i in range(4096) if theirs[i] != ours[i]}
    assert different <= owned | lists | pcie, sorted(map(hex, different - owned - lists - pcie))


def test_memory_bars(guest: Guest, bdf: str) -> None:
    registers = guest.address(bdf, 0)
    assert guest.peek(registers) == 0x600DCAFE
    guest.poke(registers + 4, 0x55)
    assert guest.peek(registers + 4) == 0x55
    assert [guest.peek(registers + at, 8) for at in range(4)] == [0xFE, 0xCA, 0x0D, 0x60]
    assert guest.peek(registers, 64) == 0x55_600DCAFE
    assert guest.peek(guest.address(bdf, 2)) == 0x33333333


def test_mapped_pages_are_accessed_without_messages(guest: Guest, bdf: str) -> None:
    bank, window = guest.functions[bdf].banks[2], guest.address(bdf, 2) + testdevice.SHARED_AT
    bank.ring.clear()
    guest.poke(window + 0x10, 0xCAFEF00D)
    assert guest.peek(window + 0x10) == 0xCAFEF00D
    assert bank.peek(testdevice.SHARED_AT + 0x10, 4) == 0xCAFEF00D
    bank.poke(testdevice.SHARED_AT + 0x14, 4, 0x12345678)
    assert guest.peek(window + 0x14) == 0x12345678
    assert not bank.ring
    guest.peek(window - testdevice.SHARED_AT)
    assert [record[1] for record in bank.ring] == [Cause.READ]


def test_io_bar(guest: Guest, bdf: str) -> None:
    ports = guest.sysfs(bdf, "resource1")
    guest.run(rf"printf '\170\126\064\022' | dd of={ports} bs=4 count=1 conv=notrunc 2>/dev/null")
    assert guest.run(f"dd if={ports} bs=4 count=2 2>/dev/null | xxd -p") == "7856341210101010"
    assert guest.run(f"dd if={ports} bs=1 count=4 2>/dev/null | xxd -p") == "78563412"
    assert guest.functions[bdf].banks[1]["port_scratch"].value == 0x12345678


def test_rom(guest: Guest, bdf: str) -> None:
    rom = guest.sysfs(bdf, "rom")
    digest = guest.run(f"echo 1 > {rom}; md5sum < {rom}; echo 0 > {rom}").split()[0]
    assert digest == hashlib.md5(testdevice.rom_image()).hexdigest()


def test_dma_needs_bus_master(guest: Guest, bdf: str) -> None:
    registers, target = guest.address(bdf, 0), RESERVED + 0x100
    guest.poke(target, 0)
    for offset, value in ((0x20, target), (0x24, 0)):
        guest.poke(registers + offset, value)
    guest.set(bdf, "COMMAND=0000:0004")
    guest.poke(registers + 0x28, 1)
    guest.wait(registers + 0x2C, 2)
    assert guest.peek(target) == 0
    guest.set(bdf, "COMMAND=0004:0004")
    guest.poke(registers + 0x28, 1)
    guest.wait(registers + 0x2C, 1)
    assert guest.peek(target) == PATTERN


def test_msi(guest: Guest, bdf: str) -> None:
    message, target = guest.address(bdf, 0) + 0x14, RESERVED + 0x1000
    guest.poke(target, 0)
    guest.set(bdf, f"CAP_MSI+4.l={target:x}", "CAP_MSI+8.l=0", "CAP_MSI+c.w=4440", "CAP_MSI+10.l=0", "CAP_MSI+2.w=0021")
    for vector in (0, 3):
        guest.poke(message, vector)
        guest.wait(target, 0x4440 + vector)
    guest.set(bdf, "CAP_MSI+10.l=2")
    guest.poke(message, 1)
    guest.poke(message, 0)
    guest.wait(target, 0x4440)
    assert guest.functions[bdf].config["msi_pending_bits"].value == 2
    guest.set(bdf, "CAP_MSI+10.l=0")
    guest.wait(target, 0x4441)
    guest.set(bdf, "CAP_MSI+2.w=0", "CAP_MSI+4.l=0", "CAP_MSI+c.w=0")


def test_msix(guest: Guest, bdf: str) -> None:
    message, table, target = guest.address(bdf, 0) + 0x14, guest.address(bdf, 4), RESERVED + 0x2000
    pba = table + 0x800
    guest.set(bdf, "COMMAND=0007:0007")
    for vector in range(3):
        for offset, value in ((0, target + 16 * vector), (4, 0), (8, 0xAB00 + vector)):
            guest.poke(table + 16 * vector + offset, value)
        guest.poke(target + 16 * vector, 0)
    guest.poke(table + 0x1C, 0)
    guest.set(bdf, "CAP_MSIX+2.w=8000")
    guest.poke(message, 1)
    guest.wait(target + 0x10, 0xAB01)
    guest.poke(message, 0)  # masked in the table from the beginning: QEMU has not armed it
    assert guest.peek(pba) == 1
    guest.poke(table + 0x0C, 0)
    guest.wait(target, 0xAB00)
    assert guest.peek(pba) == 0
    guest.poke(target + 0x10, 0)
    guest.set(bdf, "CAP_MSIX+2.w=c000")
    guest.poke(message, 1)
    assert (guest.peek(pba), guest.peek(target + 0x10)) == (2, 0)
    guest.set(bdf, "CAP_MSIX+2.w=8000")
    guest.wait(target + 0x10, 0xAB01)
    guest.poke(target + 0x10, 0)
    guest.run(f"echo flr > {guest.sysfs(bdf, 'reset_method')}; echo 1 > {guest.sysfs(bdf, 'reset')}")
    assert guest.functions[bdf].msix is not None and not guest.functions[bdf].msix.enabled
    guest.set(bdf, "CAP_MSIX+2.w=8000")  # to QEMU it has been on all the time, and so has the vector
    guest.poke(message, 1)
    guest.wait(target + 0x10, 0xAB01)
    guest.set(bdf, "CAP_MSIX+2.w=0")
    for vector in range(3):
        guest.poke(table + 16 * vector + 12, 1)


def test_intx_by_uio(guest: Guest, bdf: str) -> None:
    line, device = guest.address(bdf, 0) + 0x10, guest.sysfs(bdf, "driver/unbind")
    guest.run("modprobe uio_pci_generic")
    guest.run(f"echo uio_pci_generic > {guest.sysfs(bdf, 'driver_override')}; echo 0000:{bdf} > /sys/bus/pci/drivers_probe")
    try:
        interrupts = "awk '/uio_pci_generic/ { print $2 }' /proc/interrupts"
        assert guest.run(interrupts) == "0"
        hear = "timeout 20 dd bs=4 count=1 <&3 2>/dev/null | od -An -tu4"
        for count in (1, 2, 3):  # a read tells of events since the file was opened, so that it may come behind them
            event = guest.run(f"exec 3</dev/uio0; devmem {line:#x} 32 1; {hear}")
            assert event == str(count)
            assert re.search(r"DisINTx\+\n.*INTx\+", guest.lspci(bdf)), "the driver has disabled a line that is high"
            guest.poke(line, 0)
            assert re.search(r"DisINTx\+\n.*INTx-", guest.lspci(bdf))
            guest.set(bdf, "COMMAND=0000:0400")
        assert guest.run(interrupts) == "3"
    finally:
        guest.run(f"echo 0000:{bdf} > {device}; echo > {guest.sysfs(bdf, 'driver_override')}")


@pytest.mark.parametrize(
    ("method", "cause"),
    [("flr", ResetCause.FLR), ("af_flr", ResetCause.FLR), ("pm", ResetCause.FLR), ("bus", None)],
)
def test_resets_of_linux(guest: Guest, bdf: str, method: str, cause: ResetCause | None) -> None:
    """Each way that Linux knows: the registers are reset, and configuration space is back as the kernel saved it."""
    registers, resets = guest.address(bdf, 0), guest.functions[bdf].model.resets
    offered = guest.sysfs(bdf, "reset_method")
    if method == "bus" and bdf == ROOT:
        assert "bus" not in guest.run(f"cat {offered}").split()
        return
    guest.poke(registers + 4, 0x77)
    before, resets[:] = guest.lspci(bdf), []
    guest.run(f"echo {method} > {offered} && echo 1 > {guest.sysfs(bdf, 'reset')}; echo default > {offered}")
    assert resets == [cause or ResetCause.BUS]
    assert guest.peek(registers + 4) == PATTERN
    assert guest.lspci(bdf) == before


def test_d3hot_and_back(guest: Guest, bdf: str) -> None:
    registers, function = guest.address(bdf, 0), guest.functions[bdf]
    guest.poke(registers + 4, 0x99)
    guest.set(bdf, "CAP_PM+4.w=3")
    assert "Status: D3 NoSoftRst-" in guest.lspci(bdf)
    assert not function.dma.enabled
    assert function.region_read(0, 4, 4) == 0xFFFFFFFF
    assert guest.peek(registers + 4) == 0, "QEMU itself decodes no BAR in D3hot; nobody there reads 0 in its machines"
    guest.set(bdf, "CAP_PM+4.w=0")
    text = guest.lspci(bdf)
    assert "Status: D0 NoSoftRst-" in text and "Control: I/O- Mem- BusMaster-" in text
    assert guest.peek(registers + 4) == 0xFFFFFFFF, "memory space is off"
    guest.set(bdf, "COMMAND=0007:0007")
    assert guest.peek(registers + 4) == PATTERN


def test_no_complaints(guest: Guest) -> None:
    """Last: nothing above has upset the guest's kernel or QEMU."""
    assert guest.vm.kernel_warnings() == []
    assert not [line for line in guest.vm.qemu_said.splitlines() if "vfio" in line]
