/* cudnn_plans.c -- a list, the latest first: it is short, and a look at an entry is a comparison of
 * lengths. */
#include "kernels/cudnn_plans.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef struct planned {
    struct planned *next;
    char choice[AT_CHOICE_MAX];
    at_cudnn_descriptor plan; /* owned by the entry's graph */
    size_t workspace;
} planned;

typedef struct entry {
    struct entry *next;
    at_cudnn_graph graph;
    at_cudnn_engines *engines; /* NULL: not asked for yet */
    planned *plans;
    int holders; /* prepared calls */
} entry;

struct at_cudnn_plans {
    entry *entries;
};

/* A variant's state: whose plan it runs, and where in scratch its workspace lies. */
typedef struct state {
    entry *entry;
    const planned *made;
    size_t workspace_offset;
} state;

/* --- entries ---------------------------------------------------------------------------------- */

at_cudnn_plans *at_cudnn_plans_new(void)
{
    return calloc(1, sizeof(at_cudnn_plans));
}

static void entry_free(entry *e)
{
    while (e->plans) {
        planned *p = e->plans;
        e->plans = p->next;
        free(p);
    }
    at_cudnn_graph_free(&e->graph);
    free(e->engines);
    free(e);
}

void at_cudnn_plans_free(at_cudnn_plans *plans)
{
    while (plans && plans->entries) {
        entry *e = plans->entries;
        plans->entries = e->next;
        AT_ASSERT(e->holders == 0, "%d prepared calls of cuDNN outlive it", e->holders);
        entry_free(e);
    }
    free(plans);
}

/* Frees idle entries beyond the first AT_CUDNN_IDLE_MAX. */
static void trim(at_cudnn_plans *plans)
{
    int idle = 0;
    for (entry **at = &plans->entries; *at;) {
        entry *e = *at;
        if (e->holders == 0 && ++idle > AT_CUDNN_IDLE_MAX) {
            *at = e->next;
            entry_free(e);
        } else {
            at = &e->next;
        }
    }
}

static bool same_graph(const at_cudnn_graph *a, const at_cudnn_graph *b)
{
    return a->text_bytes == b->text_bytes && a->never == b->never &&
           memcmp(a->text, b->text, a->text_bytes) == 0;
}

/* The entry of an equal graph, which becomes the first; NULL. */
static entry *find(at_cudnn_plans *plans, const at_cudnn_graph *g)
{
    for (entry **at = &plans->entries; *at; at = &(*at)->next) {
        entry *e = *at;
        if (!same_graph(&e->graph, g))
            continue;
        *at = e->next;
        e->next = plans->entries;
        plans->entries = e;
        return e;
    }
    return NULL;
}

static entry *add(at_cudnn_plans *plans, at_cudnn_graph *g)
{
    entry *e = at_cudnn_graph_end(g) == AT_OK ? calloc(1, sizeof *e) : NULL;
    if (!e) {
        if (g->status == AT_OK)
            g->status = at_fail(g->err, AT_NO_MEMORY, "no memory for a graph");
        return NULL;
    }
    e->graph = *g;
    e->next = plans->entries;
    plans->entries = e;
    return e;
}

/* Held, until drop(): its failures go to 'err'. */
static at_status take(const at_cudnn *c, at_cudnn_describe_fn *describe, const void *args,
                      entry **out, at_error *err)
{
    at_cudnn_graph g;
    at_cudnn_graph_begin(&g, c, err);
    describe(&g, args);
    at_status status = g.status;
    entry *e = status == AT_OK ? find(c->plans, &g) : NULL;
    bool known = e;
    if (status == AT_OK && !known) {
        e = add(c->plans, &g);
        status = g.status;
    }
    if (known || !e)
        at_cudnn_graph_free(&g);
    if (e) {
        e->graph.err = err;
        e->holders++;
    }
    *out = e;
    return status;
}

static void drop(entry *e)
{
    at_cudnn_plans *plans = e->graph.library->plans;
    e->graph.err = NULL;
    e->holders--;
    trim(plans);
}

/* --- engines and plans ------------------------------------------------------------------------ */

