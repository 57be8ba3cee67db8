/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one door to whoever wants to hear what weir has to say.
 *
 * The library never prints.  A context carries a struct log; the program's callback gets the lines.
 * A line belongs to a cause, and a cause may speak ten times a minute: what is above that is counted
 * and said with the next line that passes.  No callback runs with a lock of ours held.
 */
#ifndef BASE_LOG_H
#define BASE_LOG_H

#include <stdatomic.h>
#include <stdint.h>

#include "base/sys.h"
#include "weir/log.h"

/* A cause is a format string; two that fall into one place share its allowance, which does no harm. */
struct log_cause {
	_Atomic int64_t window_start_ns;
	_Atomic uint32_t said, dropped;
};
#define LOG_CAUSES 64

struct log {
	weir_log_fn *fn; /* NULL: nobody listens */
	void *arg;       /* the program's */
	int level;       /* lines above it are dropped before they are formatted */
	const struct sys *sys;
	struct log_cause causes[LOG_CAUSES];
};

void log_line(struct log *log, int level, const char *format, ...)
	__attribute__((format(printf, 3, 4)));

#define log_warn(log, ...)  log_line((log), WEIR_LOG_WARN, __VA_ARGS__)
#define log_info(log, ...)  log_line((log), WEIR_LOG_INFO, __VA_ARGS__)
#define log_debug(log, ...) log_line((log), WEIR_LOG_DEBUG, __VA_ARGS__)

#endif
