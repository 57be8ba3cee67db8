/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Opening a name that may not lead out of its directory, links and all (WEIR_MODEL_BENEATH).
 *
 * The kernel resolves the name (openat2 with RESOLVE_BENEATH); what it found is then opened by its
 * descriptor, so that nothing can be swapped in between.  Kernels that cannot do that get a stricter
 * rule, which is as free of races: no links at all.
 */
#ifndef MODEL_BENEATH_H
#define MODEL_BENEATH_H

#include "base/bytes.h"
#include "base/compiler.h"
#include "source/source.h"

struct weir_ctx;
struct weir_object;

/* WEIR_DENIED where it leads out.  Objects of sources without links are simply opened. */
must_use int beneath_open(struct weir_ctx *ctx, const char *dir, struct bytes name, const char *uri,
			  const struct source_how *how, struct weir_object **out,
			  struct weir_error *err);

#endif
