/* checkpoint_params_test.c -- parameters from a checkpoint: all that were asked for, or none. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "engine/checkpoint_params.h"
#include "tests/unit.h"

enum { PATH_ROOM = 64, ROWS = 6, COLUMNS = 5 };

typedef struct setting {
    char folder[PATH_ROOM], file[PATH_ROOM * 2];
    at_device *device;
    at_params *params;
    at_checkpoint *checkpoint;
    float values[ROWS * COLUMNS];
} setting;

static void add(at_tensors *list, const char *name, int64_t rows)
{
    at_error err;
    const int64_t size[] = { rows, COLUMNS };
    at_stored_tensor t = { .size = size,
                           .bytes = (uint64_t)rows * COLUMNS * sizeof(float),
                           .type = AT_STORED_F32,
                           .rank = 2 };
    assert_int_equal(at_tensors_add(list, &t, name, strlen(name), &err), AT_OK);
}

/* "whole" of ROWS rows, and its first and its other rows as "first" and "others". */
static int setup(void **state)
{
    setting *s = calloc(1, sizeof *s);
    at_error err;
    at_tensors list = { 0 };
    at_checkpoint_writer *w;
    snprintf(s->folder, sizeof s->folder, "/tmp/atelier-params-XXXXXX");
    assert_non_null(mkdtemp(s->folder));
    snprintf(s->file, sizeof s->file, "%s/file.h5", s->folder);
    for (int i = 0; i < ROWS * COLUMNS; i++)
        s->values[i] = (float)i + 0.5f;
    add(&list, "whole", ROWS);
    add(&list, "first", 1);
    add(&list, "others", ROWS - 1);
    assert_int_equal(at_tensors_finish(&list, &err), AT_OK);
    assert_int_equal(at_checkpoint_writer_new(&w, s->file, &list, &err), AT_OK);
    for (int i = 0; i < list.count; i++)
        assert_int_equal(at_checkpoint_write(w, i, 0, s->values + (i == 2) * COLUMNS,
                                             (size_t)list.items[i].bytes, &err),
                         AT_OK);
    assert_int_equal(at_checkpoint_writer_finish(w, &err), AT_OK);
    at_checkpoint_writer_free(w);
    at_tensors_free(&list);
    assert_int_equal(at_checkpoint_open(&s->checkpoint, s->file, NULL, &err), AT_OK);
    assert_int_equal(at_device_open(&s->device, "cpu", &(at_device_options){ .threads = 1 }, &err),
                     AT_OK);
    s->params = at_params_new(s->device);
    *state = s;
    return 0;
}

static int teardown(void **state)
{
    setting *s = *state;
    at_params_free(s->params);
    at_device_close(s->device);
    at_checkpoint_close(s->checkpoint);
    unlink(s->file);
    rmdir(s->folder);
    free(s);
    return 0;
}

static at_param *add_param(setting *s, const char *name, at_dtype dtype, int64_t rows)
{
    at_error err;
    at_param *p =
        at_params_add(s->params, name, dtype, 2, (const int64_t[]){ rows, COLUMNS }, &err);
    assert_non_null(p);
    return p;
}

static void holds(setting *s, at_param *p, float scale)
{
    float found[ROWS * COLUMNS];
    at_param_download(s->params, p, found);
    for (int i = 0; i < ROWS * COLUMNS; i++)
        assert_true(found[i] == scale * s->values[i]);
}

static void a_parameter_gets_its_tensor(void **state)
{
    setting *s = *state;
    at_error err = { 0 };
    at_param *p = add_param(s, "whole", AT_F32, ROWS);
    uint64_t version = at_param_version(p);
    assert_int_equal(at_params_load(s->params, s->checkpoint, &err), AT_OK);
    holds(s, p, 1);
    assert_true(at_param_version(p) > version);
}

static void slices_bring_their_storage(void **state)
{
    setting *s = *state;
    at_error err = { 0 };
    at_param *p = add_param(s, "both", AT_F32, ROWS);
    at_params_slice(s->params, "first", p, 0, 1);
    assert_int_equal(at_params_load(s->params, s->checkpoint, &err), AT_NOT_FOUND);
    holds(s, p, 0); /* five rows would be missing */
    at_params_slice(s->params, "others", p, 1, ROWS - 1);
    assert_int_equal(at_params_load(s->params, s->checkpoint, &err), AT_OK);
    holds(s, p, 1);
}

