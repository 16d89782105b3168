/* Page tables beyond those of boot.S: uncached pages for BARs above 4 GiB, and no page at address 0. */
#include "image.h"

#define PRESENT_WRITABLE 3ull
#define UNCACHED 0x18ull
#define LARGE 0x80ull
#define TABLES 32 /* each directory covers 1 GiB */

extern uint64_t page_map[512], page_directories[4 * 512];
static uint64_t tables[TABLES][512] __attribute__((aligned(4096)));
static unsigned used;

/* The table that an entry leads to, made when there is none; 0 when there is no room. */
static uint64_t *table_of(uint64_t *entry)
{
    if (!(*entry & 1)) {
        if (used == TABLES)
            return 0;
        *entry = (uint64_t)tables[used++] | PRESENT_WRITABLE;
    }
    return (uint64_t *)(*entry & ~0xFFFull);
}

bool map(uint64_t address, uint64_t size)
{
    uint64_t end = address + size;
    for (address &= ~0x1FFFFFull; address < end; address += 0x200000) {
        if (address >> 32 == 0)
            continue;
        if (address >> 47)
            return false;
        uint64_t *pointers = table_of(&page_map[address >> 39]);
        uint64_t *directory = pointers ? table_of(&pointers[address >> 30 & 511]) : 0;
        if (!directory)
            return false;
        directory[address >> 21 & 511] = address | PRESENT_WRITABLE | LARGE | UNCACHED;
    }
    return true;
}

void unmap_page_zero(void)
{
    uint64_t *pages = tables[used++];
    for (uint64_t i = 1; i < 512; i++)
        pages[i] = i << 12 | PRESENT_WRITABLE;
    page_directories[0] = (uint64_t)pages | PRESENT_WRITABLE;
    __asm__ volatile("mov %%cr3, %%rax; mov %%rax, %%cr3" : : : "rax", "memory");
}

unsigned physical_bits(void)
{
    uint32_t a = 0x80000008, b, c = 0, d;
    __asm__ volatile("cpuid" : "+a"(a), "=b"(b), "+c"(c), "=d"(d));
    return a & 0xFF;
}
