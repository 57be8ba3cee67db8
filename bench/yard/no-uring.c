/* SPDX-License-Identifier: Apache-2.0 */
/*
 * no-uring - runs a command in which io_uring is forbidden
 *
 *	no-uring COMMAND [ARGUMENT...]
 *
 * Installs the filter that most containers have: io_uring_setup, io_uring_enter and io_uring_register
 * answer EPERM, all else goes through.  x86-64 and arm64 share the three numbers.
 */
#include "yard.h"

#include <linux/filter.h>
#include <linux/seccomp.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

int main(int argc, char **argv)
{
	struct sock_filter filter[] = {
		BPF_STMT(BPF_LD | BPF_W | BPF_ABS, offsetof(struct seccomp_data, nr)),
		BPF_JUMP(BPF_JMP | BPF_JGE | BPF_K, SYS_io_uring_setup, 0, 2),
		BPF_JUMP(BPF_JMP | BPF_JGT | BPF_K, SYS_io_uring_register, 1, 0),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ERRNO | 1 /* EPERM */),
		BPF_STMT(BPF_RET | BPF_K, SECCOMP_RET_ALLOW),
	};
	struct sock_fprog program = {.len = sizeof(filter) / sizeof(*filter), .filter = filter};

	if (argc < 2) {
		fprintf(stderr, "usage: no-uring COMMAND [ARGUMENT...]\n");
		return 2;
	}
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0 ||
	    prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program) < 0) {
		yard_fail("no-uring");
		return 1;
	}
	execvp(argv[1], argv + 1);
	yard_fail("%s", argv[1]);
	return 127;
}
