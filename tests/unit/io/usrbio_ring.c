/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Sessions, buffers and rings of a client against a mount that is none: a folder, whose daemon is the
 * table of system calls.
 *
 * symlinkat() there maps the object and makes a server's end of a ring, as a daemon does before it
 * answers; ioctl() answers the magic number, hangs, or fails, as the case orders.
 */
#include "io/usrbio/ring.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <sched.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "io/usrbio/file.h"
#include "io/usrbio/iov.h"
#include "io/usrbio/server.h"
#include "io/usrbio/shm.h"
#include "io/usrbio/signal.h"
#include "io/usrbio/spin.h"
#include "lib/check.h"
#include "lib/fail.h"

/* ---- The daemon ---- */

static struct {
	struct sys sys;
	char mount[64];
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

static int daemon_symlinkat(const char *target, int dir, const char *name)
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

static int daemon_ioctl(int fd, unsigned long request, void *arg)
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

static int64_t daemon_now_ns(void)
{
	return sys_real()->now_ns() + rig.clock_ns;
}

static _Atomic unsigned futex_calls;

/* Deadlines are of the clock above. */
static int daemon_futex(uint32_t *word, int op, uint32_t value, const struct timespec *until,
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

static void point_bells(void)
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

static int daemon_futex_wake_op(uint32_t *word, uint32_t operation)
{
	rings_of_bell++;
	return sys_real()->futex_wake_op(word, operation);
}

static void rig_init(void)
{
	char path[128];

	rig.sys = *sys_real();
	rig.sys.symlinkat = daemon_symlinkat;
	rig.sys.ioctl = daemon_ioctl;
	rig.sys.now_ns = daemon_now_ns;
	rig.sys.futex = daemon_futex;
	rig.sys.futex_wake_op = daemon_futex_wake_op;
	strcpy(rig.mount, "/tmp/weir-mount-XXXXXX");
	check(mkdtemp(rig.mount));
	snprintf(path, sizeof(path), "%s/3fs-virt", rig.mount);
	check_int(mkdir(path, 0700), 0);
	strcat(path, "/iovs");
	check_int(mkdir(path, 0700), 0);
	rig.shm_dir = usrbio_shm_dir(sys_real());
	check_int(usrbio_bell_create(sys_real(), rig.shm_dir, &rig.bell, NULL), 0);
	point_bells();
}

static void rig_fini(void)
{
	char command[128];

	usrbio_shm_unmap(sys_real(), &rig.ring);
	usrbio_shm_unmap(sys_real(), &rig.iov);
	usrbio_bell_unlink(sys_real(), rig.shm_dir, &rig.bell);
	usrbio_bell_close(sys_real(), &rig.bell);
	snprintf(command, sizeof(command), "rm -rf %s", rig.mount);
	check_int(system(command), 0);
	close(rig.shm_dir);
}

/* Names in iovs/ that are no bells. */
static unsigned count_keys(void)
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

static bool shm_has(const char *name)
{
	struct stat st;

	return fstatat(rig.shm_dir, name, &st, AT_SYMLINK_NOFOLLOW) == 0;
}

/* Claims what there is and completes it with that result. */
static int serve(int64_t result)
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

static struct usrbio_session *session_made(void)
{
	struct usrbio_session *session;
	struct weir_error err = WEIR_ERROR_INIT;

	if (usrbio_session_get(&rig.sys, rig.mount, &session, &err))
		check_failed(__FILE__, __LINE__, "%s", err.message);
	return session;
}

static struct usrbio_ring *ring_made(struct usrbio_session *session, uint32_t entries)
{
	const struct usrbio_ring_opts opts = {.entries = entries, .for_read = true, .node = -1};
	struct usrbio_ring *ring;
	struct weir_error err = WEIR_ERROR_INIT;

	if (usrbio_ring_create(session, &opts, &ring, &err))
		check_failed(__FILE__, __LINE__, "%s", err.message);
	return ring;
}

static int prepare(struct usrbio_ring *ring, uint64_t userdata)
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

static int64_t soon(int64_t ms)
{
	return daemon_now_ns() + ms * NS_PER_MS;
}

static struct usrbio_session *session;
static struct usrbio_ring *ring;
static struct usrbio_cqe cqe[64];

static void begin(void)
{
	rig_init();
	session = session_made();
	ring = ring_made(session, 4);
}

static void end(void)
{
	usrbio_ring_destroy(ring);
	usrbio_session_put(session);
	rig_fini();
}

/* ---- Making and removing ---- */

static void UB_03_RG_52_a_ring_and_its_names(void)
{
	char before[USRBIO_SHM_NAME_MAX];

	begin();
	check_int(count_keys(), 1);
	check_str(rig.key + 36, ".r0.t0");
	check_int(rig.ring.bytes, 4624);
	strcpy(before, rig.ring.name);
	check(!shm_has(before)); /* gone when the ring is made */
	check(rig.registrar != gettid());
	usrbio_ring_destroy(ring);
	check_int(count_keys(), 0);
	ring = ring_made(session, 4);
	end();
}

/* What a campaign does for longer: so often, times $RIG_TIMES where that is set. */
static unsigned times(unsigned often)
{
	const char *factor = getenv("RIG_TIMES");

	return often * (factor ? (unsigned)strtoul(factor, NULL, 10) : 1);
}

static void UB_04_RG_52_nothing_is_left_for_any_flags(void)
{
	begin();
	for (uint64_t flags = 0; flags < times(100); flags++) {
		const struct usrbio_ring_opts opts = {.entries = 2,
						      .for_read = flags % 2,
						      .depth = -(int)(flags % 1000),
						      .priority = (int)(flags % 3) - 1,
						      .timeout_ms = (int)flags,
						      .flags = flags,
						      .node = -1};
		struct usrbio_ring *other;

		check_int(usrbio_ring_create(session, &opts, &other, NULL), 0);
		check_int(count_keys(), 2);
		usrbio_ring_destroy(other);
		check_int(count_keys(), 1);
	}
	end();
}

static void rings_that_are_refused(void)
{
	struct usrbio_ring_opts opts = {.entries = 4, .node = -1};
	struct weir_error err = WEIR_ERROR_INIT;
	struct usrbio_ring *other;

	begin();
	opts.depth = 5;
	check_int(usrbio_ring_create(session, &opts, &other, &err), WEIR_ARG);
	check_int(err.os_errno, EINVAL);
	opts.depth = 0;
	opts.timeout_ms = -1;
	check_int(usrbio_ring_create(session, &opts, &other, &err), WEIR_ARG);
	opts.timeout_ms = 0;
	opts.entries = 0;
	check_int(usrbio_ring_create(session, &opts, &other, &err), WEIR_ARG);
	opts.entries = USRBIO_ENTRIES_MAX + 1;
	check_int(usrbio_ring_create(session, &opts, &other, &err), WEIR_ARG);
	check_int(count_keys(), 1);
	end();
}

static void UB_52_the_daemon_refuses(void)
{
	const struct usrbio_ring_opts opts = {.entries = 4, .node = -1};
	const struct usrbio_iov_opts buffer = {.bytes = 8192, .node = -1};
	struct weir_error err = WEIR_ERROR_INIT;
	struct usrbio_ring *other;
	struct usrbio_iov iov;

	begin();
	rig.link_error = EINVAL;
	check_int(usrbio_ring_create(session, &opts, &other, &err), WEIR_ARG);
	check_has(err.message, "/dev/shm");
	check_int(usrbio_iov_create(session, &buffer, &iov, &err), WEIR_ARG);
	check_int(err.os_errno, EINVAL);
	rig.link_error = EMFILE;
	check(usrbio_ring_create(session, &opts, &other, &err) < 0);
	check_int(err.os_errno, EMFILE);
	rig.link_error = 0;
	end();
}

static void a_buffer_and_its_name(void)
{
	struct usrbio_iov_opts opts = {.bytes = 10000, .block_bytes = 4096, .node = -1};
	struct usrbio_iov iov, other;
	struct weir_error err = WEIR_ERROR_INIT;

	begin();
	check_int(usrbio_iov_create(session, &opts, &iov, NULL), 0);
	check_int(rig.iov.bytes, 10000);
	check(!shm_has(rig.iov.name) && count_keys() == 2);
	memcpy(iov.shm.memory, "here", 5);
	check_str(rig.iov.memory, "here"); /* the daemon sees the same bytes */
	usrbio_iov_destroy(&iov);
	usrbio_iov_destroy(&iov); /* of none: nothing */
	check_int(count_keys(), 1);
	opts.keep_name = true;
	check_int(usrbio_iov_create(session, &opts, &iov, NULL), 0);
	check(shm_has(rig.iov.name));
	check_int(usrbio_iov_attach(session, iov.key.id, 10000, 4096, &other, &err), 0);
	memcpy(iov.shm.memory, "both", 5);
	check_str(other.shm.memory, "both");
	usrbio_iov_destroy(&other); /* the link is the creator's */
	check_int(count_keys(), 2);
	check(usrbio_iov_attach(session, iov.key.id, 10001, 4096, &other, &err) < 0);
	check(usrbio_iov_attach(session, iov.key.id, 10000, 0, &other, &err) < 0);
	check_int(err.os_errno, ENOENT);
	usrbio_iov_unlink(&iov);
	check(!shm_has(rig.iov.name));
	usrbio_iov_destroy(&iov);
	opts.block_bytes = 10001;
	check_int(usrbio_iov_create(session, &opts, &iov, &err), WEIR_ARG);
	opts.bytes = opts.block_bytes = 0;
	check_int(usrbio_iov_create(session, &opts, &iov, &err), WEIR_ARG);
	end();
}

static void an_object_of_somebody_else(void)
{
	struct usrbio_shm shm;
	struct usrbio_iov iov;

	begin();
	check_int(usrbio_shm_create(sys_real(), rig.shm_dir, 8192, 0600, -1, &shm, NULL), 0);
	check_int(usrbio_iov_register(session, &shm, 0, &iov, NULL), 0);
	check_int(rig.iov.ino, shm.ino);
	usrbio_iov_destroy(&iov);
	check(shm_has(shm.name) && count_keys() == 1);
	memset(shm.memory, 1, shm.bytes); /* still mapped */
	usrbio_shm_unlink(sys_real(), rig.shm_dir, shm.name);
	usrbio_shm_unmap(sys_real(), &shm);
	end();
}

static void RG_48_long_paths_of_mounts(void)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct usrbio_session *other;
	char path[300];

	memset(path, '/', sizeof(path));
	path[256] = '\0';
	check_int(usrbio_session_get(sys_real(), path, &other, &err), WEIR_ARG);
	path[255] = '\0';
	check_int(usrbio_session_get(sys_real(), path, &other, &err), WEIR_NOTFOUND);
}

static void one_session_for_all(void)
{
	struct usrbio_session *other;

	begin();
	check_int(usrbio_session_get(&rig.sys, rig.mount, &other, NULL), 0);
	check(other == session);
	check_str(usrbio_session_mount(other), rig.mount);
	usrbio_session_put(other);
	check(usrbio_session_mine(session));
	end();
}

/* ---- Driving it ---- */

static void what_is_asked_arrives(void)
{
	struct usrbio_claim claim;

	begin();
	check_int(prepare(ring, 5), 0);
	check_int(usrbio_ring_submit(ring), 0);
	check_int(usrbio_sem_drain(rig.bell.sem), 1);
	check_int(usrbio_server_claim(&rig.server, &claim, 1), 1);
	check(claim.args.iov[0] == 1 && claim.args.iov_offset == 4096 && claim.args.length == 4096);
	check(claim.args.file == 77 && claim.args.file_offset == 5 && claim.userdata == 5);
	check_int(usrbio_ring_flying(ring), 1);
	check_int(usrbio_server_complete(&rig.server, 0, 5, 4095), 0);
	check_int(usrbio_ring_wait(ring, cqe, 64, 1, NEVER), 1);
	check(cqe[0].index == 0 && cqe[0].result == 4095 && cqe[0].userdata == 5);
	check_int(usrbio_ring_entries_of(ring), 4);
	end();
}

static void RG_07_RG_08_RG_51_ranges_outside_the_buffer(void)
{
	static const uint8_t id[16] = {0};
	static const uint64_t wrong[][2] = {/* offset, length */
					    {0, 0},
					    {8192, 1},
					    {8191, 2},
					    {0, 8193},
					    {UINT64_MAX, 1},
					    {1, UINT64_MAX},
					    {UINT64_MAX - 4095, 4096},
					    {0, (uint64_t)1 << 63}};

	begin();
	for (size_t i = 0; i < sizeof(wrong) / sizeof(*wrong); i++) {
		const struct usrbio_io io = {.iov = id,
					     .iov_bytes = 8192,
					     .iov_offset = wrong[i][0],
					     .length = wrong[i][1]};

		check_int(usrbio_ring_prepare(ring, &io), -EINVAL);
	}
	check_int(usrbio_ring_flying(ring), 0);
	end();
}

static void UB_28_RG_46_limits_of_a_wait(void)
{
	int64_t start;

	begin();
	check_int(usrbio_ring_wait(ring, cqe, 0, 0, NEVER), -EINVAL);
	check_int(usrbio_ring_wait(ring, cqe, -1, 0, NEVER), -EINVAL);
	check_int(usrbio_ring_wait(ring, cqe, 4, 0, NEVER), 0);
	check_int(usrbio_ring_wait(ring, cqe, 4, -3, NEVER), 0);
	check_int(usrbio_ring_wait(ring, cqe, 4, 1, 0), 0);
	check_int(usrbio_ring_wait(ring, cqe, 4, 1, INT64_MIN), 0);
	start = daemon_now_ns();
	check_int(usrbio_ring_wait(ring, cqe, 4, 1, soon(50)), 0);
	check(daemon_now_ns() - start >= 50 * NS_PER_MS);
	check_int(prepare(ring, 1), 0);
	check_int(prepare(ring, 2), 1);
	check_int(serve(1), 2);
	check_int(usrbio_ring_wait(ring, cqe, 1, 9, NEVER), 1); /* the least is cut to the most */
	check_int(usrbio_ring_wait(ring, cqe, 4, 2, soon(30)), 1);
	end();
}

static void UB_28_RG_46_points_in_time(void)
{
	const int64_t now = sys_real()->real_ns();
	struct timespec at = {now / NS_PER_SEC + 10, now % NS_PER_SEC};
	int64_t deadline, left;

	check_int(usrbio_ring_deadline(sys_real(), NULL, &deadline), 0);
	check_int(deadline, NEVER);
	check_int(usrbio_ring_deadline(sys_real(), &at, &deadline), 0);
	left = deadline - sys_real()->now_ns();
	check(left > 9 * NS_PER_SEC && left <= 10 * NS_PER_SEC);
	at.tv_nsec = NS_PER_SEC;
	check_int(usrbio_ring_deadline(sys_real(), &at, &deadline), -EINVAL);
	at.tv_nsec = -1;
	check_int(usrbio_ring_deadline(sys_real(), &at, &deadline), -EINVAL);
	at = (struct timespec){1, 0};
	check_int(usrbio_ring_deadline(sys_real(), &at, &deadline), 0);
	check(deadline < sys_real()->now_ns());
	at.tv_sec = INT64_MAX;
	check_int(usrbio_ring_deadline(sys_real(), &at, &deadline), 0);
	check(deadline > sys_real()->now_ns() && deadline != NEVER);
	at.tv_sec = INT64_MIN;
	check_int(usrbio_ring_deadline(sys_real(), &at, &deadline), 0);
	check(deadline < sys_real()->now_ns());
}

static int64_t cpu_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &now);
	return now.tv_sec * NS_PER_SEC + now.tv_nsec;
}

