/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A lane of rings whose driver is made up, so that things come to pass between two of its steps: a wake
 * while it looks, a daemon that is lost while memory is registered.  The mount is a folder, and its daemon
 * the table of system calls.
 */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/size.h"
#include "lib/check.h"
#include "lib/fail.h"
#include "lib/mount_folder.h"
#include "source/usrbio.h"

#define LENGTH 4096

static struct {
	struct sys sys;
	struct log log;
	struct source_env env;
	char mount[MOUNT_FOLDER_PATH];
	struct usrbio_session *session;
	struct pool *pool;
	struct source *source;
	struct source_lane *lane;
	struct usrbio_object object;
	struct request request, interim[2];
	char memory[LENGTH]; /* not of the pool: the daemon is let into other memory for it */

	/* The driver's. */
	char ring;
	_Atomic int rings; /* that there are */
	_Atomic bool slow; /* none is made until it is not */
	uint64_t asked;    /* requests put in */
	uint64_t userdata;
	bool answers;
	bool wake_at_look; /* somebody wakes the lane while it looks at its ring */
	_Atomic bool woken;
	bool slept;
	int least; /* for how many it slept */

	/* The mount's. */
	_Atomic bool lose; /* the daemon is lost while it is told of memory */
	int refuse;        /* and that fails: an errno */
} rig;

static struct usrbio_source *source(void)
{
	return usrbio_source_of(rig.source);
}

/* ---- The driver ---- */

static int ring_create(struct driver *driver, struct usrbio_session *session,
		       const struct usrbio_ring_opts *opts, struct driver_ring **out,
		       struct weir_error *err)
{
	(void)driver;
	(void)session;
	(void)opts;
	(void)err;
	while (atomic_load(&rig.slow))
		usleep(1000);
	atomic_fetch_add(&rig.rings, 1);
	*out = (struct driver_ring *)(void *)&rig.ring;
	return 0;
}

static void ring_destroy(struct driver_ring *ring)
{
	if (ring)
		atomic_fetch_sub(&rig.rings, 1);
}

static int prepare(struct driver_ring *ring, const struct driver_io *io)
{
	(void)ring;
	rig.asked++;
	rig.userdata = io->io.userdata;
	return 0;
}

static int submit(struct driver_ring *ring)
{
	(void)ring;
	return 0;
}

static void wake(struct driver_ring *ring)
{
	(void)ring;
	atomic_store(&rig.woken, true);
}

/* As weir's own: a wake ends one wait, be it a mere look, and no second one. */
static int wait_some(struct driver_ring *ring, struct usrbio_cqe *out, int max, int least,
		     int64_t deadline_ns)
{
	(void)ring;
	check(max > 0);
	if (rig.answers) {
		*out = (struct usrbio_cqe){.result = LENGTH, .userdata = rig.userdata};
		return 1;
	}
	if (rig.wake_at_look && deadline_ns == 0) {
		rig.wake_at_look = false;
		usrbio_wake(rig.lane);
	}
	if (atomic_exchange(&rig.woken, false) || deadline_ns == 0)
		return 0;
	rig.slept = true;
	rig.least = least;
	usrbio_wake(rig.lane);
	return 0;
}

/* weir's own, but for its rings. */
static struct driver *driver_made(void)
{
	static struct driver_ops ops;
	static struct driver driver = {&ops, "made up"};

	ops = *driver_native()->ops;
	ops.ring_create = ring_create;
	ops.ring_destroy = ring_destroy;
	ops.prepare = prepare;
	ops.submit = submit;
	ops.wake = wake;
	ops.wait = wait_some;
	return &driver;
}

/* ---- The mount ---- */

static int daemon_ioctl(int fd, unsigned long request, void *arg)
{
	(void)fd;
	check_int(request, USRBIO_IOC_GET_MAGIC);
	*(uint32_t *)arg = USRBIO_MAGIC;
	return 0;
}

static int daemon_symlinkat(const char *target, int dir, const char *name)
{
	if (atomic_exchange(&rig.lose, false)) {
		usrbio_lost(source(), source()->epoch);
		errno = rig.refuse;
		if (errno)
			return -1;
	}
	return symlinkat(target, dir, name);
}

/* A daemon is there, of that epoch. */
static void connect_to_daemon(uint32_t epoch)
{
	usrbio_session_ref(rig.session);
	lock_take(&source()->lock);
	source()->session = rig.session;
	source()->epoch = epoch;
	rig.object.epoch = epoch;
	lock_drop(&source()->lock);
}

static void begin(void)
{
	const struct lane_how how = {.depth = 4};

	rig.sys = *sys_real();
	rig.sys.ioctl = daemon_ioctl;
	rig.sys.symlinkat = daemon_symlinkat;
	rig.env = (struct source_env){&rig.sys, &rig.log};
	mount_folder_make(rig.mount);
	check_int(usrbio_session_get(&rig.sys, rig.mount, &rig.session, NULL), 0);
	check_int(
		pool_create(&(struct pool_opts){.sys = &rig.sys, .shared = true}, &rig.pool, NULL),
		0);
	check_int(source_usrbio_create(&rig.env,
				       &(struct source_usrbio_how){.mount = rig.mount,
								   .pool = rig.pool,
								   .driver = driver_made()},
				       &rig.source, NULL),
		  0);
	check_int(usrbio_lane_create(rig.source, &how, &rig.lane, NULL), 0);
	rig.object = (struct usrbio_object){
		.object = {.source = rig.source, .size_bytes = LENGTH}, .live = true, .number = 7};
	connect_to_daemon(1);
}

