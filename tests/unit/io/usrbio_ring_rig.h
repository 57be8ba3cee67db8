/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions, buffers and rings of a client against a mount that is none: a folder, whose daemon is the
 * table of system calls.
 *
 * symlinkat() there maps the object and makes a server's end of a ring, as a daemon does before it
 * answers; ioctl() answers the magic number, hangs, or fails, as the case orders.
 */
#ifndef TESTS_UNIT_IO_USRBIO_RING_RIG_H
#define TESTS_UNIT_IO_USRBIO_RING_RIG_H

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "io/usrbio/ring.h"
#include "io/usrbio/server.h"
#include "io/usrbio/shm.h"
#include "io/usrbio/signal.h"
#include "lib/check.h"
#include "lib/mount_folder.h"

/* ---- The daemon ---- */

static struct {
	struct sys sys;
	char mount[MOUNT_FOLDER_PATH];
	int shm_dir;
	struct usrbio_bell_file bell;
	struct usrbio_shm ring, iov; /* the last that were registered */
	struct usrbio_server server;
	char key[USRBIO_KEY_MAX]; /* of the ring */
	_Atomic int health;       /* what ioctl() does: an errno, 0, or HANGS */
	_Atomic int link_error;
	_Atomic unsigned links, probes;
	_Atomic pid_t registrar;  /* who made the last link */
	_Atomic int64_t clock_ns; /* added to the time */
} rig;

#define HANGS (-1)

static inline int daemon_symlinkat(const char *target, int dir, const char *name)
{
	struct usrbio_key key;
	struct usrbio_shm shm;

	while (rig.link_error == HANGS)
		usleep(10000);
	if (rig.link_error) {
		errno = rig.link_error;
		return -1;
	}
	rig.registrar = gettid();
	check_int(usrbio_key_parse(name, &key), 0);
	check_int(usrbio_shm_open(sys_real(), rig.shm_dir, target, getuid(), &shm, NULL), 0);
	if (key.ring) {
		usrbio_shm_unmap(sys_real(), &rig.ring);
		rig.ring = shm;
		strcpy(rig.key, name);
		check_int(usrbio_server_init(&rig.server, sys_real(), shm.memory, shm.bytes), 0);
	} else {
		usrbio_shm_unmap(sys_real(), &rig.iov);
		rig.iov = shm;
	}
	rig.links++;
	return symlinkat(target, dir, name);
}

static inline int daemon_ioctl(int fd, unsigned long request, void *arg)
{
	(void)fd;
	check_int(request, USRBIO_IOC_GET_MAGIC);
	rig.probes++;
	while (rig.health == HANGS)
		usleep(10000);
	if (rig.health) {
		errno = rig.health;
		return -1;
	}
	*(uint32_t *)arg = USRBIO_MAGIC;
	return 0;
}

static inline int64_t daemon_now_ns(void)
{
	return sys_real()->now_ns() + rig.clock_ns;
}

static _Atomic unsigned futex_calls;

/* Deadlines are of the clock above. */
static inline int daemon_futex(uint32_t *word, int op, uint32_t value, const struct timespec *until,
			       uint32_t mask)
{
	struct timespec real;

	futex_calls++;
	if (until) {
		int64_t at = until->tv_sec * NS_PER_SEC + until->tv_nsec - rig.clock_ns;

		real = (struct timespec){at / NS_PER_SEC, at % NS_PER_SEC};
	}
	return sys_real()->futex(word, op, value, until ? &real : NULL, mask);
}

static inline void point_bells(void)
{
	char target[128], path[192];

	snprintf(target, sizeof(target), "/dev/shm/%s", rig.bell.name);
	for (int i = 0; i < USRBIO_BELLS; i++) {
		snprintf(path, sizeof(path), "%s/3fs-virt/iovs/%s", rig.mount,
			 usrbio_bell_link((enum usrbio_bell)i));
		unlink(path);
		check_int(symlink(target, path), 0);
	}
}

static _Atomic unsigned rings_of_bell;

