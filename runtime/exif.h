/* exif.h -- what an EXIF block says that matters here: how the picture is to be turned, and a few
 * texts. A bounded reader: it looks at the entries of the first directory only, so that no chain of
 * directories can lead it in circles. */
#ifndef AT_RUNTIME_EXIF_H
#define AT_RUNTIME_EXIF_H

#include "kernels/base.h"

enum { AT_EXIF_ENTRIES_MAX = 512 };

/* A text lies in the block, without its closing NUL; NULL: none. */
typedef struct at_exif_text {
    const char *name; /* "description", "make", ... */
    const unsigned char *text;
    size_t bytes;
} at_exif_text;

enum { AT_EXIF_TEXTS_MAX = 8 };

typedef struct at_exif {
    int orientation; /* 1 to 8; 1 where the block says nothing or nonsense */
    at_exif_text text[AT_EXIF_TEXTS_MAX];
    int n_texts;
} at_exif;

/* 'block' begins with its byte order, "II" or "MM". False: this is no EXIF, or it leads out of the
 * block; 'out' then has what was read before. */
bool at_exif_read(at_exif *out, const unsigned char *block, size_t bytes);

#endif
