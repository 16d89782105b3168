/* One vector: what format.py says about each operation, carried out. An exception becomes the result. */
#include "image.h"

#define POLL_PAUSE_US 20u

static struct function *find_target(struct target *t, unsigned depth)
{
    unsigned seen = 0;
    if (t->found != NONE && t->found < function_count)
        return &functions[t->found];
    struct function *parent = t->match == MATCH_VF && depth < 4 && t->parent < TARGETS
                                  ? find_target(&targets[t->parent], depth + 1) : 0;
    for (unsigned i = 0; i < function_count; i++) {
        struct function *f = &functions[i];
        bool here = false;
        switch (t->match) {
        case MATCH_BDF: here = f->bdf == t->bdf; break;
        case MATCH_ID: here = f->vendor == t->vendor && f->device == t->device && seen++ == t->index; break;
        case MATCH_VF: here = parent && f->kind == KIND_VF && &functions[f->upstream] == parent && f->vf == t->index; break;
        }
        if (here) {
            t->found = (uint16_t)i;
            return f;
        }
    }
    return 0;
}

/* The address of an access in memory or of a port; false where there is none. */
static bool place(const struct vector *v, const struct function *f, uint64_t *address, bool *port)
{
    bool power = v->width && v->width <= 8 && !(v->width & (v->width - 1));
    *port = v->space == SPACE_PORT;
    *address = v->offset;
    if (v->space == SPACE_PORT)
        return power && v->width <= 4 && v->offset + v->width <= 0x10000;
    if (v->space == SPACE_MEMORY)
        return power;
    if (v->space > SPACE_BAR5)
        return false;
    const struct bar *bar = &f->bars[v->space];
    *port = bar->flags & BAR_IO;
    *address = bar->address + v->offset;
    return power && bar->size && (uint64_t)v->offset + v->width <= bar->size && v->width <= (*port ? 4 : 8)
           && (*port || map(bar->address, bar->size));
}

static bool config_access(const struct vector *v)
{
    return (v->width == 1 || v->width == 2 || v->width == 4) && v->offset + v->width <= 4096
           && (v->offset & 3) + v->width <= 4;
}

static unsigned read_once(const struct vector *v, const struct function *f, uint64_t *value)
{
    uint64_t address, ones = v->width < 8 ? (1ull << 8 * v->width) - 1 : ~0ull;
    bool port;
    if (v->space == SPACE_CONFIG) {
        if (!config_access(v))
            return STATUS_REFUSED;
        *value = config_read(f->bdf, v->offset, v->width);
    } else if (!place(v, f, &address, &port)) {
        return STATUS_REFUSED;
    } else {
        *value = port ? port_in((uint16_t)address, v->width) : load(address, v->width);
    }
    return *value == ones && f && !present(f->bdf) ? STATUS_GONE : STATUS_OK;
}

static unsigned write_once(const struct vector *v, const struct function *f)
{
    uint64_t address;
    bool port;
    if (v->space == SPACE_CONFIG) {
        if (!config_access(v))
            return STATUS_REFUSED;
        config_write(f->bdf, v->offset, v->width, (uint32_t)v->value);
    } else if (!place(v, f, &address, &port)) {
        return STATUS_REFUSED;
    } else if (port) {
        port_out((uint16_t)address, v->width, (uint32_t)v->value);
    } else {
        store(address, v->width, v->value);
    }
    return STATUS_OK;
}

static unsigned poll(const struct vector *v, const struct function *f, struct result *r)
{
    uint64_t end = now_us() + v->limit;
    for (;;) {
        bool last = now_us() >= end;
        unsigned status = read_once(v, f, &r->value);
        r->times++;
        if (status != STATUS_OK)
            return status;
        if (!((r->value ^ v->value) & v->mask))
            return STATUS_OK;
        if (last)
            return STATUS_TIMEOUT;
        wait_us(POLL_PAUSE_US);
    }
}

