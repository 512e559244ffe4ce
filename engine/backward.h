/* backward.h -- gradients as ordinary nodes.
 *
 * at_graph_backward() walks the nodes from the loss back to the start and appends, for each that a
 * wanted tensor depends on, the nodes of its gradient. What it appends is planned, profiled, tested
 * and captured like everything else. Repeating: results that are cheap to compute (norms,
 * activations, GEGLU) need not be kept from the forward pass; where the backward pass needs one,
 * the same op is appended again, on the same inputs, so that the bytes are the same and the memory
 * is not held. */
#ifndef AT_ENGINE_BACKWARD_H
#define AT_ENGINE_BACKWARD_H

#include "engine/build.h"

typedef struct at_backward at_backward;

typedef struct at_backward_options {
    bool repeat; /* compute cheap results again instead of keeping them */
    const at_tensor
        *wanted; /* besides trainable parameters: tensors whose gradients are asked for */
    int n_wanted;
    float loss_scale; /* the gradient that the loss starts with; 0: 1 */
} at_backward_options;

AT_API at_backward *at_graph_backward(at_graph *g, at_tensor loss,
                                      const at_backward_options *options);
AT_API void at_backward_free(at_backward *b);
/* The gradient of a trainable parameter's or wanted tensor; { 0 } if the loss does not depend on
 * it. Parameters' gradients are f32, others have their tensor's type. */
AT_API at_tensor at_backward_gradient(at_backward *b, at_tensor t);
AT_API bool at_op_has_gradient(const at_op *op);
/* Cheap enough to be computed twice. */
bool at_op_repeats(const at_op *op);

/* --- for the gradients of ops (grads_*.c) ----------------------------------------------------- */

/* Appends the gradient nodes of a node whose args are a copy in 'args'. */
typedef void (*at_gradient_fn)(at_backward *b, int node, const void *args);
typedef struct at_gradient_row {
    const at_op *op;
    at_gradient_fn fn;
} at_gradient_row;
/* Tables that end in { NULL, NULL }. */
extern const at_gradient_row at_gradients_products[], at_gradients_norms[], at_gradients_elements[],
    at_gradients_moves[], at_gradients_losses[];

at_graph *at_backward_graph(at_backward *b);
/* True if somebody wants the gradient of this operand. */
bool at_needs(const at_backward *b, const at_view *operand);
/* The gradient that has arrived at an output: dense, of the output's sizes. The zero view when none
 * has. */
at_view at_arrived(at_backward *b, const at_view *output);
/* A forward tensor as the backward pass may use it: itself, or computed again. */
at_view at_kept(at_backward *b, const at_view *operand);
/* Hands on a gradient to an operand. */
void at_give(at_backward *b, const at_view *operand, const at_view *gradient);
/* The whole gradient that the operand has so far, taken out so that a node can add to it; else
 * absent. */
at_view at_take(at_backward *b, const at_view *operand);
/* An optional output of a forward node, added if it was not there. */
at_view at_optional_output(at_backward *b, int node, const char *name);

#endif
