/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The mount's side of mount/rings/files.h, for tests: a few files and who has opened them.
 */
#include "mount/rings/files.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/thread.h"
#include "lib/check.h"
#include "lib/pattern.h"
#include "rig.h"
#include "weir/feed.h"

#define FILES  64
#define RIGHTS 16

struct right {
	uid_t uid;
	bool used, reads, writes;
};

struct file {
	uint64_t ino; /* 0: free */
	int fd;
	struct weir_object *object;
	struct right rights[RIGHTS];
	unsigned changes;
};

struct files {
	struct lock lock;
	struct weir_ctx *ctx;
	_Atomic uint64_t epoch;
	_Atomic int held, opening;
	void (*asked)(void *arg); /* what happens as the next file is asked for; NULL: nothing */
	void *asked_arg;
	struct file files[FILES];
};

struct files *files_create(struct weir_ctx *ctx)
{
	struct files *files = calloc(1, sizeof(*files));

	check(files != NULL);
	lock_init(&files->lock);
	files->ctx = ctx;
	return files;
}

void files_destroy(struct files *files)
{
	for (int i = 0; i < FILES; i++) {
		if (!files->files[i].ino)
			continue;
		weir_object_unref(files->files[i].object);
		close(files->files[i].fd);
	}
	lock_fini(&files->lock);
	free(files);
}

static struct file *file_of(struct files *files, uint64_t ino)
{
	for (int i = 0; i < FILES; i++)
		if (files->files[i].ino == ino)
			return &files->files[i];
	return NULL;
}

static int backing(void)
{
	const char *where = getenv("TMPDIR");
	int fd = open(where ? where : ".", O_TMPFILE | O_RDWR, 0600);

	check(fd >= 0);
	return fd;
}

static void fill(int fd, uint64_t ino, uint64_t bytes)
{
	static char buffer[1 << 16];

	for (uint64_t at = 0; at < bytes; at += sizeof(buffer)) {
		uint64_t len = bytes - at < sizeof(buffer) ? bytes - at : sizeof(buffer);

		pattern_fill(buffer, ino, at, len);
		check_int(pwrite(fd, buffer, len, (off_t)at), len);
	}
}

void files_add(struct rig *rig, uint64_t ino, uint64_t bytes)
{
	int fd = backing();

	fill(fd, ino, bytes);
	files_adopt(rig, ino, fd);
}

void files_adopt(struct rig *rig, uint64_t ino, int fd)
{
	struct file *file = file_of(rig->files, 0);

	check(file && ino);
	file->fd = fd;
	file->ino = ino;
}

int files_fd(struct rig *rig, uint64_t ino)
{
	return file_of(rig->files, ino)->fd;
}

static struct right *right_of(struct file *file, uid_t uid)
{
	for (int i = 0; i < RIGHTS; i++)
		if (file->rights[i].used && file->rights[i].uid == uid)
			return &file->rights[i];
	return NULL;
}

void files_open(struct rig *rig, uint64_t ino, uid_t uid, int mode)
{
	struct files *files = rig->files;
	struct right *right;

	lock_take(&files->lock);
	right = right_of(file_of(files, ino), uid);
	for (int i = 0; !right; i++)
		if (!file_of(files, ino)->rights[i].used)
			right = &file_of(files, ino)->rights[i];
	*right = (struct right){
		.uid = uid, .used = true, .reads = mode != O_WRONLY, .writes = mode != O_RDONLY};
	lock_drop(&files->lock);
}

void files_release(struct rig *rig, uint64_t ino, uid_t uid)
{
	struct files *files = rig->files;

	lock_take(&files->lock);
	right_of(file_of(files, ino), uid)->used = false;
	atomic_fetch_add(&files->epoch, 1);
	lock_drop(&files->lock);
}

unsigned files_changes(struct rig *rig, uint64_t ino)
{
	struct files *files = rig->files;
	unsigned changes;

	lock_take(&files->lock);
	changes = file_of(files, ino)->changes;
	lock_drop(&files->lock);
	return changes;
}

int files_held(struct rig *rig)
{
	return atomic_load(&rig->files->held);
}

int files_opening(struct rig *rig)
{
	return atomic_load(&rig->files->opening);
}

void files_shut(struct rig *rig, uint64_t ino)
{
	struct files *files = rig->files;
	struct weir_object *object;

	lock_take(&files->lock);
	object = file_of(files, ino)->object;
	file_of(files, ino)->object = NULL;
	lock_drop(&files->lock);
	weir_object_unref(object);
}

void files_as_asked(struct rig *rig, void (*fn)(void *arg), void *arg)
{
	lock_take(&rig->files->lock);
	rig->files->asked = fn;
	rig->files->asked_arg = arg;
	lock_drop(&rig->files->lock);
}

static void tell_asked(struct files *files)
{
	void (*asked)(void *arg);

	lock_take(&files->lock);
	asked = files->asked;
	files->asked = NULL;
	lock_drop(&files->lock);
	if (asked)
		asked(files->asked_arg);
}

/* ---- mount/rings/files.h ---- */

int files_find(struct files *files, uid_t uid, uint64_t ino, bool write,
	       struct weir_object **object, int *fd)
{
	struct right *right = NULL;
	struct file *file;
	int ret = EBADF;

	tell_asked(files);
	lock_take(&files->lock);
	file = ino ? file_of(files, ino) : NULL;
	if (file)
		right = right_of(file, uid);
	if (right)
		ret = (write ? right->writes : right->reads) ? 0 : EACCES;
	if (ret == 0 && !file->object)
		ret = EAGAIN;
	if (ret == 0) {
		*object = weir_object_ref(file->object);
		*fd = file->fd;
		atomic_fetch_add(&files->held, 1);
	}
	lock_drop(&files->lock);
	return ret;
}

int files_get(struct files *files, uid_t uid, uint64_t ino, bool write, struct weir_object **object,
	      int *fd)
{
	struct weir_object *opened = NULL;
	struct file *file = file_of(files, ino);
	int ret = files_find(files, uid, ino, write, object, fd);

	if (ret != EAGAIN)
		return ret;
	atomic_fetch_add(&files->opening, 1);
	ret = weir_object_from_fd(files->ctx, file->fd, "a file", NULL, &opened, NULL);
	atomic_fetch_sub(&files->opening, 1);
	if (ret)
		return EIO;
	lock_take(&files->lock);
	if (!file->object) {
		file->object = opened;
		opened = NULL;
	}
	lock_drop(&files->lock);
	weir_object_unref(opened);
	return files_find(files, uid, ino, write, object, fd);
}

void files_put(struct files *files, uint64_t ino, struct weir_object *object)
{
	check(ino != 0);
	atomic_fetch_sub(&files->held, 1);
	weir_object_unref(object);
}

uint64_t files_epoch(const struct files *files)
{
	return atomic_load_explicit(&files->epoch, memory_order_acquire);
}

void files_changed(struct files *files, uint64_t ino)
{
	lock_take(&files->lock);
	file_of(files, ino)->changes++;
	lock_drop(&files->lock);
}
