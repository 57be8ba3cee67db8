/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir doctor: what this machine, or a URI, allows, and what to do where it does not.
 *
 * The library looks; this file picks and prints.  An argument that is the name of a check asks for that
 * check, and the answer to the whole command is no where it fails; any other argument is a URI.
 */
#include <stdlib.h>
#include <string.h>

#include "out.h"
#include "report.h"
#include "session.h"
#include "verbs.h"

#define CHECKS_MAX 256u /* of the machine and of all URIs; the library has about twenty a call */

struct doctor_options {
	struct common common;
};

static const struct option_set sets[] = {
	{common_options, offsetof(struct doctor_options, common)},
	{0},
};

struct check {
	char *name, *value, *advice; /* owned */
	const char *uri;             /* borrowed; NULL: of the machine */
	int status;
};

struct doctor {
	struct check list[CHECKS_MAX];
	size_t count;
	const char *uri; /* what is looked at */
	bool full;
};

static void add(void *arg, const struct weir_probe *probe)
{
	struct doctor *doctor = arg;
	struct check *check = &doctor->list[doctor->count];

	if (doctor->count == CHECKS_MAX) {
		doctor->full = true;
		return;
	}
	*check = (struct check){
		.name = strdup(probe->name),
		.value = strdup(probe->value ? probe->value : ""),
		.advice = strdup(probe->advice ? probe->advice : ""),
		.uri = doctor->uri,
		.status = probe->status,
	};
	doctor->count++;
	if (!check->name || !check->value || !check->advice) {
		doctor->full = true;
		doctor->count--;
		free(check->name);
		free(check->value);
		free(check->advice);
	}
}

static bool asked(const struct texts *arguments, const struct check *check)
{
	for (size_t n = 0; n < arguments->count; n++) {
		if (check->uri ? check->uri == arguments->items[n]
			       : strcmp(check->name, arguments->items[n]) == 0)
			return true;
	}
	return arguments->count == 0;
}

static bool is_name(const struct doctor *doctor, const char *text)
{
	for (size_t n = 0; n < doctor->count; n++) {
		if (!doctor->list[n].uri && strcmp(doctor->list[n].name, text) == 0)
			return true;
	}
	return false;
}

static const char *status_name(int status)
{
	static const char *const names[] = {"ok", "warn", "fail", "absent"};

	return status >= 0 && status <= WEIR_PROBE_ABSENT ? names[status] : "fail";
}

static void print_text(const struct check *check)
{
	if (check->uri) {
		out_safe(stdout, check->uri, strlen(check->uri));
		out_text(": ");
	}
	out_text("%-7s %-18s ", status_name(check->status), check->name);
	out_safe(stdout, check->value, strlen(check->value));
	out_text("\n");
	if (check->advice[0]) {
		out_text("        -> ");
		out_safe(stdout, check->advice, strlen(check->advice));
		out_text("\n");
	}
}

static void print_json(struct json *json, const struct check *check)
{
	json_object(json, NULL);
	json_text(json, "name", check->name);
	json_text(json, "status", status_name(check->status));
	json_text(json, "value", check->value);
	if (check->advice[0])
		json_text(json, "advice", check->advice);
	if (check->uri)
		json_text(json, "uri", check->uri);
	json_end(json);
}

/* Prints what was asked for.  False: a check that was asked for by name fails. */
static bool print(const struct doctor *doctor, const struct texts *arguments, struct json *json)
{
	bool fine = true;

	for (size_t n = 0; n < doctor->count; n++) {
		const struct check *check = &doctor->list[n];

		if (!asked(arguments, check))
			continue;
		if (json)
			print_json(json, check);
		else
			print_text(check);
		if (arguments->count && check->status == WEIR_PROBE_FAIL)
			fine = false;
	}
	return fine;
}

static int look(struct doctor *doctor, const struct session *session, const struct texts *arguments,
		struct weir_error *err)
{
	int ret = weir_probe_machine(session->ctx, add, doctor, err);

	for (size_t n = 0; n < arguments->count && !ret; n++) {
		if (is_name(doctor, arguments->items[n]))
			continue;
		doctor->uri = arguments->items[n];
		ret = weir_probe_uri(session->ctx, doctor->uri, add, doctor, err);
	}
	if (!ret && doctor->full)
		ret = report_set(err, WEIR_LIMIT, NULL, "more than %u checks", CHECKS_MAX);
	return ret;
}

static int run(const struct command *command)
{
	const struct doctor_options *mine = command->options;
	struct weir_error err = WEIR_ERROR_INIT;
	struct doctor *doctor = calloc(1, sizeof(*doctor));
	struct session session;
	struct json json;
	bool fine;
	int ret = session_open(&session, NULL, &err);

	if (!doctor)
		return STATUS_NO;
	if (!ret)
		ret = look(doctor, &session, &command->arguments, &err);
	json_open(&json, stdout);
	if (mine->common.json) {
		json_object(&json, NULL);
		json_array(&json, "checks");
	}
	fine = print(doctor, &command->arguments, mine->common.json ? &json : NULL);
	if (ret)
		report_error(&err);
	if (mine->common.json) {
		json_end(&json);
		if (ret)
			report_json(&json, &err);
		json_end(&json);
		json_close(&json);
	}
	for (size_t n = 0; n < doctor->count; n++) {
		free(doctor->list[n].name);
		free(doctor->list[n].value);
		free(doctor->list[n].advice);
	}
	free(doctor);
	session_close(&session);
	return report_status(ret ? ret : fine ? 0 : WEIR_UNSUPPORTED);
}

static const struct field fields[] = {
	{"checks",
	 "A list of `name`, `status` (`ok`, `warn`, `fail`, `absent`), `value`, `advice` and, "
	 "for a check of a URI, `uri`."},
	{NULL, NULL},
};

const struct verb verb_doctor = {
	.name = "doctor",
	.arguments = "[NAME...|URI...]",
	.summary = "what this machine, or a URI, allows, and what to do where it does not",
	.story =
		"Looks at what decides how fast a load can be: io_uring, huge pages, limits, memory that "
		"is left; of a URI, direct I/O and its alignment, the file system, and what is in "
		"the page cache.\n\n"
		"`warn` means that it works, slower than it could; `absent` that it is not there and "
		"need not be. The exit status is 1 where a check fails that was asked for by name, or "
		"one of a URI that was named.",
	.sets = sets,
	.options_size = sizeof(struct doctor_options),
	.json = fields,
	.examples = {{"weir doctor", "all about this machine"},
		     {"weir doctor io_uring /models/llama", "can io_uring be used, and what will "
							    "reading these files be like?"}},
	.run = run,
};
