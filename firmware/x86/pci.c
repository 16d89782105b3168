/* Configuration space by ECAM, the lists of capabilities, and the sizing of BARs. Buses and windows are in assign.c.
 *
 * ECAM is where ACPI's MCFG says. A machine whose firmware loader made no tables is asked itself: the host bridge of QEMU's
 * q35 is Intel's 82Q35 (8086:29c0), whose register PCIEXBAR, at 60h, holds the address (Intel 3 Series Express Chipset
 * Family datasheet, "PCI Express Register Range Base Address"; QEMU, include/hw/pci-host/q35.h). It is set where it is off.
 */
#include "image.h"

#define HOST_BRIDGE 0x29C08086u
#define PCIEXBAR 0x60
#define ECAM_OWN 0xB0000000u /* where SeaBIOS puts it, too */

static uint64_t ecam;
static unsigned ecam_first, ecam_last;

/* Configuration mechanism #1 (PCI Local Bus 3.0, 3.2.2.3.2), for bus 0 and only to find ECAM. */
static uint32_t mechanism1(unsigned offset)
{
    port_out(0xCF8, 4, 0x80000000u | offset);
    return port_in(0xCFC, 4);
}

static bool chipset_ecam(void)
{
    if (mechanism1(PCI_ID) != HOST_BRIDGE)
        return false;
    if (!(mechanism1(PCIEXBAR) & 1)) {
        mechanism1(PCIEXBAR + 4);
        port_out(0xCFC, 4, 0);
        mechanism1(PCIEXBAR);
        port_out(0xCFC, 4, ECAM_OWN | 1);
    }
    uint32_t low = mechanism1(PCIEXBAR);
    unsigned length = low >> 1 & 3; /* 0: 256 buses, 1: 128, 2: 64 */
    ecam = (uint64_t)mechanism1(PCIEXBAR + 4) << 32 | (low & (0xF0000000u | (length > 0 ? 1u << 27 : 0)
                                                              | (length > 1 ? 1u << 26 : 0)));
    ecam_first = 0;
    ecam_last = (256u >> length) - 1;
    return length < 3;
}

bool ecam_init(const void *start_info)
{
    report.acpi = acpi_ecam(start_info, &ecam, &ecam_first, &ecam_last);
    if (!report.acpi && !chipset_ecam())
        return false;
    report.ecam = ecam;
    report.first_bus = (uint16_t)ecam_first;
    report.last_bus = (uint16_t)ecam_last;
    return map(ecam + ((uint64_t)ecam_first << 20), (uint64_t)(ecam_last - ecam_first + 1) << 20);
}

/* Accesses use EAX, the only register that some processors take for ECAM (AMD BKDG for family 10h, "MMIO Configuration
 * Coding Requirements"). */
uint32_t config_read(unsigned bdf, unsigned offset, unsigned width)
{
    if (bdf >> 8 > ecam_last)
        return 0xFFFFFFFFu >> (32 - 8 * width);
    return (uint32_t)load(ecam + ((uint64_t)bdf << 12) + offset, width);
}

void config_write(unsigned bdf, unsigned offset, unsigned width, uint32_t value)
{
    if (bdf >> 8 <= ecam_last)
        store(ecam + ((uint64_t)bdf << 12) + offset, width, value);
}

/* Not by the vendor: that of a VF reads FFFFh (SR-IOV 1.1, 3.4.1.1). Its status register never does. */
bool present(unsigned bdf)
{
    return config_read(bdf, PCI_COMMAND, 4) != 0xFFFFFFFF;
}

unsigned capability(unsigned bdf, unsigned id)
{
    if (!(config_read(bdf, PCI_STATUS, 2) & PCI_STATUS_CAPABILITIES))
        return 0;
    unsigned at = config_read(bdf, PCI_CAPABILITIES, 1) & 0xFC;
    for (unsigned seen = 0; at >= 0x40 && seen < 48; seen++) { /* a list that bites its tail ends here */
        if (config_read(bdf, at, 1) == id)
            return at;
        at = config_read(bdf, at + 1, 1) & 0xFC;
    }
    return 0;
}

unsigned extended_capability(unsigned bdf, unsigned id)
{
    unsigned at = 0x100;
    for (unsigned seen = 0; at >= 0x100 && seen < 480; seen++) {
        uint32_t header = config_read(bdf, at, 4);
        if (header == 0xFFFFFFFF)
            return 0;
        if ((header & 0xFFFF) == id)
            return at;
        at = header >> 20 & 0xFFC;
    }
    return 0;
}

uint64_t bar_size(unsigned bdf, unsigned at, struct bar *bar)
{
    uint32_t old = config_read(bdf, at, 4), old_high = 0, high = 0;
    *bar = (struct bar){0};
    bool io = old & BAR_IO, wide = !io && (old >> 1 & 3) == 2;
    config_write(bdf, at, 4, 0xFFFFFFFF);
    uint32_t low = config_read(bdf, at, 4);
    config_write(bdf, at, 4, old);
    if (wide) {
        old_high = config_read(bdf, at + 4, 4);
        config_write(bdf, at + 4, 4, 0xFFFFFFFF);
        high = config_read(bdf, at + 4, 4);
        config_write(bdf, at + 4, 4, old_high);
    }
    if (low == 0 || low == 0xFFFFFFFF)
        return 0;
    uint64_t mask = (uint64_t)high << 32 | (low & (io ? ~3u : ~15u));
    if (!wide)
        mask |= 0xFFFFFFFF00000000ull;
    bar->size = ~mask + 1;
    if (io)
        bar->size &= 0xFFFF; /* bits 31:16 need not be there */
    bar->flags = io ? BAR_IO : old & (BAR_BITS64 | BAR_PREFETCH);
    bar->address = (uint64_t)old_high << 32 | (old & (io ? ~3u : ~15u));
    return bar->size;
}

void bar_place(unsigned bdf, unsigned at, const struct bar *bar)
{
    config_write(bdf, at, 4, (uint32_t)bar->address);
    if (bar->flags & BAR_BITS64)
        config_write(bdf, at + 4, 4, (uint32_t)(bar->address >> 32));
}
