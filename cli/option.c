/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The parser of the command line: `--name value`, `--name=value`, `-n`, and `--` before what is never an
 * option.  Options and arguments may mix.  Names are never abbreviated: what a script wrote today must
 * not become ambiguous by an option of tomorrow.
 */
#include "option.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "values.h"

struct parse {
	const struct option_set *sets;
	char **argv; /* what is left */
	char *values;
	char *why;
	size_t why_size;
};

#define REFUSE(parse, ...) (snprintf((parse)->why, (parse)->why_size, __VA_ARGS__), false)

bool texts_add(struct texts *texts, char *text)
{
	/* Grows by doubling: full where the count is a power of two. */
	if ((texts->count & (texts->count - 1)) == 0) {
		size_t room = texts->count ? texts->count * 2 : 1;
		char **items = reallocarray(texts->items, room, sizeof(*items));

		if (!items)
			return false;
		texts->items = items;
	}
	texts->items[texts->count++] = text;
	return true;
}

void texts_fini(struct texts *texts)
{
	free(texts->items);
	texts->items = NULL;
	texts->count = 0;
}

bool option_choice(const char *choices, const char *name, int *out)
{
	size_t len = strlen(name);
	int n = 0;

	for (const char *at = choices; at; n++) {
		size_t span = strcspn(at, "|");

		if (span == len && memcmp(at, name, len) == 0) {
			*out = n;
			return true;
		}
		at = at[span] ? at + span + 1 : NULL;
	}
	return false;
}

static const struct option *find(const struct option_set *sets, const char *name, size_t len,
				 size_t *base)
{
	for (const struct option_set *set = sets; set->options; set++) {
		for (const struct option *option = set->options; option->name; option++) {
			if (strlen(option->name) == len && memcmp(option->name, name, len) == 0) {
				*base = set->base;
				return option;
			}
		}
	}
	return NULL;
}

static const struct option *find_letter(const struct option_set *sets, char letter, size_t *base)
{
	for (const struct option_set *set = sets; set->options; set++) {
		for (const struct option *option = set->options; option->name; option++) {
			if (option->letter == letter) {
				*base = set->base;
				return option;
			}
		}
	}
	return NULL;
}

const struct option *option_find(const struct option_set *sets, const char *name)
{
	size_t base;

	return find(sets, name, strlen(name), &base);
}

/* How many letters have to change between two words; words longer than the table are far apart. */
static size_t distance(const char *a, size_t a_len, const char *b)
{
	size_t row[32], b_len = strlen(b);

	if (a_len >= 32 || b_len >= 32)
		return SIZE_MAX;
	for (size_t j = 0; j <= b_len; j++)
		row[j] = j;
	for (size_t i = 1; i <= a_len; i++) {
		size_t corner = row[0];

		row[0] = i;
		for (size_t j = 1; j <= b_len; j++) {
			size_t change = corner + (a[i - 1] != b[j - 1]);
			size_t step = (row[j] < row[j - 1] ? row[j] : row[j - 1]) + 1;

			corner = row[j];
			row[j] = change < step ? change : step;
		}
	}
	return row[b_len];
}

static bool refuse_unknown(struct parse *parse, const char *name, size_t len)
{
	const char *best = NULL;
	size_t best_distance = 3;

	for (const struct option_set *set = parse->sets; set->options; set++) {
		for (const struct option *option = set->options; option->name; option++) {
			size_t d = distance(name, len, option->name);

			if (d < best_distance) {
				best = option->name;
				best_distance = d;
			}
		}
	}
	if (best)
		return REFUSE(parse, "there is no option --%.*s; did you mean --%s?", (int)len,
			      name, best);
	return REFUSE(parse, "there is no option --%.*s", (int)len, name);
}

static bool in_range(const struct option *option, uint64_t number)
{
	return number >= option->least && (!option->most || number <= option->most) &&
	       (number || !option->positive) && (!option->power || !(number & (number - 1)));
}

static bool is_value(const struct option *option, const char *text)
{
	uint64_t number;
	int64_t time_ns;
	int choice;

	switch (option->kind) {
	case OPTION_COUNT:
	case OPTION_COUNTS:
		return value_count(text, &number) && in_range(option, number);
	case OPTION_SIZE:
	case OPTION_SIZES:
		return value_size(text, &number) && in_range(option, number);
	case OPTION_TIME:
		return value_time(text, &time_ns) && (time_ns || !option->positive);
	case OPTION_CHOICE:
	case OPTION_CHOICES:
		return option_choice(option->choices, text, &choice);
	default:
		return true;
	}
}

static const char *kind_text(const struct option *option)
{
	switch (option->kind) {
	case OPTION_COUNT:
	case OPTION_COUNTS:
		return option->positive ? "a number above zero" : "a number";
	case OPTION_SIZE:
	case OPTION_SIZES:
		return option->positive ? "a size above zero, such as 512KiB or 1.5GB"
					: "a size, such as 512KiB or 1.5GB";
	case OPTION_TIME:
		return "a time, such as 250ms or 10s";
	default:
		return option->choices;
	}
}

