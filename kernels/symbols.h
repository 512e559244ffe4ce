/* symbols.h -- a table of functions filled from a library that was opened at run time. */
#ifndef AT_KERNELS_SYMBOLS_H
#define AT_KERNELS_SYMBOLS_H

#include "kernels/base.h"

typedef struct at_symbol {
    size_t offset; /* of the function's pointer in the table */
    const char *name;
} at_symbol;

/* Every function or none counts: the name of the first that 'library' (a handle of dlopen) lacks,
 * NULL when it has them all. */
const char *at_symbols_find(void *table, const at_symbol *symbols, size_t count, void *library);

#endif