static void *serve_later(void *arg)
{
	usleep(100000);
	(void)arg;
	check_int(serve(1), 1);
	return NULL;
}

static void UB_27_a_thousand_posts_do_not_make_it_spin(void)
{
	pthread_t thread;
	int64_t start;

	begin();
	for (int i = 0; i < 1000; i++) {
		check_int(prepare(ring, 1), 0);
		check_int(serve(1), 1);
		check_int(usrbio_ring_wait(ring, cqe, 4, 1, NEVER), 1);
	}
	check_int(prepare(ring, 1), 0);
	check_int(pthread_create(&thread, NULL, serve_later, NULL), 0);
	start = cpu_ns();
	check_int(usrbio_ring_wait(ring, cqe, 4, 1, NEVER), 1);
	check(cpu_ns() - start < 5 * NS_PER_MS);
	pthread_join(thread, NULL);
	end();
}

static void *wake_later(void *arg)
{
	usleep(30000);
	usrbio_ring_wake(arg);
	return NULL;
}

static void a_wake_ends_a_wait(void)
{
	pthread_t thread;

	begin();
	check_int(pthread_create(&thread, NULL, wake_later, ring), 0);
	check_int(usrbio_ring_wait(ring, cqe, 4, 1, NEVER), 0);
	pthread_join(thread, NULL);
	usrbio_ring_wake(ring);
	check_int(usrbio_ring_wait(ring, cqe, 4, 1, NEVER), 0); /* kept for the next one */
	check_int(usrbio_ring_wait(ring, cqe, 4, 1, soon(20)), 0);
	end();
}

