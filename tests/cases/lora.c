#include "tests/check.h"

/* Weights in f32 merge in f32; products of another type than the weight; convolutions, 1x1 and
 * 3x3. */
AT_CASES(lora) = {
    { "w=1,1 up=1,1 down=1,1 strength=1:f32 scale=1", .gradients = "-" },
    { "w=7,5 up=7,2 down=2,5 strength=1:f32 scale=0.5", .gradients = "-" },
    { "w=33,130 up=33,4:f32 down=4,130:f32 strength=1:f32 scale=1", .gradients = "-" },
    { "w=64,70:f32 up=64,16 down=16,70 strength=1:f32 scale=0.25", .gradients = "-" },
    { "w=20,99:f16 up=20,129:bf16 down=129,99:f32 strength=1:f32 scale=0.1", .gradients = "-" },
    { "w=18,8,3,3 up=18,4,1,1 down=4,8,3,3 strength=1:f32 scale=1", .gradients = "-" },
    { "w=24,40,1,1 up=24,3 down=3,40 strength=1:f32 scale=1", "strength=-1:0", .gradients = "-" },
    { "w=70,136 up=70,16 down=16,136 strength=1:f32 scale=1", .gradients = "-" },
    { NULL },
};