static unsigned irq_wait(const struct vector *v, const struct function *f, struct result *r)
{
    volatile uint32_t *count = message_count(f, v->number);
    uint64_t end = now_us() + v->limit, now;
    if (!count)
        return STATUS_REFUSED;
    while (*count < v->value && (now = now_us()) < end)
        sleep_at_most_us(end - now > 1000 ? 1000 : (uint32_t)(end - now));
    interrupts_off();
    r->value = *count;
    if (v->flags & FLAG_TAKE)
        *count = 0;
    interrupts_on();
    return r->value < v->value ? STATUS_TIMEOUT : STATUS_OK;
}

static unsigned size_bar(const struct vector *v, const struct function *f, struct result *r)
{
    if (v->space > SPACE_BAR5 || f->kind == KIND_VF)
        return STATUS_REFUSED;
    struct bar bar;
    uint32_t command = config_read(f->bdf, PCI_COMMAND, 2);
    config_write(f->bdf, PCI_COMMAND, 2, command & ~(PCI_COMMAND_IO | PCI_COMMAND_MEMORY));
    r->value = bar_size(f->bdf, PCI_BARS + 4u * v->space, &bar);
    r->times = bar.flags;
    config_write(f->bdf, PCI_COMMAND, 2, command);
    return STATUS_OK;
}

static unsigned on_function(const struct vector *v, struct function *f, struct result *r)
{
    int first;
    switch (v->op) {
    case OP_ENABLE: r->value = enable(f, (unsigned)v->value); return STATUS_OK;
    case OP_SIZE: return size_bar(v, f, r);
    case OP_FLR:
        if (!function_level_reset(f, v->limit))
            return STATUS_REFUSED;
        return present(f->bdf) ? STATUS_OK : STATUS_GONE;
    case OP_BUS_RESET:
        if (!bus_reset(f, v->limit))
            return STATUS_REFUSED;
        return present(f->bdf) ? STATUS_OK : STATUS_GONE;
    case OP_VFS:
        r->times = function_count;
        return enable_vfs(f, (unsigned)(f - functions), v->number, v->limit) ? STATUS_OK : STATUS_REFUSED;
    case OP_IRQS:
        first = enable_messages(f, v->space, v->number);
        r->value = first < 0 ? 0 : (uint64_t)first;
        return first < 0 ? STATUS_REFUSED : STATUS_OK;
    case OP_IRQ_WAIT: return irq_wait(v, f, r);
    case OP_LOCATE: r->value = f->bdf; return present(f->bdf) ? STATUS_OK : STATUS_GONE;
    }
    return STATUS_REFUSED;
}

static unsigned perform(const struct vector *v, struct result *r)
{
    if (v->op == OP_NOP)
        return STATUS_OK;
    if (v->op == OP_DELAY) {
        wait_us(v->limit);
        return STATUS_OK;
    }
    bool alone = v->space == SPACE_MEMORY || v->space == SPACE_PORT; /* no function is involved */
    struct function *f = alone || v->target >= TARGETS ? 0 : find_target(&targets[v->target], 0);
    if (!f && !alone)
        return STATUS_NO_DEVICE;
    switch (v->op) {
    case OP_READ: {
        unsigned status = read_once(v, f, &r->value);
        bool differs = v->flags & FLAG_CHECK && (r->value ^ v->value) & v->mask;
        return status == STATUS_OK && differs ? STATUS_MISMATCH : status;
    }
    case OP_WRITE: return write_once(v, f);
    case OP_POLL: return poll(v, f, r);
    default: return f ? on_function(v, f, r) : STATUS_REFUSED;
    }
}

void execute(const struct vector *v, struct result *r)
{
    struct checkpoint here;
    struct result done = {0};
    recovery = &here;
    if (checkpoint(&here) == 0) {
        unsigned status = perform(v, &done);
        recovery = 0;
        done.status = (uint8_t)status;
        *r = done;
    } else {
        *r = (struct result){.status = STATUS_FAULT, .fault = (uint8_t)fault_vector, .value = fault_address};
        interrupts_on();
    }
}
