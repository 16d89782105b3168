"""The stock PF driver as judge of ours: the same messages, word by word, to Linux's igb on QEMU's igb and to our PF.

No driver is bound to the VF: a program in the guest plays the VF, so that messages can be sent which no driver would send.
What is compared is what a VF can see: whether a message is acknowledged, whether it is answered, and the first three words
of the answer.
"""

from __future__ import annotations

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from emulators.qemu import VM, Lab, RawDevice
from tests.guest.conftest import Bench

PROGRAM = Path(__file__).with_name("say.c")

Step = tuple[str, ...]


def say(*words: int) -> Step:
    return ("say", *(f"{word:#x}" for word in words))


def host(*words: str) -> Step:
    return ("host", *words)


def mac(number: int, info: int = 0) -> Step:
    return say(2 | info << 16, 0x0000_0102 | number << 16, 0x0300)


ADD, CLEAR = 2, 1
BEFORE_RESET = [("reset",), say(5, 1518), ("wait", "2200"), say(5, 1518), say(5, 1518), say(0xABCD)]
ADDRESSES = [
    say(1), mac(1), say(1), say(2, 0, 0), say(2, 0x005E_0001, 0), say(2, 0xFFFF_FFFF, 0xFFFF), mac(2),
    say(2, 0x0302, 0xFFFF_0000),
    *(mac(n, ADD) for n in range(14)),
    say(2 | CLEAR << 16, 0, 0), mac(0, CLEAR), mac(5, ADD), mac(0, 3), mac(0, 0x80),
    ("reset",), say(1), mac(0, CLEAR), *(mac(n, ADD) for n in range(2)),
]  # fmt: skip
MULTICAST = [
    say(3), say(3 | 1 << 16, 0x123), say(3 | 30 << 16, *range(1, 16)), say(3 | 31 << 16), say(3 | 255 << 16), say(3),
    *(say(6 | info << 16) for info in (0, 1, 2, 3, 4, 0x82)),
]  # fmt: skip
VLANS = [
    say(4, 0), say(4 | 1 << 16, 0), say(4, 77), *(say(4 | 1 << 16, vid) for vid in range(100, 133)), say(4, 77), say(4, 100),
    say(4, 77), say(4 | 1 << 16, 132), say(4 | 0x80 << 16, 0xFFFF_F065), say(4, 101), say(4, 101), ("reset",), say(1),
    say(4 | 1 << 16, 4095),
]  # fmt: skip
LENGTHS = [say(5, size) for size in (0, 68, 1518, 1522, 9018, 0x2600, 0x2601, 0x7FFF_FFFF)]
OTHERS = [say(word) for word in (0, 7, 8, 0x100, 0xFFFF, 0x0001_0001, 0x2000_0001, 0x8000_0005, 0x4000_0001, 0x8000_0001)]
BY_HOST = [
    host("mac", "02:00:00:00:00:77"), ("reset",), say(1), mac(1), mac(1, ADD), mac(1, CLEAR), host("trust", "on"), mac(1),
    mac(2, ADD), host("trust", "off"), mac(3), say(1), host("mac", "00:00:00:00:00:00"), mac(4), say(1), ("reset",), say(1),
    host("vlan", "42"), say(4 | 1 << 16, 7), say(4, 42), say(4, 0), ("reset",), say(1), say(4 | 1 << 16, 7),
    host("vlan", "42", "qos", "3"), host("vlan", "0", "qos", "3"), say(4 | 1 << 16, 7), host("vlan", "0"), say(4 | 1 << 16, 8),
    host("spoofchk", "off"), say(5, 1518), host("spoofchk", "on"),
]  # fmt: skip
PF_RESET = [
    mac(1, ADD), host("mac", "02:00:00:00:00:78"), say(1), ("pf-reset",), ("wait", "3000"), say(5, 1518), mac(2), say(1),
    say(5, 1518), mac(2),
]  # fmt: skip
STEPS: list[Step] = [*BEFORE_RESET, *ADDRESSES, *MULTICAST, *VLANS, *LENGTHS, *OTHERS, *BY_HOST, *PF_RESET]


def conversation(vm: VM, program: Path, bar: str, setting: Callable[..., object], reset: Callable[[], object]) -> list[str]:
    """What the VF with resource ``bar`` sees at each message; ``setting`` of that VF and ``reset`` are the host's part."""
    seen: list[str] = []
    lines: list[str] = []

    def flush() -> None:
        vm.put("/tmp/steps", "".join(f"{line}\n" for line in lines).encode())
        seen.extend(vm.run(f"/tmp/say {bar} < /tmp/steps", timeout=120, check=True).text.splitlines())
        lines.clear()

    vm.put("/tmp/say", program)
    vm.run(f"chmod +x /tmp/say && echo 1 > $(dirname {bar})/enable", check=True)
    for step in STEPS:
        if step[0] == "host":
            flush()
            setting(*step[1:])
        elif step[0] == "pf-reset":
            flush()
            reset()
        else:
            lines.append(" ".join(step))
    flush()
    return seen


def reference(lab: Lab, kernel: str, program: Path) -> list[str]:
    """Linux's igb on QEMU's igb."""
    network = ["-netdev", "user,id=n0"]
    with lab.vm([RawDevice("igb,netdev=n0")], ["igb"], kernel=kernel, root_port=True, arguments=network, name="igb") as vm:
        vm.run("ip link set eth0 up && sleep 1 && echo 7 > /sys/class/net/eth0/device/sriov_numvfs", check=True)
        # Enabling VFs resets the PF. When its link is back, it pings them once more: not into our first message, please.
        vm.run("for i in $(seq 100); do dmesg | tail -1 | grep -q 'Link is Up' && break; sleep 0.1; done; sleep 1", check=True)
        bar = "/sys/class/net/eth0/device/virtfn0/resource0"
        return conversation(
            vm,
            program,
            bar,
            lambda *words: vm.run(f"ip link set eth0 vf 0 {' '.join(words)}", check=True),
            lambda: vm.run("ip link set eth0 mtu 1400", check=True),  # igb_change_mtu: igb_down and igb_up
        )


@pytest.mark.guest
@pytest.mark.only(device=["igbvf"])
def test_every_answer_is_that_of_the_stock_pf(bench: Bench, lab: Lab, device: str, kernel: str, tmp_path: Path) -> None:
    program = tmp_path / "say"
    subprocess.run(["gcc", "-O2", "-Wall", "-Werror", "-static", "-o", program, PROGRAM], check=True)
    bench.serve(1, options={"mac": "none"})
    vm = bench.guest(0, modules=[])
    bar = "/sys/bus/pci/devices/0000:00:01.0/resource0"
    ours = conversation(vm, program, bar, lambda *words: bench.ctl("vf", "0", *words), lambda: bench.ctl("pf-reset"))
    theirs = reference(lab, kernel, program)
    said = [step for step in STEPS if step[0] == "say"]
    assert len(ours) == len(theirs) == len(said)
    pairs = zip(said, ours, theirs, strict=True)
    different = [f"{' '.join(step)}\n  ours   {a}\n  theirs {b}" for step, a, b in pairs if a != b]
    assert not different, "\n".join(different)
