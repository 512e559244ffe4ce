#include "tests/check.h"

/* One class, fewer classes than lanes, BLIP's vocabulary; rows in one piece and in several; rows
 * that are ignored, all rows ignored, targets outside the classes (not a number on both sides);
 * scores so large that only the largest counts. */
AT_CASES(cross_entropy) = {
    { "x=1,1 target=1 ignore=-100", "target=0:0" },
    { "x=5,3 target=5 ignore=-100", "target=0:2" },
    { "x=5,3 target=5 ignore=1 smoothing=0.1", "target=0:2" },
    { "x=2,7,37 target=14 ignore=0 smoothing=0.3", "x=-8:8 target=0:36" },
    { "x=3,2049 target=3 ignore=-100 smoothing=0.1", "x=-30:30 target=0:2048" },
    { "x=2,2,30524 target=4 ignore=-100 smoothing=0.1", "x=-12:12 target=0:30523" },
    { "x=9,100 target=9 ignore=7", "target=7:7" },
    { "x=9,100 target=9 ignore=-100", "target=0:200", .gradients = "-" },
    { "x=9,100 target=9 ignore=-100", "target=-100:-1", .gradients = "-" },
    { "x=40,500 target=40 ignore=-100", "x=-3e4:3e4 target=0:499" },
    { NULL },
};

AT_CASES(cross_entropy_bwd) = {
    { "x=1,1 target=1 lse=1:f32 dloss=1:f32 ignore=-100", "target=0:0", .gradients = "-" },
    { "x=5,3 target=5 lse=5:f32 dloss=1:f32 ignore=1 smoothing=0.1", "target=0:2 lse=1:2",
      .gradients = "-" },
    { "x=2,7,37 target=14 lse=14:f32 dloss=1:f32 ignore=0 smoothing=0.3",
      "x=-8:8 target=0:36 lse=8:9 dloss=20:30", .gradients = "-" },
    { "x=2,2,30524 target=4 lse=4:f32 dloss=1:f32 ignore=-100 smoothing=0.1",
      "x=-2:2 target=0:30523 lse=2:3 dloss=1e2:1e3", .gradients = "-" },
    { "x=9,100 target=9 lse=9:f32 dloss=1:f32 ignore=7", "target=7:7", .gradients = "-" },
    { "x=9,100 target=9 lse=9:f32 dloss=1:f32 ignore=-100", "target=-20:200 lse=1:2",
      .gradients = "-" },
    { NULL },
};
