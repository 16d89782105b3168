/* The memory that the host and the image share, by symbol. Nothing else may be global and read by the host. */
#include "image.h"

#define TABLE __attribute__((section(".table"), aligned(64), used))
#define PAGE __attribute__((aligned(4096)))

TABLE struct control control = {0};
TABLE struct target targets[TARGETS] = {0};
TABLE struct vector vectors[VECTORS] = {{0}};

PAGE volatile struct report report;
PAGE struct function functions[FUNCTIONS];
PAGE struct result results[VECTORS];
PAGE volatile struct mailbox mailbox;
PAGE volatile uint32_t irq_counts[MESSAGES];
__attribute__((section(".dma,\"aw\",@nobits#"))) uint8_t dma_buffer[DMA_BYTES];
