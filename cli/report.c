/* SPDX-License-Identifier: Apache-2.0 */
#include "report.h"

#include <stdarg.h>
#include <string.h>

#include "out.h"
#include "progress.h"
#include "signals.h"

static const struct advice {
	int code;
	const char *text;
} advices[] = {
	{WEIR_NOMEM, "less memory is enough with --discard (load), or with fewer "
		     "tensors: --names GLOB"},
	{WEIR_NOSPACE, "make room where it is written, or write somewhere else"},
	{WEIR_NOTFOUND, "`weir ls` and `weir inspect` show what is there"},
	{WEIR_DENIED,
	 "look at the rights of the file and of the directories above it; links that leave "
	 "the model are refused only with --beneath"},
	{WEIR_TIMEOUT,
	 "`weir doctor URI` shows what the storage does; --deadline TIME allows more"},
	{WEIR_UNSUPPORTED, "`weir doctor` shows what this machine allows"},
	{WEIR_TRUNCATED, "the file is shorter than it should be: fetch it again"},
	{WEIR_CHANGED, "somebody wrote it while it was read: try again when it is at rest"},
	{WEIR_INTEGRITY, "the bytes are not those the digest was made of: fetch them again"},
	{WEIR_CONFLICT, "somebody else made it meanwhile: look at it, then try again"},
	{WEIR_H_LEN, "the file was cut off, or is no safetensors file"},
	{WEIR_H_LIMIT, "it may be no safetensors file at all"},
	{WEIR_H_COVER, "the file was cut off, or something was appended to it: fetch it again"},
	{WEIR_G_SHORT, "the file was cut off: fetch it again"},
};

const char *report_advice(int code)
{
	for (size_t n = 0; n < sizeof(advices) / sizeof(advices[0]); n++) {
		if (advices[n].code == code)
			return advices[n].text;
	}
	return NULL;
}

/* What was found out about the last failure. */
static const char *suggestion;

void report_suggest(const char *advice)
{
	suggestion = advice;
}

void report_error(const struct weir_error *err)
{
	const char *advice = suggestion ? suggestion : report_advice(err->code);
	const char *message = err->message[0] ? err->message : weir_code_text(err->code);

	suggestion = NULL;
	progress_clear();
	fputs("weir: ", stderr);
	out_safe(stderr, message, strlen(message));
	if (err->request_id[0]) {
		fputs(" (request ", stderr);
		out_safe(stderr, err->request_id, strlen(err->request_id));
		fputs(")", stderr);
	}
	fputs("\n", stderr);
	if (advice)
		fprintf(stderr, "      %s\n", advice);
}

void report_warning(const char *format, ...)
{
	char line[1024];
	va_list args;

	va_start(args, format);
	vsnprintf(line, sizeof(line), format, args);
	va_end(args);
	progress_clear();
	fputs("weir: warning: ", stderr);
	out_safe(stderr, line, strlen(line));
	fputs("\n", stderr);
}

void report_json(struct json *json, const struct weir_error *err)
{
	json_object(json, "error");
	json_text(json, "class", weir_code_name(err->code));
	json_text(json, "message", err->message[0] ? err->message : weir_code_text(err->code));
	if (err->object[0])
		json_text(json, "object", err->object);
	if (err->offset_bytes != WEIR_NO_OFFSET)
		json_uint(json, "offset_bytes", err->offset_bytes);
	if (err->request_id[0])
		json_text(json, "request_id", err->request_id);
	if (err->os_errno)
		json_int(json, "errno", err->os_errno);
	json_end(json);
}

void report_failure(const struct weir_error *err, bool json)
{
	struct json document;

	report_error(err);
	if (!json)
		return;
	json_open(&document, stdout);
	json_object(&document, NULL);
	report_json(&document, err);
	json_end(&document);
	json_close(&document);
}

void report_fill(struct weir_error *err, int code, const char *object, const char *format, ...)
{
	va_list args;

	*err = (struct weir_error)WEIR_ERROR_INIT;
	err->code = code;
	if (object)
		snprintf(err->object, sizeof(err->object), "%s", object);
	va_start(args, format);
	vsnprintf(err->message, sizeof(err->message), format, args);
	va_end(args);
}

void report_log(void *arg, int level, const char *line)
{
	(void)arg;
	if (level <= WEIR_LOG_WARN) {
		report_warning("%s", line);
		return;
	}
	progress_clear();
	fputs("weir: ", stderr);
	out_safe(stderr, line, strlen(line));
	fputs("\n", stderr);
}

int report_status(int code)
{
	if (signals_caught())
		return 128 + signals_caught();
	return code == 0 ? STATUS_YES : STATUS_NO;
}
