"""``regmodel pmd``: what DPDK's testpmd is to its drivers, for ours. Ports, a forwarding mode, and what they count.

In here: the modes (``forwarding``), the frames that they make (``frames``), capture files (``captures``), the run of a session
(``session``), its prompt (``prompt``) and its tables (``tables``). Everything goes through ``drivers.ethdev``; no register, no
transport by name. Words and their meaning are testpmd's where it has them.
"""
