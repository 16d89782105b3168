"""The kernel's packet generator in a guest: frames per second that a VF takes.

Source: Linux Documentation/networking/pktgen.rst.
"""

from __future__ import annotations

import re

from emulators.qemu import VM

_SET_UP = """
echo rem_device_all > /proc/net/pktgen/kpktgend_0
echo add_device {device} > /proc/net/pktgen/kpktgend_0
for line in 'count {count}' 'clone_skb 1000' 'pkt_size {size}' 'delay 0' 'dst_mac {target}' 'dst 192.0.2.9'; do
  echo "$line" > /proc/net/pktgen/{device}
done
echo start > /proc/net/pktgen/pgctrl
cat /proc/net/pktgen/{device}
"""


def send(vm: VM, device: str, *, size: int, count: int, target: str = "02:00:00:00:00:99") -> float:
    """Send ``count`` frames of ``size`` octets (without FCS; 0 frames: until killed), all alike; frames per second."""
    said = vm.run(_SET_UP.format(device=device, size=size, count=count, target=target), check=True, timeout=120).text
    result = re.search(r"Result: OK: (\d+)\([^)]*\) usec, (\d+) ", said)
    if result is None or int(result[2]) != count:
        raise AssertionError(f"pktgen did not send {count} frames: {said}")
    return int(result[2]) / int(result[1]) * 1e6
