#include "tests/check.h"

/* The default positions are 0 to 3: the caches leave room behind them. */
AT_CASES(kv_append) = {
    { "k_cache=1,4,1 v_cache=1,4,1 k=1,1,1 v=1,1,1 pos=1", .gradients = "-" },
    { "k_cache=3,9,37 v_cache=3,9,37 k=3,1,37 v=3,1,37 pos=3", .gradients = "-" },
    { "k_cache=2,40,768 v_cache=2,40,768 k=2,5,768 v=2,5,768 pos=2", "pos=0:35", .gradients = "-" },
    { "k_cache=2,7,64 v_cache=2,7,64 k=2,7,64 v=2,7,64 pos=2", "pos=const:0", .gradients = "-" },
    { NULL },
};
