/* SPDX-License-Identifier: Apache-2.0 */
#include "handing.h"

#include <assert.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "report.h"

/* Room for one more word, and for what ends them. */
static bool grow(struct handing *handing)
{
	size_t room = handing->room ? 2 * handing->room : 64;
	char **words;

	if (handing->count + 1 < handing->room)
		return true;
	words = reallocarray(handing->words, room, sizeof(*words));
	if (!words)
		return false;
	handing->words = words;
	handing->room = room;
	return true;
}

void handing_add(struct handing *handing, const char *first, const char *second)
{
	size_t size = strlen(first) + strlen(second) + 1;
	char *word = malloc(size);

	if (!word || !grow(handing))
		exit(STATUS_NO);
	snprintf(word, size, "%s%s", first, second);
	handing->words[handing->count++] = word;
	handing->words[handing->count] = NULL;
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

static void add_text(struct handing *handing, const struct option *option, const char *text)
{
	handing_add(handing, "--", option->name);
	handing_add(handing, text, "");
}

static void add_option(struct handing *handing, const struct option *option, const void *values)
{
	const char *at = (const char *)values + option->at;
	struct texts list;
	const char *text;

	if (option->kind == OPTION_FLAG) {
		if (*(const bool *)at)
			handing_add(handing, "--", option->name);
	} else if (option->kind == OPTION_CHOICE) {
		handing_add(handing, "--", option->name);
		add_choice(handing, option->choices, *(const int *)(const void *)at);
	} else if (option->kind == OPTION_LIST) {
		memcpy(&list, at, sizeof(list));
		for (size_t n = 0; n < list.count; n++)
			add_text(handing, option, list.items[n]);
	} else {
		assert(option->kind == OPTION_TEXT);
		memcpy(&text, at, sizeof(text));
		if (text)
			add_text(handing, option, text);
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
	free(handing->words);
	*handing = (struct handing){.count = 0};
}
