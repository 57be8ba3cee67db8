/* SPDX-License-Identifier: Apache-2.0 */
#include "values.h"

#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>

struct unit {
	const char *name;
	uint64_t scale;
};

static const struct unit size_units[] = {
	{"B", 1},
	{"KiB", UINT64_C(1) << 10},
	{"MiB", UINT64_C(1) << 20},
	{"GiB", UINT64_C(1) << 30},
	{"TiB", UINT64_C(1) << 40},
	{"PiB", UINT64_C(1) << 50},
	{"kB", 1000},
	{"KB", 1000},
	{"MB", 1000000},
	{"GB", 1000000000},
	{"TB", UINT64_C(1000000000000)},
	{"PB", UINT64_C(1000000000000000)},
	{"", 1},
	{NULL, 0},
};

static const struct unit time_units[] = {
	{"ns", 1},
	{"us", 1000},
	{"ms", 1000000},
	{"s", 1000000000},
	{"min", UINT64_C(60) * 1000000000},
	{"h", UINT64_C(3600) * 1000000000},
	{"", 1000000000},
	{NULL, 0},
};

static bool is_digit(char c)
{
	return c >= '0' && c <= '9';
}

/* Reads digits; false where there are none or too many. */
static bool read_digits(const char **text, uint64_t *out)
{
	const char *at = *text;
	uint64_t value = 0;

	if (!is_digit(*at))
		return false;
	for (; is_digit(*at); at++) {
		if (__builtin_mul_overflow(value, UINT64_C(10), &value) ||
		    __builtin_add_overflow(value, (uint64_t)(*at - '0'), &value))
			return false;
	}
	*text = at;
	*out = value;
	return true;
}

/* What stands behind the point, in units of 10^-9; further digits are dropped. */
static bool read_fraction(const char **text, uint64_t *out_nano)
{
	uint64_t nano = 0, digit = 100000000;

	*out_nano = 0;
	if (**text != '.')
		return true;
	(*text)++;
	if (!is_digit(**text))
		return false;
	for (; is_digit(**text); (*text)++) {
		nano += (uint64_t)(**text - '0') * digit;
		digit /= 10;
	}
	*out_nano = nano;
	return true;
}

static bool read_scaled(const char *text, const struct unit *units, uint64_t *out)
{
	uint64_t whole, nano;
	const struct unit *unit = units;
	unsigned __int128 value;

	if (!read_digits(&text, &whole) || !read_fraction(&text, &nano))
		return false;
	while (unit->name && strcmp(unit->name, text) != 0)
		unit++;
	if (!unit->name || (nano && unit->scale == 1))
		return false;
	value = (unsigned __int128)whole * unit->scale;
	value += (unsigned __int128)nano * unit->scale / 1000000000u;
	if (value > INT64_MAX)
		return false;
	*out = (uint64_t)value;
	return true;
}

bool value_count(const char *text, uint64_t *out)
{
	uint64_t value;

	if (!read_digits(&text, &value) || *text != '\0')
		return false;
	*out = value;
	return true;
}

bool value_size(const char *text, uint64_t *out)
{
	return read_scaled(text, size_units, out);
}

bool value_time(const char *text, int64_t *out_ns)
{
	uint64_t value;

	if (!read_scaled(text, time_units, &value))
		return false;
	*out_ns = (int64_t)value;
	return true;
}

const char *value_print_size(char to[VALUE_MAX], uint64_t bytes)
{
	static const char *const names[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	double value = (double)bytes / 1024;
	size_t n = 0;

	if (bytes < 1024) {
		snprintf(to, VALUE_MAX, "%u byte%s", (unsigned)bytes, bytes == 1 ? "" : "s");
		return to;
	}
	for (; value >= 1023.5 && n < 5; n++) /* what would be printed as 1024 */
		value /= 1024;
	snprintf(to, VALUE_MAX, "%.*f %s", value < 10 ? 2 : value < 100 ? 1 : 0, value, names[n]);
	return to;
}

const char *value_print_rate(char to[VALUE_MAX], double bytes_per_second)
{
	double value = bytes_per_second / 1e9;

	if (value >= 1)
		snprintf(to, VALUE_MAX, "%.2f GB/s", value);
	else
		snprintf(to, VALUE_MAX, "%.1f MB/s", value * 1e3);
	return to;
}

const char *value_print_seconds(char to[VALUE_MAX], double seconds)
{
	if (seconds >= 100)
		snprintf(to, VALUE_MAX, "%.0f s", seconds);
	else if (seconds >= 1)
		snprintf(to, VALUE_MAX, "%.2f s", seconds);
	else if (seconds >= 1e-3)
		snprintf(to, VALUE_MAX, "%.1f ms", seconds * 1e3);
	else
		snprintf(to, VALUE_MAX, "%.0f us", seconds * 1e6);
	return to;
}

const char *value_print_exact(char to[VALUE_MAX], uint64_t bytes)
{
	static const char *const names[] = {"", "KiB", "MiB", "GiB", "TiB"};
	size_t n = 0;

	for (; bytes && bytes % 1024 == 0 && n < 4; n++)
		bytes /= 1024;
	snprintf(to, VALUE_MAX, "%llu%s", (unsigned long long)bytes, names[n]);
	return to;
}

const char *value_print_date(char to[VALUE_MAX], int64_t since_1970_ns)
{
	int64_t seconds = since_1970_ns / 1000000000, nano = since_1970_ns % 1000000000;
	time_t when;
	struct tm tm;

	if (nano < 0) {
		nano += 1000000000;
		seconds--;
	}
	when = (time_t)seconds;
	if (!gmtime_r(&when, &tm) || tm.tm_year < -1900 || tm.tm_year > 8099) {
		snprintf(to, VALUE_MAX, "unknown");
		return to;
	}
	strftime(to, VALUE_MAX, "%Y-%m-%dT%H:%M:%S", &tm);
	snprintf(to + strlen(to), VALUE_MAX - strlen(to), ".%09dZ", (int)nano);
	return to;
}

int64_t value_now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

int64_t value_cpu_ns(void)
{
	struct rusage usage;

	getrusage(RUSAGE_SELF, &usage);
	return ((int64_t)usage.ru_utime.tv_sec + usage.ru_stime.tv_sec) * 1000000000 +
	       ((int64_t)usage.ru_utime.tv_usec + usage.ru_stime.tv_usec) * 1000;
}
