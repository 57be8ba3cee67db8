/* SPDX-License-Identifier: Apache-2.0 */
/*
 * From which NUMA node memory comes.
 *
 * A machine with one node has nothing to choose, and no call is made there on weir's own account.
 * What a caller names is asked of the kernel as it stands.  A kernel that refuses is no error:
 * placement is a wish.
 */
#ifndef BASE_NODE_H
#define BASE_NODE_H

#include <stdint.h>

#include "base/sys.h"

#define NODE_ANY  (-1) /* first touch decides */
#define NODES_MAX 1024

/* What a caller wants; zero: nothing. */
struct node_wish {
	enum {
		NODE_WISH_NONE,
		NODE_WISH_HERE, /* the node of the thread that asks, while it has room */
		NODE_WISH_ONE,  /* that one and no other */
	} kind;
	int node;
};

/* The node of the processor that this thread runs on; NODE_ANY where there is but one, or none is known. */
int node_here(const struct sys *sys);

/* The node that a wish comes down to on this thread, or NODE_ANY. */
int node_of(const struct sys *sys, struct node_wish wish);

/* All of the memory is to come from that node, and from no other: 0 or a negative errno. */
int node_bind(const struct sys *sys, void *memory, uint64_t bytes, int node);

/* As wished, where that can be; before the memory's pages exist. */
void node_place(const struct sys *sys, void *memory, uint64_t bytes, struct node_wish wish);

#endif
