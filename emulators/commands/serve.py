"""``regmodel serve``: devices on vfio-user sockets, for any QEMU >= 11.0."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from regmodel.errors import UsageError

if TYPE_CHECKING:
    from emulators.loop import Loop
    from emulators.serve import Running, Wanted


def serve(
    devices: Annotated[list[str], typer.Argument(help="what to serve, one word per function: a name or file.py:NAME")],
    socket: Annotated[list[Path], typer.Option(help="Unix socket of each function, in the same order")],
    net: Annotated[list[str], typer.Option(help="packet back end of each port's uplink, see below")] = [],  # noqa: B006
    ports: Annotated[int, typer.Option(help="Ethernet ports of a card: 1, 2 or 4", min=1, max=4)] = 1,
    control: Annotated[Path | None, typer.Option(help="control socket; default: the first socket's path with .ctl")] = None,
    trust_memory: Annotated[bool, typer.Option(help="map guest memory that could be truncated (hugetlbfs, files) too")] = False,
    dma_wire: Annotated[str, typer.Option(help="DMA messages as spec, or qemu-10: 10.1/10.2, unproven")] = "spec",
    option: Annotated[list[str], typer.Option(help="a property of the card, NAME=VALUE")] = [],  # noqa: B006
    spin: Annotated[int, typer.Option(help="microseconds of busy polling before sleeping", min=0)] = 0,
    take_over: Annotated[Path | None, typer.Option(help="control socket of a server whose guests to take over")] = None,
    attended: Annotated[bool, typer.Option("--attended", help="stop at the end of standard input", hidden=True)] = False,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="log more")] = False,
) -> None:
    """Serve devices over vfio-user until stopped (Ctrl-C, SIGTERM). Prints the QEMU arguments to attach them.

    \b
    regmodel serve igbvf --socket /tmp/vf0.sock
    regmodel serve igbvf igbvf --socket /tmp/vf0.sock --socket /tmp/vf1.sock --net tap:tap0

    Functions of one name are the VFs of one card: they share its ports, PF and L2 switch.

    \b
    regmodel serve avp --socket /tmp/new.sock --take-over /tmp/old.sock.ctl

    takes over what another server serves, guests and all, and that server ends.

    \b
    --net none                                  no uplink (default)
    --net tap:NAME                              a TAP interface of this host
    --net pcap:in=FILE,out=FILE[,pace=real]     frames from and to pcap or pcapng files
    --net dgram:local=ADDR,remote=ADDR          as QEMU's -netdev dgram; ADDR is /path or host:port
    --net stream:listen=ADDR|connect=ADDR       as QEMU's -netdev stream
    --net patch:NAME                            a cable to the other port of this server with the same NAME
    --net vhost-user:connect=PATH|listen=PATH   a vhost-user back end, such as DPDK's net_vhost; [,queues=N]
    --net gen:rate=PPS|max,size=N,flows=N,seed=N,count=N
    --net sink:                                 counts and checksums
    """
    import gc
    import logging
    import signal

    from emulators.loop import Loop
    from emulators.serve import Running, Wanted
    from regmodel.catalogue import find

    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="regmodel: %(message)s")
    if len(devices) != len(socket):
        raise UsageError(f"{len(devices)} devices but {len(socket)} sockets: give one --socket for each device")
    if len(set(socket)) != len(socket):
        raise UsageError("two functions cannot share a socket: give each its own --socket")
    if ports == 3:
        raise UsageError("a card has 1, 2 or 4 ports")
    wanted = [Wanted(name, find(name), path) for name, path in zip(devices, socket, strict=True)]
    control = control or Path(f"{socket[0]}.ctl")
    loop = Loop(spin_ns=1000 * spin)
    more: dict[str, Any] = {"ports": ports, "control": control, "trust_memory": trust_memory, "dma_wire": dma_wire}
    options = card_options(option)
    if take_over is None:
        running = Running(loop, wanted, nets=net, options=options, **more)
    else:
        running = taken_over(take_over, loop, wanted, net, options, **more)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: loop.stop())
    try:
        if attended:
            stop_with_standard_input(loop)
        print(instructions(wanted, [s.name for s in running.served], control), flush=True)
        gc.collect()
        gc.freeze()
        loop.run()
    finally:
        running.close()


def stop_with_standard_input(loop: Loop) -> None:
    """Stop when nobody holds the other end of the pipe at standard input, as when the process that held it was killed."""
    import os
    import sys

    stdin = sys.stdin.fileno()

    def said() -> None:
        if not os.read(stdin, 4096):
            loop.remove(stdin)
            loop.stop()

    try:
        loop.add(stdin, said)
    except PermissionError:  # epoll knows no end of a file
        raise UsageError("--attended: standard input is a file; give it a pipe") from None


def taken_over(
    former: Path, loop: Loop, wanted: list[Wanted], nets: list[str], options: dict[str, str], **more: Any
) -> Running:
    """What another server serves, with its back ends and options unless others were said. Raises ``RegmodelError``."""
    from emulators.handover import Taking
    from emulators.serve import Running

    taking = Taking(former)
    running = None
    try:
        memory = taking.memory([w.spec for w in wanted])
        running = Running(
            loop, wanted, nets=nets or taking.nets, options=options or taking.options, inherited=memory, **more
        )
        taking.into(running)
        return running
    except BaseException as error:
        if running is not None:
            running.close()
        taking.refuse(str(error) or type(error).__name__)
        raise


def card_options(given: list[str]) -> dict[str, str]:
    """``--option NAME=VALUE`` of the command line, by name. Raises ``UsageError``."""
    options = {}
    for text in given:
        name, equals, value = text.partition("=")
        if not equals or not name.isidentifier():
            raise UsageError(f"--option {text}: write it as NAME=VALUE")
        options[name] = value
    return options


def instructions(wanted: list[Wanted], names: list[str], control: Path) -> str:
    """What a user pastes into a QEMU command line to attach what is served."""
    lines = ["# add these to any QEMU >= 11.0 (its memory must be shared; sizes are yours to choose):"]
    lines.append("  -machine q35,memory-backend=ram -object memory-backend-memfd,id=ram,size=1G,share=on \\")
    for w in wanted:
        device = {"driver": "vfio-user-pci", "socket": {"type": "unix", "path": str(w.socket.absolute())}}
        lines.append(f"  -device '{json.dumps(device)}' \\")
    lines[-1] = lines[-1].removesuffix(" \\")
    lines.append(f"# {', '.join(f'{name}: {w.device.title}' for w, name in zip(wanted, names, strict=True))}")
    lines.append(f"# watch it with `regmodel trace {control}`, steer it with `regmodel ctl {control} ...`; stop with Ctrl-C")
    return "\n".join(lines)
