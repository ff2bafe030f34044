/* One attempt of the probe (probe.c). */
#ifndef PROBE_H
#define PROBE_H

enum { PROBE_RESULT = 4096 };

struct probe {
	const char *name;
	/* Gets what stands after the colon, or NULL. Leaves its result through say, add or outcome. */
	void (*run)(char *argument);
	/* Killed after so long; 0 = 5. */
	unsigned seconds;
};

extern const struct probe *const probe_tables[];
extern char *probe_result;

void say(const char *text);
/* Appends a word. */
void add(const char *text);
/* "OK", or errno's name when the value is negative. */
void outcome(long value);

extern const struct probe probe_files[];
extern const struct probe probe_processes[];
extern const struct probe probe_kernel[];
extern const struct probe probe_network[];
extern const struct probe probe_facts[];
extern const struct probe probe_rights[];
extern const struct probe probe_ways[];
extern const struct probe probe_bombs[];
extern const struct probe probe_given[];

#endif
