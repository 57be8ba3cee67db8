/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What this machine allows: each check looks once, says what it saw, and what to do about it.
 *
 * Nothing here changes anything, and nothing fails: what cannot be seen is said to be unknown.  A check
 * is called fail where a thing that weir would use does not work here, even though weir gets along
 * without it.
 */
#include "weir/probe.h"

#include <errno.h>
#include <fcntl.h>
#include <linux/capability.h>
#include <sched.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "engine/context.h"
#include "io/io.h"
#include "loader/probe.h"
#include "mem/limits.h"

/* The least that staging and the rings want to lock; Debian's limit for ordinary users. */
#define MEMLOCK_WANTED (UINT64_C(8) << 20)

#define DESCRIPTORS_WANTED 1024

void probe_say(const struct probe *probe, const char *name, int status, const char *advice,
	       const char *format, ...)
{
	struct weir_probe out = {.name = name, .status = status};
	char value[512];
	va_list args;

	va_start(args, format);
	vsnprintf(value, sizeof(value), format, args);
	va_end(args);
	out.value = value;
	out.advice = status == WEIR_PROBE_OK ? "" : advice;
	probe->fn(probe->arg, &out);
}

const char *probe_size(char to[PROBE_SIZE_MAX], uint64_t bytes)
{
	static const char *const names[] = {"KiB", "MiB", "GiB", "TiB", "PiB", "EiB"};
	unsigned n = 0;
	uint64_t tenths;

	if (bytes < 1024) {
		snprintf(to, PROBE_SIZE_MAX, "%u bytes", (unsigned)bytes);
		return to;
	}
	for (; bytes >= UINT64_C(1024) * 1024 && n < 5; n++)
		bytes /= 1024;
	tenths = bytes * 10 / 1024;
	snprintf(to, PROBE_SIZE_MAX, "%llu.%llu %s", (unsigned long long)tenths / 10,
		 (unsigned long long)tenths % 10, names[n]);
	return to;
}

bool probe_read(const struct sys *sys, const char *path, char *to, size_t size)
{
	int fd = sys->openat(AT_FDCWD, path, O_RDONLY | O_CLOEXEC, 0);
	ssize_t got;

	if (fd < 0)
		return false;
	got = sys->pread(fd, to, size - 1, 0);
	sys->close(fd);
	if (got < 0)
		return false;
	to[got] = '\0';
	return true;
}

static void look_at_kernel(const struct probe *probe)
{
	struct utsname name;
	unsigned long major, minor;
	char *end;

	if (uname(&name) < 0) {
		probe_say(probe, "kernel", WEIR_PROBE_WARN, "", "unknown");
		return;
	}
	major = strtoul(name.release, &end, 10);
	minor = *end == '.' ? strtoul(end + 1, NULL, 10) : 0;
	probe_say(
		probe, "kernel",
		major > 6 || (major == 6 && minor >= 1) ? WEIR_PROBE_OK : WEIR_PROBE_WARN,
		"from Linux 6.1 on, completions cost fewer interrupts; from 6.5 on, the kernel tells "
		"what of a file is cached",
		"%s %s, %s", name.sysname, name.release, name.machine);
}

static void look_at_processors(const struct probe *probe)
{
	long machine = sysconf(_SC_NPROCESSORS_ONLN);
	cpu_set_t set;
	int ours = sched_getaffinity(0, sizeof(set), &set) == 0 ? CPU_COUNT(&set) : 0;

	probe_say(probe, "processors", ours > 1 ? WEIR_PROBE_OK : WEIR_PROBE_WARN,
		  "with one processor, reading and making memory cannot overlap",
		  "%d of %ld may be used", ours, machine);
}

static const char *ring_advice(int os_errno)
{
	if (os_errno == EPERM || os_errno == EACCES)
		return "plain threads are used instead; a container's system-call filter or the sysctl "
		       "kernel.io_uring_disabled forbids it";
	if (os_errno == ENOMEM)
		return "plain threads are used instead; the limit on locked memory is too low (ulimit -l)";
	return "plain threads are used instead; from Linux 5.11 on it would work";
}

static void look_at_ring(const struct probe *probe)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct io *io = NULL;
	int ret = io_ring_create(probe->ctx->sys, 8, &io, &err);

	if (ret < 0) {
		probe_say(probe, "io_uring", WEIR_PROBE_FAIL, ring_advice(err.os_errno), "%s",
			  err.message);
		return;
	}
	io->ops->destroy(io);
	probe_say(probe, "io_uring", WEIR_PROBE_OK, "", "works");
	if (io_ring_deferred())
		probe_say(probe, "io_uring_deferred", WEIR_PROBE_OK, "",
			  "completions wait for who reaps them");
	else
		probe_say(probe, "io_uring_deferred", WEIR_PROBE_WARN,
			  "from Linux 6.1 on, completions need not interrupt",
			  "not in this kernel");
}

/* "always [madvise] never": the word in brackets. */
static void chosen_word(const char *text, char *to, size_t size)
{
	const char *open = strchr(text, '['), *close = open ? strchr(open, ']') : NULL;

	snprintf(to, size, "%.*s", close ? (int)(close - open - 1) : 0, open ? open + 1 : "");
}

