/*
 * Runs inside a sandbox and tries what an Op must not be able to do. Each argument is one attempt, "name" or
 * "name:argument"; for each one line "attempt<TAB>result": OK, an errno's name, a signal's name, or a fact.
 * It judges nothing: what the result must be stands where it is asked (src/exec/battery.ts, test/containment).
 */
#define _GNU_SOURCE
#include "probe.h"

#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/wait.h>
#include <unistd.h>

char *probe_result;

void say(const char *text) { snprintf(probe_result, PROBE_RESULT, "%s", text); }

void add(const char *text)
{
	size_t used = strlen(probe_result);
	snprintf(probe_result + used, PROBE_RESULT - used, "%s%s", used ? " " : "", text);
}

void outcome(long value)
{
	const char *name = value < 0 ? strerrorname_np(errno) : "OK";
	say(name ? name : "E?");
}

static const struct probe *find(const char *attempt)
{
	size_t length = strcspn(attempt, ":");
	for (const struct probe *const *table = probe_tables; *table; table++)
		for (const struct probe *p = *table; p->name; p++)
			if (strlen(p->name) == length && strncmp(p->name, attempt, length) == 0)
				return p;
	return NULL;
}

static void attempt(char *text)
{
	const struct probe *probe = find(text);
	char *argument = strchr(text, ':');
	memset(probe_result, 0, PROBE_RESULT);
	if (!probe) {
		say("UNKNOWN");
		return;
	}
	/* A child each: the filter may kill it, and what it changed of itself must not help the next attempt. */
	pid_t child = fork();
	if (child == 0) {
		alarm(probe->seconds ? probe->seconds : 5);
		probe->run(argument ? argument + 1 : argument);
		_exit(0);
	}
	int status = 0;
	if (child < 0)
		outcome(-1);
	else if (waitpid(child, &status, 0) == child && WIFSIGNALED(status)) {
		const char *name = sigabbrev_np(WTERMSIG(status));
		snprintf(probe_result, PROBE_RESULT, "SIG%s", name ? name : "?");
	}
}

int main(int argc, char **argv)
{
	probe_result = mmap(NULL, PROBE_RESULT, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
	if (probe_result == MAP_FAILED)
		return 1;
	setvbuf(stdout, NULL, _IONBF, 0);
	for (int i = 1; i < argc; i++) {
		attempt(argv[i]);
		if (printf("%s\t%s\n", argv[i], probe_result) < 0)
			return 1;
	}
	return 0;
}
