"""A trace that ``regmodel trace --save`` has written. Reading one is below, since it can also be exported."""

from __future__ import annotations

from regmodel.traces import Trace, load

__all__ = ["Trace", "load"]
