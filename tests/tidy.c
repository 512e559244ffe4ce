/* tidy.c -- the style guide, as a test: tidy [ROOT].
 *
 * Reads every C, CUDA and list file below ROOT, prints "path:line: check: complaint" for each
 * breach, then one summary line. Exit status: 0 tidy, 1 complaints, 2 the tree could not be read.
 *
 * To add a check, write one function over a source_file, add its line to `checks`, and plant a
 * breach of it in tidy_test.sh. */
#define _POSIX_C_SOURCE 200809L

#include <ctype.h>
#include <dirent.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "tests/tidy_source.h"

enum {
    MAX_COLUMNS = 100,
    MAX_FILE_LINES = 800,
    MAX_FUNCTION_LINES = 70,
    MAX_LONG_FUNCTION_LINES = 120, /* kernels, and a model's forward */
    MAX_DEPTH = 16,
};

/* A struct of a kernel, and where it stands. */
typedef struct named {
    char name[MAX_NAME_BYTES], path[MAX_PATH_BYTES];
} named;

typedef struct report {
    const char *path;  /* the file that is being checked */
    const char *check; /* the check that runs */
    size_t files, complaints, unreadable;
    named *structs; /* (struct_count) of the kernels that were read */
    size_t struct_count;
} report;

typedef struct check {
    const char *name;
    void (*run)(report *r, const source_file *f);
} check;

__attribute__((format(printf, 3, 4))) static void complain(report *r, size_t line,
                                                           const char *format, ...)
{
    va_list args;
    va_start(args, format);
    printf("%s:%zu: %s: ", r->path, line, r->check);
    vprintf(format, args);
    putchar('\n');
    va_end(args);
    r->complaints++;
}

/* ---- Folders ------------------------------------------------------------------------------ */

/* Lowest layer first; a file may include its own layer and those before it. */
static const char *const layers[] = { "kernels", "engine", "models", "runtime",
                                      "trainer", "server", "cli" };
enum { LAYER_COUNT = sizeof layers / sizeof *layers };

/* Folders above every layer: they may include anything, no layer may include them. */
static const char *const upper_folders[] = { "tests", "benchmarks", "examples" };
enum { UPPER_FOLDER_COUNT = sizeof upper_folders / sizeof *upper_folders };

static bool starts_with(const char *s, const char *prefix)
{
    return strncmp(s, prefix, strlen(prefix)) == 0;
}

static bool ends_with(const char *s, const char *suffix)
{
    size_t n = strlen(s), k = strlen(suffix);
    return n >= k && strcmp(s + n - k, suffix) == 0;
}

static bool in_folder(const char *path, const char *folder)
{
    return starts_with(path, folder) && path[strlen(folder)] == '/';
}

/* 0 for the lowest layer, LAYER_COUNT for tests and benchmarks, -1 for a folder nobody knows. */
static int rank_of(const char *path)
{
    for (int i = 0; i < LAYER_COUNT; i++)
        if (in_folder(path, layers[i]))
            return i;
    for (int i = 0; i < UPPER_FOLDER_COUNT; i++)
        if (in_folder(path, upper_folders[i]))
            return LAYER_COUNT;
    return -1;
}

/* The library is every layer below the command line: it neither prints, nor exits, nor asks the
 * environment, and it keeps no state outside a context. */
static bool in_library(const char *path)
{
    int rank = rank_of(path);
    return rank >= 0 && rank < LAYER_COUNT - 1;
}

static bool is_cuda(const char *path)
{
    return ends_with(path, ".cu") || ends_with(path, ".cuh");
}

/* Length of a line, from 0, without its line break. */
static size_t line_length(const source_file *f, size_t line)
{
    size_t n = f->lines[line + 1] - f->lines[line];
    return n > 0 && f->raw[f->lines[line] + n - 1] == '\n' ? n - 1 : n;
}

/* ---- Checks: where a file stands and what it includes ------------------------------------ */

