/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir/dest.h - where bytes may land
 */
#ifndef WEIR_DEST_H
#define WEIR_DEST_H

#include <stdint.h>

#include "weir/export.h"

#ifdef __cplusplus
extern "C" {
#endif

enum weir_dest_kind {
	WEIR_DEST_ALLOC = 0, /* weir allocates, and hands out a counted buffer */
	WEIR_DEST_HOST = 1,  /* the caller's memory */
};

struct weir_dest {
	int kind;
	uint32_t align;      /* ALLOC: at least this, a power of two; 0: as the type needs.  More
			      * than the file has costs a copy */
	void *memory;        /* HOST: lent to weir until the extent's memory is released */
	uint64_t size_bytes; /* HOST: must be the extent's */
	uint64_t reserved[2];
};

WEIR_API struct weir_dest weir_dest_alloc(void);

/*
 * Bytes land without a copy where memory and file offset agree modulo the file's direct-I/O
 * alignment (weir/object.h); elsewhere they pass through staging.
 */
WEIR_API struct weir_dest weir_dest_host(void *memory, uint64_t size_bytes);

#ifdef __cplusplus
}
#endif
#endif
