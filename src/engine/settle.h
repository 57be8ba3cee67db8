/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Settling what has landed: each object's version is checked once for all of a step, then its extents
 * get their completions.
 */
#ifndef ENGINE_SETTLE_H
#define ENGINE_SETTLE_H

#include "engine/transfer.h"

/* The object that was looked at last in this step: neighbours that landed together ask once. */
struct version_check {
	const struct weir_object *object;
	int code;
};

/* The list that transfer_landed() made. */
void settle_all(struct weir_transfer *transfer, struct extent *finished,
		struct version_check *checked);

#endif