/* Copies the path that an #include line names; false when the line is none. */
static bool included_path(const source_file *f, size_t line, char path[MAX_PATH_BYTES])
{
    size_t at = source_directive(f, line, "include"), end = f->lines[line + 1];
    if (at == 0)
        return false;
    at = text_skip_blank(f->raw, at, end);
    if (at >= end || (f->raw[at] != '"' && f->raw[at] != '<'))
        return false;
    size_t n = strcspn(f->raw + at + 1, "\">\n");
    snprintf(path, MAX_PATH_BYTES, "%.*s", (int)(n < MAX_PATH_BYTES ? n : MAX_PATH_BYTES - 1),
             f->raw + at + 1);
    return true;
}

static void check_layers(report *r, const source_file *f)
{
    int rank = rank_of(f->path);
    if (rank < 0)
        complain(
            r, 1,
            "this folder is not a layer; sources live in a layer, tests, benchmarks or examples");
    for (size_t line = 0; line < f->line_count; line++) {
        char path[MAX_PATH_BYTES];
        if (!included_path(f, line, path))
            continue;
        if (strstr(path, "../") || starts_with(path, "./"))
            complain(r, line + 1, "\"%s\": includes are written from the root", path);
        else if (rank >= 0 && rank_of(path) > rank)
            complain(r, line + 1, "\"%s\" is above this file's layer", path);
    }
}

/* Within the layers a library's header is seen only by the files that stand between it and the
 * rest. Tests and benchmarks may ask the libraries themselves. */
typedef struct home {
    const char *header; /* beginning of the included path */
    const char *place;  /* must occur in the including file's path; NULL: nowhere */
} home;

static const home homes[] = {
    { "omp.h", "kernels/parallel.c" },
    { "omp.h", "kernels/onednn.c" },
    { "oneapi/dnnl", "onednn" },
    { "dnnl", "onednn" },
    { "cublasLt", "cublaslt" },
    { "cudnn", "cudnn" },
    { "hdf5", "hdf5" },
    { "xxhash", "checksum" },
    { "png.h", "picture_png" },
    { "jpeglib.h", "picture_jpeg" },
    { "jerror.h", "picture_jpeg" },
    { "webp/", "picture_webp" },
    { "stb/", "picture_stb" },
    { "lcms2", "lcms" },
    { "cub/", NULL },
    { "cooperative_groups", NULL },
};

/* The first home of a header that 'path' is none of; NULL if it may be included there. */
static const home *missed_home(const char *header, const char *path)
{
    const home *missed = NULL;
    for (size_t i = 0; i < sizeof homes / sizeof *homes; i++) {
        const home *h = &homes[i];
        if (!starts_with(header, h->header))
            continue;
        if (h->place && strstr(path, h->place))
            return NULL;
        missed = missed ? missed : h;
    }
    return missed;
}

static void check_homes(report *r, const source_file *f)
{
    if (rank_of(f->path) == LAYER_COUNT)
        return;
    for (size_t line = 0; line < f->line_count; line++) {
        char path[MAX_PATH_BYTES];
        if (!included_path(f, line, path))
            continue;
        const home *h = missed_home(path, f->path);
        if (h)
            complain(r, line + 1, "<%s> is included only by %s", path,
                     h->place ? h->place : "nobody");
    }
}

/* kernels/base.h -> AT_KERNELS_BASE_H */
static void check_guard(report *r, const source_file *f)
{
    if (!ends_with(f->path, ".h") && !ends_with(f->path, ".cuh"))
        return;
    char guard[MAX_PATH_BYTES + 8] = "AT_";
    for (size_t i = 0; f->path[i]; i++)
        guard[i + 3] = text_is_word(f->path[i]) ? (char)toupper((unsigned char)f->path[i]) : '_';
    static const char *const expected[] = { "ifndef", "define" };
    size_t found = 0;
    for (size_t line = 0; line < f->line_count && found < 2; line++) {
        size_t end = f->lines[line + 1], start = f->lines[line];
        if (text_skip_blank(f->code, start, end) == end)
            continue;
        size_t at = source_directive(f, line, expected[found]);
        if (at == 0 || !text_has_word(f->code, at, end, guard))
            break;
        found++;
    }
    if (found < 2)
        complain(r, 1, "the header does not begin with #ifndef %s, #define %s", guard, guard);
}