/* A tensor that the model computes from in parts; the parts need no tensors of their own. */
static void a_joined_one_brings_its_parts(void **state)
{
    enum { LEFT = 2 };
    setting *s = *state;
    at_error err = { 0 };
    const int64_t left[] = { ROWS, LEFT }, right[] = { ROWS, COLUMNS - LEFT };
    at_param *parts[] = { at_params_add(s->params, "left", AT_F32, 2, left, &err),
                          at_params_add(s->params, "right", AT_F32, 2, right, &err) };
    const uint64_t version = at_param_version(parts[1]);
    assert_int_equal(at_params_load(s->params, s->checkpoint, &err), AT_NOT_FOUND);
    at_param *p = at_params_join(s->params, "whole", parts, 2);
    assert_int_equal(at_params_load(s->params, s->checkpoint, &err), AT_OK);
    holds(s, p, 1);
    float found[ROWS * COLUMNS];
    at_param_download(s->params, parts[1], found);
    for (int r = 0; r < ROWS; r++)
        for (int c = LEFT; c < COLUMNS; c++)
            assert_true(found[r * (COLUMNS - LEFT) + c - LEFT] == s->values[r * COLUMNS + c]);
    assert_true(at_param_version(parts[1]) > version);
    assert_int_equal(at_params_bytes(s->params), ROWS * COLUMNS * sizeof(float));
}

static void what_does_not_fit_changes_nothing(void **state)
{
    setting *s = *state;
    at_error err = { 0 };
    at_param *p = add_param(s, "whole", AT_F32, ROWS);
    add_param(s, "first", AT_F32, 2);
    assert_int_equal(at_params_load(s->params, s->checkpoint, &err), AT_INVALID);
    assert_string_equal(err.text, "parameter 'first': expected f32 2x5, found f32 1x5");
    holds(s, p, 0);
}

static void another_type_is_refused(void **state)
{
    setting *s = *state;
    at_error err = { 0 };
    add_param(s, "whole", AT_I32, ROWS);
    assert_int_equal(at_params_load(s->params, s->checkpoint, &err), AT_INVALID);
    assert_string_equal(err.text, "parameter 'whole': expected i32 6x5, found f32 6x5");
}

/* On the cpu a tensor is used where the file is mapped; a slice of it too. */
static void a_tensor_is_used_in_place(void **state)
{
    setting *s = *state;
    at_error err = { 0 };
    at_param *p = at_params_from(s->params, s->checkpoint, "whole", &err);
    assert_non_null(p);
    int i = at_tensors_find(at_checkpoint_list(s->checkpoint), "whole");
    assert_ptr_equal(p->view.data, at_checkpoint_data(s->checkpoint, i, &err));
    assert_int_equal(at_params_bytes(s->params), 0);
    at_param *slice = at_params_slice(s->params, "slice", p, 2, 1);
    assert_true(((const float *)slice->view.data)[0] == s->values[2 * COLUMNS]);
    holds(s, p, 1);
    assert_null(at_params_from(s->params, s->checkpoint, "nothing", &err));
    assert_int_equal(err.status, AT_NOT_FOUND);
}

/* A device with memory of its own gets a copy. */
static void elsewhere_it_is_copied(void **state)
{
    setting *s = *state;
    at_error err = { 0 };
    at_device_api api = at_device_cpu;
    at_device *device;
    api.uses_host_memory = false;
    assert_int_equal(at_device_open_api(&device, &api, NULL, &err), AT_OK);
    at_params *params = at_params_new(device);
    at_param *p = at_params_from(params, s->checkpoint, "whole", &err);
    assert_non_null(p);
    int i = at_tensors_find(at_checkpoint_list(s->checkpoint), "whole");
    assert_ptr_not_equal(p->view.data, at_checkpoint_data(s->checkpoint, i, &err));
    assert_int_equal(at_params_bytes(params), sizeof s->values);
    assert_memory_equal(p->view.data, s->values, sizeof s->values);
    at_params_free(params);
    at_device_close(device);
}

int main(void)
{
    const struct CMUnitTest tests[] = {
        cmocka_unit_test_setup_teardown(a_parameter_gets_its_tensor, setup, teardown),
        cmocka_unit_test_setup_teardown(slices_bring_their_storage, setup, teardown),
        cmocka_unit_test_setup_teardown(a_joined_one_brings_its_parts, setup, teardown),
        cmocka_unit_test_setup_teardown(what_does_not_fit_changes_nothing, setup, teardown),
        cmocka_unit_test_setup_teardown(another_type_is_refused, setup, teardown),
        cmocka_unit_test_setup_teardown(a_tensor_is_used_in_place, setup, teardown),
        cmocka_unit_test_setup_teardown(elsewhere_it_is_copied, setup, teardown),
    };
    return cmocka_run_group_tests(tests, NULL, NULL);
}
