/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/life/report.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define ROOM_MAX ((size_t)64 << 20) /* twenty thousand rings and buffers, and their names */

static bool grow(struct report *report, size_t more)
{
	size_t room = report->room ? report->room : 4096;
	char *text;

	if (report->failed)
		return false;
	while (room - report->len < more && room < ROOM_MAX)
		room *= 2;
	text = room - report->len >= more ? realloc(report->text, room) : NULL;
	if (!text) {
		report->failed = true;
		return false;
	}
	report->text = text;
	report->room = room;
	return true;
}

static void add(struct report *report, const char *text, size_t len)
{
	if (!grow(report, len))
		return;
	memcpy(report->text + report->len, text, len);
	report->len += len;
}

static void add_escaped(struct report *report, const char *value)
{
	for (const char *at = value; *at; at++) {
		unsigned char byte = (unsigned char)*at;
		char code[4];

		if (byte > ' ' && byte != '%' && byte != 0x7f) {
			add(report, at, 1);
		} else {
			snprintf(code, sizeof(code), "%%%02x", byte);
			add(report, code, 3);
		}
	}
}

void report_begin(struct report *report, const char *key)
{
	add(report, key, strlen(key));
}

/* An empty value is a word, too. */
void report_word(struct report *report, const char *value)
{
	add(report, " ", 1);
	add_escaped(report, *value ? value : "-");
}

void report_number(struct report *report, uint64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRIu64, value);
	report_word(report, text);
}

void report_signed(struct report *report, int64_t value)
{
	char text[24];

	snprintf(text, sizeof(text), "%" PRId64, value);
	report_word(report, text);
}

void report_line(struct report *report)
{
	add(report, "\n", 1);
}

void report_text(struct report *report, const char *key, const char *value)
{
	report_begin(report, key);
	report_word(report, value);
	report_line(report);
}

void report_count(struct report *report, const char *key, uint64_t value)
{
	report_begin(report, key);
	report_number(report, value);
	report_line(report);
}

void report_counter(struct report *report, const char *name, uint64_t value)
{
	report_begin(report, "counter");
	report_word(report, name);
	report_number(report, value);
	report_line(report);
}

void report_fini(struct report *report)
{
	free(report->text);
	*report = (struct report){0};
}
