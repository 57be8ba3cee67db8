/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The few GNU C extensions that we use everywhere, by name.
 */
#ifndef BASE_COMPILER_H
#define BASE_COMPILER_H

#include <stddef.h>

#define must_use      __attribute__((warn_unused_result))
#define likely(x)     __builtin_expect(!!(x), 1)
#define unlikely(x)   __builtin_expect(!!(x), 0)
#define array_size(a) (sizeof(a) / sizeof((a)[0]))

/* Builds set every local variable to zero.  Not these: large, filled before they are read, on hot paths. */
#define not_zeroed __attribute__((uninitialized))

/* The structure that holds this member. */
#define container_of(pointer, type, member)                                                        \
	((type *)(void *)((char *)(pointer)-offsetof(type, member)))

/* Each use gets names of its own, so that uses may nest. */
#define PICK_(a, b, op, x, y)                                                                      \
	__extension__({                                                                            \
		__auto_type x = (a);                                                               \
		__auto_type y = (b);                                                               \
		x op y ? x : y;                                                                    \
	})
#define PICK_NAMED_(a, b, op, n) PICK_(a, b, op, pick_a_##n, pick_b_##n)
#define PICK(a, b, op, n)        PICK_NAMED_(a, b, op, n)
#define min_of(a, b)             PICK(a, b, <, __COUNTER__)
#define max_of(a, b)             PICK(a, b, >, __COUNTER__)

#endif
