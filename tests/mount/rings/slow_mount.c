/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The slow file system (slow.h) for tests in other languages: prints its directory, then takes orders, a
 * line each: "reads", "opens", "closes", "holes" hold those from now on, "go" holds nothing any
 * more.  Each is answered by the number of requests that are held.  Ends with its standard input.
 */
#include <stdio.h>
#include <string.h>

#include "base/compiler.h"
#include "lib/check.h"
#include "slow.h"

static struct slow slow;

static void obey(const char *order)
{
	static const char *const whats[] = {"reads\n", "opens\n", "closes\n", "holes\n"};

	if (strcmp(order, "go\n") == 0)
		atomic_store(&slow.shared->hold, false);
	for (size_t i = 0; i < array_size(whats); i++) {
		if (strcmp(order, whats[i]) != 0)
			continue;
		atomic_store(&slow.shared->what, (int)i);
		atomic_store(&slow.shared->hold, true);
	}
}

static void serve(void)
{
	char order[16];

	slow_make(&slow);
	printf("%s\n", slow.dir);
	fflush(stdout);
	while (fgets(order, sizeof(order), stdin)) {
		obey(order);
		printf("%d\n", atomic_load(&slow.shared->held));
		fflush(stdout);
	}
	slow_end(&slow);
}

int main(void)
{
	serve();
	return 0;
}
