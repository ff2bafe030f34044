/* Which process of a run made a call: for the report, never for a decision. */
#ifndef SALLYPORT_CALLER_H
#define SALLYPORT_CALLER_H
#include <stdint.h>
#include <sys/types.h>

enum { CALLER_NAME = 16 };

struct caller {
    uint32_t pid;           /* as the run itself numbers it; 0: not known */
    char name[CALLER_NAME]; /* its own choice (PR_SET_NAME); not terminated when full */
};

/* Reads it from our /proc. Whoever asks then has to see that the process still waits: a number is used again. */
void caller_read(pid_t pid, struct caller *out);
#endif
