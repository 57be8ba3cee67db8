/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How the command says what went wrong: one line on standard error that starts with "weir: ", a second
 * one where the user can do something about it; or the "error" member of a JSON document.
 */
#ifndef CLI_REPORT_H
#define CLI_REPORT_H

#include "json.h"
#include "weir/error.h"

/* Exit statuses: done and yes, done and no, wrong command line; 128 + n after signal n. */
enum status {
	STATUS_YES = 0,
	STATUS_NO = 1,
	STATUS_USAGE = 2,
};

/* In text; and what to do, where there is something. */
void report_error(const struct weir_error *err);
/* And what to do about the next that is told: known, not guessed from its class. */
void report_suggest(const char *advice);
void report_warning(const char *format, ...) __attribute__((format(printf, 1, 2)));

/* The member "error" of the object that is open. */
void report_json(struct json *json, const struct weir_error *err);

/* A failure that belongs to no argument: in text, and as a document of its own with `json`. */
void report_failure(const struct weir_error *err, bool json);

/* A failure that the command itself finds: (err, code, object, format, ...).  Its value is the code: a
 * macro, so that analysers see that too. */
#define report_set(err, code, ...)                                                                 \
	__extension__({                                                                            \
		int code_ = (code);                                                                \
		report_fill((err), code_, __VA_ARGS__);                                            \
		code_;                                                                             \
	})
void report_fill(struct weir_error *err, int code, const char *object, const char *format, ...)
	__attribute__((format(printf, 4, 5)));

/* What the user can do about a class of failure; NULL where there is nothing. */
const char *report_advice(int code);

/* Takes whole lines from the library's log. */
void report_log(void *arg, int level, const char *line);

/* The status for a verb that ended with this code: 0 is YES; a cancellation by a signal is 128 + n. */
int report_status(int code);

#endif
