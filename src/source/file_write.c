/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Files being written: a temporary beside the name, which it takes at the commit.
 *
 *	create --> draft --lanes write--> commit: mode, data to disk, name, directory to disk
 *	                \--------------> abort, close: removed
 *
 * The temporary is ours alone (0600, made exclusively) until it is whole.  The mode that it gets then
 * is 0666, or what was asked for, as the umask, the directory's default ACL and the mount would
 * have it; that is not computed but looked at, on an empty file made and removed for it: the umask
 * can be read only by changing it, under the feet of other threads.
 *
 * What is killed leaves a file named .weir-* behind, which nobody takes for a finished one.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "base/error.h"
#include "base/size.h"
#include "io/fd.h"
#include "source/file.h"

/* Pages never belong to a direct and a buffered write at once. */
#define WRITE_ALIGN 4096u

#define TRIES      16
#define COPY_BYTES ((size_t)64 << 20) /* from one look at the pace to the next */

struct file_draft {
	int dir; /* owned */
	pid_t pid;
	char *name;         /* the final one, in dir; owned */
	char temporary[32]; /* "" once it has its name or is gone */
	mode_t mode;        /* at the commit */
};

/* ---- Names ---- */

/* ".weir-" and 64 random bits. */
static int make_name(const struct sys *sys, char *out, size_t size)
{
	uint64_t random;

	if (sys->random(&random, sizeof(random)))
		return EIO;
	snprintf(out, size, ".weir-%016llx", (unsigned long long)random);
	return 0;
}

/* A new file under a name that nobody has; the descriptor, or a negative errno. */
static int make_file(const struct sys *sys, int dir, mode_t mode, char *name, size_t size)
{
	int flags = O_RDWR | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC | O_NOCTTY;

	for (unsigned i = 0; i < TRIES; i++) {
		int fd, ret = make_name(sys, name, size);

		if (ret)
			return -ret;
		fd = fd_lift(sys, sys->openat(dir, name, flags, mode));
		if (fd >= 0)
			return fd;
		if (errno != EEXIST && errno != EINTR)
			return -errno;
	}
	return -EEXIST;
}

/* The mode of files that are made here with this one; 0 or an errno. */
static int look_at_mode(const struct sys *sys, int dir, mode_t mode, mode_t *out)
{
	char name[32];
	struct stat st;
	int fd = make_file(sys, dir, mode, name, sizeof(name)), ret = 0;

	if (fd < 0)
		return -fd;
	if (sys->fstat(fd, &st))
		ret = errno;
	else
		*out = st.st_mode & 07777;
	sys->close(fd);
	if (sys->unlinkat(dir, name, 0) && ret == 0)
		ret = errno;
	return ret;
}

/* "/a/b" is "b" in "/a"; NULL where the path ends in no name. */
static const char *last_name(const char *path)
{
	const char *slash = strrchr(path, '/'), *name = slash ? slash + 1 : path;

	if (name[0] == '\0' || strcmp(name, ".") == 0 || strcmp(name, "..") == 0)
		return NULL;
	return name;
}

static int open_parent(const struct sys *sys, const char *path, const char *name)
{
	size_t len = (size_t)(name - path);
	char *parent = len ? strndup(path, len) : strdup(".");
	int fd, saved;

	if (!parent) {
		errno = ENOMEM;
		return -1;
	}
	fd = fd_lift(sys, sys->openat(AT_FDCWD, parent, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0));
	saved = errno;
	free(parent);
	errno = saved;
	return fd;
}

/* ---- Drafts ---- */

static void free_draft(const struct sys *sys, struct file_draft *draft)
{
	if (!draft)
		return;
	if (draft->dir >= 0)
		sys->close(draft->dir);
	free(draft->name);
	free(draft);
}

/* 0 or an errno. */
static int remove_temporary(const struct sys *sys, struct file_draft *draft)
{
	int ret = 0;

	if (draft->temporary[0] && sys->unlinkat(draft->dir, draft->temporary, 0))
		ret = errno;
	draft->temporary[0] = '\0';
	return ret;
}

void file_draft_drop(struct file_object *file)
{
	struct file_draft *draft = file->draft;

	if (!draft)
		return;
	/* A forked child gives back memory; the file is its parent's. */
	if (draft->pid == getpid())
		remove_temporary(file_sys(file), draft);
	free_draft(file_sys(file), draft);
	file->draft = NULL;
}

