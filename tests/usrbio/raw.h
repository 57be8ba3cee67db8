/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A ring client that writes the memory itself, for the programs beside it (drive.c, harm.c).
 *
 * No slot table and no checks: the caller says which slot, which place, which bytes, right or wrong.  It is
 * made of nothing but wire.h, so that it knows nothing of the client under src/.  A failure to set
 * something up ends the program with a message; what a hostile caller provokes afterwards comes
 * back to it.
 */
#ifndef TESTS_USRBIO_RAW_H
#define TESTS_USRBIO_RAW_H

#include <stdbool.h>
#include <stddef.h>

#include "wire.h"

struct raw_mount {
	char path[512];
	sem_t *doorbells[3]; /* high, normal, low */
};

/* A registered shared-memory object: the data, or a ring. */
struct raw_object {
	const struct raw_mount *mount;
	uint8_t id[16];
	char key[192];
	int fd; /* kept open, to shrink it */
	void *memory;
	uint64_t bytes;
};

struct raw_ring {
	struct raw_object object;
	int32_t entries;
	int priority; /* 0 high, 1 normal, 2 low */
	int32_t head; /* next place for a submission; ours alone */
	int32_t tail; /* next completion to take */
};

struct raw_ring_options {
	int32_t entries;
	bool write;
	int depth, priority, timeout_ms;
};

__attribute__((noreturn, format(printf, 1, 2))) void die(const char *format, ...);
double now_seconds(void);
uint64_t random_next(uint64_t *state);

void raw_mount_open(struct raw_mount *mount, const char *path);
/* Returns 0 or an errno of symlink(2); ATTRIBUTES is what follows the id: ".r0.t0", or "". */
int raw_object_register(struct raw_object *object, const struct raw_mount *mount, uint64_t bytes,
			const char *attributes);
void raw_object_drop(struct raw_object *object);
int raw_ring_open(struct raw_ring *ring, const struct raw_mount *mount,
		  const struct raw_ring_options *options);
/* Writes args and submission, and moves the head. */
void raw_ring_push(struct raw_ring *ring, int32_t slot, const struct wire_args *args);
void raw_ring_submit(struct raw_ring *ring);
/* One completion, if there is one; moves the tail. */
bool raw_ring_take(struct raw_ring *ring, struct wire_cqe *cqe);
/* Sleeps at most so long, or until a post. */
void raw_ring_sleep(struct raw_ring *ring, int64_t ns);

/* The byte that test files have at an offset. */
static inline uint64_t pattern_word(uint64_t index)
{
	uint64_t x = index * 0x9e3779b97f4a7c15u + 0x632be59bd9b4e019u;
	x = (x ^ x >> 31) * 0xbf58476d1ce4e5b9u;
	return x ^ x >> 29;
}

static inline uint8_t pattern_byte(uint64_t offset)
{
	return (uint8_t)(pattern_word(offset >> 3) >> (offset & 7) * 8);
}

#endif
