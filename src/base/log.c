/* SPDX-License-Identifier: Apache-2.0 */
#include "base/log.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>

#include "base/clock.h"

#define LINES_PER_WINDOW 10
#define WINDOW_NS        (60 * NS_PER_SEC)

/* Relaxed throughout: a line too many or too few between racing threads does no harm. */
static bool may_speak(struct log_cause *cause, int64_t now_ns)
{
	int64_t start = atomic_load_explicit(&cause->window_start_ns, memory_order_relaxed);

	if (start == 0 || now_ns - start > WINDOW_NS) {
		atomic_store_explicit(&cause->window_start_ns, now_ns, memory_order_relaxed);
		atomic_store_explicit(&cause->said, 1, memory_order_relaxed);
		return true;
	}
	if (atomic_fetch_add_explicit(&cause->said, 1, memory_order_relaxed) < LINES_PER_WINDOW)
		return true;
	atomic_fetch_add_explicit(&cause->dropped, 1, memory_order_relaxed);
	return false;
}

static struct log_cause *cause_of(struct log *log, const char *format)
{
	return &log->causes[((uintptr_t)format >> 3) % LOG_CAUSES];
}

void log_line(struct log *log, int level, const char *format, ...)
{
	struct log_cause *cause;
	char line[1024];
	uint32_t dropped;
	va_list args;
	size_t len;

	if (!log->fn || level > log->level)
		return;
	cause = cause_of(log, format);
	if (!may_speak(cause, log->sys->now_ns()))
		return;
	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	dropped = atomic_exchange_explicit(&cause->dropped, 0, memory_order_relaxed);
	len = strlen(line);
	if (dropped)
		snprintf(line + len, sizeof(line) - len, " (%u more like it)", dropped);
	log->fn(log->arg, level, line);
}
