"""The conformance suite and the registers of a device in pytest: ``pytest --regmodel-device mydevice.py:DEVICE``.

With a device named, every test of the suite becomes a test item, ``regmodel::csr_rw`` and so on; and tests of one's own
climb the ladder of fixtures as high as they need:

- ``regmodel_transport``: the open ``drivers.transports.Transport``, once per session;
- ``regmodel_function``: the same, freshly reset, its BARs answering, and reset again afterwards;
- ``regmodel_bars``: the registers of all BARs by name (``drivers.registers.Registers``);
- ``regmodel_rings``: DMA memory of the size that each ring of the description needs, by name of the ring.

A session in which no test of the suite has judged anything does not end as a pass: its exit status is ``INCOMPLETE``, and one
line says why. Who wants the fixtures only says so, with ``--regmodel-test none``.

Without the option nothing is imported, collected or printed: whoever has regmodel installed notices nothing.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from pytest import StashKey

if TYPE_CHECKING:
    from drivers.conformance import Judged
    from drivers.transports import Transport
    from regmodel.catalogue import Device
    from regmodel.conformance.checks import Test
    from regmodel.conformance.outcomes import Report

DEVICE, VIA, TEST = "--regmodel-device", "--regmodel-via", "--regmodel-test"
NONE = "none"
"""In place of a test of the suite: no test."""
INCOMPLETE = 3
"""The exit status of a session that has judged nothing, as of ``regmodel conform``."""
PREFIX = "regmodel::"
ENTRIES, DESCRIPTOR = 256, 16
"""Of each ring in ``regmodel_rings``: how many descriptors, and the bytes of one where no format says so."""
_OPEN: StashKey[tuple[ExitStack, Judged]] = StashKey()


def pytest_addoption(parser: pytest.Parser) -> None:
    group = parser.getgroup("regmodel", "devices and their descriptions")
    group.addoption(DEVICE, metavar="DEVICE", help="judge this device: a name or file.py:NAME, see `regmodel list`")
    group.addoption(VIA, metavar="VIA", default="inprocess", help="where it is: `regmodel conform --help`")
    only = f"only this test of the suite, or {NONE!r}; may be repeated"
    group.addoption(TEST, metavar="TEST", action="append", default=[], help=only)


def pytest_configure(config: pytest.Config) -> None:
    if config.getoption(DEVICE) and config.getoption(TEST) != [NONE]:
        config.pluginmanager.register(_Verdict(config))


def pytest_report_header(config: pytest.Config) -> str | None:
    name = config.getoption(DEVICE)
    return f"regmodel: {name} via {config.getoption(VIA)}" if name else None


def _device(config: pytest.Config) -> Device:
    """The device of the command line. Raises ``UsageError`` of pytest."""
    from regmodel.catalogue import find
    from regmodel.errors import RegmodelError

    try:
        return find(config.getoption(DEVICE))
    except RegmodelError as error:
        raise pytest.UsageError(str(error)) from None


def _target(config: pytest.Config) -> Judged:
    """The device, opened when it is needed first and closed with the session: the suite and the fixtures share it."""
    if _OPEN not in config.stash:
        from drivers.conformance import open_target

        stack = ExitStack()
        target = stack.enter_context(open_target(config.getoption(VIA), _device(config)))
        config.stash[_OPEN] = (stack, target)
    return config.stash[_OPEN][1]


def pytest_unconfigure(config: pytest.Config) -> None:
    if _OPEN in config.stash:
        config.stash[_OPEN][0].close()
        del config.stash[_OPEN]


# -- the suite as test items


def pytest_collection_modifyitems(session: pytest.Session, config: pytest.Config, items: list[pytest.Item]) -> None:
    if not config.getoption(DEVICE) or config.getoption(TEST) == [NONE]:
        return
    from regmodel.conformance.suite import TESTS, select
    from regmodel.errors import RegmodelError

    device = _device(config)
    try:
        chosen = select(TESTS, config.getoption(TEST))
    except RegmodelError as error:
        raise pytest.UsageError(str(error)) from None
    items += [Judgement.from_parent(session, name=test.name, device=device, test=test) for test in chosen]


class _Failed(Exception):
    """What the suite has found, as text."""


class Judgement(pytest.Item):
    """One test of the suite on one device. It is skipped, with the reasons, where no register could be judged."""

    def __init__(self, *, device: Device, test: Test, **more: Any) -> None:
        super().__init__(nodeid=f"{PREFIX}{test.name}", **more)
        self.device, self.test = device, test

    def runtest(self) -> None:
        report = self._judge()
        self.user_properties.append(("regmodel", report.summary))
        if report.passed:
            return
        wrong = [f"{row.register}: {row.reason}" for row in report.rows if row.outcome.name in ("FAIL", "INCOMPLETE")]
        if wrong or report.stopped:
            raise _Failed("\n".join([report.summary, *wrong]))
        pytest.skip("; ".join(sorted({row.reason for row in report.rows})) or "the description has nothing to test")

    def _judge(self) -> Report:
        from drivers.conformance import judge_target

        return judge_target(_target(self.config), self.device, (self.test,))

    def repr_failure(self, excinfo: pytest.ExceptionInfo[BaseException], style: Any = None) -> str | Any:
        from regmodel.errors import RegmodelError

        if isinstance(excinfo.value, _Failed | RegmodelError):
            return str(excinfo.value)
        return super().repr_failure(excinfo, style)

    def reportinfo(self) -> tuple[str, None, str]:
        return "regmodel", None, f"{self.device.name}: {self.test.name}"


class _Verdict:
    """Sees to it that nothing judged is no pass. Reports are counted, not items: with xdist these are in other processes."""

    def __init__(self, config: pytest.Config) -> None:
        self.config, self.ended = config, Counter[str]()
        self.said = ""

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        if report.nodeid.startswith(PREFIX) and (report.when == "call" or not report.passed):
            self.ended[report.outcome] += 1

    def pytest_sessionfinish(self, session: pytest.Session, exitstatus: int) -> None:
        """Whatever else has passed, the device has not."""
        if hasattr(self.config, "workerinput") or self.config.option.collectonly or exitstatus != pytest.ExitCode.OK:
            return
        if not self.ended["passed"]:
            skipped = self.ended["skipped"]
            why = f"{skipped} of its tests were skipped, no other was run" if skipped else "none of its tests was run"
            name, via = self.config.getoption(DEVICE), self.config.getoption(VIA)
            self.said = f"regmodel: {name} via {via}: INCOMPLETE, nothing was judged: {why}"
            session.exitstatus = INCOMPLETE

    def pytest_terminal_summary(self, terminalreporter: Any) -> None:
        if self.said:
            terminalreporter.write_line(self.said, red=True)


# -- the ladder


@pytest.fixture(scope="session")
def regmodel_device(request: pytest.FixtureRequest) -> Device:
    """The description of the device under test."""
    if not request.config.getoption(DEVICE):
        pytest.skip(f"no device: run pytest with {DEVICE} NAME")
    return _device(request.config)


@pytest.fixture(scope="session")
def regmodel_transport(request: pytest.FixtureRequest, regmodel_device: Device) -> Transport:
    """The device, open, as ``drivers.transports.Transport``."""
    target = _target(request.config)
    transport: Transport | None = getattr(target, "transport", None)
    if transport is None:
        pytest.skip(f"{target.name} is judged, but no driver can use it: it is no transport")
    return transport


@pytest.fixture
def regmodel_function(regmodel_transport: Transport) -> Iterator[Transport]:
    """The transport, its function as after a reset, its memory BARs answering and DMA allowed."""
    from drivers.transports.capabilities import BUS_MASTER, COMMAND, MEMORY_SPACE

    regmodel_transport.reset()
    command = regmodel_transport.config_read(COMMAND, 2)
    regmodel_transport.config_write(COMMAND, 2, command | MEMORY_SPACE | BUS_MASTER)
    yield regmodel_transport
    regmodel_transport.reset()


@pytest.fixture
def regmodel_bars(regmodel_device: Device, regmodel_function: Transport) -> Any:
    """All registers by name: ``regmodel_bars.status.lu``."""
    from drivers.registers import Registers

    return Registers(regmodel_device, regmodel_function)


@pytest.fixture
def regmodel_rings(regmodel_device: Device, regmodel_function: Transport, regmodel_bars: Any) -> Iterator[Mapping[str, Any]]:
    """A ``DmaBuffer`` for each ring of the description, by its name; placing and enabling it is the device's own affair."""
    buffers = {
        ring.name: regmodel_function.alloc(ENTRIES * max([DESCRIPTOR, *(int(f.schema.sizeof()) for f in ring.formats)]))
        for ring in regmodel_device.rings
    }
    yield buffers
    for buffer in buffers.values():
        buffer.free()
