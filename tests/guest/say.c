/* Plays a VF whose driver says whatever it is told to, through the mailbox of its BAR 0 (argument: its resource0).
 *
 * Lines of standard input: "say WORD..." sends a message, "reset" writes CTRL.RST, "wait MILLISECONDS" waits. For each message
 * one line goes out: its first word, whether the PF acknowledged it, whether it answered, and the answer's first three words.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

enum { CTRL = 0x0000, VMBMEM = 0x0800, V2PMAILBOX = 0x0C40 };
enum { REQ = 0x01, ACK = 0x02, VFU = 0x04, PFSTS = 0x10, PFACK = 0x20 };
enum { PATIENCE_MS = 250, RESET = 1 << 26 };

static volatile uint32_t *bar;

static void say(char *words)
{
    uint32_t first = 0, seen = 0;
    int count = 0;

    bar[V2PMAILBOX / 4] = VFU;
    (void)bar[V2PMAILBOX / 4]; /* forget what an earlier message left */
    for (char *word = strtok(words, " \n"); word; word = strtok(NULL, " \n"), count++) {
        uint32_t value = strtoul(word, NULL, 0);

        first = count ? first : value;
        bar[VMBMEM / 4 + count] = value;
    }
    bar[V2PMAILBOX / 4] = REQ;
    for (int ms = 0; ms < PATIENCE_MS && (~seen & (PFSTS | PFACK)); ms++) {
        usleep(1000);
        seen |= bar[V2PMAILBOX / 4];
    }
    printf("%#x: acknowledged %d answered %d", first, !!(seen & PFACK), !!(seen & PFSTS));
    if (seen & PFSTS) {
        for (int i = 0; i < 3; i++)
            printf(" %08x", bar[VMBMEM / 4 + i]);
        bar[V2PMAILBOX / 4] = ACK;
        usleep(2000);
    }
    putchar('\n');
}

int main(int argc, char **argv)
{
    char line[1024];
    int fd = open(argc > 1 ? argv[1] : "", O_RDWR);

    bar = mmap(NULL, 0x4000, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    if (bar == MAP_FAILED) {
        perror("the BAR cannot be mapped");
        return 1;
    }
    while (fgets(line, sizeof line, stdin)) {
        if (!strncmp(line, "say ", 4))
            say(line + 4);
        else if (!strncmp(line, "reset", 5))
            bar[CTRL / 4] = RESET, usleep(50000), (void)bar[V2PMAILBOX / 4];
        else
            usleep(1000 * strtoul(line + 5, NULL, 0));
    }
    return 0;
}
