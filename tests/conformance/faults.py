"""A fault that is chosen by hand: one method or one constant of ``emulators`` is replaced while its trial lasts."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass
from typing import Any
from unittest.mock import patch

from drivers.conformance import open_target
from regmodel.catalogue import Device
from tests.conformance.mutants import Mutant

Replacement = Callable[..., Any]
"""Called as the method is, with the honest method in front."""


@dataclass(frozen=True)
class Fault:
    """``name`` says what is wrong; ``where`` and ``what`` are replaced by ``instead``, which is called with the honest one
    first when it is code. ``found_by`` begins the names of the tests that must find it.
    """

    kind: str
    name: str
    found_by: str
    where: Any
    what: str
    instead: Any

    @contextmanager
    def made(self) -> Iterator[None]:
        """While it lasts, the fault is there."""
        honest, instead = getattr(self.where, self.what), self.instead
        if callable(instead):

            def faulty(*args: Any, **more: Any) -> Any:
                return instead(honest, *args, **more)

            with patch.object(self.where, self.what, faulty):
                yield
        else:
            with patch.object(self.where, self.what, instead):
                yield


def made(faults: Iterable[Fault], device: Device, **options: str) -> Iterator[tuple[Mutant, str]]:
    """The mutants that they make of the model of ``device`` with these options, each with the test that has to find it."""
    for fault in faults:
        yield Mutant(fault.kind, f"{device.name} {fault.name}", device, _opener(fault, device, options)), fault.found_by


def _opener(fault: Fault, device: Device, options: dict[str, str]) -> Callable[[], AbstractContextManager[Any]]:
    @contextmanager
    def opened() -> Iterator[Any]:
        with fault.made(), open_target("inprocess", device, **options) as target:
            yield target

    return opened
