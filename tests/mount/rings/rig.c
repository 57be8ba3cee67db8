/* SPDX-License-Identifier: Apache-2.0 */
#include "rig.h"

#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

#include "base/clock.h"
#include "lib/check.h"

static void hear(void *arg, int level, const char *line)
{
	struct rig *rig = arg;

	if (level == WEIR_LOG_WARN)
		atomic_fetch_add(&rig->warnings, 1);
	if (getenv("RIG_LOG"))
		fprintf(stderr, "# %s\n", line);
}

uint64_t rig_times(uint64_t count)
{
	const char *times = getenv("RIG_TIMES");

	return times ? count * strtoull(times, NULL, 10) : count;
}

static void name_gone(void *arg, uint64_t parent, const char *name)
{
	struct rig *rig = arg;

	check(parent == VIRT_IOVS_INO && *name);
	atomic_fetch_add(&rig->names_gone, 1);
}

void rig_start(struct rig *rig, const struct virt_opts *given)
{
	struct virt_opts opts = given ? *given : (struct virt_opts){0};
	struct weir_error err = WEIR_ERROR_INIT;

	*rig = (struct rig){.log = {.fn = hear, .arg = rig, .level = WEIR_LOG_DEBUG}};
	rig->log.sys = sys_real();
	strcpy(rig->shm, "/dev/shm/weir-rig-XXXXXX");
	check(mkdtemp(rig->shm) != NULL);
	check(chmod(rig->shm, 01777) == 0);
	rig->shm_dir = open(rig->shm, O_RDONLY | O_DIRECTORY | O_CLOEXEC);
	check(rig->shm_dir >= 0);
	check_int(weir_ctx_create(NULL, &rig->ctx, &err), 0);
	rig->files = files_create(rig->ctx);
	opts.ctx = rig->ctx;
	opts.files = rig->files;
	opts.log = &rig->log;
	opts.shm = rig->shm;
	opts.name_gone = name_gone;
	opts.name_gone_arg = rig;
	if (rings_create(&opts, &rig->rings, &err))
		check_failed(__FILE__, __LINE__, "rings_create: %s", err.message);
}

void rig_end(struct rig *rig)
{
	char command[128];

	rings_destroy(rig->rings, sys_real()->now_ns() + 5 * NS_PER_SEC);
	check_int(files_held(rig), 0);
	files_destroy(rig->files);
	weir_ctx_destroy(rig->ctx);
	snprintf(command, sizeof(command), "ls %s | grep -c '^sem' | grep -qx 0", rig->shm);
	check_int(system(command), 0);
	rig_remove(rig);
}

void rig_remove(struct rig *rig)
{
	char command[128];

	snprintf(command, sizeof(command), "rm -rf %s", rig->shm);
	check_int(system(command), 0);
	close(rig->shm_dir);
}

struct virt_caller rig_caller(uid_t uid)
{
	return (struct virt_caller){.uid = uid, .gid = uid, .pid = (pid_t)syscall(SYS_gettid)};
}

char *rig_object(struct rig *rig, uid_t uid, uint64_t bytes)
{
	static _Atomic unsigned count;
	char name[64];
	int fd;

	snprintf(name, sizeof(name), "hf3fs-iov-%d-%u", (int)getpid(), count++);
	fd = openat(rig->shm_dir, name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC, 0600);
	check(fd >= 0);
	check_int(ftruncate(fd, (off_t)bytes), 0);
	if (geteuid() == 0)
		check_int(fchown(fd, uid, uid), 0);
	close(fd);
	return strdup(name);
}

const char *rig_target(const char *object)
{
	static __thread char target[2048];

	snprintf(target, sizeof(target), "/dev/shm/%s", object);
	return target;
}

int rig_link(struct rig *rig, uid_t uid, const char *object, const char *name)
{
	struct virt_caller caller = rig_caller(uid);
	struct virt_entry entry;

	if (rig->as)
		caller.pid = rig->as;
	return virt_symlink(rig->rings, &caller, rig_target(object), VIRT_IOVS_INO, name, &entry);
}

int rig_unlink(struct rig *rig, uid_t uid, const char *name)
{
	struct virt_caller caller = rig_caller(uid);

	return virt_unlink(rig->rings, &caller, VIRT_IOVS_INO, name);
}

int rig_lookup(struct rig *rig, uid_t uid, const char *name, struct virt_entry *out)
{
	struct virt_caller caller = rig_caller(uid);

	return virt_lookup(rig->rings, &caller, VIRT_IOVS_INO, name, out);
}

unsigned rig_list(struct rig *rig, uid_t uid)
{
	struct virt_caller caller = rig_caller(uid);
	struct virt_dirent *entry = malloc(sizeof(*entry));
	struct virt_dir *dir;
	uint64_t offset = 0;
	unsigned count = 0;

	check_int(virt_opendir(rig->rings, &caller, VIRT_IOVS_INO, &dir), 0);
	while (virt_readdir(rig->rings, &caller, dir, offset, entry) == 0) {
		check(entry->next > offset);
		offset = entry->next;
		count++;
	}
	virt_releasedir(rig->rings, dir);
	free(entry);
	check(count >= 3);
	return count - 3;
}

void rig_rest(int64_t us)
{
	struct timespec time = {us / 1000000, us % 1000000 * 1000};

	nanosleep(&time, NULL);
}

bool rig_wait(bool (*holds)(void *arg), void *arg)
{
	int64_t end = sys_real()->now_ns() + 10 * NS_PER_SEC;

	while (!holds(arg)) {
		if (sys_real()->now_ns() > end)
			return false;
		rig_rest(1000);
	}
	return true;
}

struct settling {
	struct rig *rig;
	uint64_t iovs, rings;
};

static bool add_bytes(void *arg, const struct virt_iov_status *status)
{
	*(uint64_t *)arg += status->bytes;
	return true;
}

static bool add_ring_bytes(void *arg, const struct virt_ring_status *status)
{
	*(uint64_t *)arg += status->iov.bytes;
	return true;
}

static bool settled(void *arg)
{
	struct settling *settling = arg;
	struct virt_totals totals;
	uint64_t bytes = 0;

	virt_totals(settling->rig->rings, &totals);
	virt_each_iov(settling->rig->rings, add_bytes, &bytes);
	virt_each_ring(settling->rig->rings, add_ring_bytes, &bytes);
	return totals.iovs == settling->iovs && totals.rings == settling->rings &&
	       totals.registered_bytes == bytes;
}

void rig_settle(struct rig *rig, uint64_t iovs, uint64_t rings)
{
	struct settling settling = {rig, iovs, rings};

	check(rig_wait(settled, &settling));
}
