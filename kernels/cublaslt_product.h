/* cublaslt_product.h -- one product by cuBLASLt, prepared once and run often.
 *
 * The library's matrices lie column by column and our rows lie one after the other, so it is given
 * each view turned: a view of (rows, cols) is a matrix of cols rows and rows columns, whose leading
 * dimension is the pitch. Whoever wants y = x w^T asks for y^T = w x^T: A is w, B is x, D is y.
 *
 * The library's descriptors belong to at_prepared; at_cublaslt_product_release() frees them. What
 * is prepared is run by one thread at a time: addresses are written into it before each launch. */
#ifndef AT_KERNELS_CUBLASLT_PRODUCT_H
#define AT_KERNELS_CUBLASLT_PRODUCT_H

#include "kernels/cublaslt.h"
#include "kernels/op.h"

enum { AT_CUBLASLT_CANDIDATES_MAX = 8 };

/* D = d_scale * relu(a_scale * b_scale * op(A) op(B) + C + bias), less what is not there; absent
 * views have rank 0. */
typedef struct at_cublaslt_product {
    at_view a, b, c, d;
    bool a_turned, b_turned; /* op(): the library's matrix is transposed */
    bool relu;
    at_dtype c_dtype; /* of C, absent or not */
    at_view bias;     /* one for each of the library's rows of D, which are our columns */
    bool scaled;      /* A and B are f8 */
    const float *a_scale, *b_scale, *d_scale; /* one number each, on the device */
    bool d_scaled, has_amax;                  /* of a D in f8 */
    float *amax;                              /* largest |D / d_scale| */
    size_t own_bytes;                         /* of scratch, before the library's */
} at_cublaslt_product;

/* What the library takes fast: rows that begin at multiples of 16 bytes, and sizes of an int. */
bool at_cublaslt_takes(const at_view *v);
/* True if every address is a multiple of 16, as the algorithms were asked for. */
bool at_cublaslt_product_aligned(const at_cublaslt_product *p);

/* How many algorithms there are to try; 'caps' has the library. */
int at_cublaslt_product_candidates(const at_cublaslt_product *p, const at_caps *caps);
/* AT_UNSUPPORTED: the library has no such candidate, or not exactly; or not that choice. */
at_status at_cublaslt_product_prepare(const at_cublaslt_product *p, const at_prepare_in *in,
                                      at_prepared *out, at_error *err);
at_status at_cublaslt_product_run(const at_cublaslt_product *p, const at_prepared *prepared,
                                  const at_launch *l);
void at_cublaslt_product_release(at_prepared *p);

#endif
