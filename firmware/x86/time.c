/* Time: the TSC, calibrated against channel 2 of the 8254, which every PC has; and sleep, by the local APIC's timer. */
#include "image.h"

#define PIT_HZ 1193182u
#define CALIBRATION_US 10000u
#define WORTH_SLEEPING_US 50u

static uint64_t tsc_per_ms = 1, timer_per_ms = 1, origin;

uint64_t now_us(void)
{
    uint64_t ticks = tsc() - origin;
    return ticks / tsc_per_ms * 1000 + ticks % tsc_per_ms * 1000 / tsc_per_ms;
}

/* Let the timer interrupt come in ``us``, and halt until it or another interrupt comes. ``sti`` holds back interrupts for
 * one instruction (Intel SDM volume 2B), so none can be lost between the decision to sleep and ``hlt``. */
void sleep_at_most_us(uint32_t us)
{
    uint64_t ticks = us * timer_per_ms / 1000;
    interrupts_off();
    store(LAPIC + LAPIC_TIMER_INITIAL, 4, ticks > 0xFFFFFFFF ? 0xFFFFFFFF : ticks ? ticks : 1);
    __asm__ volatile("sti; hlt" : : : "memory");
    store(LAPIC + LAPIC_TIMER_INITIAL, 4, 0);
}

void wait_us(uint64_t us)
{
    uint64_t end = now_us() + us, now;
    while ((now = now_us()) < end) {
        if (end - now < WORTH_SLEEPING_US)
            pause();
        else
            sleep_at_most_us(end - now > 1000000 ? 1000000 : (uint32_t)(end - now));
    }
}

void time_init(void)
{
    uint32_t count = (uint32_t)((uint64_t)PIT_HZ * CALIBRATION_US / 1000000);
    store(LAPIC + LAPIC_LVT_TIMER, 4, VECTOR_TIMER); /* one-shot */
    store(LAPIC + LAPIC_TIMER_DIVIDE, 4, 0x3);       /* by 16 */
    port_out(0x61, 1, (port_in(0x61, 1) & ~2u) | 1); /* gate of channel 2 open, speaker off */
    port_out(0x43, 1, 0xB0);                         /* channel 2, both bytes, mode 0: output rises at 0 */
    port_out(0x42, 1, count & 0xFF);
    port_out(0x42, 1, count >> 8);
    store(LAPIC + LAPIC_TIMER_INITIAL, 4, 0xFFFFFFFF);
    uint64_t start = tsc();
    while (!(port_in(0x61, 1) & 0x20))
        pause();
    uint64_t end = tsc();
    uint32_t left = (uint32_t)load(LAPIC + LAPIC_TIMER_CURRENT, 4);
    store(LAPIC + LAPIC_TIMER_INITIAL, 4, 0);
    tsc_per_ms = (end - start) * 1000 / CALIBRATION_US + 1;
    timer_per_ms = (0xFFFFFFFFu - left) * 1000ull / CALIBRATION_US + 1;
    report.tsc_khz = (uint32_t)tsc_per_ms;
    origin = start;
}
