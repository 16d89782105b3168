"""``regmodel ivshmem-server``: memory, IDs and doorbells for QEMU's ``ivshmem-doorbell`` and for this project's device."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer


def ivshmem_server(
    socket: Annotated[Path, typer.Option(help="Unix socket to listen on")],
    size: Annotated[str, typer.Option(help="of the shared memory: a power of two, as 64K, 4M or 1G")] = "4M",
    vectors: Annotated[int, typer.Option(help="interrupt vectors of each client", min=1, max=2048)] = 1,
    memory: Annotated[Path | None, typer.Option(help="file of shared memory, made if absent; default: none has a name")] = None,
    verbose: Annotated[bool, typer.Option("--verbose", "-v", help="log more")] = False,
) -> None:
    """Serve shared memory and doorbells until stopped (Ctrl-C, SIGTERM). Prints the QEMU arguments to join.

    \b
    regmodel ivshmem-server --socket /tmp/ivshmem.sock --size 4M --vectors 2
    qemu-system-x86_64 ... -chardev socket,path=/tmp/ivshmem.sock,id=s -device ivshmem-doorbell,vectors=2,chardev=s
    regmodel serve ivshmem-doorbell --socket /tmp/d.sock --option server=/tmp/ivshmem.sock --option vectors=2
    """
    import logging
    import signal

    from emulators.loop import Loop
    from emulators.nics.ivshmem.card import size_of
    from emulators.nics.ivshmem.memory import anonymous, of_file
    from emulators.nics.ivshmem.server import IvshmemServer

    logging.basicConfig(level=logging.INFO if verbose else logging.WARNING, format="regmodel: %(message)s")
    wanted = size_of(size)
    loop = Loop()
    server = IvshmemServer(loop, anonymous(wanted) if memory is None else of_file(memory, wanted), vectors, socket)
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, lambda *_: loop.stop())
    try:
        print("# join it from any QEMU, or with regmodel:")
        path = socket.absolute()
        print(f"  -chardev socket,path={path},id=ivshmem -device ivshmem-doorbell,vectors={vectors},chardev=ivshmem")
        serve = f"regmodel serve ivshmem-doorbell --socket /tmp/ivshmem0.sock --option vectors={vectors}"
        print(f"  {serve} --option server={path}", flush=True)
        loop.run()
    finally:
        server.close()
