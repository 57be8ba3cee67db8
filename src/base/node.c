/* SPDX-License-Identifier: Apache-2.0 */
#include "base/node.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <stdbool.h>
#include <string.h>

/* Nodes that have memory or may: "0" where there is one, else "0-1", "0,2". */
#define NODES_ONLINE "/sys/devices/system/node/online"

static int read_small(const struct sys *sys, const char *path, char *out, size_t size)
{
	int fd = sys->openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	ssize_t got;

	if (fd < 0)
		return -errno;
	got = sys->pread(fd, out, size - 1, 0);
	sys->close(fd);
	if (got < 0)
		return -EIO;
	out[got] = '\0';
	return 0;
}

static bool has_many(const struct sys *sys)
{
	char nodes[256];

	return read_small(sys, NODES_ONLINE, nodes, sizeof(nodes)) == 0 && strpbrk(nodes, "-,");
}

int node_here(const struct sys *sys)
{
	unsigned processor, node;

	if (!has_many(sys) || sys->getcpu(&processor, &node) < 0 || node >= NODES_MAX)
		return NODE_ANY;
	return (int)node;
}

int node_of(const struct sys *sys, struct node_wish wish)
{
	switch (wish.kind) {
	case NODE_WISH_NONE:
		break;
	case NODE_WISH_HERE:
		return node_here(sys);
	case NODE_WISH_ONE:
		return wish.node;
	}
	return NODE_ANY;
}

static int set_policy(const struct sys *sys, void *memory, uint64_t bytes, int policy, int node)
{
	unsigned long nodes[NODES_MAX / (8 * sizeof(unsigned long))] = {0};
	const unsigned bits = 8 * sizeof(*nodes);

	if (node < 0 || node >= NODES_MAX)
		return -EINVAL;
	nodes[(unsigned)node / bits] = 1ul << (unsigned)node % bits;
	return sys->mbind(memory, bytes, policy, nodes, NODES_MAX + 1, 0) ? -errno : 0;
}

int node_bind(const struct sys *sys, void *memory, uint64_t bytes, int node)
{
	return set_policy(sys, memory, bytes, MPOL_BIND, node);
}

void node_place(const struct sys *sys, void *memory, uint64_t bytes, struct node_wish wish)
{
	int node = node_of(sys, wish);

	if (node >= 0)
		set_policy(sys, memory, bytes,
			   wish.kind == NODE_WISH_ONE ? MPOL_BIND : MPOL_PREFERRED, node);
}
