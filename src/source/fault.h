/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source that misbehaves on request: in front of any other, in every build, for tests and for
 * simulations.
 *
 * Rules are data.  Every rule that fits a call and whose turn it is takes effect; where several do,
 * an error wins over what else they ask for.  Chance comes from the seed alone.
 */
#ifndef SOURCE_FAULT_H
#define SOURCE_FAULT_H

#include <stdint.h>

#include "base/compiler.h"
#include "source/source.h"

/* Which calls a rule is about. */
enum fault_calls {
	FAULT_READ = 1u << 0,
	FAULT_WRITE = 1u << 1,
	FAULT_OPEN = 1u << 2,
	FAULT_STAT = 1u << 3, /* describe(), too */
	FAULT_LIST = 1u << 4,
	FAULT_CREATE = 1u << 5,
	FAULT_COMMIT = 1u << 6,
	FAULT_CHECK = 1u << 7,
};

enum fault_action {
	/* Comes back with `code` and `os_errno`; nothing was moved. */
	FAULT_ERROR,

	/* Requests: brings at most `bytes` (at least 1), and rubbish behind them. */
	FAULT_SHORT,

	/* Requests: `bytes` bytes of what a read brought are wrong, at random places. */
	FAULT_CORRUPT,

	/* Requests: submit says WEIR_LIMIT. */
	FAULT_REFUSE,

	/* Handed on delay_ns later; a cancel calls it back before.  Calls on names sleep that long
	 * by the real clock. */
	FAULT_DELAY,

	/* The same, but no cancel helps: its bytes arrive late. */
	FAULT_STUCK,
};

struct fault_rule {
	uint32_t calls;          /* enum fault_calls */
	const char *name;        /* of objects whose URI contains it; NULL: all; borrowed */
	uint64_t offset, length; /* requests that touch this range; length 0: all */
	uint32_t skip;           /* the first so many that fit are spared */
	uint32_t times;          /* then so many are hit; 0: all */
	uint32_t per_million;    /* of these, at random; 0: every one */

	int action; /* enum fault_action */
	int code;   /* negative enum weir_code */
	int os_errno;
	uint32_t bytes;
	int64_t delay_ns;
};

#define FAULT_RULES_MAX 32

/* Takes the next source over when it succeeds. */
must_use int source_fault_create(struct source *next, uint64_t seed, struct source **out,
				 struct weir_error *err);

/* Replaces all rules, and what was counted; at most FAULT_RULES_MAX.  Any thread. */
void source_fault_set(struct source *source, const struct fault_rule *rules, size_t count);

/* How often a rule has taken effect. */
uint32_t source_fault_hits(struct source *source, size_t rule);

#endif