static void end(void)
{
	usrbio_lane_destroy(rig.lane);
	atomic_store(&rig.slow, false);
	rig.source->ops->destroy(rig.source);
	check_int(atomic_load(&rig.rings), 0);
	usrbio_session_put(rig.session);
	pool_unref(rig.pool);
	mount_folder_remove(rig.mount);
}

static void ask_for(struct request *request, bool interim)
{
	*request = (struct request){.object = &rig.object.object,
				    .memory = rig.memory,
				    .length = LENGTH,
				    .op = REQUEST_READ,
				    .interim = interim};
	check_int(usrbio_submit(rig.lane, request), 0);
}

static void ask(void)
{
	ask_for(&rig.request, false);
}

static unsigned reap(int64_t for_ns)
{
	struct request *out[4];

	return usrbio_reap(rig.lane, out, array_size(out), deadline_after(&rig.sys, for_ns));
}

/* Until a request is in the ring, or has failed: did it come there? */
static bool comes_to_fly(void)
{
	uint64_t before = rig.asked;

	ask();
	while (rig.asked == before)
		if (reap(NS_PER_SEC))
			return false;
	reap(0);
	return true;
}

static void answer(void)
{
	rig.answers = true;
	check_int(reap(NS_PER_SEC), 1);
	rig.answers = false;
	check_int(rig.request.result, LENGTH);
}

/* As who tries again: a ring that could not be made is not tried anew at once. */
static bool comes_to_fly_in_the_end(void)
{
	int64_t deadline_ns = deadline_after(&rig.sys, 3 * NS_PER_SEC);
	bool flies;

	while (!(flies = comes_to_fly()) && rig.sys.now_ns() < deadline_ns)
		usleep(10000);
	return flies;
}

/* ---- Cases ---- */

static void a_wake_that_comes_while_it_looks_is_not_slept_over(void)
{
	begin();
	check(comes_to_fly());
	rig.slept = false;
	rig.wake_at_look = true;
	check_int(reap(20 * NS_PER_SEC), 0);
	check(!rig.wake_at_look);
	check(!rig.slept);
	answer();
	end();
}

/* The next daemon is let into memory again, whatever came of it with the one that is gone. */
static void memory_whose_daemon_was_lost_while_it_was_registered(void)
{
	static const int refusals[] = {0, ENOTCONN};

	for (size_t i = 0; i < array_size(refusals); i++) {
		memset(&rig, 0, sizeof(rig));
		begin();
		rig.refuse = refusals[i];
		rig.lose = true;
		check(!comes_to_fly());
		check_int(rig.request.result, WEIR_PEER_GONE); /* the bell is not to be found */
		check(!rig.lose);
		connect_to_daemon(2);
		check(comes_to_fly_in_the_end());
		answer();
		end();
	}
}

/* Its lane ends before: with the request that waited for it, or without. */
static void a_ring_that_comes_when_nobody_waits_for_it_is_ended(void)
{
	for (int called_back = 0; called_back < 2; called_back++) {
		memset(&rig, 0, sizeof(rig));
		begin();
		rig.slow = true;
		ask();
		if (called_back) {
			usrbio_cancel(rig.lane, &rig.request);
			check_int(reap(NS_PER_SEC), 1);
		}
		end();
	}
}

static void end_one(uint64_t userdata)
{
	rig.userdata = userdata;
	rig.answers = true;
	check_int(reap(NS_PER_SEC), 1);
	rig.answers = false;
}

static int sleeps_for(void)
{
	rig.least = 0;
	check_int(reap(20 * NS_PER_SEC), 0);
	return rig.least;
}

static void requests_of_which_nothing_settles_are_slept_for_together(void)
{
	uint64_t plain, others[2];

	memset(&rig, 0, sizeof(rig));
	begin();
	check(comes_to_fly());
	plain = rig.userdata;
	for (int i = 0; i < 2; i++) {
		ask_for(&rig.interim[i], true);
		others[i] = rig.userdata;
	}
	check(others[0] != plain && others[1] != others[0]);
	check_int(sleeps_for(), 1);
	end_one(plain);
	check_int(sleeps_for(), 2);
	end_one(others[1]);
	check_int(sleeps_for(), 1);
	end_one(others[0]);
	end();
}

/* Else who opens a file there would wait for a worker that never comes. */
static void without_a_worker_there_is_no_source(void)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct source *out;

	memset(&rig, 0, sizeof(rig));
	rig.env = (struct source_env){fail_sys(), &rig.log};
	fail_call(FAIL_thread_create, 1, FAIL_FROM, EAGAIN);
	check_int(pool_create(&(struct pool_opts){.sys = fail_sys()}, &rig.pool, NULL), 0);
	check_int(source_usrbio_create(&rig.env,
				       &(struct source_usrbio_how){.mount = "/mnt",
								   .pool = rig.pool,
								   .driver = driver_made()},
				       &out, &err),
		  WEIR_NOMEM);
	check_has(err.message, "weir-3fs");
	pool_unref(rig.pool);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(a_wake_that_comes_while_it_looks_is_not_slept_over),
		TEST(without_a_worker_there_is_no_source),
		TEST(memory_whose_daemon_was_lost_while_it_was_registered),
		TEST(a_ring_that_comes_when_nobody_waits_for_it_is_ended),
		TEST(requests_of_which_nothing_settles_are_slept_for_together),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
