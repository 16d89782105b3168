/* Exceptions and interrupts. An exception inside of a vector becomes its result; anywhere else it ends the image. */
#include "image.h"

struct frame {
    uint64_t registers[15];
    uint64_t vector, error;
    uint64_t rip, cs, rflags, rsp, ss;
};

struct gate {
    uint16_t low, selector, flags, middle;
    uint32_t high, reserved;
};

extern char trap_entries[256][16];
struct checkpoint *recovery;
uint32_t fault_vector;
uint64_t fault_address;
static struct gate idt[256] __attribute__((aligned(16)));

static void exception(struct frame *frame)
{
    uint64_t cr2;
    __asm__ volatile("mov %%cr2, %0" : "=r"(cr2));
    if (recovery) {
        struct checkpoint *there = recovery;
        recovery = 0;
        fault_vector = (uint32_t)frame->vector;
        fault_address = frame->vector == 14 ? cr2 : frame->rip;
        resume(there);
    }
    report.fault = (uint32_t)frame->vector;
    report.fault_code = (uint32_t)frame->error;
    report.fault_at = frame->rip;
    report.fault_access = cr2;
    give_up(FAILURE_FAULT);
}

void trap(struct frame *frame);
void trap(struct frame *frame)
{
    if (frame->vector < 32)
        exception(frame);
    if (frame->vector == VECTOR_SPURIOUS)
        return; /* has no bit in service to end */
    if (frame->vector >= VECTOR_MESSAGES && frame->vector < VECTOR_MESSAGES + MESSAGES)
        irq_counts[frame->vector - VECTOR_MESSAGES]++;
    store(LAPIC + LAPIC_EOI, 4, 0);
}

void traps_init(void)
{
    for (unsigned i = 0; i < 256; i++) {
        uint64_t entry = (uint64_t)trap_entries[i];
        idt[i] = (struct gate){(uint16_t)entry, 0x08, 0x8E00, (uint16_t)(entry >> 16), (uint32_t)(entry >> 32), 0};
    }
    struct {
        uint16_t limit;
        uint64_t base;
    } __attribute__((packed)) idtr = {sizeof idt - 1, (uint64_t)idt};
    __asm__ volatile("lidt %0" : : "m"(idtr));

    port_out(0x21, 1, 0xFF); /* both 8259 masked: their vectors would look like exceptions */
    port_out(0xA1, 1, 0xFF);
    msr_write(0x1B, (msr_read(0x1B) & 0xFFFu) | LAPIC | 0x800); /* IA32_APIC_BASE: enabled, where it is by default */
    store(LAPIC + LAPIC_LVT_LINT0, 4, 0x10000);
    store(LAPIC + LAPIC_SPURIOUS, 4, 0x100 | VECTOR_SPURIOUS);
}
