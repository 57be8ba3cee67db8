/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The structures of DLPack, as its specification (1.1) lays them out in memory.
 *
 * A producer makes one, wraps it into a capsule and hands that over; who consumes it renames the capsule
 * and calls the deleter when he is done, in any thread.
 */
#ifndef NATIVE_DLPACK_H
#define NATIVE_DLPACK_H

#include <stdint.h>

enum dl_device_kind {
	DL_CPU = 1,
	DL_CUDA = 2,
};

enum dl_code {
	DL_INT = 0,
	DL_UINT = 1,
	DL_FLOAT = 2,
	DL_BFLOAT = 4,
	DL_COMPLEX = 5,
	DL_BOOL = 6,
	DL_F8_E4M3FN = 10, /* from 1.1 on, as those below */
	DL_F8_E4M3FNUZ = 11,
	DL_F8_E5M2 = 12,
	DL_F8_E5M2FNUZ = 13,
	DL_F8_E8M0FNU = 14,
};

struct dl_device {
	int32_t kind, number;
};

struct dl_dtype {
	uint8_t code, bits;
	uint16_t lanes;
};

struct dl_tensor {
	void *data;
	struct dl_device device;
	int32_t rank;
	struct dl_dtype dtype;
	int64_t *shape, *strides; /* strides in elements */
	uint64_t byte_offset;
};

/* "dltensor", before 1.0. */
struct dl_legacy {
	struct dl_tensor tensor;
	void *owner;
	void (*deleter)(struct dl_legacy *self);
};

#define DL_READ_ONLY 1u
#define DL_IS_COPIED 2u

/* "dltensor_versioned", from 1.0 on. */
struct dl_versioned {
	uint32_t major, minor;
	void *owner;
	void (*deleter)(struct dl_versioned *self);
	uint64_t flags;
	struct dl_tensor tensor;
};

#endif
