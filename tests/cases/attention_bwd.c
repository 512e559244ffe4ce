#include "tests/check.h"

#define SIXTEEN (CHECK_F32 | CHECK_BF16 | CHECK_F16)
/* Sizes of the q side and of the k side; lse is f32 for all of these types. */
#define QK(q, k) "q=" q " o=" q " dout=" q " k=" k " v=" k

/* lse is given, not computed: the formula holds for any. At 4 to 6 the probabilities of these
 * scores are those of rows of some hundred keys. */
AT_CASES(attention_bwd) = {
    { QK("1,1,1", "1,1,1") " lse=1,1,1:f32 heads=1", "lse=4:6", 0, SIXTEEN, "-" },
    { QK("2,5,6", "2,7,6") " lse=2,2,5:f32 heads=2 scale=0.7", "lse=4:6", 0, SIXTEEN, "-" },
    { QK("2,17,80", "2,33,80") " lse=2,1,17:f32 heads=1", "lse=4:6", 0, SIXTEEN, "-" },
    { QK("3,50,32", "3,50,32") " lse=3,2,50:f32 heads=2 causal=yes", "lse=4:6", 0, SIXTEEN, "-" },
    { QK("3,49,32", "3,77,32") " lse=3,2,49:f32 lengths=3 heads=2", "lse=4:6 lengths=0:77", 0,
      SIXTEEN, "-" },
    { QK("3,70,20", "3,66,20") " lse=3,1,70:f32 lengths=3 heads=1 causal=yes",
      "lse=4:6 lengths=0:66", 0, SIXTEEN, "-" },
    { QK("2,33,64", "2,40,64") " lse=2,4,33:f32 heads=4", "lse=4:6", 0, SIXTEEN, "-" },
    { QK("1,400,8", "1,130,8") " lse=1,1,400:f32 heads=1", "lse=4:6", 0, SIXTEEN, "-" },
    { QK("1,20,512", "1,70,512") " lse=1,1,20:f32 heads=1", "lse=4:6", 0, SIXTEEN, "-" },
    { QK("2,4,6", "2,5,6") " lse=2,2,4 heads=2", "lse=4:6", 0, CHECK_F64, "-" },
    { NULL },
};
