/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Both ios against one set of promises: BOTH(case) runs on io_uring and on plain threads.
 */
#ifndef TESTS_UNIT_IO_IO_RIG_H
#define TESTS_UNIT_IO_IO_RIG_H

#include <stdio.h>

#include "base/clock.h"
#include "base/sys.h"
#include "io/io.h"
#include "lib/check.h"

#define FILE_BYTES (1u << 20)

typedef int make_io_fn(const struct sys *sys, uint32_t depth, struct io **out);

static inline int make_ring(const struct sys *sys, uint32_t depth, struct io **out)
{
	return io_ring_create(sys, depth, out, NULL);
}

static inline int make_threads(const struct sys *sys, uint32_t depth, struct io **out)
{
	return io_threads_create(sys, depth, 4, out, NULL);
}

static inline struct io *io_made(make_io_fn *make, const struct sys *sys, uint32_t depth)
{
	struct io *io = NULL;

	check_int(make(sys, depth, &io), 0);
	return io;
}

/* One case for each io. */
#define BOTH(name)                                                                                 \
	static void name(make_io_fn *make);                                                        \
	static void name##_ring(void)                                                              \
	{                                                                                          \
		name(make_ring);                                                                   \
	}                                                                                          \
	static void name##_threads(void)                                                           \
	{                                                                                          \
		name(make_threads);                                                                \
	}                                                                                          \
	static void name(make_io_fn *make)
#define TEST_BOTH(name) TEST(name##_ring), TEST(name##_threads)

static inline unsigned char byte_at(uint64_t offset)
{
	return (unsigned char)(offset * 2654435761u >> 13);
}

/* An unnamed file with position-dependent content. */
static inline int file_made(void)
{
	FILE *file = tmpfile();

	check(file != NULL);
	for (unsigned i = 0; i < FILE_BYTES; i++)
		putc(byte_at(i), file);
	fflush(file);
	return fileno(file);
}

static inline void check_bytes(const unsigned char *at, uint64_t offset, size_t count)
{
	for (size_t i = 0; i < count; i++)
		if (at[i] != byte_at(offset + i))
			check_failed(__FILE__, __LINE__, "byte %zu is wrong", (size_t)offset + i);
}

static inline struct io_op read_op(int fd, void *memory, uint64_t offset, uint32_t length)
{
	return (struct io_op){
		.fd = fd, .code = IO_READ, .memory = memory, .offset = offset, .length = length};
}

static inline int64_t in_ms(int64_t ms)
{
	return sys_real()->now_ns() + ms * NS_PER_MS;
}

static inline struct io_op *reap_one(struct io *io)
{
	struct io_op *op = NULL;

	check_int(io->ops->reap(io, &op, 1, in_ms(20000)), 1);
	return op;
}

static inline double ms_since(int64_t start_ns)
{
	return (double)(sys_real()->now_ns() - start_ns) / (double)NS_PER_MS;
}

#endif