/* A rename replaces a file and a link, and must not replace a device or a FIFO. */
static int judge_target(const struct sys *sys, int dir, const char *name, const char *uri,
			struct weir_error *err)
{
	struct statx stx;
	int ret = file_statx(sys, dir, name, AT_SYMLINK_NOFOLLOW, &stx);

	if (ret == ENOENT || (ret == 0 && (S_ISREG(stx.stx_mode) || S_ISLNK(stx.stx_mode))))
		return 0;
	if (ret)
		return error_sys(err, ret, uri, "%s: cannot write", uri);
	return error_set(err, WEIR_ARG, uri, "%s: is there, and is not a regular file", uri);
}

/* Everything but the temporary itself. */
static int prepare_draft(const struct sys *sys, const char *path, const char *uri, mode_t mode,
			 struct file_draft *draft, struct weir_error *err)
{
	const char *name = last_name(path);
	int ret;

	if (!name)
		return error_set(err, WEIR_ARG, uri, "%s: names no file", uri);
	draft->name = strdup(name);
	if (!draft->name)
		return error_nomem(err, uri, "the name");
	draft->dir = open_parent(sys, path, name);
	if (draft->dir < 0)
		return error_sys(err, errno, uri, "%s: cannot open its directory", uri);
	ret = judge_target(sys, draft->dir, name, uri, err);
	if (ret)
		return ret;
	ret = look_at_mode(sys, draft->dir, mode, &draft->mode);
	if (ret)
		return error_sys(err, ret, uri, "%s: cannot write in its directory", uri);
	return 0;
}

static int make_draft(const struct sys *sys, const char *path, const char *uri, mode_t mode,
		      struct file_draft **out, int *fd, struct weir_error *err)
{
	struct file_draft *draft = calloc(1, sizeof(*draft));
	int ret;

	if (!draft)
		return error_nomem(err, uri, "the draft");
	draft->dir = -1;
	draft->pid = getpid();
	ret = prepare_draft(sys, path, uri, mode, draft, err);
	if (ret == 0) {
		*fd = make_file(sys, draft->dir, 0600, draft->temporary, sizeof(draft->temporary));
		if (*fd < 0)
			ret = error_sys(err, -*fd, uri, "%s: cannot make a temporary beside it",
					uri);
	}
	if (ret) {
		free_draft(sys, draft);
		return ret;
	}
	*out = draft;
	return 0;
}

/* ---- Size ---- */

/* Asked beforehand: a reservation that is too large takes all there is, and only then gives it back. */
static bool too_large(const struct sys *sys, int fd, uint64_t size_bytes)
{
	struct statfs fs;

	return sys->fstatfs(fd, &fs) == 0 && fs.f_bsize > 0 && fs.f_blocks > 0 &&
	       size_bytes / (uint64_t)fs.f_bsize > fs.f_bavail;
}

/* 0 or an errno.  A file system that cannot reserve says so when it is full. */
static int reserve(const struct sys *sys, int fd, uint64_t size_bytes, bool sparse)
{
	int ret;

	if (size_bytes == 0)
		return 0;
	if (!sparse && too_large(sys, fd, size_bytes))
		return ENOSPC;
	do
		ret = sparse ? EOPNOTSUPP
			     : (sys->fallocate(fd, 0, 0, (off_t)size_bytes) ? errno : 0);
	while (ret == EINTR);
	if (ret != EOPNOTSUPP && ret != ENOSYS)
		return ret;
	return sys->ftruncate(fd, (off_t)size_bytes) ? errno : 0;
}

/*
 * Above the limit of file sizes the kernel also sends SIGXFSZ, to the thread that asked, and by default
 * that ends the program.  This may be the caller's thread, so the signal is held back and taken away.
 */
static int reserve_quietly(const struct sys *sys, int fd, uint64_t size_bytes, bool sparse)
{
	const struct timespec at_once = {0};
	sigset_t limit, before, pending;
	bool was_pending;
	int ret;

	sigemptyset(&limit);
	sigaddset(&limit, SIGXFSZ);
	sigpending(&pending);
	was_pending = sigismember(&pending, SIGXFSZ) == 1;
	pthread_sigmask(SIG_BLOCK, &limit, &before);
	ret = reserve(sys, fd, size_bytes, sparse);
	if (ret == EFBIG && !was_pending)
		while (sigtimedwait(&limit, NULL, &at_once) < 0 && errno == EINTR)
			;
	pthread_sigmask(SIG_SETMASK, &before, NULL);
	return ret;
}