/* ---- Checks: lines and lengths ------------------------------------------------------------ */

static void check_lines(report *r, const source_file *f)
{
    for (size_t line = 0; line < f->line_count; line++) {
        const char *s = f->raw + f->lines[line];
        size_t n = line_length(f, line), columns = 0;
        for (size_t i = 0; i < n; i++)
            columns += (s[i] & 0xC0) != 0x80; /* continuation bytes of UTF-8 take no column */
        if (columns > MAX_COLUMNS)
            complain(r, line + 1, "%zu columns; the limit is %d", columns, MAX_COLUMNS);
        if (memchr(s, '\t', n))
            complain(r, line + 1, "tab");
        if (memchr(s, '\r', n))
            complain(r, line + 1, "carriage return");
        if (n > 0 && s[n - 1] == ' ')
            complain(r, line + 1, "trailing space");
    }
}

static void check_ending(report *r, const source_file *f)
{
    if (f->size == 0)
        complain(r, 1, "the file is empty");
    else if (f->raw[f->size - 1] != '\n')
        complain(r, f->line_count, "no newline at the end of the file");
    else if (line_length(f, f->line_count - 1) == 0)
        complain(r, f->line_count, "empty line at the end of the file");
}

static void check_file_length(report *r, const source_file *f)
{
    if (f->line_count > MAX_FILE_LINES)
        complain(r, f->line_count, "%zu lines; the limit is %d", f->line_count, MAX_FILE_LINES);
}

static void check_function_length(report *r, const source_file *f)
{
    for (size_t i = 0; i < f->part_count; i++) {
        const part *p = &f->parts[i];
        if (p->kind != PART_FUNCTION)
            continue;
        char name[MAX_NAME_BYTES];
        source_function_name(f, p, name);
        bool may_be_long = in_folder(f->path, "kernels") ||
                           (in_folder(f->path, "models") && strstr(name, "forward"));
        size_t limit = may_be_long ? MAX_LONG_FUNCTION_LINES : MAX_FUNCTION_LINES;
        size_t open = source_line_at(f, p->open), close = source_line_at(f, p->close);
        if (close > open + limit + 1)
            complain(r, open, "%s has %zu lines; the limit is %zu", name, close - open - 1, limit);
    }
}

/* ---- Checks: words that may not be used ---------------------------------------------------- */

typedef struct ban {
    const char *word;
    bool is_call;        /* only where "(" follows */
    const char *instead; /* the end of the complaint */
} ban;

static const ban banned_anywhere[] = {
    { "strcpy", true, "snprintf or memcpy knows the room" },
    { "strcat", true, "snprintf knows the room" },
    { "sprintf", true, "snprintf knows the room" },
    { "vsprintf", true, "vsnprintf knows the room" },
    { "gets", true, "fgets knows the room" },
    { "strtok", true, "it keeps hidden state; use strcspn" },
    { "atoi", true, "strtol says when it is no number" },
    { "atol", true, "strtol says when it is no number" },
    { "atof", true, "strtod says when it is no number" },
    { "alloca", true, "the stack has no limit that we can check; use an arena" },
    { "rand", true, "use the project's Philox: its numbers are equal everywhere" },
    { "srand", true, "use the project's Philox: its numbers are equal everywhere" },
    { "system", true, "no shell between us and the machine" },
};

static const ban banned_in_library[] = {
    { "getenv", true, "settings come in through arguments" },
    { "secure_getenv", true, "settings come in through arguments" },
    { "printf", true, "log through the context's callback" },
    { "vprintf", true, "log through the context's callback" },
    { "puts", true, "log through the context's callback" },
    { "putchar", true, "log through the context's callback" },
    { "perror", true, "log through the context's callback" },
    { "stdout", false, "log through the context's callback" },
    { "stderr", false, "log through the context's callback" },
    { "exit", true, "return a status" },
    { "_Exit", true, "return a status" },
    { "_exit", true, "return a status" },
    { "abort", true, "AT_ASSERT for a programmer's error, a status for the rest" },
    { "assert", true, "AT_ASSERT is always on" },
};

