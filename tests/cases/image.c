#include "tests/check.h"

/* One to four channels, fewer pixels than a vector, several vectors and a bit; the models' own
 * scales. Outputs' types are the attribute's, so the case's type says nothing. */
AT_CASES(image_to_tensor) = {
    { "x=1,1,1,1 scale=1 to=f32", "x=0:255", .types = CHECK_F32, .gradients = "-" },
    { "x=2,5,7,3 scale=0.0039215686 mean=0.48145466,0.4578275,0.40821073 "
      "std=0.26862954,0.26130258,0.27577711 to=f32",
      "x=0:255", .types = CHECK_F32, .gradients = "-" },
    { "x=3,16,17,3 scale=0.0039215686 mean=0.5,0.5,0.5 std=0.5,0.5,0.5 to=bf16", "x=0:255",
      .types = CHECK_F32, .gradients = "-" },
    { "x=1,33,31,4 scale=1 mean=1,2,3,4 std=0,2,-3,4 to=f16", "x=0:255", .types = CHECK_F32,
      .gradients = "-" },
    { "x=2,9,9,2 scale=0.5 mean=10,20 to=bf16", "x=0:255", .types = CHECK_F32, .gradients = "-" },
    { "x=2,200,101,1 scale=2 to=f32", "x=0:255", .types = CHECK_F32, .gradients = "-" },
    { "x=1,97,101,3 scale=1 to=f64", "x=0:255", .types = CHECK_F32, .gradients = "-" },
    { NULL },
};

AT_CASES(tensor_to_image) = {
    { "x=1,1,1,1 scale=255", "x=0:1", .gradients = "-" },
    { "x=2,5,7,3 scale=127.5 shift=127.5", "x=-1.5:1.5", .gradients = "-" },
    { "x=3,16,17,3 scale=255 rounding=half_up", "x=-0.1:1.1", .gradients = "-" },
    { "x=1,33,31,4 scale=1 rounding=truncate", "x=-20:280", .gradients = "-" },
    { "x=1,97,101,3 scale=0.5 shift=0.5 rounding=half_up", "x=0:512", .gradients = "-" },
    { "x=1,97,101,3 scale=127.5 shift=127.5 rounding=half_even", "x=-1:1", .gradients = "-" },
    { "x=1,8,5,3 scale=1e38", "x=-1e38:1e38", .types = CHECK_F32, .gradients = "-" },
    { NULL },
};
