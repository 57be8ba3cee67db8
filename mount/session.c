/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/session.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/random.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "mount/ops.h"
#include "mount/workers.h"

#define READY_NS        (10 * NS_PER_SEC)
#define BUSY_NS         (5 * NS_PER_SEC)
#define READ_AHEAD_KIB  1024 /* a request's largest; a random touch of a mapping costs as much */
#define FDS_MIN         8
#define FDS_MAX         65536
#define TIMEOUT_SPARE_S 30 /* the kernel's own limit lies above the watchdog's */

struct mount {
	const struct options *options;
	struct log *log;
	struct weir_ctx *ctx;
	struct front front;
	struct fuse_session *session;
	struct workers workers;
	char *path;
	struct site site;
	int claim; /* of the mount point, until the mount is there */
	bool mounted;
};

/* ---- Parts ---- */

static void pass_line(void *log, int level, const char *line)
{
	log_line(log, level, "%s", line);
}

static int make_ctx(struct mount *mount, struct weir_error *err)
{
	struct weir_ctx_opts opts = {
		.size = sizeof(opts),
		.budget_bytes = mount->options->budget_bytes,
		.log = pass_line,
		.log_arg = mount->log,
		.log_level = mount->log->level,
	};

	return weir_ctx_create(&opts, &mount->ctx, err);
}

/* As many descriptors as we may have; how many of them the tree may keep. */
static size_t raise_fds(void)
{
	struct rlimit limit;

	if (getrlimit(RLIMIT_NOFILE, &limit))
		return FDS_MIN;
	limit.rlim_cur = limit.rlim_max;
	setrlimit(RLIMIT_NOFILE, &limit);
	return max_of(min_of((size_t)limit.rlim_cur / 4, (size_t)FDS_MAX), (size_t)FDS_MIN);
}

static int make_tree(struct mount *mount, struct weir_error *err)
{
	const char *source = mount->options->source;
	int fd = open(source, O_RDONLY | O_DIRECTORY | O_CLOEXEC);

	if (fd < 0)
		return error_sys(err, errno, source, "%s: the directory to mount", source);
	return tree_create(fd, raise_fds(), &mount->front.tree, err);
}

static void make_front(struct mount *mount)
{
	const struct options *options = mount->options;
	struct front *front = &mount->front;
	uint32_t id = 0;

	front->log = mount->log;
	front->read_write = options->read_write;
	front->direct_io = options->direct_io;
	(void)!getrandom(&id, sizeof(id), 0);
	snprintf(front->name, sizeof(front->name), "weir.%08x", id);
	front->path_bytes = mount->path ? (uint32_t)strlen(mount->path) : 0;
	front->wire.init.wish = (struct fuse_init_wish){
		.passthrough = options->passthrough && !options->direct_io && geteuid() == 0,
		.direct_io = options->direct_io,
		.access_lists = true,
		.timeout_seconds = options->watchdog_ns
					   ? (uint32_t)(options->watchdog_ns / NS_PER_SEC) +
						     TIMEOUT_SPARE_S
					   : 0,
	};
	files_init(&front->files, front->tree);
	notifier_init(&front->notifier, front->tree);
	front->files.notifier = &front->notifier;
	front->files.wire = &front->wire;
	front->files.ctx = mount->ctx;
	front->files.log = mount->log;
	front->files.passthrough = front->wire.init.wish.passthrough;
}

static int make_rings(struct mount *mount, struct weir_error *err)
{
	struct virt_opts opts = {
		.ctx = mount->ctx,
		.files = &mount->front.files,
		.log = mount->log,
		.read_only = !mount->options->read_write,
		.strict = mount->options->strict,
		.each_alone = mount->options->each_alone,
		.spin_ns = mount->options->ring_spin_ns,
		.name_gone = notifier_name_gone,
		.name_gone_arg = &mount->front.notifier,
	};

	return rings_create(&opts, &mount->front.rings, err);
}

/* ---- FUSE ---- */

/* libfuse says to a log why a mount failed; its last line is kept for the error, by the thread that mounts. */
static _Thread_local char last_words[256];

__attribute__((format(printf, 2, 0))) static void hear_libfuse(enum fuse_log_level level,
							       const char *format, va_list values)
{
	(void)level;
	vsnprintf(last_words, sizeof(last_words), format, values);
	last_words[strcspn(last_words, "\n")] = 0;
}

static int make_session(struct mount *mount, struct weir_error *err)
{
	char options[256];
	const char *argv[] = {"weir-mount", "-o", options, NULL};
	struct fuse_args args = FUSE_ARGS_INIT(3, (char **)argv);

	snprintf(options, sizeof(options),
		 "fsname=%s,subtype=hf3fs,nosuid,nodev,default_permissions%s", mount->front.name,
		 mount->options->allow_other ? ",allow_other" : "");
	fuse_set_log_func(hear_libfuse);
	mount->session = fuse_session_new(&args, &ops_table, sizeof(ops_table), &mount->front);
	fuse_opt_free_args(&args);
	if (!mount->session)
		return error_set(err, WEIR_IO, NULL, "FUSE: no session: %s", last_words);
	return 0;
}

static int attach(struct mount *mount, struct weir_error *err)
{
	const char *dir = mount->options->dir;

	if (fuse_session_mount(mount->session, mount->path ? mount->path : dir))
		return error_set(
			err, WEIR_IO, dir,
			"%s: cannot mount: %s; is there a /dev/fuse that this user may "
			"open, and fusermount3 (package fuse3) for those who are not root?",
			dir, *last_words ? last_words : "FUSE refuses");
	mount->mounted = mount->path;
	if (mount->path)
		site_find(mount->path, &mount->site);
	if (wire_attach(&mount->front.wire, mount->session))
		return error_nomem(err, dir, "the session");
	return 0;
}