/* ---- Create, clone ---- */

static int fill(struct file_object *file, uint64_t size_bytes, bool sparse, struct weir_error *err)
{
	const struct sys *sys = file_sys(file);
	const char *uri = file->object.uri;
	struct statx stx;
	int ret;

	file->object.writing = true;
	file->ready = true; /* with what is opened here */
	file->object.size_bytes = size_bytes;
	ret = file_statx(sys, file->fd, "", AT_EMPTY_PATH, &stx);
	if (ret)
		return error_sys(err, ret, uri, "%s: cannot stat its temporary", uri);
	file_set_version(file, &stx);
	ret = reserve_quietly(sys, file->fd, size_bytes, sparse);
	if (ret)
		return error_sys(err, ret, uri, "%s: no room for %llu bytes", uri,
				 (unsigned long long)size_bytes);
	if (file->cache == WEIR_CACHE_FILL)
		return 0;
	ret = file_open_direct(file, NULL, O_RDWR, &stx, err);
	if (file->has_direct)
		file->object.offset_align = max_of(file->object.offset_align, WRITE_ALIGN);
	if (ret == 0 && file->has_direct && file_make_windows(file))
		return error_nomem(err, uri, "what of it is cached");
	return ret;
}

int file_create(struct source *source, const char *path, const char *uri, uint64_t size_bytes,
		const struct source_how *how, struct source_object **out, struct weir_error *err)
{
	const struct sys *sys = source->env->sys;
	struct file_draft *draft;
	struct file_object *file;
	int fd, ret;

	if (size_bytes > INT64_MAX)
		return error_set(err, WEIR_ARG, uri, "%s: no file has %llu bytes", uri,
				 (unsigned long long)size_bytes);
	ret = make_draft(sys, path, uri, how->mode ? how->mode & 0777 : 0666, &draft, &fd, err);
	if (ret)
		return ret;
	ret = file_object_create(source, fd, NULL, uri, how, &file, err);
	if (ret) {
		remove_temporary(sys, draft);
		free_draft(sys, draft);
		return ret;
	}
	file->draft = draft;
	ret = fill(file, size_bytes, (how->flags & WEIR_OBJECT_SPARSE) != 0, err);
	if (ret) {
		file_close(&file->object);
		return ret;
	}
	*out = &file->object;
	return 0;
}

/* In the kernel; 0, or an errno: EXDEV and the like where it cannot be done from the start (!*moved). */
static int copy_range(const struct sys *sys, int from, int to, off_t at, off_t end, bool *moved,
		      const struct source_pace *pace)
{
	while (at < end) {
		off_t from_at = at, to_at = at;
		ssize_t got = sys->copy_file_range(from, &from_at, to, &to_at,
						   min_of((size_t)(end - at), COPY_BYTES), 0);

		if (got > 0)
			at += got;
		else if (got == 0)
			return ENODATA;
		else if (errno != EINTR && errno != EAGAIN)
			return *moved && errno == EXDEV ? EIO : errno;
		*moved = *moved || got > 0;
		if (pace && !pace->go_on(pace->arg))
			return ECANCELED;
	}
	return 0;
}

/* What is no hole, as far as the file system tells; the descriptor's offset, which others may share, is
 * put back. */
static int copy_data(const struct sys *sys, int from, int to, off_t size,
		     const struct source_pace *pace)
{
	off_t before = sys->lseek(from, 0, SEEK_CUR), at = 0;
	bool moved = false;
	int ret = 0;

	while (ret == 0 && at < size) {
		off_t data = sys->lseek(from, at, SEEK_DATA), hole;

		if (data < 0 && errno == ENXIO)
			break; /* nothing but a hole up to the end */
		hole = data < 0 ? data : sys->lseek(from, data, SEEK_HOLE);
		if (hole < 0) {
			data = at;
			hole = size;
		}
		at = min_of(hole, size);
		ret = copy_range(sys, from, to, data, at, &moved, pace);
	}
	if (before >= 0)
		sys->lseek(from, before, SEEK_SET);
	return ret;
}

