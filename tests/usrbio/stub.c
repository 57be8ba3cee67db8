/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stub's commands.  Each is a line; each is answered by a line, "ok" or what was asked for.
 *
 *     fault KIND VALUE [COUNT [AFTER]]   the next COUNT (1; -1: all) completions, after sparing AFTER
 *     fault none                         no fault any more
 *     batch on|off      one batch for all that is queued, published when all of it is done
 *     hold on|off       nothing is taken and nothing published while on
 *     jitter MS         each batch takes up to MS at random
 *     late MS           batches: the places of requests are free again so long after the answers
 *     slow MS           each read of POSIX takes so long
 *     refuse ERRNO      SYMLINK fails; 0: no longer
 *     magic on|off      whether the ioctls are answered
 *     doorbell [TEXT]   what the submit links say; nothing: the truth
 *     restart           new semaphores, no name known: what clients see after a restart
 *     keys              the names, with a space between them
 *     state             counters as JSON, then how many complaints
 *     complaints        what clients did wrong, joined by " | ", and forgets it
 *
 * At the end of standard input the daemon unmounts and ends.
 */
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stub.h"

struct stub stub;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

void stub_lock(void)
{
	pthread_mutex_lock(&lock);
}

void stub_unlock(void)
{
	pthread_mutex_unlock(&lock);
}

void stub_complain(const char *format, ...)
{
	size_t used = strlen(stub.complaints);
	va_list values;
	va_start(values, format);
	if (used + 300 < sizeof(stub.complaints)) {
		if (used)
			used += (size_t)sprintf(stub.complaints + used, " | ");
		vsnprintf(stub.complaints + used, 300, format, values);
	}
	va_end(values);
}

static const char *set_fault(const char *text)
{
	static const char *const names[FAULT_KINDS] = {
		[FAULT_INDEX] = "index", [FAULT_USERDATA] = "userdata", [FAULT_RESULT] = "result",
		[FAULT_ADD] = "add",     [FAULT_TWICE] = "twice",       [FAULT_LOSE] = "lose",
		[FAULT_SHORT] = "short", [FAULT_NOPOST] = "nopost",     [FAULT_HEAD] = "head",
		[FAULT_TAIL] = "tail",   [FAULT_DELAY] = "delay",       [FAULT_DIE] = "die",
		[FAULT_STOP] = "stop",
	};
	char name[16] = "";
	long long value = 0;
	long count = 1, after = 0;
	if (sscanf(text, "%15s %lli %ld %ld", name, &value, &count, &after) < 1)
		return "which?";
	if (!strcmp(name, "none")) {
		memset(stub.faults, 0, sizeof(stub.faults));
		return "ok";
	}
	for (int i = 0; i < FAULT_KINDS; i++)
		if (!strcmp(name, names[i])) {
			stub.faults[i] = (struct fault){true, value, count, after};
			return "ok";
		}
	return "no such fault";
}

static const char *list(char *out, size_t size)
{
	size_t used = 0;
	out[0] = 0;
	for (struct object *o = stub.objects; o && used + 300 < size; o = o->next)
		used += (size_t)snprintf(out + used, size - used, "%s%s", used ? " " : "", o->key);
	return out;
}

static const char *state(char *out, size_t size)
{
	unsigned rings = 0, iovs = 0;
	for (struct object *o = stub.objects; o; o = o->next)
		*(o->ring ? &rings : &iovs) += 1;
	snprintf(
		out, size,
		"{\"rings\": %u, \"iovs\": %u, \"claims\": %lu, \"completions\": %lu, \"posts\": %lu, "
		"\"keys_made\": %lu, \"keys_removed\": %lu, \"unknown_unlinks\": %lu, \"complaints\": %d}",
		rings, iovs, stub.counts.claims, stub.counts.completions, stub.counts.posts_seen,
		stub.counts.keys_made, stub.counts.keys_removed, stub.counts.unknown_unlinks,
		stub.complaints[0] != 0);
	return out;
}

static const char *restart(void)
{
	objects_forget();
	doorbells_remove();
	return doorbells_make() ? "no semaphores" : "ok";
}

static const char *complaints(char *out, size_t size)
{
	snprintf(out, size, "%s", stub.complaints);
	stub.complaints[0] = 0;
	return out;
}

static const char *carry_out(const char *line)
{
	static char out[1 << 16];
	char verb[16] = "";
	int at = 0;
	sscanf(line, "%15s %n", verb, &at);
	const char *rest = line + at;
	if (!strcmp(verb, "fault"))
		return set_fault(rest);
	if (!strcmp(verb, "keys"))
		return list(out, sizeof(out));
	if (!strcmp(verb, "state"))
		return state(out, sizeof(out));
	if (!strcmp(verb, "restart"))
		return restart();
	if (!strcmp(verb, "complaints"))
		return complaints(out, sizeof(out));
	if (!strcmp(verb, "batch"))
		stub.batching = !strcmp(rest, "on");
	else if (!strcmp(verb, "hold"))
		stub.held = !strcmp(rest, "on");
	else if (!strcmp(verb, "magic"))
		stub.no_magic = !strcmp(rest, "off");
	else if (!strcmp(verb, "jitter"))
		stub.jitter_ms = atol(rest);
	else if (!strcmp(verb, "late"))
		stub.late_ms = atol(rest);
	else if (!strcmp(verb, "slow"))
		stub.slow_ms = atol(rest);
	else if (!strcmp(verb, "refuse"))
		stub.refuse_symlink = atoi(rest);
	else if (!strcmp(verb, "doorbell"))
		snprintf(stub.doorbell, sizeof(stub.doorbell), "%s", rest);
	else
		return "no such command";
	return "ok";
}

static void *listen(void *unused)
{
	char line[1024];
	while (fgets(line, sizeof(line), stdin)) {
		line[strcspn(line, "\n")] = 0;
		stub_lock();
		const char *answer = carry_out(line);
		puts(answer);
		fflush(stdout);
		stub_unlock();
	}
	kill(getpid(), SIGTERM);
	return unused;
}

int main(int argc, char **argv)
{
	pthread_t thread;
	if (argc < 3) {
		fprintf(stderr, "usage: stub-server DIR MOUNT [COMMAND...]\n");
		return 2;
	}
	stub.dir = argv[1];
	stub.dir_fd = open(stub.dir, O_RDONLY | O_DIRECTORY);
	if (stub.dir_fd < 0) {
		perror(stub.dir);
		return 1;
	}
	for (int i = 3; i < argc; i++)
		if (strcmp(carry_out(argv[i]), "ok") != 0)
			return 2;
	if (pthread_create(&thread, NULL, listen, NULL))
		return 1;
	int status = fuse_serve(argv[2]);
	doorbells_remove();
	return status;
}
