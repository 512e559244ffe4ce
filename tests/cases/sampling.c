#include "tests/check.h"

/* One element, less than a vector, a vocabulary; equal elements (of few values, or all alike); rows
 * of infinities. */
AT_CASES(argmax) = {
    { "x=1,1", .gradients = "-" },
    { "x=5,7", .gradients = "-" },
    { "x=3,4,37", .gradients = "-" },
    { "x=6,300", "x=const:1", .gradients = "-" },
    { "x=2,40", "x=const:-inf", .gradients = "-" },
    { "x=2,40", "x=const:nan", .gradients = "-" },
    { "x=9,1000", "x=-9e-3:9e-3", .gradients = "-" },
    { "x=3,30524", .gradients = "-" },
    { NULL },
};

/* Everything kept, few kept, one kept; flat and steep distributions; equal elements; long rows;
 * many rows. */
AT_CASES(sample_top) = {
    { "x=1,1 u=1 top_p=1 temperature=1", "u=0:0.999", .gradients = "-" },
    { "x=7,5 u=7 top_p=0.7 temperature=0.5", "u=0:0.999", .gradients = "-" },
    { "x=9,40 u=9 top_k=1 top_p=1 temperature=1", "u=0:0.999", .gradients = "-" },
    { "x=9,40 u=9 top_k=7 top_p=1 temperature=1", "u=0:0.999 x=-3:3", .gradients = "-" },
    { "x=9,70 u=9 top_k=50 top_p=0.9 temperature=0.7", "u=0:0.999 x=-5:5", .gradients = "-" },
    { "x=9,70 u=9 top_p=0.3 temperature=2", "u=0:0.999 x=-5:5", .gradients = "-" },
    { "x=9,70 u=9 top_k=33 top_p=0.5 temperature=1", "u=0:0.999 x=const:2", .gradients = "-" },
    { "x=2,70 u=2 top_p=1 temperature=1", "u=const:0 x=-5:5", .gradients = "-" },
    { "x=2,70 u=2 top_p=1 temperature=1", "u=const:0.99999994 x=-5:5", .gradients = "-" },
    { "x=2,30 u=2 top_p=0.9 temperature=1", "u=const:0.5 x=const:-inf", .gradients = "-" },
    { "x=2,30 u=2 top_p=0.9 temperature=1", "u=const:0.5 x=const:nan", .gradients = "-" },
    { "x=2,2000 u=2 top_k=50 top_p=0.9 temperature=1", "u=0:0.999 x=-8:8", .gradients = "-" },
    { "x=2,2000 u=2 top_k=50 top_p=0.9 temperature=1", "u=0:0.999", .gradients = "-" },
    { "x=2,2000 u=2 top_k=50 top_p=1 temperature=1", "u=0:0.999 x=const:-3", .gradients = "-" },
    { "x=1,4500 u=1 top_k=50 top_p=0.9 temperature=1", "u=0:0.999 x=-12:12", .gradients = "-" },
    { "x=1,1100 u=1 top_p=0.9 temperature=3", "u=0:0.999 x=-8:8", .gradients = "-" },
    { "x=140,9 u=140 top_k=12 top_p=0.8 temperature=1", "u=0:0.999 x=-3:3", .gradients = "-" },
    { NULL },
};
