/* SPDX-License-Identifier: Apache-2.0 */
#include "handing.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

void handing_add(struct handing *handing, const char *first, const char *second)
{
	size_t size = strlen(first) + strlen(second) + 1;
	char *word = malloc(size);

	assert(handing->count + 1 < HANDING_WORDS_MAX);
	if (!word)
		exit(STATUS_NO);
	snprintf(word, size, "%s%s", first, second);
	handing->words[handing->count++] = word;
}

/* The name of a choice by its number. */
static void add_choice(struct handing *handing, const char *choices, int number)
{
	char name[32];

	while (number-- > 0)
		choices = strchr(choices, '|') + 1;
	snprintf(name, sizeof(name), "%.*s", (int)strcspn(choices, "|"), choices);
	handing_add(handing, name, "");
}

static void add_option(struct handing *handing, const struct option *option, const void *values)
{
	const char *at = (const char *)values + option->at;
	const char *text;

	if (option->kind == OPTION_FLAG) {
		if (*(const bool *)at)
			handing_add(handing, "--", option->name);
	} else if (option->kind == OPTION_CHOICE) {
		handing_add(handing, "--", option->name);
		add_choice(handing, option->choices, *(const int *)(const void *)at);
	} else {
		assert(option->kind == OPTION_TEXT);
		memcpy(&text, at, sizeof(text));
		if (text) {
			handing_add(handing, "--", option->name);
			handing_add(handing, text, "");
		}
	}
}

void handing_options(struct handing *handing, const struct option *options, const void *values)
{
	for (; options->name; options++)
		add_option(handing, options, values);
}

void handing_fini(struct handing *handing)
{
	for (size_t n = 0; n < handing->count; n++)
		free(handing->words[n]);
	handing->count = 0;
}
