/* What the parts of the image know of each other. The layouts shared with the host are in format.h, which is generated. */
#pragma once

#include <stdbool.h>

#include "format.h"

/* shared.c: what the host reads and writes */
extern struct control control;
extern struct target targets[TARGETS];
extern struct vector vectors[VECTORS];
extern volatile struct report report;
extern struct function functions[FUNCTIONS];
extern struct result results[VECTORS];
extern volatile struct mailbox mailbox;
extern volatile uint32_t irq_counts[MESSAGES];

/* main.c */
_Noreturn void give_up(uint32_t failure);

/* acpi.c: start of MCFG's first allocation with its buses, or false */
bool acpi_ecam(const void *start_info, uint64_t *base, unsigned *first, unsigned *last);

/* traps.c */
struct checkpoint {
    uint64_t registers[8];
};
int checkpoint(struct checkpoint *here) __attribute__((returns_twice));
_Noreturn void resume(struct checkpoint *there);
extern struct checkpoint *recovery; /* where an exception leads to; none: the image gives up */
extern uint32_t fault_vector;
extern uint64_t fault_address;
void traps_init(void);

/* time.c */
void time_init(void);
uint64_t now_us(void);
void wait_us(uint64_t us);        /* sleeps where it is long enough */
void sleep_at_most_us(uint32_t us); /* until an interrupt, of whatever kind */

/* memory.c: uncached mappings where the first 4 GiB of boot.S do not reach */
bool map(uint64_t address, uint64_t size);
void unmap_page_zero(void);
unsigned physical_bits(void);

/* pci.c: configuration space */
bool ecam_init(const void *start_info);
uint32_t config_read(unsigned bdf, unsigned offset, unsigned width);
void config_write(unsigned bdf, unsigned offset, unsigned width, uint32_t value);
unsigned capability(unsigned bdf, unsigned id);          /* offset, or 0 */
unsigned extended_capability(unsigned bdf, unsigned id); /* offset, or 0 */
bool present(unsigned bdf);
uint64_t bar_size(unsigned bdf, unsigned at, struct bar *bar); /* ``at``: offset of the BAR; decoding must be off */
void bar_place(unsigned bdf, unsigned at, const struct bar *bar);

/* enumerate.c and assign.c: the tree of buses, and where its BARs are */
extern unsigned function_count;
void enumerate(void);
void find_functions(bool number);
bool assign(void);

/* functions.c: what one vector may ask of a whole function */
unsigned enable(struct function *f, unsigned command);
bool function_level_reset(struct function *f, uint32_t settle_us);
bool bus_reset(struct function *f, uint32_t settle_us);
bool enable_vfs(struct function *f, unsigned index, unsigned count, uint32_t settle_us);

/* messages.c */
int enable_messages(struct function *f, unsigned space, unsigned count); /* first counter, or -1 */
volatile uint32_t *message_count(const struct function *f, unsigned index);

/* execute.c */
void execute(const struct vector *v, struct result *r);

/* The processor. Each of these is exactly one access on the bus. */
static inline uint64_t load(uint64_t address, unsigned width)
{
    uint64_t value = 0;
    switch (width) {
    case 1: __asm__ volatile("movb (%1), %b0" : "+a"(value) : "r"(address) : "memory"); break;
    case 2: __asm__ volatile("movw (%1), %w0" : "+a"(value) : "r"(address) : "memory"); break;
    case 4: __asm__ volatile("movl (%1), %k0" : "+a"(value) : "r"(address) : "memory"); break;
    case 8: __asm__ volatile("movq (%1), %0" : "+a"(value) : "r"(address) : "memory"); break;
    }
    return value;
}

static inline void store(uint64_t address, unsigned width, uint64_t value)
{
    switch (width) {
    case 1: __asm__ volatile("movb %b0, (%1)" : : "a"(value), "r"(address) : "memory"); break;
    case 2: __asm__ volatile("movw %w0, (%1)" : : "a"(value), "r"(address) : "memory"); break;
    case 4: __asm__ volatile("movl %k0, (%1)" : : "a"(value), "r"(address) : "memory"); break;
    case 8: __asm__ volatile("movq %0, (%1)" : : "a"(value), "r"(address) : "memory"); break;
    }
}

