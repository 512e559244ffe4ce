/* process.h -- what the system says of this process. */
#ifndef AT_CLI_PROCESS_H
#define AT_CLI_PROCESS_H

#include <stdint.h>

/* The most memory that the process has held, as Linux counts it; 0: it is not told. */
uint64_t at_process_memory_most(void);
/* Begins to count anew, where the system lets it. */
void at_process_forget_memory(void);

#endif
