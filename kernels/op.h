/* op.h -- what an op is, what a variant of it is, and how one is chosen, prepared and run.
 *
 * An op is a name, an args struct (ops.h), tables that say which fields of the struct are operands
 * and attributes, a shape rule, a cost, and an ordered list of variants: best first, the plain C
 * reference last. The reference is the definition; every other variant is measured against it.
 *
 * The life of a call:
 *   1. inputs and attributes are filled in, without addresses; at_op_shape() checks them and fills
 *      in the outputs;
 *   2. at_op_pick() finds the first variant that the device can run and that fits;
 *   3. at_prepare() lets it make its library plan, book scratch and ask for derived weights
 *      ("forms");
 *   4. the owner of the memory sets the addresses and calls run as often as it likes: run allocates
 *      nothing, enqueues on the stream it is given and never synchronises;
 *   5. at_release() frees what prepare made.
 *
 * Kernels know pointers, sizes and a stream; never tensors, graphs or models. */
#ifndef AT_KERNELS_OP_H
#define AT_KERNELS_OP_H

#include "kernels/view.h"

#ifdef __cplusplus
extern "C" {
#endif

/* --- devices as kernels see them -------------------------------------------------------------- */

typedef enum at_device_kind { AT_CPU, AT_CUDA, AT_DEVICE_KIND_COUNT } at_device_kind;

/* What a device can do, as bits a variant may need. */
enum {
#define AT_CAP(DEVICE, NAME, name, text) AT_CAP_BIT_##NAME,
#include "kernels/caps.def"
#undef AT_CAP
};
#define AT_CAP_MASK(NAME) (1u << AT_CAP_BIT_##NAME)

typedef struct at_caps {
    at_device_kind kind;
    uint32_t has;                       /* AT_CAP_MASK(...) bits */
    int threads;                        /* cpu: size of the team */
    int sm;                             /* cuda: compute capability, 90 for 9.0 */
    const struct at_cublaslt *cublaslt; /* cuda: there where the capability of its name is */
    const struct at_cudnn *cudnn;
} at_caps;

/* Where work is enqueued. On the cpu a call is finished when it returns. */
typedef struct at_stream {
    at_device_kind kind;
    int threads;  /* cpu: how many threads a call may use; results never depend on it */
    void *native; /* cuda: CUstream */
    /* cuda: a kernel may be launched before the one before it has ended (AT_LAUNCH_EARLY). */
    bool early;
} at_stream;

/* --- operands and attributes ------------------------------------------------------------------ */

typedef enum at_role { AT_IN, AT_OUT, AT_INOUT } at_role;

enum {
    AT_OPTIONAL = 1, /* may be absent */
    AT_BATCHED = 2,  /* its first axis is the sample: see AT_ROWS_INDEPENDENT */
    AT_WEIGHT = 4,   /* usually a parameter: a variant may ask for a form of it */
    AT_DENSE = 8,    /* never a pitched view: graphs and checks hand over dense tensors only */
    AT_SPARSE = 32,  /* only some of its rows are touched: its size is no cost */
    AT_OVERLAY = 16, /* an output that may take the memory of the first input of its kind */
};

typedef struct at_operand {
    const char *name;
    size_t offset; /* of the at_view in the args struct */
    at_role role;
    int flags;
    at_dtype dtype; /* AT_NONE: follows the case or the graph */
} at_operand;

typedef enum at_attr_type { AT_ATTR_I64, AT_ATTR_F32, AT_ATTR_ENUM } at_attr_type;

/* Attributes are int64_t, float, or an int that indexes 'choices' ("none|relu|gelu"). A run of
 * equal fields (pad[4]) is one attribute with a count. */
typedef struct at_attr {
    const char *name;
    size_t offset;
    at_attr_type type;
    int count;
    const char *choices;
} at_attr;

/* clang-format off */
#define AT_OPERAND(op, field, role, flags, dtype) \
    { #field, offsetof(at_##op##_args, field), role, flags, dtype }
#define AT_INT(op, field)         { #field, offsetof(at_##op##_args, field), AT_ATTR_I64, 1, NULL }
#define AT_INTS(op, field, n)     { #field, offsetof(at_##op##_args, field), AT_ATTR_I64, n, NULL }
#define AT_FLOAT(op, field)       { #field, offsetof(at_##op##_args, field), AT_ATTR_F32, 1, NULL }
#define AT_ENUM(op, field, names) \
    { #field, offsetof(at_##op##_args, field), AT_ATTR_ENUM, 1, names }
/* clang-format on */

/* --- variants --------------------------------------------------------------------------------- */

enum { AT_OPERANDS_MAX = 16, AT_ARGS_MAX = 1536, AT_FORM_KEY_MAX = 96, AT_FORMS_MAX = 3 };
enum { AT_CHOICE_MAX = 192 };
/* Scratch of a GPU's calls is one region of this size: candidates that want more are not offered,
 * so that a plan's bytes do not depend on which of them is taken. */
#define AT_WORKSPACE_MAX ((size_t)64 << 20)

struct at_prepared;

/* A derived weight: operand 'operand' in the layout that the variant computes from. The owner of
 * the weights makes it once per (parameter, key), with pack(), and passes its address in place of
 * the original's; plans share it. */
typedef struct at_form {
    int operand; /* index in the op's table */
    size_t bytes;
    char key[AT_FORM_KEY_MAX]; /* equal keys: equal bytes for equal weights */
    void (*pack)(const struct at_prepared *, int form, void *dst, const at_view *src,
                 const at_stream *);
} at_form;

/* What prepare asks for. Zeroed before prepare is called. */
typedef struct at_prepared {
    void *state;          /* the variant's own; freed by its release() */
    size_t scratch_bytes; /* 64-byte aligned memory for the length of one run */
    at_form forms[AT_FORMS_MAX];
    int n_forms;
    /* What was made, as text: preparing by it makes the same again, at any batch size. A variant
     * whose candidates are not the same at every shape writes it (a library's engine and tiles, no
     * digit first); for the others at_prepare() writes the candidate's number. */
    char choice[AT_CHOICE_MAX];
} at_prepared;

typedef struct at_prepare_in {
    const at_caps *caps;
    uint32_t constants; /* bit i: operand i is a parameter, a form may be asked for */
    bool exact;         /* only candidates whose rows do not depend on the batch */
    int candidate;      /* 0 .. candidates()-1 */
    const char *choice; /* instead: a text from at_prepared.choice; NULL: the candidate counts */
} at_prepare_in;

/* Everything a run needs besides its args. */
typedef struct at_launch {
    const at_stream *stream;
    void *scratch; /* prepared->scratch_bytes, contents undefined */
    at_error *err; /* where a device's own words go when a launch fails; NULL: nowhere */
} at_launch;

enum {
    /* A sample's bytes are the same alone and in any batch (operands marked AT_BATCHED). The
     * harness proves it; exact plans use nothing else. */
    AT_ROWS_INDEPENDENT = 1,
    /* Rows are independent only when prepared with exact = true (a slower candidate). */
    AT_ROWS_WHEN_EXACT = 2,
    /* Nobody knows of its candidates whether their rows are independent: an exact plan takes one
     * only by a choice that was tried out (engine/tuning.h). */
    AT_ROWS_WHEN_TRIED = 4,
};

typedef struct at_variant {
    const char *name; /* conv2d_bf16_onednn, group_norm_avx512; a reference ends in _ref */
    at_device_kind device;
    uint32_t needs; /* AT_CAP_MASK bits that the device must have */
    int flags;
    bool (*fits)(const void *args); /* dtypes, shapes, pitches; NULL: always */
    /* The three below may be NULL: nothing to prepare, one candidate, nothing to free. */
    at_status (*prepare)(const void *args, const at_prepare_in *in, at_prepared *out,
                         at_error *err);
    int (*candidates)(const void *args, const at_caps *caps);
    void (*release)(at_prepared *);
    at_status (*run)(const void *args, const at_prepared *p, const at_launch *l);
} at_variant;

typedef struct at_cost {
    double flops;
    double bytes; /* that must move: every operand once, unless the op says otherwise */
} at_cost;

typedef struct at_op {
    const char *name;
    const char *summary; /* one line for --list */
    size_t args_size;
    const at_operand *operands;
    int n_operands;
    const at_attr *attrs;
    int n_attrs;
    /* Checks the inputs and fills in every output, optional ones too. */
    at_status (*shape)(void *args, at_error *err);
    double (*flops)(const void *args); /* NULL: one per output element */
    const at_variant *variants;
    int n_variants;
} at_op;

/* Writes one definition from the tables of a file:
 *   AT_DEFINE_OP(geglu, "y = a * gelu(g)", geglu_operands, geglu_attrs, geglu_shape, NULL,
 *                geglu_variants); an op without attributes passes at_no_attrs. */
#define AT_DEFINE_OP(op, summary, operands, attrs, shape, flops, variants) \
    const at_op at_op_##op = { #op,                                        \
                               summary,                                    \
                               sizeof(at_##op##_args),                     \
                               operands,                                   \
                               (int)AT_COUNT(operands),                    \
                               attrs,                                      \
                               (int)AT_COUNT(attrs),                       \
                               shape,                                      \
                               flops,                                      \
                               variants,                                   \
                               (int)AT_COUNT(variants) }
extern const at_attr at_no_attrs[1];

/* Every op, in the order of ops.def. */
AT_API const at_op *at_op_at(int i); /* NULL past the end */
AT_API const at_op *at_op_named(const char *name);
/* How many variants all ops have for such a device in this build. */
AT_API int at_variants_for(at_device_kind kind);

/* --- the life of a call ----------------------------------------------------------------------- */

static inline at_view *at_operand_of(const at_op *op, void *args, int i)
{
    return (at_view *)(void *)((char *)args + op->operands[i].offset);
}

static inline const at_view *at_operand_in(const at_op *op, const void *args, int i)
{
    return (const at_view *)(const void *)((const char *)args + op->operands[i].offset);
}

int at_operand_index(const at_op *op, const char *name); /* -1: none */

/* Checks inputs (presence, type, pitch), asks the op's rule for the outputs, then removes the
 * optional outputs that are not in 'wanted' (bit i: operand i). */
at_status at_op_shape(const at_op *op, void *args, uint32_t wanted, at_error *err);
at_cost at_op_cost(const at_op *op, const void *args);

/* True if the variant runs on such a device, fits these args, and is exact if that is asked. */
bool at_variant_usable(const at_variant *v, const void *args, const at_caps *caps, bool exact);
/* The first usable one, whether it can be prepared or not: see at_op_choose(). NULL when a device
 * has none: never the host reference by accident. */
const at_variant *at_op_pick(const at_op *op, const void *args, const at_caps *caps, bool exact);

/* AT_UNSUPPORTED: the variant cannot make 'choice' for these args. */
at_status at_prepare(const at_variant *v, const void *args, const at_prepare_in *in,
                     at_prepared *out, at_error *err);
int at_candidates(const at_variant *v, const void *args, const at_caps *caps);
/* The first usable variant, prepared: one whose prepare answers AT_UNSUPPORTED gives way to the
 * next. AT_UNSUPPORTED when none is left. */
at_status at_op_choose(const at_op *op, const void *args, const at_prepare_in *in,
                       const at_variant **variant, at_prepared *prepared, at_error *err);
void at_release(const at_variant *v, at_prepared *p);

/* --- args as text ----------------------------------------------------------------------------- */

/* "x=2,64,64,320 w=320,320,3,3:bf16 pad=1,1,1,1 act=relu": operands by their sizes (type after a
 * colon, else 'dtype' where the table leaves it open), attributes by their values. The language of
 * cases, benchmarks, messages and traces. */
at_status at_args_parse(const at_op *op, const char *text, at_dtype dtype, void *args,
                        at_error *err);
/* The inverse, cut to fit. Only inputs are printed: they determine the outputs. */
void at_args_print(const at_op *op, const void *args, char *text, size_t text_size);

#ifdef __cplusplus
}
#endif
#endif
