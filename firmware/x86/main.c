/* What the image does: find the functions, run the table, serve the mailbox if it is asked to, and end the machine. */
#include "image.h"

/* An answer is mostly followed by the next request. But who only spins is soon made to wait, for ms, where processors are
 * few: so it naps in between. */
#define SPIN_US 200u
#define NAP_US 50u

static _Noreturn void leave(uint32_t status)
{
    port_out(EXIT_PORT, 4, status);
    for (;;) /* nobody listens: the host's deadline ends it */
        __asm__ volatile("cli; hlt");
}

_Noreturn void give_up(uint32_t failure)
{
    report.failure = failure;
    report.state = STATE_FAILED;
    leave(EXIT_FAILED);
}

static void run_table(void)
{
    for (uint32_t i = 0; i < control.vectors && i < VECTORS; i++) {
        execute(&vectors[i], &results[i]);
        report.done = i + 1;
    }
}

static void serve_mailbox(void)
{
    uint64_t idle_since = now_us();
    report.state = STATE_SERVING;
    for (;;) {
        if (mailbox.replies != mailbox.requests) {
            uint32_t slot = mailbox.replies % SLOTS;
            barrier();
            struct vector v = *(const struct vector *)&mailbox.vectors[slot]; /* one copy: the host may not change its mind */
            execute(&v, (struct result *)&mailbox.results[slot]);
            barrier();
            mailbox.replies = mailbox.replies + 1;
            idle_since = now_us();
        } else if (mailbox.stop) {
            return;
        } else if (now_us() - idle_since < SPIN_US) {
            pause();
        } else {
            sleep_at_most_us(NAP_US);
        }
    }
}

_Noreturn void run_image(const void *start_info);
_Noreturn void run_image(const void *start_info)
{
    traps_init();
    time_init();
    report.state = STATE_BOOTED;
    if (control.magic != MAGIC)
        give_up(FAILURE_MAGIC);
    if (!ecam_init(start_info))
        give_up(FAILURE_NO_ECAM);
    unmap_page_zero();
    interrupts_on();
    enumerate();
    report.boot_us = (uint32_t)now_us();
    report.state = STATE_ENUMERATED;
    for (unsigned i = 0; i < TARGETS; i++)
        targets[i].found = NONE;
    run_table();
    report.run_us = (uint32_t)now_us() - report.boot_us;
    if (control.mode == MODE_SERVE)
        serve_mailbox();
    report.state = STATE_DONE;
    leave(EXIT_DONE);
}
