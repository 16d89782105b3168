/* How long register accesses take, as a driver sees them: reads, or writes with one read behind all of them.
 *
 *     mmio RESOURCE OFFSET read|write COUNT      RESOURCE as /sys/bus/pci/devices/0000:00:01.0/resource0
 *
 * Prints nanoseconds: median and 99th percentile of reads; of writes the mean, twice. The write stores 0, so it is for
 * registers in which that does nothing. Times are taken with the time-stamp counter, which costs no access to a clock
 * device, and scaled by the clock over the whole run.
 */
#include <fcntl.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <time.h>
#include <x86intrin.h>

static int ascending(const void *a, const void *b)
{
	uint64_t x = *(const uint64_t *)a, y = *(const uint64_t *)b;

	return (x > y) - (x < y);
}

static double now(void)
{
	struct timespec t;

	clock_gettime(CLOCK_MONOTONIC, &t);
	return 1e9 * t.tv_sec + t.tv_nsec;
}

int main(int argc, char **argv)
{
	int fd = argc == 5 ? open(argv[1], O_RDWR | O_SYNC) : -1;
	void *bar = fd < 0 ? MAP_FAILED : mmap(NULL, 16384, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);

	if (bar == MAP_FAILED) {
		perror("mmio");
		return 1;
	}
	volatile uint32_t *reg = (volatile uint32_t *)((char *)bar + strtoul(argv[2], NULL, 0));
	int writes = !strcmp(argv[3], "write"), count = atoi(argv[4]);
	uint64_t *took = calloc(count, sizeof(*took));
	double began = now();
	uint64_t first = __rdtsc();

	for (int i = 0; i < count; i++) {
		uint64_t start = __rdtsc();

		if (writes)
			*reg = 0;
		else
			(void)*reg;
		took[i] = __rdtsc() - start;
	}
	if (writes)
		(void)*reg;
	uint64_t ticks = __rdtsc() - first;
	double elapsed = now() - began, scale = elapsed / ticks;

	qsort(took, count, sizeof(*took), ascending);
	if (writes)
		printf("%.0f %.0f\n", elapsed / count, elapsed / count);
	else
		printf("%.0f %.0f\n", scale * took[count / 2], scale * took[count * 99 / 100]);
	return 0;
}
