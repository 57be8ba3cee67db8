/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How loads are run: the options that say so, the model they read, and what is told of them.  Shared by
 * `weir load` and `weir bench load`.
 */
#ifndef CLI_RUN_H
#define CLI_RUN_H

#include "json.h"
#include "loading.h"
#include "session.h"

/* What the files of a model were like before a load. */
struct run_files {
	uint64_t size_bytes, cached_bytes;
	bool told; /* false: the kernel does not tell what is cached */
};

void run_files(const struct weir_model *model, struct run_files *out);

/* One argument is a model of its own; several are files of one model. */
int run_open(const struct session *session, const struct texts *uris, struct weir_model_opts *how,
	     struct weir_model **out, struct weir_error *err);

/* Members of the object that is open: one repetition; what was chosen for reading. */
void run_json_load(struct json *json, const struct figures *figures);
void run_json_source(struct json *json, const struct weir_choice *choice,
		     const struct run_files *files);

/* The same for people: one line each. */
void run_text_load(const struct figures *figures, unsigned number);
void run_text_source(const struct weir_choice *choice, const struct run_files *files);

double run_seconds(int64_t ns);
double run_rate(const struct figures *figures);
double run_cpu_per_gib(const struct figures *figures);

#endif
