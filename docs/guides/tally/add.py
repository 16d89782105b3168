"""``python -m tally.add TRANSPORT NUMBER...``: the driver, used."""

from __future__ import annotations

import sys
from pathlib import Path

from drivers.transports.opening import open_transport
from regmodel.catalogue import find
from tally.driver import TallyDriver

if __name__ == "__main__":
    device = find(f"{Path(__file__).with_name('device.py')}:TALLY")
    with open_transport(sys.argv[1], device) as transport:
        print(TallyDriver(transport, device).add([int(word, 0) for word in sys.argv[2:]]))
