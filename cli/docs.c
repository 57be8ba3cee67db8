/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir-docs: the program that writes man pages and completions while weir is built.
 *
 *	weir-docs PAGE      "weir.1", "weir-load.1", "weir.7", "bash", "zsh": to standard output
 *	weir-docs --list    the pages there are
 */
#include <string.h>

#include "help.h"
#include "manual.h"

static const struct fixed {
	const char *name;
	void (*write)(FILE *to);
} fixed[] = {
	{"weir.1", manual_weir},
	{"weir.7", manual_miscellany},
	{"bash", completion_bash},
	{"zsh", completion_zsh},
};

static int list(void)
{
	for (const struct verb *const *verb = verbs; *verb; verb++) {
		char name[64];

		help_page_name(name, sizeof(name), *verb);
		printf("%s.1\n", name);
	}
	puts("weir.1\nweir.7");
	return 0;
}

static int write_page(const char *page)
{
	for (size_t n = 0; n < sizeof(fixed) / sizeof(fixed[0]); n++) {
		if (strcmp(page, fixed[n].name) == 0) {
			fixed[n].write(stdout);
			return 0;
		}
	}
	for (const struct verb *const *verb = verbs; *verb; verb++) {
		char name[64];
		size_t len;

		help_page_name(name, sizeof(name), *verb);
		len = strlen(name);
		if (strncmp(page, name, len) == 0 && strcmp(page + len, ".1") == 0) {
			manual_verb(stdout, *verb);
			return 0;
		}
	}
	fprintf(stderr, "weir-docs: there is no page '%s'\n", page);
	return 1;
}

int main(int argc, char **argv)
{
	if (argc == 2 && strcmp(argv[1], "--list") == 0)
		return list();
	return argc == 2 ? write_page(argv[1]) : 2;
}
