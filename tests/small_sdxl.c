/* small_sdxl.c -- writes one of the small models of golden/pipelines/models, for tests of programs:
 *
 *     small_sdxl golden/pipelines/models/NAME NAME.h5 */
#include <stdio.h>

#include "tests/shapes/sdxl_file.h"

int main(int argc, char **argv)
{
    at_error err;
    if (argc != 3) {
        fprintf(stderr, "usage: small_sdxl FOLDER FILE.h5\n");
        return 2;
    }
    if (sdxl_file_write(argv[2], argv[1], &err) == AT_OK)
        return 0;
    fprintf(stderr, "%s\n", err.text);
    return 2;
}
