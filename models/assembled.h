/* assembled.h -- a source (engine/source.h) made of the tensors of other sources: under other
 * names, in another order, as rows cut out of one, as rows of several put together, or turned.
 *
 * Nothing is read before somebody reads; a piece at a time passes through, but for a tensor that is
 * turned, which is read whole. The sources it is made of belong to it from at_assembled_take() on
 * and are closed with it, in which at_source_close() ends both. One thread at a time. */
#ifndef AT_MODELS_ASSEMBLED_H
#define AT_MODELS_ASSEMBLED_H

#include "engine/source.h"

enum {
    AT_ASSEMBLED_SOURCES_MAX = 8,
    AT_ASSEMBLED_PIECES_MAX = 3,
    AT_ASSEMBLED_TURNED_MAX = 1 << 28 /* bytes of one that is turned */
};

/* Bytes [from, from + bytes) of a tensor. */
typedef struct at_piece {
    int source, tensor;
    uint64_t from, bytes;
} at_piece;

/* The bytes of a tensor are its pieces' one after the other; or those of a matrix of one piece,
 * 'columns' wide as the piece has it, whose columns become rows. */
typedef struct at_assembly {
    at_piece pieces[AT_ASSEMBLED_PIECES_MAX];
    int n;
    int64_t columns; /* 0: it is not turned */
} at_assembly;

/* 'kind' is for people ("diffusers folder") and lives as long as the source. */
at_status at_assembled_new(at_source **out, const char *kind, at_error *err);
/* Its number among the sources; 'part' belongs to 's' afterwards, and is closed at once if this
 * fails, which is told by -1. */
int at_assembled_take(at_source *s, at_source *part, at_error *err);
/* The same for one that stays the caller's, who keeps it open as long as 's'. */
int at_assembled_borrow(at_source *s, at_source *part, at_error *err);
/* One that was borrowed belongs to 's' from here on. */
void at_assembled_keep(at_source *s, int i);
const at_source *at_assembled_source(const at_source *s, int i);
/* Of 't' name, type and sizes are looked at; the pieces have together as many bytes as it needs. */
at_status at_assembled_add(at_source *s, const at_stored_tensor *t, const at_assembly *how,
                           at_error *err);
/* After the last tensor. */
at_status at_assembled_finish(at_source *s, at_error *err);

#endif
