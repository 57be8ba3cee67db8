/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What the stub answers to the kernel: a directory passed through, 3fs-virt/iovs with its links beside it,
 * and the ioctls by which clients know a 3FS.
 */
#define FUSE_USE_VERSION 35
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <fuse.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "stub.h"

static const char *const submit_links[3] = {"submit-ios.ph", "submit-ios", "submit-ios.pl"};

/* Files that somebody opened, by the number that stat gave them. */
static struct {
	uint64_t ino;
	int fd;
} files[4096];
static unsigned files_open;

int file_by_ino(uint64_t ino)
{
	for (unsigned i = 0; i < files_open; i++)
		if (files[i].ino == ino)
			return files[i].fd;
	return -1;
}

static void remember(int fd)
{
	struct stat st;
	stub_lock();
	if (!fstat(fd, &st) && file_by_ino(st.st_ino) < 0 && files_open < 4096) {
		files[files_open].ino = st.st_ino;
		files[files_open++].fd = dup(fd);
	}
	stub_unlock();
}

/* The name below 3fs-virt/iovs, or NULL. */
static const char *key_of(const char *path)
{
	static const char iovs[] = "/3fs-virt/iovs/";
	return strncmp(path, iovs, sizeof(iovs) - 1) ? NULL : path + sizeof(iovs) - 1;
}

static bool is_virtual_dir(const char *path)
{
	return !strcmp(path, "/3fs-virt") || !strcmp(path, "/3fs-virt/iovs");
}

static int submit_index(const char *key)
{
	for (int i = 0; i < 3; i++)
		if (!strcmp(key, submit_links[i]))
			return i;
	return -1;
}

/* What the link KEY says, or -1. */
static int link_text(const char *key, char *text, size_t size)
{
	int i = submit_index(key), length = -1;
	stub_lock();
	struct object *object = object_find(key);
	if (i >= 0 && stub.doorbell[0])
		length = snprintf(text, size, "%s", stub.doorbell);
	else if (i >= 0)
		length = snprintf(text, size, WIRE_PREFIX "sem.%s", stub.sem_name[i] + 1);
	else if (object && object->uid == fuse_get_context()->uid)
		length = snprintf(text, size, "%s", object->target);
	stub_unlock();
	return length;
}

static int stub_getattr(const char *path, struct stat *st, struct fuse_file_info *info)
{
	const char *key = key_of(path);
	char text[512];
	(void)info;
	memset(st, 0, sizeof(*st));
	st->st_nlink = 1;
	if (is_virtual_dir(path)) {
		st->st_mode = S_IFDIR | 0777;
		st->st_ino = strlen(path) + 0xf000000000000000u;
	} else if (key) {
		int length = link_text(key, text, sizeof(text));
		if (length < 0)
			return -ENOENT;
		st->st_mode = S_IFLNK | 0777;
		st->st_size = length;
		st->st_uid = fuse_get_context()->uid;
		st->st_ino = 0xe000000000000000u + (uint64_t)length;
	} else if (fstatat(stub.dir_fd, path[1] ? path + 1 : ".", st, AT_SYMLINK_NOFOLLOW)) {
		return -errno;
	}
	return 0;
}

static int stub_readlink(const char *path, char *text, size_t size)
{
	const char *key = key_of(path);
	if (key)
		return link_text(key, text, size) < 0 ? -ENOENT : 0;
	ssize_t length = readlinkat(stub.dir_fd, path + 1, text, size - 1);
	if (length < 0)
		return -errno;
	text[length] = 0;
	return 0;
}

static int stub_symlink(const char *target, const char *path)
{
	const char *key = key_of(path);
	if (!key)
		return -EPERM;
	stub_lock();
	int error = stub.refuse_symlink;
	if (!error && submit_index(key) >= 0)
		error = EEXIST;
	if (!error)
		error = object_add(key, target, fuse_get_context()->uid, fuse_get_context()->gid);
	stub_unlock();
	return -error;
}

static int stub_unlink(const char *path)
{
	const char *key = key_of(path);
	if (!key)
		return unlinkat(stub.dir_fd, path + 1, 0) ? -errno : 0;
	stub_lock();
	struct object *object = object_find(key);
	if (object) {
		object_remove(object);
		stub.counts.keys_removed++;
	} else {
		stub.counts.unknown_unlinks++;
	}
	stub_unlock();
	return object ? 0 : -ENOENT;
}

static void list_keys(void *buffer, fuse_fill_dir_t fill)
{
	for (int i = 0; i < 3; i++)
		fill(buffer, submit_links[i], NULL, 0, 0);
	stub_lock();
	for (struct object *o = stub.objects; o; o = o->next)
		fill(buffer, o->key, NULL, 0, 0);
	stub_unlock();
}

