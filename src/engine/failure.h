/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What went wrong with an extent, in words.
 *
 * An extent keeps a class, an errno and an offset; the text is made from them when somebody asks, so
 * that ten thousand failures cost no memory.
 */
#ifndef ENGINE_FAILURE_H
#define ENGINE_FAILURE_H

#include "engine/plan.h"

/* Fills *err, returns its code: 0 where the extent has not failed. */
int failure_describe(const struct extent *extent, struct weir_error *err);

#endif
