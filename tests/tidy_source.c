#include "tests/tidy_source.h"

#include <ctype.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- Text --------------------------------------------------------------------------------- */

bool text_is_word(char c)
{
    return isalnum((unsigned char)c) || c == '_';
}

static bool is_blank(char c)
{
    return isspace((unsigned char)c) != 0;
}

size_t text_find_word(const char *text, size_t at, size_t end, const char *word)
{
    size_t n = strlen(word);
    for (; at + n <= end; at++)
        if (memcmp(text + at, word, n) == 0 && (at == 0 || !text_is_word(text[at - 1])) &&
            (at + n == end || !text_is_word(text[at + n])))
            return at;
    return end;
}

bool text_has_word(const char *text, size_t at, size_t end, const char *word)
{
    return text_find_word(text, at, end, word) < end;
}

bool text_starts_with_word(const char *text, size_t at, size_t end, const char *word)
{
    at = text_skip_blank(text, at, end);
    size_t n = strlen(word);
    return at + n <= end && memcmp(text + at, word, n) == 0 &&
           (at + n == end || !text_is_word(text[at + n]));
}

size_t text_count_words(const char *text, size_t at, size_t end)
{
    size_t count = 0;
    for (size_t i = at; i < end; i++)
        if (text_is_word(text[i]) && (i == at || !text_is_word(text[i - 1])))
            count++;
    return count;
}

size_t text_skip_blank(const char *text, size_t at, size_t end)
{
    while (at < end && is_blank(text[at]))
        at++;
    return at;
}

size_t text_drop_blank(const char *text, size_t start, size_t end)
{
    while (end > start && is_blank(text[end - 1]))
        end--;
    return end;
}

/* ---- Views -------------------------------------------------------------------------------- */

static void *need(void *memory)
{
    if (!memory) {
        fprintf(stderr, "tidy: out of memory\n");
        exit(2);
    }
    return memory;
}

typedef enum scan_state {
    IN_CODE,
    IN_LINE_COMMENT,
    IN_BLOCK_COMMENT,
    IN_STRING,
    IN_CHAR,
} scan_state;

static bool is_escaped(const char *text, size_t at)
{
    size_t slashes = 0;
    while (slashes < at && text[at - 1 - slashes] == '\\')
        slashes++;
    return slashes % 2 == 1;
}

/* C++ writes 1'000: a quote behind a digit opens nothing. */
static bool opens_char(const char *text, size_t at)
{
    return text[at] == '\'' && (at == 0 || !isxdigit((unsigned char)text[at - 1]));
}

static scan_state next_state(const char *text, size_t at, scan_state now)
{
    char c = text[at], next = text[at + 1]; /* the text ends in a zero */
    bool line_ends = c == '\n' && !is_escaped(text, at);
    switch (now) {
    case IN_CODE:
        if (c == '/' && next == '/')
            return IN_LINE_COMMENT;
        if (c == '/' && next == '*')
            return IN_BLOCK_COMMENT;
        if (c == '"')
            return IN_STRING;
        return opens_char(text, at) ? IN_CHAR : IN_CODE;
    case IN_LINE_COMMENT: return line_ends ? IN_CODE : now;
    case IN_BLOCK_COMMENT: /* the star of an opening slash-star closes nothing */
        return c == '/' && at > 1 && text[at - 1] == '*' && text[at - 2] != '/' ? IN_CODE : now;
    case IN_STRING: return line_ends || (c == '"' && !is_escaped(text, at)) ? IN_CODE : now;
    case IN_CHAR: return line_ends || (c == '\'' && !is_escaped(text, at)) ? IN_CODE : now;
    }
    return IN_CODE;
}

/* Fills `code` and `words` from `raw`. Quotes stay in `code`, what is between them does not. */
static void split_views(source_file *f)
{
    scan_state state = IN_CODE;
    for (size_t i = 0; i < f->size; i++) {
        scan_state next = next_state(f->raw, i, state);
        bool comment = next == IN_LINE_COMMENT || next == IN_BLOCK_COMMENT ||
                       (state == IN_BLOCK_COMMENT && next == IN_CODE);
        bool quoted = state == next && (state == IN_STRING || state == IN_CHAR);
        char blank = f->raw[i] == '\n' ? '\n' : ' ';
        f->code[i] = comment || quoted ? blank : f->raw[i];
        f->words[i] = comment ? f->raw[i] : blank;
        state = next;
    }
}

/* Fills `bare` from `code`: preprocessor lines go with their continuations, so that the braces and
 * semicolons of a macro do not count as those of the file. */
static void blank_directives(source_file *f)
{
    bool fresh = true, inside = false;
    for (size_t i = 0; i < f->size; i++) {
        char c = f->code[i];
        if (c == '\n') {
            inside = inside && is_escaped(f->code, i);
            fresh = true;
        } else if (fresh && c == '#') {
            inside = true;
        }
        fresh = fresh && is_blank(c);
        f->bare[i] = inside && c != '\n' ? ' ' : c;
    }
}

static void split_lines(source_file *f)
{
    for (size_t i = 0; i < f->size; i++)
        if (f->raw[i] == '\n' || i + 1 == f->size)
            f->line_count++;
    f->lines = need(calloc(f->line_count + 1, sizeof *f->lines));
    size_t line = 0;
    for (size_t i = 0; i + 1 < f->size; i++)
        if (f->raw[i] == '\n')
            f->lines[++line] = i + 1;
    f->lines[f->line_count] = f->size;
}

/* ---- Parts -------------------------------------------------------------------------------- */

