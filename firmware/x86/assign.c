/* Where BARs and the windows of bridges go: three address spaces, each filled in order of falling alignment.
 *
 * A BAR goes above 4 GiB if it is 64-bit and prefetchable and all bridges on the way have a 64-bit prefetchable window;
 * else below 4 GiB, between ECAM and the I/O APIC (what SeaBIOS' src/fw/pciinit.c does on a q35). All sizes are powers of
 * two, so falling alignment leaves no holes on one bus. Windows of bridges count in 1 MiB, or 4 KiB for I/O
 * (PCI-to-PCI Bridge Architecture 1.2, 3.2.5.6 to 3.2.5.9).
 */
#include "image.h"

enum space { IO, LOW, HIGH, SPACES };

#define LOW_END 0xFE000000ull
#define HIGH_START (32ull << 30)
#define IO_START 0xC000ull
#define IO_END 0x10000ull
#define LARGEST 46 /* 2^46 bytes */

static const uint64_t granule[SPACES] = {0x1000, 0x100000, 0x100000};
static uint64_t needed[SPACES][FUNCTIONS]; /* bytes behind a bridge */
static uint64_t aligned[SPACES][FUNCTIONS];

static bool has_high_window(unsigned bdf)
{
    return (config_read(bdf, BRIDGE_PREFETCH, 2) & 0xF) == 1;
}

static enum space space_of(const struct function *f, const struct bar *bar)
{
    if (bar->flags & BAR_IO)
        return IO;
    if (!(bar->flags & BAR_BITS64) || !(bar->flags & BAR_PREFETCH))
        return LOW;
    for (unsigned up = f->upstream; up != NONE; up = functions[up].upstream)
        if (!has_high_window(functions[up].bdf))
            return LOW;
    return HIGH;
}

static unsigned total_vfs(const struct function *f)
{
    unsigned sriov = extended_capability(f->bdf, EXT_SRIOV);
    return sriov ? config_read(f->bdf, sriov + 0x0E, 2) : 0;
}

/* Call ``place`` for all that ``upstream``'s bus has to place in ``space``: BARs, VF BARs and windows of bridges, in order
 * of falling alignment. It is given the bytes, and a pointer to the address to set. */
typedef void placer(uint64_t size, uint64_t alignment, uint64_t *address, void *what);

static void each(unsigned upstream, enum space space, placer *place, uint64_t *windows, void *what)
{
    for (int order = LARGEST; order >= 0; order--) {
        uint64_t alignment = 1ull << order;
        for (unsigned i = 0; i < function_count; i++) {
            struct function *f = &functions[i];
            if (f->upstream != upstream)
                continue;
            for (unsigned j = 0; j < 6; j++) {
                if (f->bars[j].size == alignment && space_of(f, &f->bars[j]) == space)
                    place(alignment, alignment, &f->bars[j].address, what);
                uint64_t each_vf = f->vf_bars[j].size; /* at least a page apart: SR-IOV 1.1, 3.3.13 */
                if (each_vf < 4096 && each_vf)
                    each_vf = 4096;
                if (each_vf == alignment && space_of(f, &f->vf_bars[j]) == space)
                    place(alignment * total_vfs(f), alignment, &f->vf_bars[j].address, what);
            }
            if (needed[space][i] && aligned[space][i] == alignment)
                place(needed[space][i], alignment, &windows[i], what);
        }
    }
}

static uint64_t round_up(uint64_t value, uint64_t alignment) { return (value + alignment - 1) & ~(alignment - 1); }

struct sum {
    uint64_t size, alignment;
};

static void add(uint64_t size, uint64_t alignment, uint64_t *address, void *what)
{
    struct sum *sum = what;
    (void)address;
    sum->size = round_up(sum->size, alignment) + size;
    if (alignment > sum->alignment)
        sum->alignment = alignment;
}

/* Bridges come before what is behind them, so the last ones are measured first. */
static void measure(enum space space, uint64_t *windows)
{
    for (unsigned i = function_count; i-- > 0;) {
        needed[space][i] = 0;
        if (functions[i].kind != KIND_BRIDGE)
            continue;
        struct sum sum = {0, granule[space]};
        each(i, space, add, windows, &sum);
        needed[space][i] = round_up(sum.size, granule[space]);
        aligned[space][i] = sum.alignment;
    }
}

static void put(uint64_t size, uint64_t alignment, uint64_t *address, void *what)
{
    uint64_t *next = what;
    *address = round_up(*next, alignment);
    *next = *address + size;
}

static void open_window(unsigned bdf, enum space space, uint64_t start, uint64_t size)
{
    uint64_t end = start + size - 1;
    bool closed = size == 0;
    switch (space) {
    case IO:
        config_write(bdf, BRIDGE_IO, 2, closed ? 0x00F0 : (uint32_t)((start >> 8 & 0xF0) | (end & 0xF000)));
        config_write(bdf, BRIDGE_IO_UPPER, 4, 0);
        break;
    case LOW:
        config_write(bdf, BRIDGE_MEMORY, 4, closed ? 0x0000FFF0 : (uint32_t)((start >> 16 & 0xFFF0) | (end & 0xFFF00000)));
        break;
    default:
        config_write(bdf, BRIDGE_PREFETCH, 4, closed ? 0x0000FFF0 : (uint32_t)((start >> 16 & 0xFFF0) | (end & 0xFFF00000)));
        config_write(bdf, BRIDGE_PREFETCH_BASE_UPPER, 4, closed ? 0 : (uint32_t)(start >> 32));
        config_write(bdf, BRIDGE_PREFETCH_LIMIT_UPPER, 4, closed ? 0 : (uint32_t)(end >> 32));
    }
}

static void write_bars(const struct function *f)
{
    unsigned sriov = extended_capability(f->bdf, EXT_SRIOV);
    for (unsigned j = 0; j < 6; j++) {
        if (f->bars[j].size)
            bar_place(f->bdf, PCI_BARS + 4 * j, &f->bars[j]);
        if (f->vf_bars[j].size)
            bar_place(f->bdf, sriov + 0x24 + 4 * j, &f->vf_bars[j]);
    }
}

bool assign(void)
{
    static uint64_t windows[FUNCTIONS];
    uint64_t low = (report.ecam + ((uint64_t)(report.last_bus + 1) << 20)) & ~0xFFFFFull;
    uint64_t start[SPACES] = {IO_START, low < 0x80000000ull || low >= LOW_END ? 0x80000000ull : low, HIGH_START};
    uint64_t end[SPACES] = {IO_END, LOW_END, 1ull << physical_bits()};

    for (unsigned i = 0; i < function_count; i++)
        if (functions[i].class_code >> 16 != 0x06)
            config_write(functions[i].bdf, PCI_COMMAND, 2, config_read(functions[i].bdf, PCI_COMMAND, 2) & ~7u);
    for (enum space space = IO; space < SPACES; space++) {
        measure(space, windows);
        each(NONE, space, put, windows, &start[space]);
        if (start[space] > end[space])
            return false;
        for (unsigned i = 0; i < function_count; i++) {
            if (functions[i].kind != KIND_BRIDGE)
                continue;
            uint64_t next = windows[i];
            each(i, space, put, windows, &next);
            open_window(functions[i].bdf, space, windows[i], needed[space][i]);
        }
    }
    for (unsigned i = 0; i < function_count; i++)
        write_bars(&functions[i]);
    return true;
}