static _Atomic bool stop_serving;

static void *serve_all(void *arg)
{
	(void)arg;
	while (!stop_serving) {
		(void)!usrbio_sem_wait(sys_real(), rig.bell.sem,
				       sys_real()->now_ns() + 50 * NS_PER_MS);
		usrbio_sem_drain(rig.bell.sem);
		while (serve(4096) > 0)
			;
	}
	return NULL;
}

static void *wait_for_all(void *arg)
{
	static struct usrbio_cqe some[64];
	unsigned done = 0;

	while (done < 20000) {
		int got = usrbio_ring_wait(arg, some, 64, 1, NEVER);

		check(got > 0);
		done += (unsigned)got;
	}
	return NULL;
}

static void UB_26_prepared_here_and_awaited_there(void)
{
	pthread_t server, waiter;

	begin();
	stop_serving = false;
	check_int(pthread_create(&server, NULL, serve_all, NULL), 0);
	check_int(pthread_create(&waiter, NULL, wait_for_all, ring), 0);
	for (unsigned made = 0; made < 20000;) {
		int ret = prepare(ring, made);

		check(ret >= 0 || ret == -EAGAIN);
		made += ret >= 0;
		check_int(usrbio_ring_submit(ring), 0);
	}
	pthread_join(waiter, NULL);
	stop_serving = true;
	pthread_join(server, NULL);
	end();
}

