/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/leaks.h"

#include <dirent.h>
#include <fcntl.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "lib/check.h"

#define WAITS   3000
#define WAIT_NS 1000000

/* Entries of a directory of /proc; of those that are links to `target`, where that is given. */
static int count_entries(const char *path, const char *target)
{
	DIR *dir = opendir(path);
	struct dirent *entry;
	int count = 0;

	check(dir);
	while ((entry = readdir(dir))) {
		char link[256];
		ssize_t len;

		if (entry->d_name[0] == '.')
			continue;
		len = target ? readlinkat(dirfd(dir), entry->d_name, link, sizeof(link) - 1) : 0;
		if (target && len < 0)
			continue;
		link[len] = '\0';
		count += !target || strcmp(link, target) == 0;
	}
	closedir(dir);
	return count;
}

void leaks_take(struct leaks *out)
{
	out->descriptors = count_entries("/proc/self/fd", NULL);
	out->rings = count_entries("/proc/self/fd", "anon_inode:[io_uring]");
	out->threads = count_entries("/proc/self/task", NULL);
	out->allocations = fail_alloc_live();
	out->mapped_bytes = fail_mapped_bytes();
}

static bool more(const struct leaks *before, const struct leaks *after)
{
	return after->descriptors > before->descriptors || after->threads > before->threads ||
	       after->allocations > before->allocations ||
	       after->mapped_bytes > before->mapped_bytes;
}

static void compare(const struct leaks *before, const char *what, bool mapped)
{
	struct leaks after;

	for (unsigned i = 0; i < WAITS; i++) {
		leaks_take(&after);
		if (!mapped)
			after.mapped_bytes = before->mapped_bytes;
		if (!more(before, &after))
			return;
		nanosleep(&(struct timespec){.tv_nsec = WAIT_NS}, NULL);
	}
	check_failed(__FILE__, __LINE__,
		     "%s: left behind: %d descriptors (%d rings), %d threads, %jd allocations, "
		     "%jd mapped bytes",
		     what, after.descriptors - before->descriptors, after.rings - before->rings,
		     after.threads - before->threads,
		     (intmax_t)(after.allocations - before->allocations),
		     (intmax_t)(after.mapped_bytes - before->mapped_bytes));
}

void leaks_check(const struct leaks *before, const char *what)
{
	compare(before, what, true);
}

void leaks_check_call(const struct leaks *before, enum fail_call call)
{
	compare(before, fail_call_name(call), call != FAIL_munmap);
}
