/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The command line of weir-mount: options in, a checked struct out.
 *
 *	weir-mount [OPTIONS] SOURCE DIR
 *
 * All of them are parsed here, those of the rings and of the daemon's life too: they are handed on.
 * Strings are borrowed from argv.
 */
#ifndef MOUNT_OPTIONS_H
#define MOUNT_OPTIONS_H

#include <stdbool.h>
#include <stdint.h>

#include "weir/error.h"

struct options {
	const char *source; /* a directory: a path, or file:///path */
	const char *dir;    /* the mount point, or /dev/fd/N */

	bool read_write;
	bool direct_io;   /* every read and write reaches us, past the kernel's cache */
	bool passthrough; /* where the kernel has it; off: --passthrough=off */
	bool allow_other; /* the system profile has it by default */
	bool nonempty;    /* mount over what is there */
	bool strict;      /* --ring-batch=strict */
	bool each_alone;  /* --ring-gather=off */
	int64_t ring_spin_ns;
	bool foreground;
	bool json;

	unsigned threads;
	uint64_t budget_bytes; /* 0: the library's default */
	int64_t watchdog_ns; /* readers are freed after this long without progress; 0: no watchdog */
	int64_t shutdown_ns;
	const char *log;        /* a file; NULL: standard error */
	const char *ready_file; /* appears when the mount answers; NULL: none */
};

enum options_answer { /* done: --help or --version was answered */
	OPTIONS_RUN,
	OPTIONS_DONE
};

/* WEIR_ARG, with a line that says what is wrong. */
int options_parse(struct options *out, int argc, char **argv, enum options_answer *answer,
		  struct weir_error *err);

#endif