static void RG_45_the_wall_clock_does_not_matter(void)
{
	struct timespec at;
	int64_t deadline, start;

	begin();
	clock_gettime(CLOCK_REALTIME, &at);
	at.tv_sec += 1;
	check_int(usrbio_ring_deadline(&rig.sys, &at, &deadline), 0);
	rig.sys.real_ns = NULL; /* nobody asks again */
	start = daemon_now_ns();
	check_int(usrbio_ring_wait(ring, cqe, 4, 1, deadline), 0);
	check(daemon_now_ns() - start > 500 * NS_PER_MS);
	end();
}

static void RG_40_the_daemon_breaks_the_protocol(void)
{
	begin();
	check_int(prepare(ring, 1), 0);
	rig.server.unfinished = 1; /* a daemon that invents completions */
	usrbio_server_complete(&rig.server, 3, 0, 1);
	check_int(usrbio_ring_wait(ring, cqe, 4, 1, NEVER), -EPROTO);
	check_int(prepare(ring, 1), -EPROTO);
	check_int(usrbio_ring_submit(ring), -EPROTO);
	end();
}

/* ---- Daemons that die, stop, start again ---- */

static void check_gone(void)
{
	int64_t start = sys_real()->now_ns();

	check_int(usrbio_ring_wait(ring, cqe, 64, 1, NEVER), 2);
	check(sys_real()->now_ns() - start < 2 * NS_PER_SEC);
	check(cqe[0].result == -ENOTCONN && cqe[0].userdata == 1);
	check(cqe[1].result == -ENOTCONN && cqe[1].userdata == 2);
	check_int(usrbio_session_health(session), USRBIO_GONE);
	check_int(usrbio_ring_wait(ring, cqe, 64, 1, NEVER), -ENOTCONN);
	check_int(usrbio_ring_wait(ring, cqe, 64, 0, NEVER), -ENOTCONN);
	check_int(prepare(ring, 1), -ENOTCONN);
	check_int(usrbio_ring_submit(ring), -ENOTCONN);
}