static void check_bans(report *r, const source_file *f, const ban *bans, size_t count)
{
    for (size_t i = 0; i < count; i++) {
        size_t n = strlen(bans[i].word), at = 0;
        while ((at = text_find_word(f->code, at, f->size, bans[i].word)) < f->size) {
            bool member = at > 0 && (f->code[at - 1] == '.' || f->code[at - 1] == '>');
            size_t after = text_skip_blank(f->code, at + n, f->size);
            bool called = after < f->size && f->code[after] == '(';
            if (!member && (called || !bans[i].is_call))
                complain(r, source_line_at(f, at), "%s: %s", bans[i].word, bans[i].instead);
            at += n;
        }
    }
}

/* libpng and libjpeg leave their own frames by longjmp and give no other way out of an error: the
 * two files that stand before them may land such a jump. */
static const ban banned_but_for_codecs[] = {
    { "setjmp", true, "return a status" },
    { "longjmp", true, "return a status" },
};

static void check_banned(report *r, const source_file *f)
{
    bool codec =
        !strcmp(f->path, "runtime/picture_png.c") || !strcmp(f->path, "runtime/picture_jpeg.c");
    check_bans(r, f, banned_anywhere, sizeof banned_anywhere / sizeof *banned_anywhere);
    if (!codec)
        check_bans(r, f, banned_but_for_codecs,
                   sizeof banned_but_for_codecs / sizeof *banned_but_for_codecs);
}

/* kernels/base.c implements AT_ASSERT, which must print and abort. */
static void check_library(report *r, const source_file *f)
{
    if (in_library(f->path) && strcmp(f->path, "kernels/base.c") != 0)
        check_bans(r, f, banned_in_library, sizeof banned_in_library / sizeof *banned_in_library);
}

/* A mark for later must ask the question that has to be answered first. */
static void check_marks(report *r, const source_file *f)
{
    static const char *const marks[] = { "TODO", "FIXME", "XXX", "HACK" };
    for (size_t line = 0; line < f->line_count; line++) {
        size_t start = f->lines[line], end = f->lines[line + 1];
        for (size_t i = 0; i < sizeof marks / sizeof *marks; i++) {
            size_t at = text_find_word(f->words, start, end, marks[i]);
            if (at < end && !memchr(f->words + at, '?', end - at))
                complain(r, line + 1, "%s without the question to answer", marks[i]);
        }
    }
}

/* ---- Checks: shapes of code ----------------------------------------------------------------- */

/* #if guards whole rows of a file-scope table or whole files. */
static void check_conditionals(report *r, const source_file *f)
{
    for (size_t line = 0; line < f->line_count; line++) {
        static const char *const names[] = { "if", "ifdef", "ifndef" };
        for (size_t i = 0; i < sizeof names / sizeof *names; i++) {
            if (!source_directive(f, line, names[i]))
                continue;
            if (source_function_at(f, f->lines[line]))
                complain(r, line + 1, "#%s inside a function", names[i]);
            else if (f->code[f->lines[line]] != '#')
                complain(r, line + 1, "#%s is indented", names[i]);
        }
    }
}

/* True for "at_status (*hook)(int)": a declared pointer to a function, not a function. */
static bool is_function_pointer(const char *text, size_t at, size_t end)
{
    at = text_skip_blank(text, at + 1, end);
    if (at >= end || text[at] != '*')
        return false;
    while (at < end && text[at] != ')' && text[at] != '(')
        at++;
    return at < end && text[at] == ')';
}