/* Braces that only group declarations: extern "C" { and namespace x { */
static bool is_group(const char *text, size_t head, size_t open)
{
    size_t end = text_drop_blank(text, head, open);
    return text_starts_with_word(text, head, end, "namespace") ||
           (text_starts_with_word(text, head, end, "extern") && text[end - 1] == '"');
}

static part_kind kind_of(const char *text, size_t head, size_t open)
{
    static const char *const type_words[] = { "struct", "union", "enum", "class" };
    size_t end = text_drop_blank(text, head, open);
    if (text_starts_with_word(text, head, end, "typedef"))
        return PART_TYPE;
    if (end > head && text[end - 1] == ')' && !memchr(text + head, '=', end - head))
        return PART_FUNCTION;
    for (size_t i = 0; i < sizeof type_words / sizeof *type_words; i++)
        if (text_starts_with_word(text, head, end, type_words[i]) &&
            !memchr(text + head, '=', end - head))
            return PART_TYPE;
    return PART_OTHER;
}

static void add_part(source_file *f, part p)
{
    size_t n = f->part_count;
    if ((n & (n - 1)) == 0) /* grows whenever the count is a power of two */
        f->parts = need(realloc(f->parts, (n ? 2 * n : 1) * sizeof *f->parts));
    f->parts[f->part_count++] = p;
}

/* Offset of the brace that closes the one at `open`, or the last offset when there is none. */
static size_t closing_brace(const char *text, size_t open, size_t size)
{
    int depth = 0;
    for (size_t i = open; i < size; i++) {
        depth += (text[i] == '{') - (text[i] == '}');
        if (depth == 0)
            return i;
    }
    return size - 1;
}

/* A function ends at its brace, everything else at its semicolon; the first pair of braces is
 * remembered (a type's body or an initializer) and later ones are passed over. */
static void split_parts(source_file *f)
{
    part p = { .kind = PART_OTHER };
    bool braced = false;
    for (size_t i = 0; i < f->size; i++) {
        char c = f->bare[i];
        if (c == '{' && !is_group(f->bare, p.head, i)) {
            size_t close = closing_brace(f->bare, i, f->size);
            if (!braced)
                p = (part){ kind_of(f->bare, p.head, i), p.head, i, close, close };
            braced = true;
            i = close;
            if (p.kind != PART_FUNCTION)
                continue;
            add_part(f, p);
        } else if (c == ';') {
            p.end = i;
            if (!braced)
                p.open = p.close = i;
            add_part(f, p);
        } else if (c != '{' && c != '}') { /* the braces of a group separate, nothing more */
            continue;
        }
        braced = false;
        p = (part){ .kind = PART_OTHER, .head = i + 1 };
    }
}

/* ---- The file ----------------------------------------------------------------------------- */

/* Reads the whole file into f->raw, ended by a zero. */
static bool read_text(source_file *f, const char *root)
{
    char path[2 * MAX_PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", root, f->path);
    FILE *file = fopen(path, "rb");
    if (!file)
        return false;
    char *text = need(malloc(MAX_FILE_BYTES + 1));
    size_t n = fread(text, 1, MAX_FILE_BYTES + 1, file);
    bool whole = !ferror(file) && n <= MAX_FILE_BYTES;
    fclose(file);
    if (whole) {
        f->size = n;
        f->raw = need(malloc(n + 1));
        memcpy(f->raw, text, n);
        f->raw[n] = '\0';
    }
    free(text);
    return whole;
}

bool source_read(source_file *f, const char *root, const char *path)
{
    *f = (source_file){ .size = 0 };
    snprintf(f->path, sizeof f->path, "%s", path);
    if (!read_text(f, root))
        return false;
    f->code = need(calloc(1, f->size + 1));
    f->bare = need(calloc(1, f->size + 1));
    f->words = need(calloc(1, f->size + 1));
    split_views(f);
    blank_directives(f);
    split_lines(f);
    split_parts(f);
    return true;
}

void source_free(source_file *f)
{
    free(f->raw);
    free(f->code);
    free(f->bare);
    free(f->words);
    free(f->lines);
    free(f->parts);
}

size_t source_line_at(const source_file *f, size_t at)
{
    size_t low = 0, high = f->line_count;
    while (high - low > 1) {
        size_t middle = low + (high - low) / 2;
        if (f->lines[middle] <= at)
            low = middle;
        else
            high = middle;
    }
    return low + 1;
}

const part *source_function_at(const source_file *f, size_t at)
{
    for (size_t i = 0; i < f->part_count; i++) {
        const part *p = &f->parts[i];
        if (p->kind == PART_FUNCTION && p->open < at && at < p->close)
            return p;
    }
    return NULL;
}

/* The name stands before the parameters, which are the last parentheses of the head. */
void source_function_name(const source_file *f, const part *p, char name[MAX_NAME_BYTES])
{
    size_t at = text_drop_blank(f->bare, p->head, p->open);
    for (int depth = 0; at > p->head;) {
        char c = f->bare[--at];
        depth += (c == ')') - (c == '(');
        if (depth == 0)
            break;
    }
    size_t end = text_drop_blank(f->bare, p->head, at), start = end;
    while (start > p->head && text_is_word(f->bare[start - 1]))
        start--;
    snprintf(name, MAX_NAME_BYTES, "%.*s", (int)(end - start), f->bare + start);
}

size_t source_directive(const source_file *f, size_t line, const char *name)
{
    size_t end = f->lines[line + 1];
    size_t at = text_skip_blank(f->code, f->lines[line], end);
    if (at >= end || f->code[at] != '#')
        return 0;
    at = text_skip_blank(f->code, at + 1, end);
    return text_starts_with_word(f->code, at, end, name) ? at + strlen(name) : 0;
}