static void UB_48_RG_37_killed(void)
{
	begin();
	check_int(prepare(ring, 1), 0);
	check_int(prepare(ring, 2), 1);
	rig.health = ENOTCONN;
	check_gone();
	rig.health = 0;
	end();
}

static _Atomic unsigned threads_refused;

static int refuse_thread(pthread_t *out, const pthread_attr_t *attr, void *(*run)(void *),
			 void *arg)
{
	if (threads_refused == 0)
		return sys_real()->thread_create(out, attr, run, arg);
	threads_refused--;
	return EAGAIN;
}

/* The first who would look after the daemon cannot be started; it is not the last. */
static void UB_48_killed_while_no_thread_is_to_be_had(void)
{
	begin();
	rig.sys.thread_create = refuse_thread;
	check_int(prepare(ring, 1), 0);
	check_int(prepare(ring, 2), 1);
	threads_refused = 2;
	rig.health = ENOTCONN;
	check_gone();
	check_int(threads_refused, 0);
	rig.health = 0;
	end();
}

static void UB_48_RG_39_restarted(void)
{
	struct usrbio_bell_file old;
	struct usrbio_session *second;
	struct usrbio_ring *other;

	begin();
	old = rig.bell;
	check_int(prepare(ring, 1), 0);
	check_int(prepare(ring, 2), 1);
	check_int(usrbio_bell_create(sys_real(), rig.shm_dir, &rig.bell, NULL), 0);
	point_bells();
	check_gone();
	second = session_made();
	check(second != session);
	other = ring_made(second, 4);
	check_int(prepare(other, 9), 0);
	check_int(usrbio_ring_submit(other), 0);
	check_int(usrbio_sem_drain(rig.bell.sem), 1); /* the new one's */
	check_int(serve(3), 1);
	check_int(usrbio_ring_wait(other, cqe, 4, 1, NEVER), 1);
	usrbio_ring_destroy(other);
	usrbio_session_put(second);
	usrbio_bell_unlink(sys_real(), rig.shm_dir, &old);
	usrbio_bell_close(sys_real(), &old);
	end();
}

static void RG_37_after_half_the_completions(void)
{
	struct usrbio_claim claims[2];

	begin();
	check_int(prepare(ring, 1), 0);
	check_int(prepare(ring, 2), 1);
	check_int(usrbio_server_claim(&rig.server, claims, 2), 2);
	check_int(usrbio_server_complete(&rig.server, 1, 2, 5), 0);
	rig.health = ECONNABORTED;
	check_int(usrbio_ring_wait(ring, cqe, 64, 2, NEVER), 2);
	check(cqe[0].userdata == 2 && cqe[0].result == 5);
	check(cqe[1].userdata == 1 && cqe[1].result == -ENOTCONN);
	rig.health = 0;
	end();
}

static void RG_37_polling_notices_it_too(void)
{
	int64_t start = sys_real()->now_ns();
	int got;

	begin();
	check_int(prepare(ring, 1), 0);
	rig.health = ENOTCONN;
	while ((got = usrbio_ring_wait(ring, cqe, 64, 0, NEVER)) == 0)
		usleep(1000);
	check_int(got, 1);
	check_int(cqe[0].result, -ENOTCONN);
	check(sys_real()->now_ns() - start < 2 * NS_PER_SEC);
	rig.health = 0;
	end();
}

static void RG_38_stopped(void)
{
	int64_t start;

	begin();
	check_int(prepare(ring, 1), 0);
	rig.health = HANGS;
	start = daemon_now_ns();
	check_int(usrbio_ring_wait(ring, cqe, 4, 1, soon(1900)), 0); /* a deadline is a deadline */
	check(daemon_now_ns() - start < 3 * NS_PER_SEC);
	check_int(usrbio_session_health(session), USRBIO_STOPPED);
	check_int(usrbio_ring_flying(ring), 1);
	rig.health = 0;
	check_int(serve(1), 1);
	check_int(usrbio_ring_wait(ring, cqe, 4, 1, soon(1000)), 1);
	check_int(cqe[0].result, 1);
	end();
}