static int stub_readdir(const char *path, void *buffer, fuse_fill_dir_t fill, off_t offset,
			struct fuse_file_info *info, enum fuse_readdir_flags flags)
{
	(void)offset;
	(void)info;
	(void)flags;
	if (is_virtual_dir(path)) {
		if (strcmp(path, "/3fs-virt") != 0)
			list_keys(buffer, fill);
		else
			fill(buffer, "iovs", NULL, 0, 0);
		return 0;
	}
	int fd = openat(stub.dir_fd, path[1] ? path + 1 : ".", O_RDONLY | O_DIRECTORY);
	DIR *dir = fd < 0 ? NULL : fdopendir(fd);
	if (!dir)
		return -errno;
	for (struct dirent *entry; (entry = readdir(dir));)
		fill(buffer, entry->d_name, NULL, 0, 0);
	if (!path[1])
		fill(buffer, "3fs-virt", NULL, 0, 0);
	closedir(dir);
	return 0;
}

static int open_as(const char *path, int flags, mode_t mode, struct fuse_file_info *info)
{
	/* Rings of both directions use one descriptor for each file. */
	int fd = openat(stub.dir_fd, path + 1, (flags & ~(O_ACCMODE | O_APPEND)) | O_RDWR, mode);
	if (fd < 0)
		return -errno;
	remember(fd);
	info->fh = (uint64_t)fd;
	return 0;
}

static int stub_open(const char *path, struct fuse_file_info *info)
{
	return open_as(path, info->flags & ~(O_CREAT | O_EXCL), 0, info);
}

static int stub_create(const char *path, mode_t mode, struct fuse_file_info *info)
{
	return open_as(path, info->flags | O_CREAT, mode, info);
}

static int stub_release(const char *path, struct fuse_file_info *info)
{
	(void)path;
	close((int)info->fh);
	return 0;
}

static int stub_read(const char *path, char *to, size_t size, off_t offset,
		     struct fuse_file_info *info)
{
	(void)path;
	usleep((useconds_t)stub.slow_ms * 1000);
	ssize_t got = pread((int)info->fh, to, size, offset);
	return got < 0 ? -errno : (int)got;
}

static int stub_write(const char *path, const char *from, size_t size, off_t offset,
		      struct fuse_file_info *info)
{
	(void)path;
	ssize_t put = pwrite((int)info->fh, from, size, offset);
	return put < 0 ? -errno : (int)put;
}

static int stub_chmod(const char *path, mode_t mode, struct fuse_file_info *info)
{
	(void)info;
	if (key_of(path))
		return -EPERM;
	return fchmodat(stub.dir_fd, path + 1, mode, 0) ? -errno : 0;
}

static int stub_rename(const char *from, const char *to, unsigned flags)
{
	if (key_of(from) || key_of(to) || flags)
		return -EPERM;
	return renameat(stub.dir_fd, from + 1, stub.dir_fd, to + 1) ? -errno : 0;
}

static int stub_truncate(const char *path, off_t size, struct fuse_file_info *info)
{
	(void)path;
	return !info ? -EPERM : ftruncate((int)info->fh, size) ? -errno : 0;
}

static int stub_ioctl(const char *path, unsigned command, void *argument,
		      struct fuse_file_info *info, unsigned flags, void *data)
{
	(void)path;
	(void)argument;
	(void)info;
	(void)flags;
	uint32_t word = command == WIRE_MAGIC_IOCTL ? WIRE_MAGIC : 1;
	if (stub.no_magic)
		return -ENOTTY;
	if (command == WIRE_NAME_IOCTL) {
		memset(data, 0, 32);
		strcpy(data, "stub");
		return 0;
	}
	if (command != WIRE_MAGIC_IOCTL && command != WIRE_VERSION_IOCTL &&
	    command != WIRE_PATH_IOCTL)
		return command == WIRE_FSYNC_IOCTL ? 0 : -EINVAL;
	memcpy(data, &word, sizeof(word));
	return 0;
}

static void *stub_init(struct fuse_conn_info *connection, struct fuse_config *config)
{
	connection->want |= connection->capable & FUSE_CAP_IOCTL_DIR;
	config->use_ino = 1;
	config->hard_remove = 1;
	config->entry_timeout = config->attr_timeout = stub.slow_ms ? 3600 : 0;
	if (ring_start())
		abort();
	puts("ready");
	fflush(stdout);
	return NULL;
}

int fuse_serve(const char *mount)
{
	static const struct fuse_operations operations = {
		.getattr = stub_getattr,
		.readlink = stub_readlink,
		.symlink = stub_symlink,
		.unlink = stub_unlink,
		.readdir = stub_readdir,
		.open = stub_open,
		.create = stub_create,
		.release = stub_release,
		.read = stub_read,
		.write = stub_write,
		.truncate = stub_truncate,
		.chmod = stub_chmod,
		.rename = stub_rename,
		.ioctl = stub_ioctl,
		.init = stub_init,
	};
	char name[] = "stub-server", foreground[] = "-f", single[] = "-s", option[] = "-o";
	char values[] = "subtype=hf3fs,fsname=hf3fs.stub",
	     wide[] = "subtype=hf3fs,fsname=hf3fs.stub,allow_other";
	char where[4096];
	snprintf(where, sizeof(where), "%s", mount);
	char *arguments[] = {name,  foreground, single, option, geteuid() ? values : wide,
			     where, NULL};
	return fuse_main(6, arguments, &operations, NULL);
}
