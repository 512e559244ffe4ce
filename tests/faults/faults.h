/* faults.h -- makes one call into the system fail: the n-th of those that our own code makes.
 *
 * The linker sends the calls of calls.def from our objects (not from the libraries they use)
 * through wrap.c, which counts them while armed. */
#ifndef AT_TESTS_FAULTS_FAULTS_H
#define AT_TESTS_FAULTS_FAULTS_H

#include <stdbool.h>

/* The n-th call from now fails, counted from 1; 0: none does. */
void at_faults_arm(long long n);
/* Stops counting; true if a call was made to fail. */
bool at_faults_disarm(void);
/* The name of the call that failed. */
const char *at_faults_name(void);

#endif
