/* Message-signalled interrupts, each counted by itself: MSI (one message) and MSI-X (PCI Local Bus 3.0, 6.8).
 *
 * The message's address selects the local APIC of this processor, its data the vector (Intel SDM volume 3A,
 * "Message Signalled Interrupts").
 */
#include "image.h"

struct owner {
    uint16_t bdf, index;
};
static struct owner owners[MESSAGES];
static unsigned used;

static uint32_t message_address(void)
{
    return LAPIC | ((uint32_t)load(LAPIC + LAPIC_ID, 4) >> 24) << 12;
}

volatile uint32_t *message_count(const struct function *f, unsigned index)
{
    for (unsigned i = 0; i < used; i++)
        if (owners[i].bdf == f->bdf && owners[i].index == index)
            return &irq_counts[i];
    return 0;
}

/* The counters of messages 0 to ``count`` - 1 of a function; made where it has none. */
static int own(const struct function *f, unsigned count)
{
    volatile uint32_t *first = message_count(f, 0);
    if (first && message_count(f, count - 1))
        return (int)(first - irq_counts);
    if (used + count > MESSAGES)
        return -1;
    for (unsigned i = 0; first && i < used; i++) /* fewer than now: they get a new run */
        if (owners[i].bdf == f->bdf)
            owners[i].bdf = NONE;
    for (unsigned i = 0; i < count; i++)
        owners[used + i] = (struct owner){f->bdf, (uint16_t)i};
    used += count;
    return (int)(used - count);
}

static int enable_msi(struct function *f, unsigned count)
{
    unsigned at = capability(f->bdf, CAP_MSI);
    if (!at || count != 1)
        return -1;
    int first = own(f, 1);
    if (first < 0)
        return -1;
    uint32_t control = config_read(f->bdf, at + 2, 2);
    config_write(f->bdf, at + 2, 2, control & ~0x71u); /* off while it changes, then one message */
    config_write(f->bdf, at + 4, 4, message_address());
    if (control & 0x80)
        config_write(f->bdf, at + 8, 4, 0);
    config_write(f->bdf, at + (control & 0x80 ? 12 : 8), 2, VECTOR_MESSAGES + (unsigned)first);
    config_write(f->bdf, at + 2, 2, (control & ~0x70u) | 1);
    return first;
}

static int enable_msix(struct function *f, unsigned count)
{
    unsigned at = capability(f->bdf, CAP_MSIX);
    uint32_t control = at ? config_read(f->bdf, at + 2, 2) : 0;
    uint32_t table = at ? config_read(f->bdf, at + 4, 4) : 0;
    const struct bar *bar = &f->bars[table & 7];
    if (!at || !count || count > (control & 0x7FF) + 1 || (table & 7) > 5 || !bar->size || !map(bar->address, bar->size))
        return -1;
    int first = own(f, count);
    if (first < 0)
        return -1;
    config_write(f->bdf, at + 2, 2, (control & ~0x4000u) | 0xC000u); /* enabled, the whole function masked */
    for (unsigned i = 0; i < count; i++) {
        uint64_t entry = bar->address + (table & ~7u) + 16 * i;
        store(entry + 0, 4, message_address());
        store(entry + 4, 4, 0);
        store(entry + 8, 4, VECTOR_MESSAGES + (unsigned)first + i);
        store(entry + 12, 4, 0);
    }
    config_write(f->bdf, at + 2, 2, (control & ~0x4000u) | 0x8000u);
    return first;
}

int enable_messages(struct function *f, unsigned space, unsigned count)
{
    return space == SPACE_MSI ? enable_msi(f, count) : space == SPACE_MSIX ? enable_msix(f, count) : -1;
}
