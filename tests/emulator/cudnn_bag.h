/* cudnn_bag.h -- descriptors of the emulated cuDNN: bags of typed attributes.
 *
 * A descriptor is what a handle of the library points to. Once it is finalized it never changes, so
 * one that refers to it shares it: like the real library's, which copies, it may be destroyed at
 * once by the caller. One that was not finalized when it was set is remembered as such, and what
 * needs it cannot be finalized.
 *
 * One thread uses this; the sentence of the last failure is the library's own. */
#ifndef AT_TESTS_EMULATOR_CUDNN_BAG_H
#define AT_TESTS_EMULATOR_CUDNN_BAG_H

#include "kernels/base.h"
#include "kernels/cudnn.h"
#include "tests/emulator/cudnn_program.h"

enum { AT_DNN_FIELDS_MAX = 12 };

typedef struct at_dnn_field {
    at_cudnn_attribute name;
    at_cudnn_type type;
    int64_t count;
    void *elements; /* (count); descriptors: at_dnn *, NULL for one that was not finalized */
} at_dnn_field;

/* How a graph's engines come to be, and so how many there are. */
typedef enum at_dnn_compiled {
    AT_DNN_PRECOMPILED,
    AT_DNN_AT_RUN_TIME,
    AT_DNN_FEW_AT_RUN_TIME,
    AT_DNN_FALLBACK_ONLY,
} at_dnn_compiled;

typedef struct at_dnn {
    struct at_dnn *next; /* of those that the caller holds */
    at_cudnn_kind kind;
    int users; /* the caller, and descriptors that refer to it */
    bool finalized;
    at_dnn_field fields[AT_DNN_FIELDS_MAX];
    int n_fields;
    at_dnn_program *program; /* of a graph */
    const char *refused;     /* of a graph: why no engine computes it; NULL: some do */
    at_dnn_compiled compiled;
} at_dnn;

/* --- cudnn.c ---------------------------------------------------------------------------------- */

/* Keeps the sentence and returns 'status'. */
at_cudnn_status at_dnn_fail(at_cudnn_status status, const char *fmt, ...) AT_PRINTF(2, 3);

at_dnn *at_dnn_new(at_cudnn_kind kind); /* NULL: no memory */
void at_dnn_leave(at_dnn *d);           /* one user less */
/* A field as the library itself fills it. */
at_cudnn_status at_dnn_put(at_dnn *d, at_cudnn_attribute name, at_cudnn_type type, int64_t count,
                           const void *elements);

const at_dnn_field *at_dnn_field_of(const at_dnn *d, at_cudnn_attribute name); /* NULL: not set */
/* Of fields that are there. */
int64_t at_dnn_i64(const at_dnn *d, at_cudnn_attribute name);
int at_dnn_enum(const at_dnn *d, at_cudnn_attribute name);
const at_dnn *at_dnn_ref(const at_dnn *d, at_cudnn_attribute name);
/* False where it is not there. */
bool at_dnn_flag(const at_dnn *d, at_cudnn_attribute name);
/* A descriptor that the caller holds, of a kind; else NULL, and the sentence is kept. */
at_dnn *at_dnn_held(at_cudnn_descriptor d, at_cudnn_kind kind);

/* --- cudnn_graph.c ---------------------------------------------------------------------------- */

/* What finalizing checks beyond that every needed field is there. */
at_cudnn_status at_dnn_check_tensor(const at_dnn *d);
at_cudnn_status at_dnn_check_convolution(const at_dnn *d);
at_cudnn_status at_dnn_check_operation(const at_dnn *d);
at_cudnn_status at_dnn_finish_graph(at_dnn *d);

/* --- cudnn_engine.c --------------------------------------------------------------------------- */

/* What heuristics say that they may have: more than they give. */
enum { AT_DNN_OFFERED_AT_MOST = 16 };
at_cudnn_status at_dnn_finish_heuristics(at_dnn *d);
at_cudnn_status at_dnn_finish_engine(at_dnn *d);
at_cudnn_status at_dnn_finish_config(at_dnn *d);
at_cudnn_status at_dnn_finish_plan(at_dnn *d);
at_cudnn_status at_dnn_check_pack(const at_dnn *d);
/* A copy of the plan's program with the addresses of the pack. */
at_cudnn_status at_dnn_address(at_dnn_program *out, const at_dnn *plan, const at_dnn *pack);

#endif