static inline int daemon_futex_wake_op(uint32_t *word, uint32_t operation)
{
	rings_of_bell++;
	return sys_real()->futex_wake_op(word, operation);
}

static inline void rig_init(void)
{
	rig.sys = *sys_real();
	rig.sys.symlinkat = daemon_symlinkat;
	rig.sys.ioctl = daemon_ioctl;
	rig.sys.now_ns = daemon_now_ns;
	rig.sys.futex = daemon_futex;
	rig.sys.futex_wake_op = daemon_futex_wake_op;
	mount_folder_make(rig.mount);
	rig.shm_dir = usrbio_shm_dir(sys_real());
	check_int(usrbio_bell_create(sys_real(), rig.shm_dir, &rig.bell, NULL), 0);
	point_bells();
}

static inline void rig_fini(void)
{
	usrbio_shm_unmap(sys_real(), &rig.ring);
	usrbio_shm_unmap(sys_real(), &rig.iov);
	usrbio_bell_unlink(sys_real(), rig.shm_dir, &rig.bell);
	usrbio_bell_close(sys_real(), &rig.bell);
	mount_folder_remove(rig.mount);
	close(rig.shm_dir);
}

/* Names in iovs/ that are no bells. */
static inline unsigned count_keys(void)
{
	unsigned count = 0;
	struct dirent *entry;
	char path[128];
	DIR *dir;

	snprintf(path, sizeof(path), "%s/3fs-virt/iovs", rig.mount);
	dir = opendir(path);
	check(dir);
	while ((entry = readdir(dir)))
		count += entry->d_name[0] != '.' && strncmp(entry->d_name, "submit-ios", 10) != 0;
	closedir(dir);
	return count;
}

static inline bool shm_has(const char *name)
{
	struct stat st;

	return fstatat(rig.shm_dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Claims what there is and completes it with that result. */
static inline int serve(int64_t result)
{
	struct usrbio_claim claims[64];
	int count = usrbio_server_claim(&rig.server, claims, 64);

	for (int i = 0; i < count; i++)
		usrbio_server_complete(&rig.server, claims[i].index, claims[i].userdata, result);
	if (count > 0)
		usrbio_server_post(&rig.server);
	return count;
}

/* ---- The client ---- */

static inline struct usrbio_session *session_made(void)
{
	struct usrbio_session *session;
	struct weir_error err = WEIR_ERROR_INIT;

	if (usrbio_session_get(&rig.sys, rig.mount, &session, &err))
		check_failed(__FILE__, __LINE__, "%s", err.message);
	return session;
}

static inline struct usrbio_ring *ring_made(struct usrbio_session *session, uint32_t entries)
{
	const struct usrbio_ring_opts opts = {.entries = entries, .for_read = true, .node = -1};
	struct usrbio_ring *ring;
	struct weir_error err = WEIR_ERROR_INIT;

	if (usrbio_ring_create(session, &opts, &ring, &err))
		check_failed(__FILE__, __LINE__, "%s", err.message);
	return ring;
}

static inline int prepare(struct usrbio_ring *ring, uint64_t userdata)
{
	static const uint8_t id[16] = {1, 2, 3};
	const struct usrbio_io io = {.iov = id,
				     .iov_bytes = 8192,
				     .iov_offset = 4096,
				     .length = 4096,
				     .file = 77,
				     .file_offset = userdata,
				     .userdata = userdata};

	return usrbio_ring_prepare(ring, &io);
}

static inline int64_t soon(int64_t ms)
{
	return daemon_now_ns() + ms * NS_PER_MS;
}

static struct usrbio_session *session;
static struct usrbio_ring *ring;

static inline void begin(void)
{
	rig_init();
	session = session_made();
	ring = ring_made(session, 4);
}

static inline void end(void)
{
	usrbio_ring_destroy(ring);
	usrbio_session_put(session);
	rig_fini();
}

static inline void *wake_later(void *arg)
{
	usleep(30000);
	usrbio_ring_wake(arg);
	return NULL;
}

#endif
