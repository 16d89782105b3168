/* Which functions there are: depth first over the tree of buses, numbering it where the firmware loader did not.
 *
 * The loader's numbers and addresses are kept if every bridge has its numbers, every BAR its address, and no PF wants room
 * for VFs, for which loaders seldom leave any. Otherwise all is done anew: half of each would have to fit the other half.
 */
#include "image.h"

#define NOTHING 0xFFFFFFFFu

unsigned function_count;
static unsigned last_used_bus;

static void find_on_bus(unsigned bus, unsigned upstream, bool number);

static void find_bars(struct function *f)
{
    unsigned count = f->kind == KIND_BRIDGE ? 2 : 6;
    uint32_t command = config_read(f->bdf, PCI_COMMAND, 2);
    config_write(f->bdf, PCI_COMMAND, 2, command & ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY));
    for (unsigned i = 0; i < count; i++)
        if (bar_size(f->bdf, PCI_BARS + 4 * i, &f->bars[i]) && f->bars[i].flags & BAR_BITS64)
            i++;
    unsigned sriov = extended_capability(f->bdf, EXT_SRIOV);
    for (unsigned i = 0; sriov && i < 6; i++)
        if (bar_size(f->bdf, sriov + 0x24 + 4 * i, &f->vf_bars[i]) && f->vf_bars[i].flags & BAR_BITS64)
            i++;
    config_write(f->bdf, PCI_COMMAND, 2, command);
}

/* The last bus on which a VF of this PF can be (SR-IOV 1.1, 2.1.2: routing IDs). */
static unsigned last_vf_bus(unsigned bdf)
{
    unsigned sriov = extended_capability(bdf, EXT_SRIOV);
    unsigned total = sriov ? config_read(bdf, sriov + 0x0E, 2) : 0;
    if (!total)
        return bdf >> 8;
    return (bdf + config_read(bdf, sriov + 0x14, 2) + (total - 1) * config_read(bdf, sriov + 0x16, 2)) >> 8;
}

static void number_bridge(unsigned bdf, unsigned secondary, unsigned subordinate)
{
    config_write(bdf, BRIDGE_PRIMARY, 1, bdf >> 8);
    config_write(bdf, BRIDGE_SECONDARY, 1, secondary);
    config_write(bdf, BRIDGE_SUBORDINATE, 1, subordinate);
}

static void find_behind(unsigned bridge, bool number)
{
    unsigned bdf = functions[bridge].bdf, secondary = config_read(bdf, BRIDGE_SECONDARY, 1);
    if (number) {
        secondary = ++last_used_bus;
        number_bridge(bdf, secondary, report.last_bus);
    }
    unsigned express = capability(bdf, CAP_EXPRESS); /* ARI Forwarding, where supported: PCIe Base 5.0, 7.5.3.15 and .16 */
    if (express && config_read(bdf, express + 0x24, 4) & 0x20)
        config_write(bdf, express + 0x28, 2, config_read(bdf, express + 0x28, 2) | 0x20);
    if (secondary > bdf >> 8)
        find_on_bus(secondary, bridge, number);
    if (number)
        number_bridge(bdf, secondary, last_used_bus);
}

static void find_function(unsigned bdf, unsigned upstream, bool number)
{
    if (function_count == FUNCTIONS)
        give_up(FAILURE_TOO_MANY);
    unsigned index = function_count++;
    struct function *f = &functions[index];
    uint32_t id = config_read(bdf, PCI_ID, 4), class = config_read(bdf, PCI_CLASS, 4);
    *f = (struct function){
        .bdf = (uint16_t)bdf, .upstream = (uint16_t)upstream, .vendor = (uint16_t)id, .device = (uint16_t)(id >> 16),
        .class_code = class >> 8, .revision = (uint8_t)class,
        .kind = (config_read(bdf, PCI_HEADER, 1) & 0x7F) == 1 ? KIND_BRIDGE : KIND_ENDPOINT,
    };
    find_bars(f);
    if (last_vf_bus(bdf) > last_used_bus)
        last_used_bus = last_vf_bus(bdf);
    if (f->kind == KIND_BRIDGE)
        find_behind(index, number);
}

/* The next function of a bus from ``bdf`` on, or NOTHING. */
static unsigned next_on_bus(unsigned bus, unsigned bdf)
{
    for (; bdf >> 8 == bus; bdf++) {
        if (bdf & 7 && !(config_read(bdf & ~7u, PCI_HEADER, 1) & PCI_HEADER_MULTI))
            continue;
        if (config_read(bdf, PCI_ID, 4) != NOTHING)
            return bdf;
    }
    return NOTHING;
}

static void find_on_bus(unsigned bus, unsigned upstream, bool number)
{
    if (bus > last_used_bus)
        last_used_bus = bus;
    for (unsigned bdf = bus << 8; number && (bdf = next_on_bus(bus, bdf)) != NOTHING; bdf++)
        if ((config_read(bdf, PCI_HEADER, 1) & 0x7F) == 1)
            number_bridge(bdf, 0, 0); /* an old number would answer in the place of a new one */
    for (unsigned bdf = bus << 8; (bdf = next_on_bus(bus, bdf)) != NOTHING; bdf++)
        find_function(bdf, upstream, number);
}

void find_functions(bool number)
{
    function_count = 0;
    last_used_bus = report.first_bus;
    find_on_bus(report.first_bus, NONE, number);
}

static bool numbered(void)
{
    for (unsigned i = 0; i < function_count; i++)
        if (functions[i].kind == KIND_BRIDGE && !config_read(functions[i].bdf, BRIDGE_SECONDARY, 1))
            return false;
    return true;
}

static bool placed(void)
{
    for (unsigned i = 0; i < function_count; i++)
        for (unsigned j = 0; j < 6; j++)
            if ((functions[i].bars[j].size && !functions[i].bars[j].address) || functions[i].vf_bars[j].size)
                return false;
    return true;
}

/* Afterwards functions[] is complete but for VFs, and no endpoint decodes addresses or issues DMA until ENABLE says so. */
void enumerate(void)
{
    find_functions(false);
    if (!numbered() || !placed()) {
        find_functions(true);
        report.assigned = 1;
        if (!assign())
            give_up(FAILURE_NO_SPACE);
    }
    for (unsigned i = 0; i < function_count; i++) {
        struct function *f = &functions[i];
        uint32_t command = config_read(f->bdf, PCI_COMMAND, 2) & ~7u;
        if (f->kind == KIND_BRIDGE)
            config_write(f->bdf, PCI_COMMAND, 2, command | PCI_COMMAND_IO | PCI_COMMAND_MEMORY | PCI_COMMAND_MASTER);
        else if (f->class_code >> 16 != 0x06) /* host bridge and the like keep what they have */
            config_write(f->bdf, PCI_COMMAND, 2, command);
    }
    report.functions = function_count;
}
