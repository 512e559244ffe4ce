#include "tests/check.h"

/* One element, less than a vector, parts of a sum that are full, short and cut inside a row,
 * samples that begin between vectors;
 * Huber's bend inside and outside the differences; gradients away from the bend. */
AT_CASES(mse) = {
    { "x=1,1 target=1,1", .types = CHECK_F32 | CHECK_BF16 | CHECK_F16 | CHECK_F64 },
    { "x=3,5 target=3,5" },
    { "x=3,5 target=3,5 weight=3 delta=0.5" },
    { "x=2,8,8,4 target=2,8,8,4 weight=2" },
    { "x=2,8,8,4 target=2,8,8,4 weight=2 delta=0.1", "weight=0:2" },
    { "x=1,3,70,24 target=1,3,70,24 delta=0.3" },
    { "x=3,20,1000 target=3,20,1000 weight=3", "weight=0.5:2" },
    { "x=2,33000 target=2,33000 delta=1", "x=-30:30" },
    { "x=3,16391 target=3,16391 weight=3", .gradients = "-" },
    { "x=1,16384 target=1,16384", "x=-1e12:1e12", .types = CHECK_F32 | CHECK_BF16,
      .gradients = "-" },
    { "x=2,3,7 target=2,3,7 weight=2 delta=1000", "weight=0.5:2", .gradients = "x" },
    { NULL },
};

AT_CASES(mse_bwd) = {
    { "x=1,1 target=1,1 dloss=1:f32", .gradients = "-" },
    { "x=3,5 target=3,5 dloss=1:f32", .gradients = "-" },
    { "x=3,5 target=3,5 weight=3 dloss=1:f32 delta=0.5", .gradients = "-" },
    { "x=2,8,8,4 target=2,8,8,4 weight=2 dloss=1:f32 delta=0.1", .gradients = "-" },
    { "x=3,20,1000 target=3,20,1000 weight=3 dloss=1:f32", "dloss=100:200", .gradients = "-" },
    { "x=2,33000 target=2,33000 dloss=1:f32 delta=1", "x=-30:30 dloss=1e4:1e5", .gradients = "-" },
    { NULL },
};
