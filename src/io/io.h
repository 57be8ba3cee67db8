/* SPDX-License-Identifier: Apache-2.0 */
/*
 * How bytes move between descriptors and memory: one interface, answered by io/ring.c (io_uring) and by
 * io/threads.c (plain threads, where io_uring is forbidden).
 *
 * An io is driven by one thread: the one that first pushes or reaps.  Another may make and destroy it,
 * and any may wake it.  A struct io_op is the io's from push to reap, cancelled or not: until then the
 * kernel may still write to its memory.  Results are handed up as they are, short ones too; only EINTR
 * and EAGAIN are tried again in here, without spinning.
 */
#ifndef IO_IO_H
#define IO_IO_H

#include <stdbool.h>
#include <stdint.h>

#include "base/bell.h"
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
	uint32_t pin; /* of pin(), which the memory lies in; 0: none */

	/* The io's answer: bytes, or a negative errno. */
	int32_t result;

	/* The io's own, from push to reap. */
	struct list link;
	uint64_t scratch[2];
};

struct io;

struct io_ops {
	const char *name; /* "io_uring", "threads" */

	/*
	 * Asks what is in flight to end, waits for it a little, and returns how many operations did not
	 * end.  Those are left behind: what they need of the io is never freed, and their memory may be
	 * written at any time to come.
	 */
	unsigned (*destroy)(struct io *io);

	/* A hint: many operations will be inside this memory, which outlives the io. */
	void (*register_memory)(struct io *io, void *memory, uint64_t bytes);

	/*
	 * Memory that operations name by a number: pinned until unpin(), which operations in flight
	 * outlive.  0: refused.  NULL, both: never.
	 */
	uint32_t (*pin)(struct io *io, void *memory, uint64_t bytes);
	void (*unpin)(struct io *io, uint32_t pin);

	/* From now on a reap that waits ends for the bell, too, which outlives the io.  False, or NULL:
	 * it cannot. */
	bool (*listen)(struct io *io, const struct bell *bell);

	/* From now on a reap that waits does it for so many ends together, or until its deadline; the
	 * bell ends it as ever, a wake does not.  NULL: never. */
	void (*gather)(struct io *io, uint32_t least);

	int (*push)(struct io *io, struct io_op *op); /* 0, or WEIR_LIMIT */

	/* As source_ops.reap (source/source.h). */
	unsigned (*reap)(struct io *io, struct io_op **out, unsigned max, int64_t deadline_ns);
	void (*wake)(struct io *io); /* any thread, also a signal handler */
	void (*cancel)(struct io *io, struct io_op *op);
};

struct io {
	const struct io_ops *ops;
	const struct sys *sys;
	uint64_t system_calls;
};

/*
 * depth: most operations in flight.  WEIR_UNSUPPORTED, WEIR_DENIED or WEIR_NOMEM where the kernel has
 * no rings, too old ones, or refuses them.
 */
bool io_ring_possible(void); /* asks the kernel, at the price of one system call */
bool io_ring_deferred(void); /* can completions wait for who reaps them?  For people to know */
int io_ring_create(const struct sys *sys, uint32_t depth, struct io **out, struct weir_error *err);

/* At most `threads` of them work at once; they are started as they are needed. */
int io_threads_create(const struct sys *sys, uint32_t depth, uint32_t threads, struct io **out,
		      struct weir_error *err);

#endif
