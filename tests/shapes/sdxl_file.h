/* sdxl_file.h -- model files of Stable Diffusion XL's kind, made from a folder of configurations as
 * diffusers writes it: the folder's texts, and for every weight that they ask for numbers that
 * follow from its name, PART.NAME. tests/reference/pipeline_models.py makes the same ones for
 * torch. */
#ifndef AT_TESTS_SHAPES_SDXL_FILE_H
#define AT_TESTS_SHAPES_SDXL_FILE_H

#include "kernels/base.h"

at_status sdxl_file_write(const char *path, const char *folder, at_error *err);

#endif
