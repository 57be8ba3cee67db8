/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files on a mount.
 *
 * An object holds a descriptor, opened through the mount, for as long as it lives: what a ring may touch
 * is what its user has open.  Requests name the file by its number, which belongs to one incarnation of
 * the daemon; after another has come, the worker opens the path again and compares size and time.
 *
 * The version is compared on the descriptor, by the worker: a stat may hang where the daemon does.  It
 * forces the kernel to ask the daemon, so what the kernel remembers of the file does not count.  What
 * landed goes up only when the version is known to have been the same at that time or less than 10 ms
 * before: about what the times of files tell apart.
 */
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "io/usrbio/file.h"
#include "source/usrbio.h"

#define FRESH_NS (10 * NS_PER_MS)

/* How long an open waits for the first ring. */
#define CONNECT_NS (30 * NS_PER_SEC)

static const struct sys *sys_of(const struct usrbio_object *object)
{
	return object->object.source->env->sys;
}

/* ---- Opening ---- */

static int no_ring_file(const char *uri, int os_errno, struct weir_error *err)
{
	if (os_errno == EBADF || os_errno == ENOTTY)
		return error_set(err, WEIR_UNSUPPORTED, uri, "%s: is not a file of 3FS", uri);
	return error_sys(err, os_errno, uri, "%s: its number on the mount", uri);
}

/* 0 or an errno. */
static int number_of(const struct sys *sys, int fd, uint64_t *out)
{
	struct statx stx;

	if (!usrbio_file_is(sys, fd))
		return EBADF;
	if (sys->statx(fd, "", AT_EMPTY_PATH | AT_STATX_DONT_SYNC, STATX_INO, &stx) < 0)
		return errno;
	*out = stx.stx_ino;
	return 0;
}

/* The number, and the descriptor made known to who drives the rings: 0 or an errno. */
static int name_file(struct usrbio_source *source, int fd, uint64_t *number, int *named)
{
	int ret = number_of(source->source.env->sys, fd, number);

	return ret ? ret : source->driver->ops->file_add(source->driver, fd, named);
}

/* Before the descriptor is closed; named: below 0, nothing was made known. */
static void unname_file(struct usrbio_source *source, struct source_object *file, int named)
{
	if (named >= 0)
		source->driver->ops->file_remove(source->driver, file_object_of(file)->fd, named);
}

/* A path that can be opened again: what leads through /proc/self/fd/N does only now. */
static char *lasting_path(const struct sys *sys, const char *path, int fd)
{
	char magic[32], target[PATH_MAX];
	ssize_t len;

	if (strncmp(path, "/proc/self/fd/", strlen("/proc/self/fd/")) != 0)
		return strdup(path);
	snprintf(magic, sizeof(magic), "/proc/self/fd/%d", fd);
	len = sys->readlinkat(AT_FDCWD, magic, target, sizeof(target) - 1);
	if (len < 0)
		return strdup(path);
	target[len] = '\0';
	return strdup(target);
}

static void find_again(struct usrbio_source *source, struct usrbio_job *job);
static void look_at_version(struct usrbio_source *source, struct usrbio_job *job);
static void bury(struct usrbio_source *source, struct usrbio_job *job);

/* Takes the file over, also when it fails. */
static int wrap(struct usrbio_source *source, struct source_object *file, const char *path,
		const struct source_how *how, struct source_object **out, struct weir_error *err)
{
	const struct sys *sys = source->source.env->sys;
	struct usrbio_object *object = calloc(1, sizeof(*object));
	char *uri = strdup(file->uri);
	int ret = object && uri ? file_hold_to_look(file_object_of(file)) : ENOMEM;

	if (ret) {
		file->source->ops->close(file);
		free(uri);
		free(object);
		return error_sys(err, ret, path, "%s: opening it", path);
	}
	object->object = (struct source_object){
		.source = &source->source,
		.uri = uri,
		.size_bytes = file->size_bytes,
		.offset_align = 1,
		.memory_align = 1,
		.request_bytes = USRBIO_REQUEST_BYTES,
		.writing = file->writing,
	};
	object->file = file;
	object->find.run = find_again;
	object->look.run = look_at_version;
	object->end.run = bury;
	object->live = (how->flags & WEIR_OBJECT_LIVE) != 0;
	object->fresh_ns = sys->now_ns();
	object->named = -1;
	ret = name_file(source, file_object_of(file)->fd, &object->number, &object->named);
	if (ret == 0 && !file->writing) {
		object->path = lasting_path(sys, path, file_object_of(file)->fd);
		ret = object->path ? 0 : ENOMEM;
	}
	lock_take(&source->lock);
	object->epoch = source->epoch;
	lock_drop(&source->lock);
	if (ret) {
		ret = no_ring_file(file->uri, ret, err);
		usrbio_close(&object->object);
		return ret;
	}
	*out = &object->object;
	return 0;
}

