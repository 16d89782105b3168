/* What one vector may ask of a whole function: to decode, to be reset, to have VFs. How long it is left alone after that is
 * the host's to say: 100 ms on silicon (PCIe Base 5.0, 6.6.1 and 6.6.2; SR-IOV 1.1, 3.3.3.1). */
#include "image.h"

#define RESET_PULSE_US 1000u /* T_rst: PCI Local Bus 3.0, 4.2.3.2 */

/* A VF's BARs are in its PF, and its Memory Space Enable does nothing (SR-IOV 1.1, 3.4.1.3), but QEMU's VFs obey it, so it
 * is written to them all the same. */
unsigned enable(struct function *f, unsigned command)
{
    uint32_t old = config_read(f->bdf, PCI_COMMAND, 2) & ~7u;
    if (f->kind != KIND_VF) {
        config_write(f->bdf, PCI_COMMAND, 2, old);
        for (unsigned i = 0; i < 6; i++)
            if (f->bars[i].size)
                bar_place(f->bdf, PCI_BARS + 4 * i, &f->bars[i]);
    }
    config_write(f->bdf, PCI_COMMAND, 2, old | (command & 7));
    return config_read(f->bdf, PCI_COMMAND, 2);
}

bool function_level_reset(struct function *f, uint32_t settle_us)
{
    unsigned express = capability(f->bdf, CAP_EXPRESS);
    if (!express || !(config_read(f->bdf, express + 0x04, 4) >> 28 & 1)) /* Function Level Reset Capability */
        return false;
    uint32_t control = config_read(f->bdf, express + 0x08, 2);
    config_write(f->bdf, express + 0x08, 2, control | 0x8000);           /* Initiate Function Level Reset */
    wait_us(settle_us);
    return true;
}

bool bus_reset(struct function *f, uint32_t settle_us)
{
    if (f->upstream == NONE || f->kind == KIND_VF)
        return false;
    unsigned bridge = functions[f->upstream].bdf;
    uint32_t control = config_read(bridge, BRIDGE_CONTROL, 2);
    config_write(bridge, BRIDGE_CONTROL, 2, control | BRIDGE_CONTROL_RESET);
    wait_us(RESET_PULSE_US);
    config_write(bridge, BRIDGE_CONTROL, 2, control & ~BRIDGE_CONTROL_RESET);
    wait_us(settle_us);
    return true;
}

static void add_vf(const struct function *pf, unsigned index, unsigned bdf, unsigned vf, unsigned device)
{
    struct function *f = &functions[function_count++];
    *f = *pf;
    f->bdf = (uint16_t)bdf;
    f->upstream = (uint16_t)index;
    f->device = (uint16_t)device;
    f->kind = KIND_VF;
    f->vf = (uint16_t)vf;
    for (unsigned j = 0; j < 6; j++) {
        f->bars[j] = pf->vf_bars[j];
        if (f->bars[j].size && f->bars[j].size < 4096)
            f->bars[j].size = 4096;
        f->bars[j].address += vf * f->bars[j].size;
        f->vf_bars[j] = (struct bar){0};
    }
    report.functions = function_count;
}

/* SR-IOV 1.1, 3.3: control at 08h, TotalVFs 0Eh, NumVFs 10h, First VF Offset 14h, VF Stride 16h, VF Device ID 1Ah, System
 * Page Size 20h. */
bool enable_vfs(struct function *f, unsigned index, unsigned count, uint32_t settle_us)
{
    unsigned at = extended_capability(f->bdf, EXT_SRIOV);
    if (!at || !count || count > config_read(f->bdf, at + 0x0E, 2) || function_count + count > FUNCTIONS
        || config_read(f->bdf, at + 0x08, 2) & 1)
        return false;
    unsigned ari = extended_capability(f->bdf, EXT_ARI) && f->upstream != NONE ? 0x10 : 0; /* ARI Capable Hierarchy */
    config_write(f->bdf, at + 0x20, 4, 1);                                                 /* 4 KiB */
    config_write(f->bdf, at + 0x08, 2, ari);
    config_write(f->bdf, at + 0x10, 2, count);
    config_write(f->bdf, at + 0x08, 2, ari | 0x09); /* VF Enable, VF MSE */
    wait_us(settle_us);
    unsigned first = config_read(f->bdf, at + 0x14, 2), stride = config_read(f->bdf, at + 0x16, 2);
    unsigned device = config_read(f->bdf, at + 0x1A, 2);
    for (unsigned vf = 0; vf < count; vf++)
        add_vf(f, index, f->bdf + first + vf * stride, vf, device);
    return true;
}