static at_status ask_engines(entry *e)
{
    if (e->engines)
        return AT_OK;
    at_cudnn_engines *list = malloc(sizeof *list);
    if (!list)
        return at_fail(e->graph.err, AT_NO_MEMORY, "no memory for a list of engines");
    at_status status = at_cudnn_engines_of(&e->graph, AT_WORKSPACE_MAX, list);
    if (status == AT_OK)
        e->engines = list;
    else
        free(list);
    return status;
}

static at_status plan_choice(entry *e, const char *choice, const planned **out)
{
    for (const planned *p = e->plans; p; p = p->next)
        if (!strcmp(p->choice, choice)) {
            *out = p;
            return AT_OK;
        }
    planned *p = calloc(1, sizeof *p);
    if (!p)
        return at_fail(e->graph.err, AT_NO_MEMORY, "no memory for a plan");
    at_status status = at_cudnn_plan(&e->graph, choice, AT_WORKSPACE_MAX);
    if (status != AT_OK) {
        free(p);
        return status;
    }
    snprintf(p->choice, sizeof p->choice, "%s", choice);
    p->plan = e->graph.plan;
    p->workspace = e->graph.workspace;
    p->next = e->plans;
    e->plans = p;
    *out = p;
    return AT_OK;
}

/* Candidate 0 is the first of the list that can be made, the others are themselves or nothing. */
static at_status plan_candidate(entry *e, int candidate, const planned **out)
{
    at_status status = ask_engines(e);
    if (status != AT_OK)
        return status;
    status = at_fail(e->graph.err, AT_UNSUPPORTED, "cuDNN has no engine for this, of %d offered",
                     e->engines->offered);
    for (int i = candidate; i < e->engines->n && status == AT_UNSUPPORTED; i++) {
        status = plan_choice(e, e->engines->list[i].choice, out);
        if (candidate > 0)
            break;
    }
    return status;
}

/* --- what every variant does ------------------------------------------------------------------ */

static size_t round_up(size_t n)
{
    return (n + AT_CUDNN_REGION - 1) / AT_CUDNN_REGION * AT_CUDNN_REGION;
}

at_status at_cudnn_prepare(at_cudnn_describe_fn *describe, const void *args,
                           const at_prepare_in *in, at_prepared *out, at_error *err)
{
    entry *e = NULL;
    const planned *made = NULL;
    state *s = malloc(sizeof *s);
    if (!s)
        return at_fail(err, AT_NO_MEMORY, "no memory for a prepared graph");
    at_status status = take(in->caps->cudnn, describe, args, &e, err);
    if (status == AT_OK)
        status = in->choice ? plan_choice(e, in->choice, &made)
                            : plan_candidate(e, in->candidate, &made);
    if (status != AT_OK) {
        if (e)
            drop(e);
        free(s);
        return status;
    }
    e->graph.err = NULL;
    *s = (state){ e, made, round_up(out->scratch_bytes) };
    if (made->workspace)
        out->scratch_bytes = s->workspace_offset + made->workspace + AT_CUDNN_REGION;
    memcpy(out->choice, made->choice, sizeof out->choice);
    out->state = s;
    return AT_OK;
}

int at_cudnn_candidates(at_cudnn_describe_fn *describe, const void *args, const at_caps *caps)
{
    entry *e = NULL;
    if (take(caps->cudnn, describe, args, &e, NULL) != AT_OK)
        return 0;
    int n = ask_engines(e) == AT_OK ? e->engines->n : 0;
    drop(e);
    return n < AT_CUDNN_CANDIDATES_MAX ? n : AT_CUDNN_CANDIDATES_MAX;
}

void at_cudnn_release(at_prepared *p)
{
    state *s = p->state;
    if (!s)
        return;
    drop(s->entry);
    free(s);
    p->state = NULL;
}

at_status at_cudnn_execute(const at_prepared *p, const at_cudnn_binding *bindings, int n,
                           const at_launch *l)
{
    const state *s = p->state;
    char *workspace = NULL;
    if (s->made->workspace) {
        size_t at = (size_t)(uintptr_t)l->scratch + s->workspace_offset;
        workspace = (char *)l->scratch + s->workspace_offset + (round_up(at) - at);
    }
    return at_cudnn_run(s->entry->graph.library, s->made->plan, bindings, n, workspace, l);
}
