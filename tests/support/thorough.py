"""How much tests that try things at random shall try: ``REGMODEL_THOROUGH``, the one knob of all of them.

1, or nothing, is what every run has time for; ``REGMODEL_THOROUGH=20 .venv/bin/pytest tests/emulators/nics`` tries twenty times
as many register files, rings, servers, requests and mutants, and other ones each time, where 1 always tries the same. Whoever
writes such a test multiplies its number by ``THOROUGH``.
"""

from __future__ import annotations

import os

THOROUGH = int(os.environ.get("REGMODEL_THOROUGH", "1"))
"""A factor of at least 1."""
