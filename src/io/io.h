/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How bytes move between descriptors and memory: one interface, answered by io/ring.c (io_uring) and by
 * io/threads.c (plain threads, where io_uring is forbidden).
 *
 * An io is driven by one thread; io_wake() may be called from any.  A struct io_op is the io's from
 * push to reap, cancelled or not: until then the kernel may still write to its memory.
 */
#ifndef IO_IO_H
#define IO_IO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/list.h"
#include "base/sys.h"
#include "weir/error.h"

enum io_code {
	IO_READ,
	IO_WRITE,
};

struct io_op {
	/* The caller's. */
	int fd;
	uint8_t code; /* enum io_code */
	uint32_t length;
	void *memory;
	uint64_t offset;

	/* The io's answer: bytes, or a negative errno. */
	int32_t result;

	/* The io's own, from push to reap. */
	struct list link;
	uint64_t scratch[2];
};

struct io;

struct io_ops {
	const char *name; /* "io_uring", "threads" */
	void (*destroy)(struct io *io);
	void (*register_memory)(struct io *io, void *memory, uint64_t bytes);
	int (*push)(struct io *io, struct io_op *op); /* 0, or WEIR_LIMIT */
	unsigned (*reap)(struct io *io, struct io_op **out, unsigned max, int64_t deadline_ns);
	void (*wake)(struct io *io);
	void (*cancel)(struct io *io, struct io_op *op);
};

struct io {
	const struct io_ops *ops;
	const struct sys *sys;
	uint64_t system_calls;
};

/* depth: most operations in flight. */
int io_ring_create(const struct sys *sys, uint32_t depth, struct io **out, struct weir_error *err);

/*
 * At most `threads` of them read at once.  Those that are stuck in the kernel when the io is destroyed
 * are left behind, with the memory that they need; *stuck counts them and may be NULL.
 */
int io_threads_create(const struct sys *sys, uint32_t depth, uint32_t threads, struct io **out,
		      struct weir_error *err);

#endif
