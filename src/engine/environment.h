/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The environment's say: read when a context is made, and nowhere else.
 */
#ifndef ENGINE_ENVIRONMENT_H
#define ENGINE_ENVIRONMENT_H

#include <stdbool.h>

#include "base/log.h"
#include "base/node.h"
#include "weir/context.h"

/*
 * WEIR_BUDGET gives a budget where the caller gave none, and WEIR_CUFILE a choice; WEIR_DEBUG (any
 * list of areas) raises the log level, and to standard error where the program does not listen.
 */
int environment_read(struct weir_ctx_opts *opts, struct log *log, struct weir_error *err);

/* HF3FS_USRBIO_DONT_CHECKFS_FOR_MP, as the vendor's library has it: exactly "yes". */
bool environment_any_mount(void);

/*
 * WEIR_3FS_LIBRARY: by which client rings are driven.  0, or WEIR_ARG where it is none of the three.
 */
enum environment_library {
	LIBRARY_AUTO, /* the native one */
	LIBRARY_NATIVE,
	LIBRARY_VENDOR, /* the vendor's, or an error */
};
int environment_library(int *out, struct weir_error *err);

/*
 * WEIR_3FS_NODE: on which NUMA node rings and shared memory lie.  auto (as where it is not set): of the
 * thread that wants them; none; a number.
 */
int environment_node(struct node_wish *out, struct weir_error *err);

/* HF3FS_LIB_DIR and LD_LIBRARY_PATH: where the vendor's library may be.  Copies; NULL: not set. */
struct environment_places {
	char *directory, *directories;
};
int environment_places(struct environment_places *out, struct weir_error *err);
void environment_places_fini(struct environment_places *places);

/* "64KiB", "1.5GB", "4096": bytes.  0, or -1 where that is not a size. */
int size_parse(const char *text, uint64_t *out);

#endif
