#include "tests/check.h"

/* One position (rstd is 1 / sqrt(eps)), channels below, at and above a vector, channels in several
 * slabs, positions in several parts (in f32 from 12289 on), a mean far from zero, statistics that
 * are given; what a GPU cuts in both ways. */
AT_CASES(instance_norm) = {
    { "x=1,1,1,1 eps=1e-5", .gradients = "-" },
    { "x=2,1,1,5 gamma=5 beta=5 eps=1e-5 relu=yes", .gradients = "-" },
    { "x=3,5,7,3 gamma=3 beta=3 eps=1e-5", .gradients = "x gamma beta" },
    { "x=3,9,20 gamma=20:f32 eps=1e-3 relu=yes", .gradients = "x gamma" },
    { "x=2,6,11,16 beta=16:bf16 eps=1e-5", .gradients = "-" },
    { "x=2,13,10,150 gamma=150 beta=150 eps=1e-5 relu=yes", .gradients = "-" },
    { "x=2,30,31,33 gamma=33 beta=33 eps=1e-5", "x=3:5", .gradients = "-" },
    { "x=2,8,9,20 eps=1e-5", "x=99:101", .types = CHECK_F32, .gradients = "-" },
    { "x=2,4,5,18 gamma=18:f16 beta=18:f32 mean_in=2,18:f32 rstd_in=2,18:f32 relu=yes",
      "rstd_in=0.5:2", .gradients = "-" },
    { "x=2,113,113,3 gamma=3 beta=3 eps=1e-5 relu=yes", "x=2:4", .types = CHECK_F32,
      .gradients = "-" },
    { "x=2,21,26,72 gamma=72 eps=1e-5 relu=yes", .gradients = "-" },
    { "x=2,30,31,24 eps=1e-5", "x=999.9:1000.1", .types = CHECK_F32, .gradients = "-" },
    { NULL },
};

AT_CASES(instance_norm_bwd) = {
    { "x=1,1,1,1 dy=1,1,1,1 mean=1,1:f32 rstd=1,1:f32", "rstd=0.5:2", .gradients = "-" },
    { "x=3,5,7,3 dy=3,5,7,3 gamma=3 beta=3 mean=3,3:f32 rstd=3,3:f32 relu=yes", "rstd=0.5:2",
      .gradients = "-" },
    { "x=2,9,20 dy=2,9,20 gamma=20:f32 mean=2,20:f32 rstd=2,20:f32 relu=yes", "rstd=0.5:2",
      .gradients = "-" },
    { "x=2,6,11,33 dy=2,6,11,33 beta=33 mean=2,33:f32 rstd=2,33:f32", "rstd=0.5:2",
      .gradients = "-" },
    { "x=2,13,10,300 dy=2,13,10,300 gamma=300 beta=300 mean=2,300:f32 rstd=2,300:f32 relu=yes",
      "rstd=0.5:2", .gradients = "-" },
    { "x=1,113,113,3 dy=1,113,113,3 gamma=3 beta=3 mean=1,3:f32 rstd=1,3:f32 relu=yes",
      "rstd=1.5:2 mean=-0.1:0.1", .types = CHECK_F32, .gradients = "-" },
    { "x=2,21,26,72 dy=2,21,26,72:f32 gamma=72 beta=72 mean=2,72:f32 rstd=2,72:f32 relu=yes",
      "rstd=1.5:2 mean=-0.1:0.1", .gradients = "-" },
    { NULL },
};
