/* tidy_source.h -- a source file as tidy's checks see it: its text in four views, its lines, and
 * what stands at file scope.
 *
 * All views have the same length and line breaks, so an offset in one is that place in the others.
 * This is a scanner and no parser: it relies on the format that clang-format enforces, and leaves
 * to the compiler what the compiler can see. The caller owns a source_file and frees it. */
#ifndef AT_TESTS_TIDY_SOURCE_H
#define AT_TESTS_TIDY_SOURCE_H

#include <stdbool.h>
#include <stddef.h>

enum {
    MAX_PATH_BYTES = 1024,
    MAX_FILE_BYTES = 8 << 20,
    MAX_NAME_BYTES = 128,
};

typedef enum part_kind {
    PART_FUNCTION, /* with its body */
    PART_TYPE,     /* struct, union, enum, typedef */
    PART_OTHER,    /* a variable or a prototype */
} part_kind;

/* One thing at file scope, as offsets. Without braces open == close == end. */
typedef struct part {
    part_kind kind;
    size_t head, open, close, end;
} part;

typedef struct source_file {
    char path[MAX_PATH_BYTES]; /* relative to the root: "kernels/base.c" */
    char *raw;                 /* (size + 1) as it stands, ended by a zero, as every view is */
    char *code;                /* (size + 1) the inside of comments and strings blanked */
    char *bare;                /* (size + 1) code with preprocessor lines blanked too */
    char *words;               /* (size + 1) nothing but comments */
    size_t size;
    size_t *lines; /* (line_count + 1) offset of each line; the last one is the size */
    size_t line_count;
    part *parts; /* (part_count) in file order */
    size_t part_count;
} source_file;

/* False when the file cannot be read or is larger than MAX_FILE_BYTES; nothing to free then. */
bool source_read(source_file *f, const char *root, const char *path);
void source_free(source_file *f);

/* Number of the line, from 1, that holds offset `at`. */
size_t source_line_at(const source_file *f, size_t at);

/* The function whose body holds offset `at`, or NULL. */
const part *source_function_at(const source_file *f, size_t at);
void source_function_name(const source_file *f, const part *p, char name[MAX_NAME_BYTES]);

/* Start of what follows "#name" on this line (from 0), or 0 when the line is no such directive. */
size_t source_directive(const source_file *f, size_t line, const char *name);

/* Text in [at, end): next whole word, or `end`; first character that is not blank; and so on. */
size_t text_find_word(const char *text, size_t at, size_t end, const char *word);
bool text_has_word(const char *text, size_t at, size_t end, const char *word);
bool text_starts_with_word(const char *text, size_t at, size_t end, const char *word);
size_t text_count_words(const char *text, size_t at, size_t end);
size_t text_skip_blank(const char *text, size_t at, size_t end);
size_t text_drop_blank(const char *text, size_t start, size_t end);
bool text_is_word(char c);

#endif
