/* SPDX-License-Identifier: Apache-2.0 */
#include "lib/filter.h"

#include <linux/audit.h>
#include <linux/filter.h>
#include <linux/seccomp.h>
#include <stddef.h>
#include <sys/prctl.h>
#include <sys/syscall.h>

#include "base/compiler.h"
#include "lib/check.h"

#define LOAD(field)                                                                                \
	BPF_STMT(BPF_LD | BPF_W | BPF_ABS, (unsigned)offsetof(struct seccomp_data, field))
#define ANSWER(what) BPF_STMT(BPF_RET | BPF_K, (what))

static void install(struct sock_filter *code, size_t count)
{
	struct sock_fprog program = {(unsigned short)count, code};

	check_int(prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
	check_int(prctl(PR_SET_SECCOMP, SECCOMP_MODE_FILTER, &program), 0);
}

void filter_forbid(long number, int os_errno)
{
	struct sock_filter code[] = {
		LOAD(nr),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, (unsigned)number, 0, 1),
		ANSWER(SECCOMP_RET_ERRNO | (unsigned)os_errno),
		ANSWER(SECCOMP_RET_ALLOW),
	};

	install(code, array_size(code));
}

void filter_forbid_open_flags(unsigned flags, int os_errno)
{
	struct sock_filter code[] = {
		LOAD(nr),
		BPF_JUMP(BPF_JMP | BPF_JEQ | BPF_K, SYS_openat, 0, 3),
		LOAD(args[2]),
		BPF_JUMP(BPF_JMP | BPF_JSET | BPF_K, flags, 0, 1),
		ANSWER(SECCOMP_RET_ERRNO | (unsigned)os_errno),
		ANSWER(SECCOMP_RET_ALLOW),
	};

	install(code, array_size(code));
}
