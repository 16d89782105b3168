"""Taking on a saved state: all of it, or nothing.

In here: whose a state is, and the way back where it turns out to be damaged. What is saved, each model knows.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from typing import Any

from regmodel.errors import StateError

_log = logging.getLogger("regmodel.state")
DAMAGE = (KeyError, IndexError, TypeError, ValueError, AttributeError)
"""What a model meets in an image that lacks something, or has something else in its place."""


def check_origin(state: Mapping[str, Any], device: str, version: int) -> None:
    """Raises ``StateError`` where ``state`` says that it is not of ``device``, or not of this ``version``."""
    if state.get("version") != version or state.get("device") != device:
        whose = f"{state.get('device')!r} version {state.get('version')!r}"
        raise StateError(f"the saved state is of {whose}, not of {device!r} version {version}")


def take_on(
    state: Mapping[str, Any],
    device: str,
    version: int,
    save: Callable[[], Mapping[str, Any]],
    take: Callable[[Mapping[str, Any]], None],
) -> None:
    """``take(state)``, or all as it was before, which is what ``save()`` gives.

    Raises ``StateError`` for a state of something else, and for a damaged one. Any other error is no damage but a fault of
    ours, and comes out as it is; so does one that a state of our own, which cannot be damaged, meets on the way back.
    """
    check_origin(state, device, version)
    before = save()
    try:
        take(state)
    except BaseException as error:
        take(before)
        if not isinstance(error, DAMAGE):
            raise
        _log.debug("the saved state of %s is refused", device, exc_info=error)
        raise StateError(f"the saved state of {device} is damaged: {error}") from error