static void *pass_a_minute(void *arg)
{
	(void)arg;
	usleep(300000);
	rig.clock_ns = 60 * NS_PER_SEC;
	return NULL;
}

static void UB_48_RG_38_silent_for_a_minute(void)
{
	pthread_t thread;

	begin();
	check_int(prepare(ring, 1), 0);
	check_int(pthread_create(&thread, NULL, pass_a_minute, NULL), 0);
	check_int(usrbio_ring_wait(ring, cqe, 4, 1, NEVER), -ETIMEDOUT);
	pthread_join(thread, NULL);
	check_int(usrbio_ring_flying(ring), 1);
	check_int(serve(1), 1);
	check_int(usrbio_ring_wait(ring, cqe, 4, 1, NEVER), 1);
	end();
}

static void UB_48_nothing_in_flight_waits_on(void)
{
	pthread_t minute, waker;

	begin();
	check_int(pthread_create(&minute, NULL, pass_a_minute, NULL), 0);
	pthread_join(minute, NULL);
	check_int(pthread_create(&minute, NULL, pass_a_minute, NULL), 0);
	check_int(pthread_create(&waker, NULL, wake_later, ring), 0);
	check_int(usrbio_ring_wait(ring, cqe, 4, 1, NEVER), 0);
	pthread_join(waker, NULL);
	pthread_join(minute, NULL);
	check_int(rig.probes, 0); /* and nobody asks the daemon meanwhile */
	end();
}

static void a_quick_wait_asks_nobody(void)
{
	begin();
	for (int i = 0; i < 100; i++) {
		check_int(prepare(ring, 1), 0);
		check_int(serve(1), 1);
		check_int(usrbio_ring_wait(ring, cqe, 4, 1, NEVER), 1);
	}
	check_int(rig.probes, 0);
	end();
}

/* ---- Failures on the way ---- */

static unsigned count_descriptors(void)
{
	unsigned count = 0;
	DIR *dir = opendir("/proc/self/fd");

	check(dir);
	while (readdir(dir))
		count++;
	closedir(dir);
	return count;
}

/* A session, a buffer and a ring, made and removed: 0, or the code of what failed first. */
static int make_all(void)
{
	const struct usrbio_iov_opts buffer = {.bytes = 8192, .node = 0};
	const struct usrbio_ring_opts opts = {.entries = 4, .node = -1, .priority = 1};
	struct usrbio_session *own;
	struct usrbio_ring *other;
	struct usrbio_iov iov = {0};
	int ret = usrbio_session_get(fail_sys(), rig.mount, &own, NULL);

	if (ret)
		return ret;
	ret = usrbio_iov_create(own, &buffer, &iov, NULL);
	if (!ret)
		ret = usrbio_ring_create(own, &opts, &other, NULL);
	if (!ret)
		usrbio_ring_destroy(other);
	usrbio_iov_destroy(&iov);
	usrbio_session_put(own);
	return ret;
}

static void check_nothing_is_left(unsigned descriptors, int64_t live)
{
	check_int(count_keys(), 0);
	check(!shm_has(rig.ring.name) && !shm_has(rig.iov.name));
	check_int(count_descriptors(), descriptors);
	check_int(fail_alloc_live(), live);
	check_int(fail_mapped_bytes(), 0);
}

static void RG_36_nothing_is_left_where_memory_fails(void)
{
	unsigned descriptors, n;
	int64_t live;

	rig_init();
	fail_sys_over(&rig.sys);
	descriptors = count_descriptors();
	live = fail_alloc_live();
	for (n = 1;; n++) {
		int ret;

		fail_alloc(n, FAIL_ONCE);
		ret = make_all();
		if (!fail_alloc_end()) {
			check_int(ret, 0);
			break;
		}
		check_int(ret, WEIR_NOMEM);
		check_nothing_is_left(descriptors, live);
	}
	check(n > 5);
	rig_fini();
}

static void RG_36_nothing_is_left_where_a_call_fails(void)
{
	static const enum fail_call calls[] = {FAIL_openat,     FAIL_fstat,         FAIL_ftruncate,
					       FAIL_fallocate,  FAIL_mmap,          FAIL_symlinkat,
					       FAIL_readlinkat, FAIL_thread_create, FAIL_random,
					       FAIL_madvise,    FAIL_mbind};
	unsigned descriptors, fired = 0;
	int64_t live;

	rig_init();
	fail_sys_over(&rig.sys);
	descriptors = count_descriptors();
	live = fail_alloc_live();
	for (size_t i = 0; i < sizeof(calls) / sizeof(*calls); i++) {
		for (unsigned n = 1;; n++) {
			int ret;

			fail_call(calls[i], n, FAIL_ONCE, EMFILE);
			ret = make_all();
			if (!fail_call_end())
				break;
			check(ret <= 0);
			fired++;
			check_nothing_is_left(descriptors, live);
		}
	}
	check(fired > 20);
	rig_fini();
}