/* struct foo; */
static bool is_type_alone(const char *text, size_t start, size_t end)
{
    return text_count_words(text, start, end) <= 2 &&
           (text_starts_with_word(text, start, end, "struct") ||
            text_starts_with_word(text, start, end, "union") ||
            text_starts_with_word(text, start, end, "enum"));
}

/* at_run_fn f, g; functions declared through a type, which ends in _fn by convention. */
static bool is_function_by_type(const char *text, size_t start, size_t end)
{
    size_t word = start;
    while (word < end && (isalnum((unsigned char)text[word]) || text[word] == '_'))
        word++;
    return word - start > 3 && !strncmp(text + word - 3, "_fn", 3) &&
           !memchr(text + start, '*', end - start) && !memchr(text + start, '[', end - start);
}

/* Whether the declaration in [start, end), which ends before any initializer, is one of a variable
 * that can change: const must stand behind the last star, or anywhere when there is none. */
static bool is_mutable_variable(const char *text, size_t start, size_t end)
{
    static const char *const no_variables[] = { "typedef",        "extern",        "using",
                                                "_Static_assert", "static_assert", "template" };
    start = text_skip_blank(text, start, end);
    end = text_drop_blank(text, start, end);
    for (size_t i = 0; i < sizeof no_variables / sizeof *no_variables; i++)
        if (text_starts_with_word(text, start, end, no_variables[i]))
            return false;
    if (is_type_alone(text, start, end) || is_function_by_type(text, start, end))
        return false;
    size_t star = start;
    for (size_t i = start; i < end; i++) {
        if (text[i] == '(' && !is_function_pointer(text, i, end))
            return false;
        if (text[i] == '(')
            end = i + 1 + strcspn(text + i, ")");
        if (text[i] == '*')
            star = i;
        if (text[i] == '[')
            end = i;
    }
    return start < end && !text_has_word(text, star, end, "const") &&
           !text_has_word(text, start, end, "constexpr") &&
           !text_has_word(text, start, end, "__constant__");
}

/* A declaration of a variable, without its initializer: its words lie in [start, end). */
static void check_variable(report *r, const source_file *f, size_t start, size_t end)
{
    size_t equals = start + strcspn(f->bare + start, "=");
    end = equals < end ? equals : end;
    if (is_mutable_variable(f->bare, start, end))
        complain(r, source_line_at(f, text_skip_blank(f->bare, start, end)),
                 "a variable that can change and belongs to no context");
}

/* At file scope, and static inside functions. */
static void check_globals(report *r, const source_file *f)
{
    if (!in_library(f->path))
        return;
    for (size_t i = 0; i < f->part_count; i++) {
        const part *p = &f->parts[i];
        if (p->kind == PART_OTHER)
            check_variable(r, f, p->head, p->open);
        if (p->kind == PART_TYPE && !text_starts_with_word(f->bare, p->head, p->open, "typedef"))
            check_variable(r, f, p->close + 1, p->end); /* struct foo { ... } x; */
        if (p->kind != PART_FUNCTION)
            continue;
        for (size_t at = p->open; at < p->close; at += strlen("static")) {
            at = text_find_word(f->bare, at, p->close, "static");
            if (at < p->close)
                check_variable(r, f, at, at + strcspn(f->bare + at, "={;"));
        }
    }
}

/* The body of a function opens on its own line, as every reader and this program expect. */
static void check_braces(report *r, const source_file *f)
{
    for (size_t i = 0; i < f->part_count; i++) {
        const part *p = &f->parts[i];
        if (p->kind != PART_FUNCTION)
            continue;
        size_t line = source_line_at(f, p->open);
        if (f->lines[line - 1] != p->open)
            complain(r, line, "the brace of a function stands alone in the first column");
    }
}

