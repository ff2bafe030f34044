/* The end of a process whose set-up step failed. */
#ifndef SALLYPORT_DIE_H
#define SALLYPORT_DIE_H

enum { EXIT_TIMED_OUT = 124, EXIT_SETUP = 125, EXIT_EXEC = 126 };

/* From now on failures go as one packet {'F', u32 errno, step} to this socket instead of stderr. */
void die_to(int fd);
/* Ends this process: the step's name and errno are reported, nothing after it happens. */
_Noreturn void die(const char *step);
_Noreturn void die_errno(const char *step, int error);
/* die(step) when `failed` is not 0. */
void must(int failed, const char *step);
#endif
