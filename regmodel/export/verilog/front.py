"""The bus side of a register block: the ports that every block has, and AXI4-Lite down to one access per clock.

What lives here: fixed Verilog text. It hands the rest ``write_now`` or ``read_now`` (never both) for one clock with ``word``,
the address in words, and ``strb``, the bytes of it that are meant; with a write also ``w_data``. It takes ``r_data`` in the
clock of ``read_now``.

AXI4-Lite reads whole words. Where a bridge knows better (PCI Express has byte enables for reads too), ``s_axil_arstrb`` says
which bytes a read wants; it goes with ``s_axil_araddr`` and is no signal of AXI4-Lite. Tie it to 4'hf where there is none.
"""

from __future__ import annotations

from regmodel.function import ResetCause

RESETS = {cause: "rst_" + cause.value.replace("-", "_") for cause in ResetCause}
"""One input per cause, active high, taken at the rising edge of the clock."""
THOROUGH_LAST = (ResetCause.SOFTWARE, ResetCause.FLR, ResetCause.BUS, ResetCause.POWER_ON)
"""The order in which causes act that come at once: the last one stays."""


def bus_ports(address_width: int) -> list[str]:
    """Declarations of clock, resets and AXI4-Lite."""
    address = f"[{address_width - 1}:0]"
    return [
        "input  wire clk",
        *(f"input  wire {name}" for name in RESETS.values()),
        f"input  wire {address} s_axil_awaddr",
        "input  wire [2:0] s_axil_awprot",
        "input  wire s_axil_awvalid",
        "output wire s_axil_awready",
        "input  wire [31:0] s_axil_wdata",
        "input  wire [3:0] s_axil_wstrb",
        "input  wire s_axil_wvalid",
        "output wire s_axil_wready",
        "output wire [1:0] s_axil_bresp",
        "output reg  s_axil_bvalid",
        "input  wire s_axil_bready",
        f"input  wire {address} s_axil_araddr",
        "input  wire [2:0] s_axil_arprot",
        "input  wire [3:0] s_axil_arstrb",
        "input  wire s_axil_arvalid",
        "output wire s_axil_arready",
        "output reg  [31:0] s_axil_rdata",
        "output wire [1:0] s_axil_rresp",
        "output reg  s_axil_rvalid",
        "input  wire s_axil_rready",
    ]


UNUSED = (*RESETS.values(), "s_axil_awprot", "s_axil_awaddr[1:0]", "s_axil_arprot", "s_axil_araddr[1:0]")
"""Inputs that may mean nothing: protection, bytes within a word, and resets that nothing feels."""


def front(address_width: int) -> str:
    """The AXI4-Lite slave. Only a power-on reset reaches it: the others leave a handshake in progress alone."""
    top = address_width - 1
    return f"""\
    // ---- AXI4-Lite: one access at a time; when both wait, reads and writes take turns ----
    reg aw_full, w_full, ar_full, reads_turn;
    reg [{top}:2] aw_word, ar_word;
    reg [31:0] w_data;
    reg [3:0] w_strb, r_strb;
    reg [31:0] r_data;

    wire write_ready = aw_full & w_full & (~s_axil_bvalid | s_axil_bready);
    wire read_ready = ar_full & (~s_axil_rvalid | s_axil_rready);
    wire write_now = write_ready & ~(read_ready & reads_turn) & ~rst_power_on;
    wire read_now = read_ready & ~(write_ready & ~reads_turn) & ~rst_power_on;
    wire [{top}:2] word = write_now ? aw_word : ar_word;
    wire [3:0] strb = write_now ? w_strb : r_strb;
    wire [31:0] lanes = {{{{8{{strb[3]}}}}, {{8{{strb[2]}}}}, {{8{{strb[1]}}}}, {{8{{strb[0]}}}}}};

    assign s_axil_awready = ~aw_full;
    assign s_axil_wready = ~w_full;
    assign s_axil_arready = ~ar_full;
    assign s_axil_bresp = 2'b00;
    assign s_axil_rresp = 2'b00;

    always @(posedge clk) begin
        if (s_axil_awvalid & s_axil_awready) aw_word <= s_axil_awaddr[{top}:2];
        if (s_axil_wvalid & s_axil_wready) w_data <= s_axil_wdata;
        if (s_axil_wvalid & s_axil_wready) w_strb <= s_axil_wstrb;
        if (s_axil_arvalid & s_axil_arready) ar_word <= s_axil_araddr[{top}:2];
        if (s_axil_arvalid & s_axil_arready) r_strb <= s_axil_arstrb;
        if (read_now) s_axil_rdata <= r_data;
        aw_full <= (aw_full | s_axil_awvalid) & ~write_now & ~rst_power_on;
        w_full <= (w_full | s_axil_wvalid) & ~write_now & ~rst_power_on;
        ar_full <= (ar_full | s_axil_arvalid) & ~read_now & ~rst_power_on;
        s_axil_bvalid <= (write_now | (s_axil_bvalid & ~s_axil_bready)) & ~rst_power_on;
        s_axil_rvalid <= (read_now | (s_axil_rvalid & ~s_axil_rready)) & ~rst_power_on;
        reads_turn <= (write_now | (reads_turn & ~read_now)) & ~rst_power_on;
    end
"""