static inline uint32_t port_in(uint16_t port, unsigned width)
{
    uint32_t value = 0;
    switch (width) {
    case 1: __asm__ volatile("inb %w1, %b0" : "+a"(value) : "Nd"(port)); break;
    case 2: __asm__ volatile("inw %w1, %w0" : "+a"(value) : "Nd"(port)); break;
    case 4: __asm__ volatile("inl %w1, %k0" : "+a"(value) : "Nd"(port)); break;
    }
    return value;
}

static inline void port_out(uint16_t port, unsigned width, uint32_t value)
{
    switch (width) {
    case 1: __asm__ volatile("outb %b0, %w1" : : "a"(value), "Nd"(port)); break;
    case 2: __asm__ volatile("outw %w0, %w1" : : "a"(value), "Nd"(port)); break;
    case 4: __asm__ volatile("outl %k0, %w1" : : "a"(value), "Nd"(port)); break;
    }
}

static inline uint64_t tsc(void)
{
    uint32_t low, high;
    __asm__ volatile("lfence; rdtsc" : "=a"(low), "=d"(high));
    return (uint64_t)high << 32 | low;
}

static inline uint64_t msr_read(uint32_t msr)
{
    uint32_t low, high;
    __asm__ volatile("rdmsr" : "=a"(low), "=d"(high) : "c"(msr));
    return (uint64_t)high << 32 | low;
}

static inline void msr_write(uint32_t msr, uint64_t value)
{
    __asm__ volatile("wrmsr" : : "c"(msr), "a"((uint32_t)value), "d"((uint32_t)(value >> 32)));
}

static inline void barrier(void) { __asm__ volatile("" : : : "memory"); } /* x86 stores in order; the compiler must, too */
static inline void pause(void) { __asm__ volatile("pause" : : : "memory"); }
static inline void interrupts_on(void) { __asm__ volatile("sti" : : : "memory"); }
static inline void interrupts_off(void) { __asm__ volatile("cli" : : : "memory"); }

/* The local APIC: Intel SDM volume 3A, "Advanced Programmable Interrupt Controller (APIC)" */
#define LAPIC 0xFEE00000u
#define LAPIC_ID 0x020
#define LAPIC_EOI 0x0B0
#define LAPIC_SPURIOUS 0x0F0
#define LAPIC_LVT_TIMER 0x320
#define LAPIC_LVT_LINT0 0x350
#define LAPIC_TIMER_INITIAL 0x380
#define LAPIC_TIMER_CURRENT 0x390
#define LAPIC_TIMER_DIVIDE 0x3E0
#define VECTOR_TIMER 0x20
#define VECTOR_MESSAGES 0x30 /* to VECTOR_MESSAGES + MESSAGES - 1 */
#define VECTOR_SPURIOUS 0xFF
_Static_assert(VECTOR_MESSAGES + MESSAGES <= VECTOR_SPURIOUS, "messages have a vector each");

/* Configuration space: PCI Local Bus 3.0, chapter 6; bridges: PCI-to-PCI Bridge Architecture 1.2, chapter 3 */
#define PCI_ID 0x00
#define PCI_COMMAND 0x04
#define PCI_COMMAND_IO 1u
#define PCI_COMMAND_MEMORY 2u
#define PCI_COMMAND_MASTER 4u
#define PCI_STATUS 0x06
#define PCI_STATUS_CAPABILITIES 0x10u
#define PCI_CLASS 0x08
#define PCI_HEADER 0x0E
#define PCI_HEADER_MULTI 0x80u
#define PCI_BARS 0x10
#define PCI_CAPABILITIES 0x34
#define BRIDGE_PRIMARY 0x18
#define BRIDGE_SECONDARY 0x19
#define BRIDGE_SUBORDINATE 0x1A
#define BRIDGE_IO 0x1C
#define BRIDGE_IO_UPPER 0x30
#define BRIDGE_MEMORY 0x20
#define BRIDGE_PREFETCH 0x24
#define BRIDGE_PREFETCH_BASE_UPPER 0x28
#define BRIDGE_PREFETCH_LIMIT_UPPER 0x2C
#define BRIDGE_CONTROL 0x3E
#define BRIDGE_CONTROL_RESET 0x40u
#define CAP_MSI 0x05
#define CAP_EXPRESS 0x10
#define CAP_MSIX 0x11
#define EXT_ARI 0x000E
#define EXT_SRIOV 0x0010