/* Threads are started in one place. A simd pragma starts none. */
static void check_threads(report *r, const source_file *f)
{
    if (strcmp(f->path, "kernels/parallel.c") == 0)
        return;
    for (size_t line = 0; line < f->line_count; line++) {
        size_t end = f->lines[line + 1];
        size_t at = source_directive(f, line, "pragma");
        if (at > 0 && text_starts_with_word(f->code, at, end, "omp") &&
            !text_has_word(f->code, at, end, "simd"))
            complain(r, line + 1, "OpenMP belongs to kernels/parallel.c");
        at = text_find_word(f->code, f->lines[line], end, "_Pragma");
        if (at < end && text_has_word(f->raw, at, end, "omp") &&
            !text_has_word(f->raw, at, end, "simd"))
            complain(r, line + 1, "OpenMP belongs to kernels/parallel.c");
    }
}

/* What the emulated device replaces has one home, so that it can be replaced. */
static void check_device(report *r, const source_file *f)
{
    if (!is_cuda(f->path) || in_folder(f->path, "kernels/device"))
        return;
    for (size_t line = 0; line < f->line_count; line++) {
        size_t start = f->lines[line], end = f->lines[line + 1];
        const char *launch = strstr(f->code + start, "<<<");
        if (launch && launch < f->code + end)
            complain(r, line + 1, "kernels are launched through the launch macro");
        if (text_has_word(f->code, start, end, "asm"))
            complain(r, line + 1, "PTX stands in the wrappers of kernels/device");
        if (text_has_word(f->code, start, end, "extern") &&
            text_has_word(f->code, start, end, "__shared__"))
            complain(r, line + 1, "dynamic shared memory is taken through its macro");
    }
}

/* The word at 'at', behind blanks and parentheses. */
static void word_at(const source_file *f, size_t at, char word[MAX_NAME_BYTES])
{
    size_t n = 0;
    while (isspace((unsigned char)f->bare[at]) || f->bare[at] == '(')
        at++;
    while (text_is_word(f->bare[at]) && n + 1 < MAX_NAME_BYTES)
        word[n++] = f->bare[at++];
    word[n] = '\0';
}

/* A kernel that is launched early from its own file waits for what was launched earlier. The
 * emulator sees the others, and whether all threads do so. */
static void check_early(report *r, const source_file *f)
{
    static const char launch[] = "AT_LAUNCH_EARLY";
    if (!is_cuda(f->path))
        return;
    for (size_t at = 0; (at = text_find_word(f->bare, at, f->size, launch)) < f->size;) {
        char kernel[MAX_NAME_BYTES], name[MAX_NAME_BYTES];
        at += strlen(launch);
        word_at(f, at, kernel);
        for (size_t i = 0; i < f->part_count; i++) {
            const part *p = &f->parts[i];
            if (p->kind != PART_FUNCTION)
                continue;
            source_function_name(f, p, name);
            if (!strcmp(name, kernel) && text_has_word(f->bare, p->head, p->open, "__global__") &&
                !text_has_word(f->bare, p->open, p->close, "at_wait_for_earlier"))
                complain(r, source_line_at(f, at), "%s is launched early and does not wait", name);
        }
    }
}

/* Launches are made by a template of the struct's name: two of one name share it, silently, and one
 * of them loses part of its arguments. */
static void check_structs(report *r, const source_file *f)
{
    if (!is_cuda(f->path) || !in_folder(f->path, "kernels"))
        return;
    for (size_t i = 0; i < f->part_count; i++) {
        const part *p = &f->parts[i];
        named own = { "", "" };
        if (p->kind != PART_TYPE || !text_starts_with_word(f->bare, p->head, p->open, "struct"))
            continue;
        size_t head = text_find_word(f->bare, p->head, p->open, "struct"), n = 0;
        size_t at = text_skip_blank(f->bare, head + strlen("struct"), p->open);
        while (at < p->open && text_is_word(f->bare[at]) && n + 1 < sizeof own.name)
            own.name[n++] = f->bare[at++];
        snprintf(own.path, sizeof own.path, "%s", f->path);
        for (size_t k = 0; k < r->struct_count; k++)
            if (!strcmp(r->structs[k].name, own.name) && strcmp(r->structs[k].path, own.path))
                complain(r, source_line_at(f, head), "struct %s is another one in %s", own.name,
                         r->structs[k].path);
        named *more = realloc(r->structs, (r->struct_count + 1) * sizeof *more);
        if (!more)
            abort();
        r->structs = more;
        r->structs[r->struct_count++] = own;
    }
}