static int await_ready(struct mount *mount, struct weir_error *err)
{
	int64_t deadline = sys_real()->now_ns() + READY_NS;

	while (!atomic_load(&mount->front.wire.ready)) {
		struct pollfd ended = {mount->workers.ended_fd, POLLIN, 0};

		if (poll(&ended, 1, 1) > 0 || sys_real()->now_ns() > deadline)
			return error_set(err, WEIR_TIMEOUT, mount->options->dir,
					 "%s: the kernel does not greet the mount",
					 mount->options->dir);
	}
	return 0;
}

static int start(struct mount *mount, struct weir_error *err)
{
	const struct options *options = mount->options;
	int ret = site_prepare(options->dir, options->source, options->nonempty, mount->log,
			       &mount->path, &mount->claim, err);

	if (!ret)
		ret = make_tree(mount, err);
	if (!ret)
		ret = make_ctx(mount, err);
	if (ret)
		return ret;
	make_front(mount);
	ret = make_session(mount, err);
	if (!ret)
		ret = make_rings(mount, err);
	if (!ret)
		ret = attach(mount, err);
	if (!ret)
		ret = notifier_start(&mount->front.notifier, mount->session, err);
	if (!ret)
		ret = interrupts_start(&mount->front.interrupts, err);
	if (!ret)
		ret = workers_start(&mount->workers, mount->session, options->threads, err);
	if (!ret)
		ret = await_ready(mount, err);
	/* What the greeting said of it could only lower it. */
	if (!ret && mount->site.minor)
		site_read_ahead(&mount->site, READ_AHEAD_KIB);
	return ret;
}

int mount_start(const struct options *options, struct log *log, struct mount **out,
		struct weir_error *err)
{
	struct mount *mount = calloc(1, sizeof(*mount));
	int ret;

	if (!mount)
		return error_nomem(err, NULL, "the mount");
	mount->options = options;
	mount->log = log;
	mount->workers.ended_fd = -1;
	mount->claim = -1;
	umask(0); /* the caller's comes with each request */
	ret = start(mount, err);
	site_unclaim(&mount->claim);
	if (ret) {
		mount_stop(mount, 0);
		return ret;
	}
	*out = mount;
	return 0;
}

/* ---- The end ---- */

/* 0, or EBUSY and other errnos.  The session ends by itself when the last user has gone. */
static int unmount(struct mount *mount, bool lazy)
{
	int error = mount->mounted ? site_detach(mount->path, lazy) : 0;

	if (!error)
		mount->mounted = false;
	return error;
}

/* Whoever is busy gets some time, in which all is served. */
static void detach(struct mount *mount, int64_t deadline_ns)
{
	int64_t patience = min_of(sys_real()->now_ns() + BUSY_NS, deadline_ns);
	struct pollfd ended = {mount->workers.ended_fd, POLLIN, 0};

	if (poll(&ended, 1, 0) > 0)
		mount->mounted = false;
	while (unmount(mount, false) == EBUSY && sys_real()->now_ns() < patience)
		poll(&ended, 1, 50);
	unmount(mount, true);
}

/* The path that libfuse remembers is freed by its unmounting alone; which does nothing else where the
 * connection is gone, and is left out where it is not: something else may be mounted there by now. */
static void end_session(struct mount *mount)
{
	struct pollfd fuse = {fuse_session_fd(mount->session), 0, 0};

	if (poll(&fuse, 1, 0) == 1 && fuse.revents & POLLERR)
		fuse_session_unmount(mount->session);
	fuse_session_destroy(mount->session);
}

/*
 * The notifier may wait for an answer of the workers, so it ends first.  Where rings are stuck, what they
 * know stays for the little time that is left of the process.
 */
void mount_stop(struct mount *mount, int64_t deadline_ns)
{
	struct front *front = &mount->front;
	bool clean;

	detach(mount, deadline_ns);
	clean = rings_destroy(front->rings, deadline_ns);
	if (front->files.tree)
		notifier_stop(&front->notifier);
	workers_stop(&mount->workers);
	interrupts_stop(&front->interrupts);
	if (mount->session)
		end_session(mount);
	if (!clean) {
		log_warn(mount->log, "the file system below does not answer: its files stay open");
		return;
	}
	if (front->files.tree)
		files_fini(&front->files);
	tree_destroy(front->tree);
	weir_ctx_destroy(mount->ctx);
	free(mount->path);
	free(mount);
}

/* ---- Looking at it ---- */

int mount_ended_fd(const struct mount *mount)
{
	return mount->workers.ended_fd;
}

int mount_fuse_fd(const struct mount *mount)
{
	return mount->front.wire.fd;
}

const char *mount_path(const struct mount *mount)
{
	return mount->path;
}

struct rings *mount_rings(const struct mount *mount)
{
	return mount->front.rings;
}

void mount_progress(const struct mount *mount, struct mount_progress *out)
{
	const struct front *front = &mount->front;

	*out = (struct mount_progress){
		.answered = atomic_load(&front->wire.answered),
		.asked = atomic_load(&front->wire.asked),
		.active_ns = atomic_load(&front->wire.active_ns),
		.open = atomic_load(&front->files.open),
		.backed = atomic_load(&front->files.backed),
		.passthrough = front->wire.init.passthrough,
	};
}
