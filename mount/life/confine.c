/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/life/confine.h"

#include <errno.h>
#include <linux/capability.h>
#include <seccomp.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/prctl.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "base/error.h"

/* What a file server for many users needs, and why. */
static const int kept[] = {
	CAP_SYS_ADMIN,       /* backing files of passthrough at every open; unmounting */
	CAP_SETUID,          /* a client's memory and files are opened as the client */
	CAP_SETGID,          /* with the client's groups */
	CAP_DAC_OVERRIDE,    /* the kernel has checked rights before it asks us */
	CAP_DAC_READ_SEARCH, /* likewise */
	CAP_FOWNER,          /* chmod, times of files whose owner asked */
	CAP_FSETID,          /* set-group-id bits stay as the owner set them */
	CAP_CHOWN,           /* what is made belongs to who made it */
	CAP_MKNOD,           /* FIFOs and the like, with --read-write */
	CAP_IPC_LOCK,        /* rings' buffers are registered with the kernel */
	CAP_SYS_RESOURCE,    /* many open files */
};

static uint64_t kept_mask(void)
{
	uint64_t mask = 0;

	for (size_t i = 0; i < sizeof(kept) / sizeof(kept[0]); i++)
		mask |= UINT64_C(1) << kept[i];
	return mask;
}

static int drop_capabilities(struct weir_error *err)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[2] = {0};
	uint64_t mask = kept_mask();

	/* The bounding set first: leaving it needs CAP_SETPCAP. */
	for (int cap = 0; prctl(PR_CAPBSET_READ, cap, 0, 0, 0) >= 0; cap++) {
		if (!(mask >> cap & 1))
			prctl(PR_CAPBSET_DROP, cap, 0, 0, 0);
	}
	prctl(PR_CAP_AMBIENT, PR_CAP_AMBIENT_CLEAR_ALL, 0, 0, 0);
	if (syscall(SYS_capget, &header, data) < 0)
		return error_sys(err, errno, NULL, "reading the capabilities");
	for (int i = 0; i < 2; i++) {
		data[i].permitted &= (uint32_t)(mask >> (32 * i));
		data[i].effective = data[i].permitted;
		data[i].inheritable = 0;
	}
	if (syscall(SYS_capset, &header, data) < 0)
		return error_sys(err, errno, NULL, "dropping capabilities");
	return 0;
}

int confine_early(struct weir_error *err)
{
	if (prctl(PR_SET_DUMPABLE, 0, 0, 0, 0) < 0)
		return error_sys(err, errno, NULL, "becoming undumpable");
	/* fusermount3 has privileges of its own, which a user's mount still needs. */
	if (geteuid() != 0)
		return 0;
	if (prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) < 0)
		return error_sys(err, errno, NULL, "giving up new privileges");
	return drop_capabilities(err);
}

/* All are answered EPERM. */
static const int refused[] = {
	/* Other programs; the guard runs fusermount3. */
	SCMP_SYS(execve),
	SCMP_SYS(execveat),
	/* Other processes. */
	SCMP_SYS(ptrace),
	SCMP_SYS(process_vm_readv),
	SCMP_SYS(process_vm_writev),
	SCMP_SYS(kcmp),
	SCMP_SYS(pidfd_getfd),
	/* The kernel. */
	SCMP_SYS(init_module),
	SCMP_SYS(finit_module),
	SCMP_SYS(delete_module),
	SCMP_SYS(kexec_load),
	SCMP_SYS(kexec_file_load),
	SCMP_SYS(bpf),
	SCMP_SYS(perf_event_open),
	SCMP_SYS(userfaultfd),
	SCMP_SYS(iopl),
	SCMP_SYS(ioperm),
	SCMP_SYS(syslog),
	/* The machine. */
	SCMP_SYS(reboot),
	SCMP_SYS(swapon),
	SCMP_SYS(swapoff),
	SCMP_SYS(acct),
	SCMP_SYS(sethostname),
	SCMP_SYS(setdomainname),
	SCMP_SYS(settimeofday),
	SCMP_SYS(clock_settime),
	SCMP_SYS(clock_adjtime),
	SCMP_SYS(adjtimex),
	SCMP_SYS(quotactl),
	/* Mounts and name spaces: the guard unmounts. */
	SCMP_SYS(mount),
	SCMP_SYS(umount2),
	SCMP_SYS(pivot_root),
	SCMP_SYS(chroot),
	SCMP_SYS(move_mount),
	SCMP_SYS(open_tree),
	SCMP_SYS(fsopen),
	SCMP_SYS(fsconfig),
	SCMP_SYS(fsmount),
	SCMP_SYS(fspick),
	SCMP_SYS(mount_setattr),
	SCMP_SYS(setns),
	SCMP_SYS(unshare),
	SCMP_SYS(open_by_handle_at),
	/* Keys. */
	SCMP_SYS(add_key),
	SCMP_SYS(request_key),
	SCMP_SYS(keyctl),
};

static int add_rules(scmp_filter_ctx filter)
{
	int ret = seccomp_attr_set(filter, SCMP_FLTATR_CTL_TSYNC, 1);

	for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]) && !ret; i++)
		ret = seccomp_rule_add(filter, SCMP_ACT_ERRNO(EPERM), refused[i], 0);
	return ret;
}

int confine_late(struct weir_error *err)
{
	scmp_filter_ctx filter = seccomp_init(SCMP_ACT_ALLOW);
	int ret;

	if (!filter)
		return error_nomem(err, NULL, "the system-call filter");
	ret = add_rules(filter);
	/* Sets no_new_privs, in all threads. */
	if (!ret)
		ret = seccomp_load(filter);
	seccomp_release(filter);
	return ret ? error_sys(err, -ret, NULL, "loading the system-call filter") : 0;
}
