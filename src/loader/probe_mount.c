/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What mounting needs: FUSE, its helper for ordinary users, what the kernel can pass through, the files
 * by which a stuck connection is aborted, and the shared memory that rings are made of.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/statfs.h>
#include <sys/utsname.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "engine/context.h"
#include "loader/probe.h"

#define DEVICE      "/dev/fuse"
#define CONNECTIONS "/sys/fs/fuse/connections"
#define SHM_DIR     "/dev/shm"
#define FUSECTL     0x65735543
#define CAP_ADMIN   21
#define MOUNTS_MAX  65536 /* of the list of mounts; what stands behind is not seen */

static void look_at_device(const struct probe *probe)
{
	const struct sys *sys = probe->ctx->sys;
	int fd = sys->openat(AT_FDCWD, DEVICE, O_RDWR | O_CLOEXEC, 0);
	int os_errno = errno;

	if (fd >= 0)
		sys->close(fd);
	if (fd >= 0)
		probe_say(probe, "fuse", WEIR_PROBE_OK, "", DEVICE " can be opened");
	else if (os_errno == ENOENT)
		probe_say(probe, "fuse", WEIR_PROBE_ABSENT,
			  "`weir mount` needs it: modprobe fuse; docker run --device " DEVICE,
			  "there is no " DEVICE);
	else
		probe_say(probe, "fuse", WEIR_PROBE_WARN,
			  "`weir mount` needs it: chmod 666 " DEVICE ", as distributions have it",
			  DEVICE " cannot be opened: %s", strerrordesc_np(os_errno));
}

static void look_at_helper(const struct probe *probe)
{
	struct statx stat;
	bool there = probe->ctx->sys->statx(AT_FDCWD, "/usr/bin/fusermount3", 0, STATX_MODE,
					    &stat) == 0;

	if (!there)
		probe_say(probe, "fusermount3", WEIR_PROBE_ABSENT,
			  "ordinary users mount with it: package fuse3", "not in /usr/bin");
	else if (!(stat.stx_mode & S_ISUID))
		probe_say(probe, "fusermount3", WEIR_PROBE_WARN,
			  "ordinary users mount with it: chmod u+s", "not set-uid");
	else
		probe_say(probe, "fusermount3", WEIR_PROBE_OK, "", "/usr/bin/fusermount3");
}

/* The number after a key in a file of lines: "CapEff:\t000001ffffffffff". */
static bool read_hex(const struct sys *sys, const char *path, const char *key,
		     unsigned long long *out)
{
	char text[4096];
	const char *at;
	char *end;

	if (!probe_read(sys, path, text, sizeof(text)))
		return false;
	at = strstr(text, key);
	if (!at)
		return false;
	*out = strtoull(at + strlen(key), &end, 16);
	return end != at + strlen(key);
}

static bool kernel_is(unsigned major, unsigned minor)
{
	struct utsname name;
	unsigned long has_major, has_minor;
	char *end;

	if (uname(&name) < 0)
		return false;
	has_major = strtoul(name.release, &end, 10);
	has_minor = *end == '.' ? strtoul(end + 1, NULL, 10) : 0;
	return has_major > major || (has_major == major && has_minor >= minor);
}

static void look_at_passthrough(const struct probe *probe)
{
	unsigned long long caps = 0;
	bool admin = read_hex(probe->ctx->sys, "/proc/self/status", "CapEff:", &caps) &&
		     (caps >> CAP_ADMIN & 1);

	if (!kernel_is(6, 9))
		probe_say(probe, "fuse_passthrough", WEIR_PROBE_ABSENT,
			  "the daemon of a mount answers all reads; from Linux 6.9 on the kernel "
			  "reads files itself",
			  "not in this kernel");
	else if (!admin)
		probe_say(probe, "fuse_passthrough", WEIR_PROBE_ABSENT,
			  "root's mounts (CAP_SYS_ADMIN) have it; the daemon answers all reads",
			  "not for this user");
	else
		probe_say(probe, "fuse_passthrough", WEIR_PROBE_OK, "",
			  "possible, but for a source on overlayfs or on another FUSE");
}

static void look_at_fusectl(const struct probe *probe)
{
	struct statfs fs;
	bool there = probe->ctx->sys->statfs(CONNECTIONS, &fs) == 0 &&
		     (unsigned long)fs.f_type == FUSECTL;

	probe_say(probe, "fusectl", there ? WEIR_PROBE_OK : WEIR_PROBE_ABSENT,
		  "the watchdog of a mount aborts by it, else by force; as root: mount -t fusectl "
		  "fusectl " CONNECTIONS " (root's `weir mount` does that)",
		  "%s", there ? CONNECTIONS : "not mounted");
}

/* The options of /dev/shm among the mounts: "... /dev/shm tmpfs rw,huge=advise 0 0". */
static bool shm_option(const struct sys *sys, char *word, size_t size)
{
	scoped(freep) char *text = malloc(MOUNTS_MAX);
	const char *line = text && probe_read(sys, "/proc/self/mounts", text, MOUNTS_MAX)
				   ? strstr(text, " " SHM_DIR " ")
				   : NULL;
	const char *huge, *end;

	if (!line)
		return false;
	end = line + strcspn(line, "\n");
	huge = strstr(line, "huge=");
	if (!huge || huge > end)
		return false;
	huge += strlen("huge=");
	snprintf(word, size, "%.*s", (int)strcspn(huge, ", \n"), huge);
	return true;
}

/* Our own buffers are put together by the kernel where it can (base/huge.h). */
static void look_at_shm_pages(const struct probe *probe)
{
	char word[32] = "never";
	bool ours = kernel_is(6, 1), all;

	shm_option(probe->ctx->sys, word, sizeof(word));
	all = strcmp(word, "never") != 0;
	probe_say(
		probe, "shm_huge_pages", all || ours ? WEIR_PROBE_OK : WEIR_PROBE_WARN,
		"buffers of rings cost a fifth of the processor time with huge pages; as root: mount -o "
		"remount,huge=advise " SHM_DIR,
		"huge=%s in " SHM_DIR "%s", word,
		!all && ours ? "; weir's own buffers up to 1 GiB have huge pages all the same"
			     : "");
}

static void look_at_futex_wait(const struct probe *probe)
{
	bool has = kernel_is(6, 7);

	probe_say(
		probe, "io_uring_futex", has ? WEIR_PROBE_OK : WEIR_PROBE_WARN,
		"the server of rings needs a thread more to hear its clients; from Linux 6.7 on it "
		"does not",
		"%s", has ? "in this kernel" : "not in this kernel");
}

void probe_mount(const struct probe *probe)
{
	look_at_device(probe);
	look_at_helper(probe);
	look_at_passthrough(probe);
	look_at_fusectl(probe);
	look_at_shm_pages(probe);
	look_at_futex_wait(probe);
}