static bool impossible_here(int os_errno)
{
	return os_errno == EXDEV || os_errno == EOPNOTSUPP || os_errno == ENOSYS ||
	       os_errno == EINVAL || os_errno == ENOTTY || os_errno == EPERM ||
	       os_errno == ETXTBSY || os_errno == EBADF;
}

/* 0 or an errno. */
static int fill_from(struct file_object *target, struct file_object *origin,
		     const struct source_pace *pace)
{
	const struct sys *sys = file_sys(target);
	int ret = file_hold(origin);

	if (ret)
		return ret;
	if (sys->clone_file(target->fd, origin->fd) != 0)
		ret = copy_data(sys, origin->fd, target->fd, (off_t)target->object.size_bytes,
				pace);
	file_drop(origin);
	return ret;
}

int file_clone(struct source_object *to, struct source_object *from, const struct source_pace *pace,
	       struct weir_error *err)
{
	struct file_object *target = file_object_of(to);
	int ret;

	if (from->source->ops != to->source->ops)
		return error_set(err, WEIR_UNSUPPORTED, to->uri, "%s: cannot be cloned from %s",
				 to->uri, from->uri);
	if (!target->draft || !target->draft->temporary[0] || to->size_bytes != from->size_bytes)
		return error_set(err, WEIR_ARG, to->uri,
				 "%s: %llu bytes of %s do not go into one of %llu", to->uri,
				 (unsigned long long)from->size_bytes, from->uri,
				 (unsigned long long)to->size_bytes);
	ret = fill_from(target, file_object_of(from), pace);
	if (ret == ECANCELED)
		return error_set(err, WEIR_CANCELLED, to->uri, "%s: cancelled", to->uri);
	if (ret == ENODATA)
		return error_set(err, WEIR_TRUNCATED, from->uri,
				 "%s: became shorter while it was copied", from->uri);
	if (impossible_here(ret))
		return error_set(err, WEIR_UNSUPPORTED, to->uri, "%s: cannot be cloned from %s: %s",
				 to->uri, from->uri, strerrordesc_np(ret));
	if (ret)
		return error_sys(err, ret, to->uri, "%s: copying %s", to->uri, from->uri);
	return file_check(from, err);
}

/* ---- Commit, abort ---- */

static int no_draft(const struct source_object *object, struct weir_error *err)
{
	return error_set(err, WEIR_ARG, object->uri,
			 "%s: is not being written, or was committed or aborted already",
			 object->uri);
}

/* A file system that cannot sync directories has nothing to sync. */
static int sync_directory(const struct sys *sys, int dir)
{
	int ret = sys->fsync(dir) ? errno : 0;

	return ret == EINVAL || ret == EOPNOTSUPP ? 0 : ret;
}

static int give_name(struct file_object *file, int durability, struct weir_error *err)
{
	const struct sys *sys = file_sys(file);
	struct file_draft *draft = file->draft;
	const char *uri = file->object.uri;

	if (sys->fchmod(file->fd, draft->mode))
		return error_sys(err, errno, uri, "%s: setting its mode", uri);
	if (durability == WEIR_DURABLE_DATA && sys->fdatasync(file->fd))
		return error_sys(err, errno, uri, "%s: bringing it to the disk", uri);
	if (sys->renameat2(draft->dir, draft->temporary, draft->dir, draft->name, 0))
		return error_sys(err, errno, uri, "%s: giving it its name", uri);
	draft->temporary[0] = '\0';
	return 0;
}

int file_commit(struct source_object *object, int durability, struct weir_error *err)
{
	struct file_object *file = file_object_of(object);
	struct file_draft *draft = file->draft;
	int ret;

	if (!draft || !draft->temporary[0])
		return no_draft(object, err);
	ret = give_name(file, durability, err);
	if (ret || durability != WEIR_DURABLE_DATA)
		return ret;
	ret = sync_directory(file_sys(file), draft->dir);
	if (ret)
		return error_sys(err, ret, object->uri,
				 "%s: has its name, which may not survive a power cut",
				 object->uri);
	return 0;
}

int file_abort(struct source_object *object, struct weir_error *err)
{
	struct file_object *file = file_object_of(object);
	int ret;

	if (!file->draft || !file->draft->temporary[0])
		return no_draft(object, err);
	ret = remove_temporary(file_sys(file), file->draft);
	if (ret)
		return error_sys(err, ret, object->uri, "%s: removing its temporary", object->uri);
	return 0;
}
