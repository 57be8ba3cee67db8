/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir/log.h - hearing what the library has to say
 *
 * weir prints nothing.  Give a callback when the context is made (weir/context.h) and it gets whole
 * lines, without a line feed.  It may be called from any thread, several at once, and must not call
 * back into the context.  A cause that speaks more than ten times a minute is cut and counted.
 */
#ifndef WEIR_LOG_H
#define WEIR_LOG_H

#ifdef __cplusplus
extern "C" {
#endif

enum weir_log_level {
	WEIR_LOG_NONE = 0,  /* nothing */
	WEIR_LOG_WARN = 1,  /* works, but not as hoped: a fallback, an ignored tensor */
	WEIR_LOG_INFO = 2,  /* choices made: direct or buffered, how deep */
	WEIR_LOG_DEBUG = 3, /* for those who debug weir */
};

typedef void weir_log_fn(void *arg, int level, const char *line);

#ifdef __cplusplus
}
#endif
#endif
