/* SPDX-License-Identifier: Apache-2.0 */
#include "help.h"

#include <fcntl.h>
#include <spawn.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

const struct field help_statuses[] = {
	{"0",
	 "Done, and the answer is yes; also where the reader of the output has closed the pipe."},
	{"1",
	 "Done, and the answer is no: a file is malformed, a load failed, a check of doctor that "
	 "was asked for by name fails."},
	{"2", "The command line is wrong."},
	{"128 + n",
	 "Ended after signal n: 130 after Ctrl-C.  The first one cancels, waits for what is "
	 "in flight and removes partial output; a second one ends at once."},
	{NULL, NULL},
};

const struct field help_environment[] = {
	{"WEIR_BUDGET", "A size: all memory of weir's own (staging, buffers handed out and not yet "
			"returned, plans, indexes).  The option --budget overrides it."},
	{"WEIR_DEBUG",
	 "Names of areas with commas between them (or all): the library logs what these do, "
	 "on standard error of the command."},
	{"WEIR_CUFILE",
	 "auto, off or on: may storage write to a GPU by itself, by cuFile? auto: where it can, and was "
	 "measured to be faster than by way of the host's memory. on: wherever its library takes a file."},
	{"WEIR_3FS_LIBRARY",
	 "native or auto: rings of 3FS are driven by weir itself. vendor: by the vendor's library, which is "
	 "loaded; where there is none that can be used, what lies on 3FS is not read, and the error says "
	 "why. doctor and the JSON of load say which it is."},
	{"WEIR_3FS_NODE",
	 "From which NUMA node rings of 3FS, and what is read through them, have their memory: auto (that of "
	 "the thread that asks, while it has room), none, or a number (that one alone)."},
	{"WEIR_3FS_SPIN_US",
	 "For so many microseconds, at most 10000, who waits for a ring of 3FS looks for completions before it "
	 "sleeps: quicker where the daemon is, for a processor that is kept busy (0; not where the process may "
	 "use one processor only)."},
	{"HF3FS_LIB_DIR, LD_LIBRARY_PATH",
	 "Where the vendor's library is looked for, where WEIR_3FS_LIBRARY is vendor."},
	{"HF3FS_USRBIO_DONT_CHECKFS_FOR_MP",
	 "yes: mounts of any type that have a directory 3fs-virt count as mounts of 3FS, not only those "
	 "of type fuse.hf3fs."},
	{NULL, NULL},
};

const struct field help_uris[] = {
	{"/path, path", "A file or directory of this machine. What lies on a 3FS mount is read and "
			"written through its rings."},
	{"file:///path", "The same as a URI, without rings; %20 stands for a space."},
	{"3fs:///path",
	 "A file or directory on a 3FS mount, by the path where it is mounted; an error "
	 "where it is on none, or where its rings cannot be had."},
	{"memory://name",
	 "An object in the memory of one process; for tests and for programs that link "
	 "the library."},
	{NULL, NULL},
};

const struct field help_values[] = {
	{"SIZE",
	 "64KiB, 16MiB, 1GiB are powers of two, 64kB, 16MB, 1.5GB powers of ten; plain numbers "
	 "are bytes."},
	{"TIME", "250ms, 10s, 2min, 1h; plain numbers are seconds."},
	{"GLOB", "As in a shell: * stands for any text, ? for one byte, [a-z] for one of a set."},
	{NULL, NULL},
};

void help_option_text(char *to, size_t size, const struct option *option)
{
	char letter[8] = "";

	if (option->letter)
		snprintf(letter, sizeof(letter), "-%c, ", option->letter);
	if (option->kind == OPTION_FLAG)
		snprintf(to, size, "%s--%s", letter, option->name);
	else if (option->bare)
		snprintf(to, size, "%s--%s[=%s]", letter, option->name, option->value);
	else
		snprintf(to, size, "%s--%s %s", letter, option->name, option->value);
}

static void print_option(FILE *to, const struct option *option)
{
	char text[96];

	help_option_text(text, sizeof(text), option);
	fprintf(to, "  %-26s %s", text, option->help);
	if (option->choices)
		fprintf(to, " (%s)", option->choices);
	if (option->initial)
		fprintf(to, " [%s]", option->initial);
	fputs("\n", to);
}

void help_verb(FILE *to, const struct verb *verb)
{
	fprintf(to, "weir %s: %s\n\nusage: weir %s [OPTIONS] %s\n\noptions:\n", verb->name,
		verb->summary, verb->name, verb->arguments);
	for (size_t set = 0; verb->sets[set].options; set++) {
		/* What every verb has comes last. */
		const struct option_set *next = &verb->sets[set + 1];
		const struct option *option = next->options ? next->options : verb->sets[0].options;

		for (; option->name; option++)
			print_option(to, option);
	}
	fputs("\nexamples:\n", to);
	for (size_t n = 0; n < 2; n++)
		fprintf(to, "  %s\n      %s\n", verb->examples[n].command, verb->examples[n].text);
}

void help_all(FILE *to)
{
	fputs("weir: moves tensors from where they are kept to where they are needed\n\n"
	      "usage: weir VERB [OPTIONS] ARGUMENTS\n\nverbs:\n",
	      to);
	for (const struct verb *const *verb = verbs; *verb; verb++)
		fprintf(to, "  %-12s %s\n", (*verb)->name, (*verb)->summary);
	fputs("\n  weir VERB --help    the options of a verb, and two examples\n"
	      "  weir help VERB      its man page\n"
	      "  weir --version      the version, and which optional parts were found\n",
	      to);
}

void help_page_name(char *to, size_t size, const struct verb *verb)
{
	snprintf(to, size, "weir%s%s", verb ? "-" : "", verb ? verb->name : "");
	for (char *at = to; *at; at++) {
		if (*at == ' ')
			*at = '-';
	}
}

/* Does man know this page?  What it says about that is nobody's business. */
static bool man_knows(char *name)
{
	char *argv[] = {(char[]){"man"}, (char[]){"-w"}, name, NULL};
	posix_spawn_file_actions_t actions;
	pid_t pid;
	int status = -1, ret;

	if (posix_spawn_file_actions_init(&actions) != 0)
		return false;
	posix_spawn_file_actions_addopen(&actions, STDOUT_FILENO, "/dev/null", O_WRONLY, 0);
	posix_spawn_file_actions_addopen(&actions, STDERR_FILENO, "/dev/null", O_WRONLY, 0);
	ret = posix_spawnp(&pid, "man", &actions, NULL, argv, environ);
	posix_spawn_file_actions_destroy(&actions);
	if (ret != 0 || waitpid(pid, &status, 0) != pid)
		return false;
	return WIFEXITED(status) && WEXITSTATUS(status) == 0;
}

/*
 * man itself shows the page.  Where it is not there at all, or does not know the page (an installation
 * without manuals, a build tree), the help says the same in fewer words.
 */
int help_page(const struct verb *verb)
{
	char name[64];

	help_page_name(name, sizeof(name), verb);
	if (man_knows(name))
		execlp("man", "man", name, (char *)NULL);
	if (verb)
		help_verb(stdout, verb);
	else
		help_all(stdout);
	return 0;
}
