/* unit.h -- cmocka with what it needs before it. */
#ifndef AT_TESTS_UNIT_H
#define AT_TESTS_UNIT_H

#include <setjmp.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdint.h>

#include <cmocka.h>

#endif
