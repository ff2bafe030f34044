/* Learning which calls an Op makes: only in the launcher's mode `learn`, which the appliance never starts. */
#ifndef SALLYPORT_LEARN_H
#define SALLYPORT_LEARN_H
#include "run.h"

/* In the run's process: the spec's program (the ceiling) becomes one that asks us about what it allows and refuses the rest
   by itself. Ends through die(). */
void learn_rewrite(struct spec *spec);
/* False: no memory. */
bool learn_begin(struct run *run, const struct spec *spec);
void learn_end(struct run *run);
/* Tells the calls that wait, each kind once, and lets them go on. */
void learn_answer(struct loop *loop, struct run *run);
#endif
