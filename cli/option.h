/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Options are tables.
 *
 * A verb describes its options once, here: name, kind of value, what the help calls it, its default, a
 * line of help.  The parser, `--help`, the man pages and the completions all read these tables, so
 * that none of them can say something else.
 *
 * A value goes to a member of the verb's options structure, by offset.  That structure begins as all
 * zeroes, and a member whose option was not given stays zero.
 */
#ifndef CLI_OPTION_H
#define CLI_OPTION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

enum option_kind {
	OPTION_FLAG,   /* bool */
	OPTION_TEXT,   /* const char * */
	OPTION_LIST,   /* struct texts; may be given many times */
	OPTION_COUNT,  /* uint64_t */
	OPTION_COUNTS, /* struct texts of counts with commas between them, for grids */
	OPTION_SIZE,   /* uint64_t */
	OPTION_SIZES,  /* struct texts of sizes, likewise */
	OPTION_TIME,   /* int64_t, nanoseconds */
	OPTION_CHOICE, /* int: the number of the choice */
	OPTION_CHOICES /* struct texts of choices, likewise */
};

/* Texts in the order given; the array is owned, the texts are the command line's. */
struct texts {
	char **items;
	size_t count;
};

struct option {
	const char *name;     /* without the dashes; NULL ends a table */
	char letter;          /* "-r", or 0 */
	uint8_t kind;         /* enum option_kind */
	bool positive;        /* COUNT, SIZE, TIME: zero is refused */
	bool power;           /* SIZE: a power of two */
	uint64_t least, most; /* COUNT, SIZE: what can be right at all; 0: anything */
	const char *value;    /* what the help calls the value; NULL for a flag */
	const char *choices;  /* CHOICE: "auto|on|off" */
	const char *bare;    /* CHOICE: what the option means without a value; NULL: it needs one */
	const char *initial; /* what holds where it is not given, for the help; NULL: nothing */
	const char *help;    /* one line, no full stop */
	size_t at;           /* offset of the member, from the base of its set */
};

/* What every context takes (weir/context.h): other numbers are no matter of what is loaded. */
#define LANES_RANGE   .least = 1, .most = 64
#define DEPTH_RANGE   .least = 1, .most = 4096
#define REQUEST_RANGE .least = UINT64_C(4) << 10, .most = UINT64_C(64) << 20, .power = true

/* A table, and where its structure lies within the verb's. */
struct option_set {
	const struct option *options; /* NULL ends the list of sets */
	size_t base;
};

/* The option of that name among all sets, or NULL. */
const struct option *option_find(const struct option_set *sets, const char *name);

/* Does one of the choices have this name?  *out is its number. */
bool option_choice(const char *choices, const char *name, int *out);

/*
 * Reads the command line behind the verb.  Values go into `values`, everything that is no option into
 * *arguments, in order.  False: the command line is wrong and `why` says how.
 */
bool option_parse(const struct option_set *sets, char **argv, void *values, struct texts *arguments,
		  char *why, size_t why_size);

/* Frees what option_parse() allocated in `values`, whether it succeeded or not. */
void option_fini(const struct option_set *sets, void *values);

/* Lists with commas that option_parse() has found to be right. */
bool texts_add(struct texts *texts, char *text);
void texts_fini(struct texts *texts);

#endif