/* ---- A child ---- */

static void have_its_own(void)
{
#ifndef __SANITIZE_THREAD__ /* which has no threads in children */
	struct usrbio_session *own;

	check_int(usrbio_session_get(&rig.sys, rig.mount, &own, NULL), 0);
	check(own != session && usrbio_session_mine(own));
	usrbio_session_put(own);
#endif
}

static void UB_26_a_forked_child_must_not_touch(void)
{
	const struct usrbio_iov_opts opts = {.bytes = 8192, .node = -1, .keep_name = true};
	struct usrbio_iov iov;
	int status;
	pid_t child;

	begin();
	check_int(usrbio_iov_create(session, &opts, &iov, NULL), 0);
	check_int(prepare(ring, 1), 0);
	child = fork();
	if (child == 0) {
		struct weir_error err = WEIR_ERROR_INIT;

		check_int(prepare(ring, 2), -EPERM);
		check_int(usrbio_ring_submit(ring), -EPERM);
		check_int(usrbio_ring_wait(ring, cqe, 4, 0, NEVER), -EPERM);
		check(!usrbio_session_mine(session));
		check_int(usrbio_session_unlink(session, "x", &err), WEIR_CLOSED);
		usrbio_ring_destroy(ring);
		usrbio_iov_destroy(&iov);
		usrbio_session_put(session);
		have_its_own();
		_exit(0);
	}
	check_int(waitpid(child, &status, 0), child);
	check_int(status, 0);
	check_int(count_keys(), 2);
	check_int(serve(1), 1);
	check_int(usrbio_ring_wait(ring, cqe, 4, 1, NEVER), 1);
	usrbio_iov_destroy(&iov);
	end();
}

/* ---- Looking before sleeping ---- */

static void *serve_soon(void *arg)
{
	usleep(2000);
	check_int(serve(4096), *(int *)arg);
	return NULL;
}

static struct usrbio_ring *ring_spinning(int64_t spin_ns)
{
	const struct usrbio_ring_opts opts = {
		.entries = 4, .for_read = true, .node = -1, .spin_ns = spin_ns};
	struct usrbio_ring *made;

	check_int(usrbio_ring_create(session, &opts, &made, NULL), 0);
	return made;
}

static void more_than_one_processor(void)
{
	if (!usrbio_spin_allowed(1))
		skip("one processor");
}

static void a_wait_that_looks_makes_no_call(void)
{
	struct usrbio_ring *other;
	pthread_t thread;
	int one = 1;

	more_than_one_processor();
	begin();
	other = ring_spinning(USRBIO_SPIN_MOST_NS);
	check(usrbio_server_attends(&rig.server));
	for (int i = 0; i < 20; i++) {
		check_int(prepare(other, 1), 0);
		check_int(usrbio_ring_submit(other), 0);
		futex_calls = 0;
		check_int(pthread_create(&thread, NULL, serve_soon, &one), 0);
		check_int(usrbio_ring_wait(other, cqe, 1, 1, soon(5000)), 1);
		pthread_join(thread, NULL);
		if (futex_calls == 0)
			break; /* a busy machine may be too late, now and then */
	}
	check_int(futex_calls, 0);
	check_int(rings_of_bell, 0);
	usrbio_ring_destroy(other);
	end();
}

static double cpu_seconds(void)
{
	struct timespec used;

	clock_gettime(CLOCK_THREAD_CPUTIME_ID, &used);
	return (double)used.tv_sec + (double)used.tv_nsec / 1e9;
}

static void it_looks_for_a_moment_only(void)
{
	struct usrbio_ring *other;
	double before;

	begin();
	other = ring_spinning(NS_PER_MS);
	check_int(prepare(other, 1), 0);
	before = cpu_seconds();
	check_int(usrbio_ring_wait(other, cqe, 1, 1, soon(500)), 0);
	check(cpu_seconds() - before < 0.1); /* five slices */
	usrbio_ring_wake(other);
	check_int(usrbio_ring_wait(other, cqe, 1, 1, soon(5000)), 0);
	usrbio_ring_destroy(other);
	end();
}

static void one_processor_never_looks(void)
{
	cpu_set_t all, one;
	size_t first = 0;

	check_int(sched_getaffinity(0, sizeof(all), &all), 0);
	check_int(usrbio_spin_allowed(NS_PER_SEC) > USRBIO_SPIN_MOST_NS, 0);
	while (!CPU_ISSET(first, &all))
		first++;
	CPU_ZERO(&one);
	CPU_SET(first, &one);
	check_int(sched_setaffinity(0, sizeof(one), &one), 0);
	check_int(usrbio_spin_allowed(NS_PER_MS), 0);
	check_int(sched_setaffinity(0, sizeof(all), &all), 0);
}

