/* f8.h -- products in e4m3 with static scales, for inference.
 *
 * A site is a product by a parameter whose input comes from an op that can store f8 itself (a norm,
 * GEGLU, another product) and goes nowhere but to sites: so that quantising costs no pass over
 * memory. It stays the op that it is, linear or linear_geglu. Scales are numbers of the model,
 * found once:
 *
 *   1. at_f8_new(graph) finds the sites;
 *   2. at_f8_calibration() is the same graph, telling each site's largest |x| besides: run it on
 *      inputs like those to come, and call at_f8_observe() after each run;
 *   3. at_f8_graph() adds what it needs to the store of parameters and gives the graph with f8
 *      products. NAME.f8 is the weight NAME, NAME.f8_scale its scale, NAME.f8_input that of its
 *      input; saved and loaded like other parameters, and found there, calibration is not needed
 *      again.
 *
 * The graph and the store are borrowed; one thread at a time. */
#ifndef AT_ENGINE_F8_H
#define AT_ENGINE_F8_H

#include "engine/plan.h"

typedef struct at_f8 at_f8;

AT_API at_f8 *at_f8_new(at_graph *graph, at_params *params);
AT_API void at_f8_free(at_f8 *f);

AT_API int at_f8_sites(const at_f8 *f);
/* The weight's name. */
AT_API const char *at_f8_site(const at_f8 *f, int i);
/* The largest |x| seen so far; 0: none. */
AT_API double at_f8_seen(const at_f8 *f, int i);

/* The caller owns the graph. */
AT_API at_graph *at_f8_calibration(at_f8 *f);
/* 'plan' was made of that graph and has run. */
AT_API at_status at_f8_observe(at_f8 *f, at_plan *plan, at_error *err);
/* The caller owns the graph. AT_INVALID: a site has neither been observed nor has its scale in the
 * store. */
AT_API at_status at_f8_graph(at_f8 *f, at_graph **out, at_error *err);
/* Quantises again the weights that have changed since. */
AT_API at_status at_f8_refresh(at_f8 *f, at_error *err);

#endif
