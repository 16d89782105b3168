"""Registers that behave because a simulator runs their RTL: the exported register block under Icarus Verilog and cocotb.

What lives here: finding the simulator (``tools``), building and talking to a simulation from outside (``simulation``), what
runs inside of it (``inside``), what hardware does there in terms of registers (``hardware``), and a whole device as a target of
the conformance suite (``target``). No PCI, no queues: a register block has none.
"""