/* ---- The program -------------------------------------------------------------------------- */

static const check checks[] = {
    { "layers", check_layers },
    { "homes", check_homes },
    { "guard", check_guard },
    { "lines", check_lines },
    { "ending", check_ending },
    { "file-length", check_file_length },
    { "function-length", check_function_length },
    { "banned", check_banned },
    { "library", check_library },
    { "marks", check_marks },
    { "conditionals", check_conditionals },
    { "globals", check_globals },
    { "braces", check_braces },
    { "threads", check_threads },
    { "device", check_device },
    { "early", check_early },
    { "structs", check_structs },
};

static void check_file(report *r, const char *root, const char *path)
{
    source_file f;
    if (!source_read(&f, root, path)) {
        fprintf(stderr, "tidy: cannot read %s/%s (or it is over %d bytes)\n", root, path,
                MAX_FILE_BYTES);
        r->unreadable++;
        return;
    }
    r->files++;
    r->path = path;
    for (size_t i = 0; i < sizeof checks / sizeof *checks; i++) {
        r->check = checks[i].name;
        checks[i].run(r, &f);
    }
    source_free(&f);
}

static bool is_source(const char *name)
{
    static const char *const endings[] = { ".c", ".h", ".cu", ".cuh", ".def", ".inc" };
    for (size_t i = 0; i < sizeof endings / sizeof *endings; i++)
        if (ends_with(name, endings[i]))
            return true;
    return false;
}

/* Hidden entries and the build folder at the root are not ours to judge. */
static bool is_skipped(const char *folder, const char *name)
{
    return name[0] == '.' || (folder[0] == '\0' && strcmp(name, "build") == 0);
}

/* Visits the entries of `folder` (relative to the root, "" for the root) in the order of names. */
static void walk(report *r, const char *root, const char *folder, int depth)
{
    char path[2 * MAX_PATH_BYTES];
    snprintf(path, sizeof path, "%s/%s", root, folder);
    struct dirent **entries = NULL;
    int count = depth < MAX_DEPTH ? scandir(path, &entries, NULL, alphasort) : -1;
    if (count < 0) {
        fprintf(stderr, "tidy: cannot read the folder %s\n", path);
        r->unreadable++;
        return;
    }
    for (int i = 0; i < count; i++) {
        const char *name = entries[i]->d_name;
        char child[MAX_PATH_BYTES];
        struct stat about;
        int n = snprintf(child, sizeof child, "%s%s%s", folder, *folder ? "/" : "", name);
        snprintf(path, sizeof path, "%s/%s", root, child);
        if (is_skipped(folder, name)) {
            /* nothing */
        } else if (n < 0 || (size_t)n >= sizeof child || lstat(path, &about) != 0) {
            fprintf(stderr, "tidy: cannot read %s\n", path);
            r->unreadable++;
        } else if (S_ISDIR(about.st_mode)) {
            walk(r, root, child, depth + 1);
        } else if (S_ISREG(about.st_mode) && is_source(name)) {
            check_file(r, root, child);
        }
        free(entries[i]);
    }
    free(entries);
}

int main(int argc, char **argv)
{
    if (argc > 2 || (argc == 2 && (argv[1][0] == '-' || strlen(argv[1]) >= MAX_PATH_BYTES))) {
        fprintf(stderr, "usage: tidy [ROOT]\n");
        return 2;
    }
    report r = { .files = 0 };
    walk(&r, argc == 2 ? argv[1] : ".", "", 0);
    free(r.structs);
    printf("tidy: %zu complaints in %zu files\n", r.complaints, r.files);
    if (r.files == 0)
        fprintf(stderr, "tidy: there are no sources here\n");
    if (r.unreadable > 0 || r.files == 0)
        return 2;
    return r.complaints > 0;
}
