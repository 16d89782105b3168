"""The exported register block in a simulator, against the oracle: random accesses, resets, and hardware in the same clock.

One simulation per description, because starting one takes half a second; what is done to it is drawn from a seed.
"""

from __future__ import annotations

import pytest
from hypothesis import Phase, assume, given, settings
from hypothesis import strategies as st

from emulators.rtl.mutants import FAULTS, Mutant, mutants
from emulators.rtl.simulation import Simulation
from regmodel.access import RC, RCW1C, RO, RSVD, RW, W1C, W1P, W1S, WO, WO1C
from regmodel.catalogue import find
from regmodel.conformance.accesses import ConformanceError
from regmodel.errors import DescriptionError
from regmodel.export.verilog import RegisterBlock
from regmodel.function import ResetCause
from regmodel.registers import Alias32, Bar, Each, Partial, Policy, Reg32
from tests.emulators.rtl.both import Both
from tests.regmodel.test_bank import register_files
from tests.support.every_kind import BAR, STRICT
from tests.support.thorough import THOROUGH

BARS = {
    "igbvf": (find("igbvf").bars[0], 1000),
    "igbvf-i350": (find("igbvf-i350").bars[0], 300),
    "msix": (find("igbvf").bars[3], 200),
    "config": (find("igbvf").config, 300),
    "every": (BAR, 1000),
    "strict": (STRICT, 500),
}


@pytest.mark.parametrize("name", BARS)
def test_like_the_oracle(name: str) -> None:
    bar, steps = BARS[name]
    with Simulation(RegisterBlock(bar, "dut")) as simulation:
        Both(bar, simulation, seed=4).run(steps * THOROUGH)


@settings(max_examples=3 * THOROUGH, phases=[Phase.generate])  # shrinking takes minutes
@given(bar=register_files(), seed=st.integers(0, 1 << 32))
def test_any_description_like_the_oracle(bar: Bar, seed: int) -> None:
    assume(bar.size % 4 == 0)
    block = RegisterBlock(bar, "dut")
    try:
        assert block.text
    except DescriptionError as error:
        assert error.code == "verilog-shared"
        assume(False)
    with Simulation(block) as simulation:
        Both(bar, simulation, seed).run(150)


# -- the judge, judged -----------------------------------------------------------------------------------------------------

VF_RESET = (ResetCause.FLR, ResetCause.SOFTWARE)
# fmt: off
SMALL = Bar(
    "small",
    0x40,
    "icr" / Reg32(0x00, "cause" / RCW1C[3:0], "other" / W1C[7:4], RSVD[...]),
    "ics" / Alias32(0x04, "icr", "cause" / W1S[3:0], RSVD[...]),
    "imc" / Alias32(0x08, "icr", "cause" / WO1C[3:0], RSVD[...]),
    "box" / Reg32(0x0C,
        "go" / W1P[0], "own" / RW.volatile[1], "sts" / RC[2], "rst" / RO[3].sticky(*VF_RESET), RSVD[...], reset=8),
    "tail" / Reg32(Each(0x10, 4, 3), "t" / RW[15:0], "secret" / WO[31:16], survives=VF_RESET),
    policy=Policy(partial=Partial.IGNORE, unaligned=Partial.IGNORE),
)
LOCKED = Bar("locked", 0x10, "gate" / Reg32(0, "shut" / RW[0], RSVD[...]), "size" / Reg32(4, RW, locked_by=("gate.shut", 1)))
# fmt: on
SEEDED: dict[str, list[tuple[Bar, Mutant]]] = {
    kind: [(bar, m) for bar in (LOCKED, SMALL) for m in mutants(RegisterBlock(bar, "dut")) if m.kind == kind] for kind in FAULTS
}


@pytest.mark.parametrize("kind", FAULTS)
def test_a_mutant_is_found(kind: str) -> None:
    bar, mutant = SEEDED[kind][-1]
    block = RegisterBlock(bar, "dut")
    with (
        Simulation(block, text=mutant(block.text)) as simulation,
        pytest.raises((AssertionError, ConformanceError)) as difference,
    ):
        Both(bar, simulation, seed=4).run(600)
    print(mutant, "--", str(difference.value).partition("\n")[0])


def test_the_original_is_not() -> None:
    with Simulation(RegisterBlock(SMALL, "dut")) as simulation:
        Both(SMALL, simulation, seed=4).run(600)
