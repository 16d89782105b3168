"""Images that a guest or a device runs, and the loader for them.

``x86/`` is a freestanding guest that reads and writes the registers of PCI functions without an operating system;
``format`` describes what is said to it, and what it answers, once for both languages; ``image`` builds it, ``elf`` places a
table at one of its symbols and finds the answers in guest memory, ``vectors`` writes tables and reads answers.

May not enter: processes and sockets. Who starts a machine with such an image lives above (``emulators.qemu.firmware``).
"""