static void what_the_environment_may_say(void)
{
	static const char *const wrong[] = {"-1", "10001", "5us", "often", "99999999999999999999"};
	struct weir_error err = WEIR_ERROR_INIT;
	int64_t ns = 1;

	check_int(usrbio_spin_wanted(&ns, &err), 0);
	check_int(ns, 0);
	setenv("WEIR_3FS_SPIN_US", "50", 1);
	check_int(usrbio_spin_wanted(&ns, &err), 0);
	check_int(ns, 50000);
	for (size_t i = 0; i < array_size(wrong); i++) {
		setenv("WEIR_3FS_SPIN_US", wrong[i], 1);
		err = (struct weir_error)WEIR_ERROR_INIT;
		check_int(usrbio_spin_wanted(&ns, &err), WEIR_ARG);
		check(strstr(err.message, wrong[i]));
	}
	unsetenv("WEIR_3FS_SPIN_US");
}

static void a_daemon_that_is_awake_is_not_told(void)
{
	begin();
	check_int(prepare(ring, 1), 0);
	check_int(usrbio_ring_submit(ring), 0);
	check_int(rings_of_bell, 1);
	check(usrbio_server_attends(&rig.server));
	check_int(prepare(ring, 2), 1);
	check_int(usrbio_ring_submit(ring), 0);
	check_int(rings_of_bell, 1);
	check(usrbio_server_rests(&rig.server)); /* it has to look again */
	check_int(serve(4096), 2);
	check_int(prepare(ring, 3), 2);
	check_int(usrbio_ring_submit(ring), 0);
	check_int(rings_of_bell, 2);
	check_int(serve(4096), 1);
	check_int(usrbio_ring_wait(ring, cqe, 4, 3, soon(1000)), 3);
	end();
}

struct turn {
	uint32_t wanted;
	unsigned posts;
};

/* One at a time, each of them with a post, to who sleeps for so many. */
static void *serve_in_turn(void *arg)
{
	struct usrbio_claim claims[4];
	struct turn *turn = arg;

	check_int(usrbio_server_claim(&rig.server, claims, 4), 4);
	while (atomic_load(&rig.server.view.mark->wanted) != turn->wanted)
		usleep(100);
	for (int i = 0; i < 4; i++) {
		usrbio_server_complete(&rig.server, claims[i].index, claims[i].userdata, 1);
		turn->posts += usrbio_server_post(&rig.server);
	}
	return NULL;
}

static void a_wait_for_many_is_posted_once(void)
{
	pthread_t thread;

	begin();
	for (int min = 1; min <= 4; min += 3) {
		struct turn turn = {.wanted = (uint32_t)min};
		int got = 0;

		for (uint64_t i = 0; i < 4; i++)
			check(prepare(ring, i) >= 0);
		check_int(pthread_create(&thread, NULL, serve_in_turn, &turn), 0);
		while (got < 4)
			got += usrbio_ring_wait(ring, cqe, 4, min, NEVER);
		pthread_join(thread, NULL);
		check_int(turn.posts, min == 1 ? 4 : 1);
	}
	end();
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(UB_03_RG_52_a_ring_and_its_names),
		TEST(UB_04_RG_52_nothing_is_left_for_any_flags),
		TEST(rings_that_are_refused),
		TEST(UB_52_the_daemon_refuses),
		TEST(a_buffer_and_its_name),
		TEST(an_object_of_somebody_else),
		TEST(RG_48_long_paths_of_mounts),
		TEST(one_session_for_all),
		TEST(what_is_asked_arrives),
		TEST(RG_07_RG_08_RG_51_ranges_outside_the_buffer),
		TEST(UB_28_RG_46_limits_of_a_wait),
		TEST(UB_28_RG_46_points_in_time),
		TEST(UB_27_a_thousand_posts_do_not_make_it_spin),
		TEST(a_wake_ends_a_wait),
		TEST(UB_26_prepared_here_and_awaited_there),
		TEST(RG_45_the_wall_clock_does_not_matter),
		TEST(RG_40_the_daemon_breaks_the_protocol),
		TEST(UB_48_RG_37_killed),
		TEST(UB_48_killed_while_no_thread_is_to_be_had),
		TEST(UB_48_RG_39_restarted),
		TEST(RG_37_after_half_the_completions),
		TEST(RG_37_polling_notices_it_too),
		TEST(RG_38_stopped),
		TEST(UB_48_RG_38_silent_for_a_minute),
		TEST(UB_48_nothing_in_flight_waits_on),
		TEST(a_quick_wait_asks_nobody),
		TEST(RG_36_nothing_is_left_where_memory_fails),
		TEST(RG_36_nothing_is_left_where_a_call_fails),
		TEST(UB_26_a_forked_child_must_not_touch),
		TEST(a_daemon_that_is_awake_is_not_told),
		TEST(a_wait_for_many_is_posted_once),
		TEST(a_wait_that_looks_makes_no_call),
		TEST(it_looks_for_a_moment_only),
		TEST(one_processor_never_looks),
		TEST(what_the_environment_may_say),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
