/* threads.h -- how the team of threads waits. */
#ifndef AT_CLI_THREADS_H
#define AT_CLI_THREADS_H

/* Makes idle threads sleep soon, unless the user has said otherwise: starts the program anew once,
 * with the setting in its environment. Before anything else in main(). */
void at_threads_settle(char **argv);
/* What idle threads do, in words, and which setting says so. */
void at_threads_describe(char *text, unsigned long text_size);

#endif
