/* ACPI, as far as it says where ECAM is: RSDP, RSDT or XSDT, MCFG (ACPI 6.5, 5.2.5 to 5.2.8; PCI Firmware 3.3, 4.1.2). */
#include "image.h"

struct start_info { /* Xen, xen/include/public/arch-x86/hvm/start_info.h */
    uint32_t magic, version, flags, modules;
    uint64_t module_list, command_line, rsdp;
};
#define START_MAGIC 0x336EC578u

static bool is(const char *at, const char *signature)
{
    while (*signature)
        if (*at++ != *signature++)
            return false;
    return true;
}

static const char *search(const char *at, const char *end)
{
    for (; at < end; at += 16)
        if (is(at, "RSD PTR "))
            return at;
    return 0;
}

static const char *find_rsdp(const struct start_info *info)
{
    if (info->magic == START_MAGIC && info->rsdp && is((const char *)info->rsdp, "RSD PTR "))
        return (const char *)info->rsdp;
    const char *extended = (const char *)(load(0x40E, 2) << 4); /* the EBDA, its first KiB, then the BIOS: ACPI 6.5, 5.2.5.1 */
    const char *found = extended ? search(extended, extended + 1024) : 0;
    return found ? found : search((const char *)0xE0000, (const char *)0x100000);
}

bool acpi_ecam(const void *start_info, uint64_t *base, unsigned *first, unsigned *last)
{
    const char *rsdp = find_rsdp(start_info);
    if (!rsdp)
        return false;
    uint64_t xsdt = rsdp[15] >= 2 ? load((uint64_t)rsdp + 24, 8) : 0;
    uint64_t root = xsdt ? xsdt : load((uint64_t)rsdp + 16, 4);
    unsigned width = xsdt ? 8 : 4;
    uint64_t end = root + load(root + 4, 4);
    for (uint64_t entry = root + 36; entry < end; entry += width) {
        uint64_t table = load(entry, width);
        if (!is((const char *)table, "MCFG"))
            continue;
        *base = load(table + 44, 8);
        *first = (unsigned)load(table + 54, 1);
        *last = (unsigned)load(table + 55, 1);
        return true;
    }
    return false;
}
