"""How fast the switch is: run this file; it prints ns per frame for bursts of 64 frames of 60 octets.

Each figure is the best of several short runs, since what else runs on the machine only ever adds.
"""

from __future__ import annotations

import time
from collections.abc import Sequence

from emulators.fabric.backends import parse
from emulators.fabric.switch import Switch
from regmodel.function import Buffer

BURST, RUNS, BURSTS = 64, 15, 300


class Endpoint:
    """Takes everything and looks at nothing: the cost that is left is the switch's own."""

    def deliver(self, frames: Sequence[Buffer], *, loopback: bool) -> int:
        return len(frames)


def card() -> Switch:
    """Seven pools as stock igb programs them."""
    switch = Switch("port0")
    switch.loopback = switch.replication = switch.vlan_filter = True
    for index in range(7):
        pool = switch.add_pool(f"vf{index}")
        pool.endpoint = Endpoint()
        pool.macs |= {address(index)}
        pool.accept_broadcast = pool.accept_untagged = pool.transmit_enable = pool.receive_enable = True
        pool.mac_anti_spoof = pool.vlan_anti_spoof = True
        switch.vlans.join(5, index)
    return switch


def address(index: int) -> bytes:
    return bytes([2, 0, 0, 0, 0, index])


def frame(target: bytes, tag: bytes = b"") -> Buffer:
    return memoryview((target + address(0) + tag + b"\x08\x00").ljust(60, b"."))


def nanoseconds(switch: Switch, frames: list[Buffer]) -> float:
    pool, best = switch.pools[0], float("inf")
    for _ in range(RUNS):
        begin = time.perf_counter_ns()
        for _ in range(BURSTS):
            pool.transmit(frames)
        best = min(best, (time.perf_counter_ns() - begin) / BURSTS / len(frames))
    return best


def main() -> None:
    cases = {
        "to one pool": [frame(address(1))] * BURST,
        "to one pool, tagged": [frame(address(1), b"\x81\x00\x00\x05")] * BURST,
        "to the wire (nothing attached)": [frame(address(99))] * BURST,
        "to six pools in turn": [frame(address(1 + n % 6)) for n in range(BURST)],
        "broadcast to six pools and the wire": [frame(b"\xff" * 6)] * BURST,
    }
    for name, frames in cases.items():
        best = nanoseconds(card(), frames)
        print(f"{name:38}{best:7.0f} ns/frame {1000 / best:6.2f} Mframes/s")
    switch = card()
    switch.uplink.backend = parse("sink:")
    best = nanoseconds(switch, cases["to the wire (nothing attached)"])
    print(f"{'to the wire, sink: (CRC over all)':38}{best:7.0f} ns/frame {1000 / best:6.2f} Mframes/s")


if __name__ == "__main__":
    main()