/* ---- Does the mount take rings? ---- */

struct trial {
	struct usrbio_job job;
	int node;  /* of who asked */
	bool left; /* nobody waits for it any more */
};

static void try_ring(struct usrbio_source *source, struct usrbio_job *job)
{
	struct trial *trial = container_of(job, struct trial, job);
	struct weir_error err = WEIR_ERROR_INIT;
	struct usrbio_session *session;
	struct usrbio_ring_opts opts;
	const struct driver_ops *ops = source->driver->ops;
	struct driver_ring *ring = NULL;
	uint32_t epoch;
	int ret = usrbio_connect(source, &session, &epoch, &err);

	usrbio_ring_opts(&opts, true, 2 * USRBIO_ENTRIES_MIN, trial->node);
	if (ret == 0)
		ret = ops->ring_create(source->driver, session, &opts, &ring, &err);
	lock_take(&source->lock);
	source->why = err;
	source->failed_ns = ret ? source->source.env->sys->now_ns() : 0;
	source->works |= ret == 0;
	if (ret == 0 && !source->spare && epoch == source->epoch) {
		source->spare = ring;
		ring = NULL;
	}
	job->queued = false;
	if (trial->left)
		free(trial);
	lock_drop(&source->lock);
	ops->ring_destroy(ring);
}

/* Asked once, by the first open; on a helper's thread. */
static int connect_first(struct usrbio_source *source, struct weir_error *err)
{
	const struct sys *sys = source->source.env->sys;
	struct trial *trial;
	bool there;
	int ret;

	lock_take(&source->lock);
	there = source->works;
	lock_drop(&source->lock);
	if (there)
		return 0;
	trial = calloc(1, sizeof(*trial));
	if (!trial)
		return error_nomem(err, source->mount, "a ring");
	trial->job.run = try_ring;
	trial->node = node_of(sys, source->node);
	ret = usrbio_run_job(source, &trial->job, deadline_after(sys, CONNECT_NS));
	lock_take(&source->lock);
	trial->left = trial->job.queued;
	if (ret == 0 && source->failed_ns) {
		ret = source->why.code;
		if (err)
			*err = source->why;
	}
	lock_drop(&source->lock);
	if (!trial->left)
		free(trial);
	if (ret == WEIR_TIMEOUT)
		return error_set(err, ret, source->mount, "%s: its daemon does not answer",
				 source->mount);
	return ret;
}

int usrbio_open(struct source *base, const char *path, const char *uri,
		const struct source_how *how, struct source_object **out, struct weir_error *err)
{
	struct usrbio_source *source = usrbio_source_of(base);
	struct source_how through = *how;
	struct source_object *file;
	int ret;

	through.direct = WEIR_DIRECT_OFF;
	ret = source->files->ops->open(source->files, path, uri, &through, &file, err);
	if (ret)
		return ret;
	ret = connect_first(source, err);
	if (ret) {
		file->source->ops->close(file);
		return ret;
	}
	return wrap(source, file, path, how, out, err);
}

int usrbio_create(struct source *base, const char *path, const char *uri, uint64_t size_bytes,
		  const struct source_how *how, struct source_object **out, struct weir_error *err)
{
	struct usrbio_source *source = usrbio_source_of(base);
	struct source_how through = *how;
	struct source_object *file;
	int ret;

	through.direct = WEIR_DIRECT_OFF;
	ret = connect_first(source, err);
	if (ret == 0)
		ret = source->files->ops->create(source->files, path, uri, size_bytes, &through,
						 &file, err);
	return ret ? ret : wrap(source, file, path, how, out, err);
}

