#include "tests/check.h"

/* One row, one column, fewer rows than a part, parts of equal and of unequal size, several tiles
 * both ways; updates that are clipped and that are not. */
AT_CASES(adafactor) = {
    { "w=1,1 row=1 col=1 g=1,1 hyper=4 eps=1e-30 clip=1", "row=0.1:1 col=0.1:1 hyper=0.1:0.9",
      .gradients = "-" },
    { "w=1,37 row=1 col=37 g=1,37 hyper=4 eps=1e-30 clip=1 low=f16",
      "row=0.1:1 col=0.1:1 hyper=0.1:0.9", .gradients = "-" },
    { "w=37,1 row=37 col=1 g=37,1 hyper=4 eps=1e-3 clip=1", "row=0.1:1 col=0.1:1 hyper=0.1:0.9",
      .gradients = "-" },
    { "w=19,70 row=19 col=70 g=19,70 hyper=4 eps=1e-30 clip=0.5 decay=0.1",
      "row=0:0 col=0:0 hyper=0.1:0.9", .gradients = "-" },
    { "w=130,70 row=130 col=70 g=130,70 hyper=4 eps=1e-30 clip=100 decay=0.1",
      "row=0.1:1 col=0.1:1 hyper=0.1:0.9", .gradients = "-" },
    { "w=150,37 row=150 col=37 g=150,37 hyper=4 eps=1e-30 clip=1",
      "row=0:1e-6 col=0:1e-6 g=-1e-3:1e-3 hyper=0.5:0.9", .gradients = "-" },
    { "w=67,517 row=67 col=517 g=67,517 hyper=4 eps=1e-30 clip=0.5 decay=0.1",
      "row=0.1:1 col=0.1:1 hyper=0.1:0.9", .gradients = "-" },
    { "w=3,50 row=3 col=50 g=3,50 hyper=4 eps=1e-30 clip=1", "g=const:nan hyper=0:0",
      .gradients = "-" },
    { NULL },
};
