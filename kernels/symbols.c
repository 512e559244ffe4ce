#include "kernels/symbols.h"

#include <dlfcn.h>
#include <string.h>

const char *at_symbols_find(void *table, const at_symbol *symbols, size_t count, void *library)
{
    for (size_t i = 0; i < count; i++) {
        void *found = dlsym(library, symbols[i].name);
        if (!found)
            return symbols[i].name;
        memcpy((char *)table + symbols[i].offset, &found, sizeof found);
    }
    return NULL;
}
