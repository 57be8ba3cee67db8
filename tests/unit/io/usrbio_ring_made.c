/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Rings, buffers and sessions, made and removed.
 */
#include "io/usrbio/iov.h"
#include "usrbio_ring_rig.h"

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
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