/* ---- Through the mount's POSIX face; on helpers' threads ---- */

/* What was written by rings has its length published before it has its name. */
int usrbio_commit(struct source_object *base, int durability, struct weir_error *err)
{
	struct usrbio_object *object = usrbio_object_of(base);
	const struct sys *sys = sys_of(object);
	int ret, fd = file_object_of(object->file)->fd;

	if (sys->ioctl(fd, USRBIO_IOC_FSYNC, NULL) < 0 && sys->fsync(fd) < 0)
		return error_sys(err, errno, base->uri, "%s: its length", base->uri);
	ret = file_commit(object->file, durability, err);
	base->writing = object->file->writing;
	base->size_bytes = object->file->size_bytes;
	return ret;
}

int usrbio_abort(struct source_object *base, struct weir_error *err)
{
	struct usrbio_object *object = usrbio_object_of(base);
	int ret = file_abort(object->file, err);

	base->writing = object->file->writing;
	return ret;
}

int usrbio_describe(struct source_object *base, struct weir_stat *out, struct weir_error *err)
{
	return file_describe(usrbio_object_of(base)->file, out, err);
}

int64_t usrbio_read(struct source_object *base, void *to, uint64_t offset, uint64_t length,
		    struct weir_error *err)
{
	return file_read(usrbio_object_of(base)->file, to, offset, length, err);
}

/* Closing a file tells the daemon, and waits for its answer. */
static void bury(struct usrbio_source *source, struct usrbio_job *job)
{
	struct usrbio_object *object = container_of(job, struct usrbio_object, end);

	unname_file(source, object->file, object->named);
	file_drop(file_object_of(object->file));
	object->file->source->ops->close(object->file);
	free(object->object.uri);
	free(object->path);
	free(object);
}

void usrbio_close(struct source_object *base)
{
	struct usrbio_object *object = usrbio_object_of(base);
	struct usrbio_source *source = usrbio_source_of(base->source);

	lock_take(&source->lock);
	usrbio_queue_locked(source,
			    &object->end); /* behind what else the worker has to do for it */
	lock_drop(&source->lock);
}

/* ---- After another daemon has come ---- */

static bool same_content(const struct source_object *a, const struct source_object *b)
{
	const struct file_version *x =
		&file_object_of((struct source_object *)(uintptr_t)a)->version;
	const struct file_version *y =
		&file_object_of((struct source_object *)(uintptr_t)b)->version;

	return x->size_bytes == y->size_bytes && x->modified.tv_sec == y->modified.tv_sec &&
	       x->modified.tv_nsec == y->modified.tv_nsec;
}

/* The file by its path; a code, and *file is the caller's where that is 0. */
static int open_again(struct usrbio_source *source, struct usrbio_object *object,
		      struct source_object **file, uint64_t *number, int *named,
		      struct weir_error *err)
{
	const struct source_how how = {.direct = WEIR_DIRECT_OFF,
				       .flags = object->live ? WEIR_OBJECT_LIVE : 0};
	struct source *files = source->files;
	int ret, os_errno;

	if (!object->path)
		return error_set(err, WEIR_PEER_GONE, object->object.uri,
				 "%s: was being written when the daemon went", object->object.uri);
	ret = files->ops->open(files, object->path, object->object.uri, &how, file, err);
	if (ret)
		return ret;
	os_errno = file_hold_to_look(file_object_of(*file));
	if (os_errno == 0)
		os_errno = name_file(source, file_object_of(*file)->fd, number, named);
	if (os_errno)
		ret = no_ring_file(object->object.uri, os_errno, err);
	else if (!object->live && !same_content(*file, object->file))
		ret = error_set(err, WEIR_CHANGED, object->object.uri,
				"%s: changed while its daemon was gone", object->object.uri);
	if (ret) {
		unname_file(source, *file, *named);
		if (file_object_of(*file)->holds)
			file_drop(file_object_of(*file));
		files->ops->close(*file);
	}
	return ret;
}