static void look_at_huge_pages(const struct probe *probe)
{
	char text[256], word[32];

	if (!probe_read(probe->ctx->sys, "/sys/kernel/mm/transparent_hugepage/enabled", text,
			sizeof(text))) {
		probe_say(probe, "huge_pages", WEIR_PROBE_ABSENT,
			  "memory is made of 4 KiB pages: three times the processor time",
			  "this kernel has none");
		return;
	}
	chosen_word(text, word, sizeof(word));
	probe_say(
		probe, "huge_pages", strcmp(word, "never") == 0 ? WEIR_PROBE_FAIL : WEIR_PROBE_OK,
		"as root: echo madvise > /sys/kernel/mm/transparent_hugepage/enabled; without, memory "
		"costs three times the processor time",
		"%s", word[0] ? word : "unknown");
}

/* What it pins for io_uring is not counted. */
static bool may_lock_memory(void)
{
	struct __user_cap_header_struct header = {.version = _LINUX_CAPABILITY_VERSION_3};
	struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];

	return syscall(SYS_capget, &header, data) == 0 &&
	       (data[CAP_TO_INDEX(CAP_IPC_LOCK)].effective & CAP_TO_MASK(CAP_IPC_LOCK));
}

static void look_at_limits(const struct probe *probe)
{
	struct rlimit limit;
	char size[PROBE_SIZE_MAX];

	if (getrlimit(RLIMIT_MEMLOCK, &limit) == 0) {
		bool enough = limit.rlim_cur == RLIM_INFINITY || limit.rlim_cur >= MEMLOCK_WANTED;

		probe_say(probe, "locked_memory", enough ? WEIR_PROBE_OK : WEIR_PROBE_WARN,
			  "8 MiB (ulimit -l 8192) let staging be registered with the kernel; kept "
			  "memory that a context pins (pin_bytes) wants its own size on top",
			  "%s%s",
			  limit.rlim_cur == RLIM_INFINITY ? "no limit"
							  : probe_size(size, limit.rlim_cur),
			  may_lock_memory() ? "; none for io_uring (CAP_IPC_LOCK)" : "");
	}
	if (getrlimit(RLIMIT_NOFILE, &limit) == 0) {
		bool enough = limit.rlim_cur == RLIM_INFINITY ||
			      limit.rlim_cur >= DESCRIPTORS_WANTED;

		probe_say(probe, "descriptors", enough ? WEIR_PROBE_OK : WEIR_PROBE_WARN,
			  "each open file of a model takes two (ulimit -n 1024)", "%llu",
			  (unsigned long long)limit.rlim_cur);
	}
}

/* A file of anybody's: EPERM says that the call is there and the file is not ours. */
static void look_at_cachestat(const struct probe *probe)
{
	const struct sys *sys = probe->ctx->sys;
	struct sys_cache_range range = {0, 4096};
	struct sys_cache_stat stat;
	int fd = sys->openat(AT_FDCWD, "/proc/self/exe", O_RDONLY | O_CLOEXEC, 0);
	bool there = fd >= 0 && (sys->cachestat(fd, &range, &stat, 0) == 0 || errno == EPERM);

	if (fd >= 0)
		sys->close(fd);
	probe_say(
		probe, "cachestat", there ? WEIR_PROBE_OK : WEIR_PROBE_WARN,
		"what is cached is found out by trying, page by page; from Linux 6.5 on the kernel "
		"tells",
		"%s", there ? "works on files that are yours" : "not in this kernel");
}

static void say_memory(const struct probe *probe, const char *name, uint64_t bytes,
		       const char *none, const char *advice)
{
	char size[PROBE_SIZE_MAX];

	if (bytes == UINT64_MAX)
		probe_say(probe, name, WEIR_PROBE_ABSENT, "", "%s", none);
	else
		probe_say(probe, name, bytes >> 30 ? WEIR_PROBE_OK : WEIR_PROBE_WARN, advice,
			  "%s left", probe_size(size, bytes));
}

static void look_at_memory(const struct probe *probe)
{
	struct memory_left left;

	memory_left(probe->ctx->sys, &left);
	say_memory(probe, "memory", left.machine_bytes, "not told",
		   "larger models can be streamed within a budget");
	say_memory(
		probe, "cgroup_memory", left.cgroup_bytes, "no limit",
		"larger models can be streamed within a budget; or raise the limit of the control "
		"group");
	if (left.process_bytes != UINT64_MAX)
		say_memory(probe, "address_space", left.process_bytes, "no limit",
			   "the limit on address space (ulimit -v) is in the way");
}

int weir_probe_machine(struct weir_ctx *ctx, weir_probe_fn *fn, void *arg, struct weir_error *err)
{
	const struct probe probe = {ctx, fn, arg};
	int ret = ctx_alive(ctx, err);

	if (ret < 0)
		return ret;
	look_at_kernel(&probe);
	look_at_processors(&probe);
	look_at_ring(&probe);
	look_at_huge_pages(&probe);
	look_at_limits(&probe);
	look_at_cachestat(&probe);
	look_at_memory(&probe);
	probe_3fs(&probe);
	probe_mount(&probe);
	probe_cuda(&probe);
	return 0;
}