static bool refuse_range(struct parse *parse, const struct option *option, const char *text)
{
	bool size = option->kind == OPTION_SIZE || option->kind == OPTION_SIZES;
	char least[VALUE_MAX], most[VALUE_MAX];

	if (size)
		return REFUSE(parse, "option --%s: '%.64s' is not a %s from %s to %s", option->name,
			      text, option->power ? "power of two" : "size",
			      value_print_exact(least, option->least),
			      value_print_exact(most, option->most));
	return REFUSE(parse, "option --%s: '%.64s' is not a number from %" PRIu64 " to %" PRIu64,
		      option->name, text, option->least, option->most);
}

static bool refuse_value(struct parse *parse, const struct option *option, const char *text)
{
	if (option->most)
		return refuse_range(parse, option, text);
	return REFUSE(parse, "option --%s: '%.64s' is not %s%s", option->name, text,
		      option->choices ? "one of " : "", kind_text(option));
}

/* "a,b,c": the text is the command line's, so that it may be cut in place. */
static bool store_many(struct parse *parse, const struct option *option, void *to, char *text)
{
	for (char *next; text; text = next) {
		next = strchr(text, ',');
		if (next)
			*next++ = '\0';
		if (!is_value(option, text))
			return refuse_value(parse, option, text);
		if (!texts_add(to, text))
			return REFUSE(parse, "out of memory");
	}
	return true;
}

static bool store(struct parse *parse, const struct option *option, size_t base, char *text)
{
	void *to = parse->values + base + option->at;

	if (option->kind == OPTION_COUNTS || option->kind == OPTION_SIZES ||
	    option->kind == OPTION_CHOICES)
		return store_many(parse, option, to, text);
	if (!is_value(option, text))
		return refuse_value(parse, option, text);
	switch (option->kind) {
	case OPTION_TEXT:
		memcpy(to, &text, sizeof(text));
		return true;
	case OPTION_LIST:
		return texts_add(to, text) || REFUSE(parse, "out of memory");
	case OPTION_COUNT:
		return value_count(text, to);
	case OPTION_SIZE:
		return value_size(text, to);
	case OPTION_TIME:
		return value_time(text, to);
	default:
		return option_choice(option->choices, text, to);
	}
}

static bool parse_long(struct parse *parse, char *text)
{
	size_t len = strcspn(text, "="), base;
	char *value = text[len] ? text + len + 1 : NULL;
	const struct option *option = find(parse->sets, text, len, &base);

	if (!option)
		return refuse_unknown(parse, text, len);
	if (option->kind == OPTION_FLAG) {
		if (value)
			return REFUSE(parse, "option --%s takes no value", option->name);
		*(bool *)(parse->values + base + option->at) = true;
		return true;
	}
	if (!value && option->bare)
		return option_choice(option->choices, option->bare,
				     (int *)(void *)(parse->values + base + option->at));
	if (!value)
		value = *parse->argv ? *parse->argv++ : NULL;
	if (!value)
		return REFUSE(parse, "option --%s needs a value: %s", option->name, option->value);
	return store(parse, option, base, value);
}

/* "-r", "-r0": letters stand for flags only. */
static bool parse_letters(struct parse *parse, const char *text)
{
	for (; *text; text++) {
		size_t base;
		const struct option *option = find_letter(parse->sets, *text, &base);

		if (!option || option->kind != OPTION_FLAG)
			return REFUSE(parse, "there is no option -%c", *text);
		*(bool *)(parse->values + base + option->at) = true;
	}
	return true;
}

bool option_parse(const struct option_set *sets, char **argv, void *values, struct texts *arguments,
		  char *why, size_t why_size)
{
	struct parse parse = {sets, argv, values, why, why_size};
	bool only_arguments = false;

	while (*parse.argv) {
		char *text = *parse.argv++;
		bool fine;

		if (only_arguments || text[0] != '-' || text[1] == '\0') {
			fine = texts_add(arguments, text) || REFUSE(&parse, "out of memory");
		} else if (strcmp(text, "--") == 0) {
			only_arguments = fine = true;
		} else {
			fine = text[1] == '-' ? parse_long(&parse, text + 2)
					      : parse_letters(&parse, text + 1);
		}
		if (!fine)
			return false;
	}
	return true;
}

static bool is_list(const struct option *option)
{
	return option->kind == OPTION_LIST || option->kind == OPTION_COUNTS ||
	       option->kind == OPTION_SIZES || option->kind == OPTION_CHOICES;
}

void option_fini(const struct option_set *sets, void *values)
{
	for (const struct option_set *set = sets; set->options; set++) {
		for (const struct option *option = set->options; option->name; option++) {
			if (is_list(option))
				texts_fini((void *)((char *)values + set->base + option->at));
		}
	}
}
