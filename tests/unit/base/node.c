/* SPDX-License-Identifier: Apache-2.0 */
/*
 * On which node memory is wished to be: what is asked of the kernel, on machines that are made up.
 */
#include "base/node.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/mempolicy.h>
#include <string.h>

#include "base/size.h"
#include "lib/check.h"

#define FD 1000

static struct {
	const char *nodes; /* what the kernel says is there; NULL: it says nothing */
	unsigned node;     /* where we run */
	unsigned calls;
	int policy;
	void *memory;
	size_t bytes;
	unsigned long mask[NODES_MAX / 64];
} machine;

static int open_nodes(int dir, const char *path, int flags, mode_t mode)
{
	(void)dir;
	(void)flags;
	(void)mode;
	check_str(path, "/sys/devices/system/node/online");
	errno = ENOENT;
	return machine.nodes ? FD : -1;
}

static ssize_t read_nodes(int fd, void *to, size_t len, off_t off)
{
	check_int(fd, FD);
	check_int(off, 0);
	check(strlen(machine.nodes) < len);
	memcpy(to, machine.nodes, strlen(machine.nodes));
	return (ssize_t)strlen(machine.nodes);
}

static int close_nodes(int fd)
{
	check_int(fd, FD);
	return 0;
}

static int where_we_run(unsigned *processor, unsigned *node)
{
	*processor = 7;
	*node = machine.node;
	return 0;
}

static int note_bind(void *at, size_t len, int mode, const unsigned long *nodes, unsigned long bits,
		     unsigned flags)
{
	machine.calls++;
	machine.policy = mode;
	machine.memory = at;
	machine.bytes = len;
	memcpy(machine.mask, nodes, sizeof(machine.mask));
	check(bits >= NODES_MAX);
	check_int(flags, 0);
	return 0;
}

static const struct sys *made_up(const char *nodes, unsigned node)
{
	static struct sys sys;

	memset(&machine, 0, sizeof(machine));
	machine.nodes = nodes;
	machine.node = node;
	sys = *sys_real();
	sys.openat = open_nodes;
	sys.pread = read_nodes;
	sys.close = close_nodes;
	sys.getcpu = where_we_run;
	sys.mbind = note_bind;
	return &sys;
}

static const struct node_wish nowhere = {NODE_WISH_NONE, 0}, here = {NODE_WISH_HERE, 0},
			      third = {NODE_WISH_ONE, 3};
static char memory[8192];

static void one_node_is_no_choice(void)
{
	static const char *const ones[] = {"0\n", "0", "3\n", "", NULL};

	for (size_t i = 0; i < array_size(ones); i++) {
		const struct sys *sys = made_up(ones[i], 0);

		check_int(node_here(sys), NODE_ANY);
		node_place(sys, memory, sizeof(memory), here);
		node_place(sys, memory, sizeof(memory), nowhere);
		check_int(machine.calls, 0);
	}
}

static void of_several_the_one_that_we_run_on_is_preferred(void)
{
	static const char *const several[] = {"0-1\n", "0,2\n", "0-3,8-11\n"};

	for (size_t i = 0; i < array_size(several); i++) {
		const struct sys *sys = made_up(several[i], 1);

		check_int(node_here(sys), 1);
		node_place(sys, memory, sizeof(memory), nowhere);
		check_int(machine.calls, 0);
		node_place(sys, memory, sizeof(memory), here);
		check_int(machine.calls, 1);
		check_int(machine.policy, MPOL_PREFERRED);
		check(machine.memory == memory);
		check_int(machine.bytes, sizeof(memory));
		check_int(machine.mask[0], 2);
	}
}

static void one_that_is_named_is_the_only_one(void)
{
	const struct sys *sys = made_up("0\n", 0); /* asked for as it stands, also here */

	check_int(node_of(sys, third), 3);
	node_place(sys, memory, sizeof(memory), third);
	check_int(machine.calls, 1);
	check_int(machine.policy, MPOL_BIND);
	check_int(machine.mask[0], 8);
	check_int(node_bind(sys, memory, 4096, 65), 0);
	check_int(machine.policy, MPOL_BIND);
	check_int(machine.mask[0], 0);
	check_int(machine.mask[1], 2);
	check_int(node_bind(sys, memory, 4096, -1), -EINVAL);
	check_int(node_bind(sys, memory, 4096, NODES_MAX), -EINVAL);
	check_int(machine.calls, 2);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(one_node_is_no_choice),
		TEST(of_several_the_one_that_we_run_on_is_preferred),
		TEST(one_that_is_named_is_the_only_one),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
