/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring protocol's memory, written down a second time.
 *
 * What stands in src/io/usrbio/ is under test here, so nothing of it is included: these are the same
 * numbers, taken from the protocol's description and not from our code.  A wrong offset there and a right
 * one here (or the reverse) makes the two ends disagree, and a test fail.
 */
#ifndef TESTS_USRBIO_WIRE_H
#define TESTS_USRBIO_WIRE_H

#include <semaphore.h>
#include <stdatomic.h>
#include <stdint.h>

enum {
	WIRE_SQE_HEAD = 0, /* byte offsets of the four markers */
	WIRE_SQE_TAIL = 4,
	WIRE_CQE_HEAD = 8,
	WIRE_CQE_TAIL = 12,
	WIRE_ARGS = 16,
	WIRE_ARGS_BYTES = 56,
	WIRE_CQE_BYTES = 24,
	WIRE_SQE_BYTES = 16,
	WIRE_SEM_BYTES = 32,
	WIRE_SMALLEST_RING = 4336, /* one entry */
};

#define WIRE_MAGIC_IOCTL   0x80046802u
#define WIRE_MAGIC         0x8f3f5fffu
#define WIRE_VERSION_IOCTL 0x80046803u
#define WIRE_NAME_IOCTL    0x80206800u
#define WIRE_PATH_IOCTL    0x80046801u
#define WIRE_FSYNC_IOCTL   0x8004680bu
#define WIRE_PREFIX        "/dev/shm/"

struct wire_args {
	uint8_t iov[16];
	uint64_t iov_offset;
	uint64_t ino;
	uint64_t file_offset;
	uint64_t length;
	uint64_t userdata;
};

struct wire_cqe {
	int32_t index;
	int32_t reserved;
	int64_t result;
	uint64_t userdata;
};

struct wire_sqe {
	int32_t index;
	int32_t padding;
	uint64_t userdata;
};

_Static_assert(sizeof(struct wire_args) == WIRE_ARGS_BYTES, "args are 56 bytes");
_Static_assert(sizeof(struct wire_cqe) == WIRE_CQE_BYTES, "a completion is 24 bytes");
_Static_assert(sizeof(struct wire_sqe) == WIRE_SQE_BYTES, "a submission is 16 bytes");
_Static_assert(sizeof(sem_t) == WIRE_SEM_BYTES, "a semaphore is 32 bytes");

static inline uint64_t wire_bytes(uint64_t entries)
{
	return 96 * entries + 4240;
}

/* The entries that an object of so many bytes gives; 0: it is no ring. */
static inline int32_t wire_entries(uint64_t bytes)
{
	if (bytes < WIRE_SMALLEST_RING)
		return 0;
	uint64_t entries = (bytes - 4144) / 96 - 1;
	return entries > INT32_MAX - 1 ? INT32_MAX - 1 : (int32_t)entries;
}

/* Places in a ring of n entries, which has n + 1 of everything. */
static inline _Atomic int32_t *wire_marker(void *ring, unsigned offset)
{
	return (_Atomic int32_t *)(void *)((char *)ring + offset);
}

static inline struct wire_args *wire_args_at(void *ring, int32_t i)
{
	return (struct wire_args *)(void *)((char *)ring + WIRE_ARGS +
					    (uint64_t)i * WIRE_ARGS_BYTES);
}

static inline struct wire_cqe *wire_cqe_at(void *ring, int32_t entries, int32_t i)
{
	return (struct wire_cqe *)(void *)((char *)ring + 16 + 56 * ((uint64_t)entries + 1) +
					   (uint64_t)i * WIRE_CQE_BYTES);
}

static inline struct wire_sqe *wire_sqe_at(void *ring, int32_t entries, int32_t i)
{
	return (struct wire_sqe *)(void *)((char *)ring + 16 + 80 * ((uint64_t)entries + 1) +
					   (uint64_t)i * WIRE_SQE_BYTES);
}

static inline sem_t *wire_sem(void *ring, int32_t entries)
{
	return (sem_t *)(void *)((char *)ring + 16 + 96 * ((uint64_t)entries + 1));
}

#endif
