"""A client that maps memory and writes registers for ever, to be killed. Run by ``test_lifecycle`` as a process."""

import array
import os
import socket
import struct
import sys

sock = socket.socket(socket.AF_UNIX)
sock.connect(sys.argv[1])
sock.sendall(struct.pack("<HHIIIHH", 1, 1, 20, 0, 0, 0, 0))
memory = os.memfd_create("flood")
os.truncate(memory, 1 << 20)
request = struct.pack("<HHIIIIIQQQ", 2, 2, 48, 0, 0, 32, 3, 0, 0, 1 << 20)
sock.sendmsg([request], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [memory]))])
while True:
    sock.sendall(struct.pack("<HHIIIQIII", 3, 10, 36, 0x10, 0, 0, 0, 4, 1) * 64)
