/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Huge pages for what malloc() gave: making a large block's memory exist costs a third with them.
 */
#ifndef BASE_HUGE_H
#define BASE_HUGE_H

#include <stddef.h>

/* Advice for the whole huge pages inside a block that was not touched yet; small blocks are left alone. */
void huge_advise(void *at, size_t bytes);

#endif