static void find_again(struct usrbio_source *source, struct usrbio_job *job)
{
	struct usrbio_object *object = container_of(job, struct usrbio_object, find);
	struct weir_error err = WEIR_ERROR_INIT;
	struct source_object *file = NULL, *old = NULL;
	struct usrbio_session *session;
	int named = -1, old_named = -1;
	uint64_t number = 0;
	uint32_t epoch;
	int ret = usrbio_connect(source, &session, &epoch, &err);

	if (ret == 0)
		ret = open_again(source, object, &file, &number, &named, &err);
	if (ret == WEIR_CHANGED)
		atomic_store_explicit(&object->verdict, ret, memory_order_relaxed);
	lock_take(&source->lock);
	object->find_code = ret;
	object->find_errno = err.os_errno;
	object->find_epoch = epoch;
	if (ret == 0) {
		old = object->file;
		old_named = object->named;
		object->file = file;
		object->number = number;
		object->named = named;
		object->epoch = epoch;
	}
	job->queued = false;
	lock_drop(&source->lock);
	if (!old)
		return;
	unname_file(source, old, old_named);
	file_drop(file_object_of(old));
	old->source->ops->close(old);
}

/* ---- The version ---- */

/* 0, a verdict, or minus an errno where it could not be asked for. */
static int compare(const struct usrbio_object *object, const struct file_object *file)
{
	const struct file_version *then = &file->version;
	struct statx stx;

	if (sys_of(object)->statx(file->fd, "", AT_EMPTY_PATH | AT_STATX_FORCE_SYNC,
				  STATX_BASIC_STATS, &stx) < 0)
		return -1;
	if (stx.stx_ino != object->number)
		return WEIR_CHANGED;
	if (stx.stx_size < object->object.size_bytes)
		return WEIR_TRUNCATED;
	if (stx.stx_size > object->object.size_bytes ||
	    stx.stx_mtime.tv_sec != then->modified.tv_sec ||
	    stx.stx_mtime.tv_nsec != (uint32_t)then->modified.tv_nsec)
		return WEIR_CHANGED;
	return 0;
}

static void look_at_version(struct usrbio_source *source, struct usrbio_job *job)
{
	struct usrbio_object *object = container_of(job, struct usrbio_object, look);
	int64_t now = sys_of(object)->now_ns();
	int found = compare(object, file_object_of(object->file)), os_errno = errno;

	if (found < -1)
		atomic_store_explicit(&object->verdict, found, memory_order_relaxed);
	lock_take(&source->lock);
	if (found == -1) {
		object->failed_ns = now;
		object->look_errno = os_errno;
	} else {
		object->fresh_ns = now;
	}
	job->queued = false;
	lock_drop(&source->lock);
}

bool usrbio_flight_checked(struct usrbio_lane *lane, struct usrbio_flight *slot)
{
	struct usrbio_source *source = usrbio_source_of_lane(lane);
	struct usrbio_object *object = usrbio_object_of(slot->request->object);
	bool fresh, failed;
	int os_errno;

	if (object->live || slot->request->op == REQUEST_WRITE || slot->request->interim ||
	    slot->request->result < 0)
		return true;
	lock_take(&source->lock);
	fresh = object->fresh_ns + FRESH_NS >= slot->landed_ns;
	failed = !fresh && object->failed_ns >= slot->landed_ns;
	os_errno = object->look_errno;
	if (!fresh && !failed) {
		usrbio_queue_locked(source, &object->look);
		lane->asks = true;
	}
	lock_drop(&source->lock);
	if (failed) {
		slot->request->result = error_class(os_errno);
		slot->request->os_errno = os_errno;
	}
	return fresh || failed;
}

int usrbio_check(struct source_object *base, struct weir_error *err)
{
	int verdict = atomic_load_explicit(&usrbio_object_of(base)->verdict, memory_order_relaxed);

	if (verdict == 0)
		return 0;
	return error_set(err, verdict, base->uri, "%s: changed since it was opened", base->uri);
}

/* The worker may put another descriptor in this one's place. */
bool usrbio_in_place(struct source_object *base)
{
	struct usrbio_object *object = usrbio_object_of(base);
	struct usrbio_source *source = usrbio_source_of(base->source);
	bool leads;

	if (!object->path || atomic_load_explicit(&object->verdict, memory_order_relaxed))
		return false;
	lock_take(&source->lock);
	leads = file_leads_to(sys_of(object), object->path, file_object_of(object->file));
	lock_drop(&source->lock);
	return leads;
}
