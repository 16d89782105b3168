"""An interactive shell in a guest, on the terminal of whoever started it.

May not enter: what the guest is. The bytes pass through the guest's ``/dev/hvc0``, which is a terminal, so job control,
line editing and full-screen programs work; the kernel's own console stays in its file.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import socket
import sys
import termios
import tty
from collections.abc import Iterator

from emulators.qemu.vm import VM

_ROOM = 1 << 16


def interact(vm: VM, stdin: int = 0, stdout: int = 1) -> int:
    """A shell in the guest until it is left (``exit``); its exit status.

    Where standard input is no terminal, what is in it runs as a script, and its output comes as it is made.
    """
    if not os.isatty(stdin):
        script = b"".join(iter(lambda: os.read(stdin, _ROOM), b"")).decode(errors="surrogateescape")
        return vm.stream(script, lambda data: _write(stdout, data))
    size = shutil.get_terminal_size()
    print(f"{vm.name} is up in {vm.boot_seconds:.1f} s; leave with exit", file=sys.stderr)
    vm.agent.shell(size.columns, size.lines)
    with _raw(stdin):
        _pass_on(vm.terminal, vm.requests, stdin, stdout)
    return vm.agent.shell_ended()


def _pass_on(terminal: socket.socket, requests: socket.socket, stdin: int, stdout: int) -> None:
    """Carry bytes both ways until the agent reports the end of the shell, and what the shell said last."""
    poll = select.poll()
    for fd in (terminal.fileno(), requests.fileno(), stdin):
        poll.register(fd, select.POLLIN)
    while True:
        ready = {fd for fd, _ in poll.poll()}
        if stdin in ready:
            typed = os.read(stdin, _ROOM)
            if typed:
                terminal.sendall(typed)
            else:
                poll.unregister(stdin)
        if terminal.fileno() in ready:
            said = terminal.recv(_ROOM)
            if not said:
                return  # QEMU is gone; the agent's socket tells why
            _write(stdout, said)
        elif requests.fileno() in ready:
            return


@contextlib.contextmanager
def _raw(fd: int) -> Iterator[None]:
    """The terminal without line editing, echo and signals of its own, which are the guest's meanwhile."""
    saved = termios.tcgetattr(fd)
    try:
        tty.setraw(fd)
        yield
    finally:
        termios.tcsetattr(fd, termios.TCSADRAIN, saved)


def _write(fd: int, data: bytes) -> None:
    while data:
        data = data[os.write(fd, data):]
