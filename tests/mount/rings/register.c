/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registration: what is taken, what is refused and how, and what is left of it.
 */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "base/size.h"
#include "client.h"
#include "lib/check.h"
#include "lib/pattern.h"

#define UUID "9f7faec0-69d1-4d54-9296-764b69addbde"

static struct rig rig;

static uid_t me(void)
{
	return geteuid() ? geteuid() : USER_A;
}

struct naming {
	const char *name;
	int answer;
};

/* Each name on an object of that size; what was taken is removed again. */
static void link_each(const struct naming *namings, size_t count, uint64_t bytes)
{
	char *object = rig_object(&rig, me(), bytes);

	for (size_t i = 0; i < count; i++) {
		int answer = rig_link(&rig, me(), object, namings[i].name);

		if (answer != namings[i].answer)
			check_failed(__FILE__, __LINE__, "'%s' on %ju bytes: %d, not %d",
				     namings[i].name, (uintmax_t)bytes, answer, namings[i].answer);
		if (!answer)
			check_int(rig_unlink(&rig, me(), namings[i].name), 0);
	}
	rig_settle(&rig, 0, 0);
	free(object);
}

static void UB_06_UB_08_RG_19_names(void)
{
	static const struct naming on_ring[] = {
		{UUID, 0},
		{UUID ".b4096", 0},
		{UUID ".r0.t0", 0},
		{UUID ".w-2.pl.t0", 0},
		{UUID ".r0.t0.f11", 0},
		{UUID ".r0", 0},             /* without a timeout: 0 */
		{UUID ".z9.r0..t0", 0},      /* unknown letters and empty parts */
		{UUID ".r9999.r0.t0.t5", 0}, /* the last of a repeated part */
		{UUID ".r-2147483648.t0", 0},
		{UUID ".r4.t0", 0},
		{UUID ".r5.t0", EINVAL}, /* UB_33: deeper than it has entries */
		{"9f7faec0-69d1-4d54-9296-764b69addbd", EIO},
		{"no-uuid", EIO},
		{"{9f7faec0-69d1-4d54-9296-764b69addbde}", EIO},
		{UUID ".b0", EINVAL},
		{UUID ".b-1", EINVAL},
		{UUID ".bx", EINVAL},
		{UUID ".b4625", EINVAL}, /* larger than the object */
		{UUID ".r0.px", EINVAL},
		{UUID ".r0.t-1", EINVAL},
		{UUID ".r0.t0.f2", EINVAL}, /* not binary */
		{UUID ".t0", EINVAL},       /* parts of a ring without a ring */
		{UUID ".ph", EINVAL},
		{UUID ".f1", EINVAL},
	};

	rig_start(&rig, NULL);
	link_each(on_ring, array_size(on_ring), usrbio_ring_bytes(4));
	rig_end(&rig);
}

static void UB_08_RG_19_a_long_name(void)
{
	static char name[4097];
	char *object;

	rig_start(&rig, NULL);
	object = rig_object(&rig, me(), 4096);
	memset(name, 'z', sizeof(name) - 1);
	memcpy(name, UUID ".", 37);
	check_int(rig_link(&rig, me(), object, name), ENAMETOOLONG);
	name[VIRT_NAME_MAX] = 0;
	check_int(rig_link(&rig, me(), object, name), 0);
	check_int(rig_list(&rig, me()), 1);
	check_int(rig_unlink(&rig, me(), name), 0);
	free(object);
	rig_end(&rig);
}

static void UB_07_RG_17_sizes_that_are_no_ring(void)
{
	static const uint64_t sizes[] = {4095, 4144, 4239, 4335};
	static const struct naming refused[] = {{UUID ".r0.t0", EINVAL}};
	static const struct naming taken[] = {{UUID ".r0.t0", 0}};
	static const struct naming many[] = {{UUID ".r0.t0", ENOSPC}};
	char *empty;

	rig_start(&rig, NULL);
	empty = rig_object(&rig, me(), 0);
	check_int(rig_link(&rig, me(), empty, UUID ".r0.t0"), EINVAL);
	check_int(rig_link(&rig, me(), empty, UUID), EINVAL);
	for (size_t i = 0; i < array_size(sizes); i++)
		link_each(refused, 1, sizes[i]);
	link_each(taken, 1, 4336);
	link_each(taken, 1, usrbio_ring_bytes(65536));
	link_each(many, 1, usrbio_ring_bytes(65537));
	free(empty);
	rig_end(&rig);
}

static void RG_17_RG_18_a_tebibyte_of_nothing(void)
{
	static const struct naming ring[] = {{UUID ".r0.t0", ENOSPC}};
	static const struct naming blocks[] = {
		{UUID ".b1", ENOSPC}, {UUID ".b16777216", 0}, {UUID ".b16777215", ENOSPC}};

	RIG_NOT_UNDER_TSAN();
	rig_start(&rig, &(struct virt_opts){.bytes_per_uid = 2048 * GIB});
	link_each(ring, 1, 1024 * GIB);
	link_each(blocks, array_size(blocks), 1024 * GIB);
	rig_end(&rig);
}

static void UB_09_upper_case_hex(void)
{
	static const char name[] = "9F7FAEC0-69D1-4D54-9296-764B69ADDBDE";
	struct virt_entry entry;
	char *object;

	rig_start(&rig, NULL);
	object = rig_object(&rig, me(), 4096);
	check_int(rig_link(&rig, me(), object, name), 0);
	check_int(rig_lookup(&rig, me(), name, &entry), 0);
	check_int(rig_link(&rig, me(), object, UUID), EEXIST); /* the same id */
	check_int(rig_unlink(&rig, me(), name), 0);
	free(object);
	rig_end(&rig);
}

static void one_id_is_registered_once(void)
{
	char *object;

	rig_start(&rig, NULL);
	object = rig_object(&rig, me(), 4336);
	check_int(rig_link(&rig, me(), object, UUID), 0);
	check_int(rig_link(&rig, me(), object, UUID), EEXIST);
	check_int(rig_link(&rig, me(), object, UUID ".r0.t0"), EEXIST);
	rig_settle(&rig, 1, 0);
	check_int(rig_unlink(&rig, me(), UUID), 0);
	check_int(rig_link(&rig, me(), object, UUID ".r0.t0"), 0);
	rig_settle(&rig, 0, 1);
	free(object);
	rig_end(&rig);
}

/* ---- Targets ---- */

static int link_target(const char *target)
{
	struct virt_caller caller = rig_caller(me());
	struct virt_entry entry;
	int answer = virt_symlink(rig.rings, &caller, target, VIRT_IOVS_INO, UUID, &entry);

	if (!answer)
		check_int(rig_unlink(&rig, me(), UUID), 0);
	return answer;
}

static void UB_10_RG_20_targets(void)
{
	char *object, path[256];

	rig_start(&rig, NULL);
	object = rig_object(&rig, me(), 4096);
	check_int(link_target(rig_target(object)), 0);
	check_int(mkdirat(rig.shm_dir, "nested", 0777), 0);
	check_int(mkfifoat(rig.shm_dir, "fifo", 0666), 0);
	check_int(symlinkat(object, rig.shm_dir, "link"), 0);
	check_int(fchownat(rig.shm_dir, "link", me(), me(), AT_SYMLINK_NOFOLLOW), 0);
	check_int(fchownat(rig.shm_dir, "fifo", me(), me(), 0), 0);
	check_int(link_target("/etc/passwd"), EACCES);
	check_int(link_target("relative"), EACCES);
	check_int(link_target("/dev/shm/nested/object"), EACCES);
	snprintf(path, sizeof(path), "/dev/shm/nested/../%s", object);
	check_int(link_target(path), EACCES);
	check_int(link_target("/dev/shm/.."), EACCES);
	check_int(link_target("/dev/shm/link"), EACCES);
	check_int(link_target("/dev/shm/missing"), EINVAL);
	check_int(link_target("/dev/shm/nested"), EINVAL);
	check_int(link_target("/dev/shm/fifo"), EINVAL);
	free(object);
	rig_end(&rig);
}

static void UB_10_RG_20_objects_of_others(void)
{
	char *theirs, *open_to_all, *mine;

	RIG_NEEDS_ROOT();
	rig_start(&rig, NULL);
	theirs = rig_object(&rig, USER_B, 4096);
	open_to_all = rig_object(&rig, USER_B, 4096);
	mine = rig_object(&rig, USER_A, 4096);
	check_int(fchmodat(rig.shm_dir, open_to_all, 0666, 0), 0);
	check_int(link_target(rig_target(theirs)), EACCES);
	check_int(link_target(rig_target(open_to_all)), EACCES);
	check_int(fchmodat(rig.shm_dir, mine, 0400, 0), 0); /* not writable by its owner */
	check_int(link_target(rig_target(mine)), EACCES);
	check_int(fchmodat(rig.shm_dir, mine, 0600, 0), 0);
	check_int(link_target(rig_target(mine)), 0);
	check_int(geteuid(), 0);
	check(access("/root", R_OK) == 0); /* our own rights are back */
	free(theirs);
	free(open_to_all);
	free(mine);
	rig_end(&rig);
}

__attribute__((noreturn)) static void swap_for_ever(const char *mine, const char *theirs)
{
	for (int i = 0;; i++) {
		if (linkat(rig.shm_dir, i % 2 ? mine : theirs, rig.shm_dir, "next", 0) ||
		    renameat(rig.shm_dir, "next", rig.shm_dir, "name"))
			continue;
		unlinkat(rig.shm_dir, "next", 0); /* stays where both were one file already */
	}
}

/* A name that is another's object at one moment and ours at the next: what is taken is always ours. */
static void RG_21_a_target_that_is_swapped(void)
{
	char *mine, *theirs;
	int taken = 0, refused = 0;
	pid_t child;

	RIG_NEEDS_ROOT();
	rig_start(&rig, NULL);
	mine = rig_object(&rig, USER_A, 8192);
	theirs = rig_object(&rig, USER_B, 4096);
	check_int(fchmodat(rig.shm_dir, theirs, 0666, 0), 0);
	check_int(linkat(rig.shm_dir, mine, rig.shm_dir, "name", 0), 0);
	child = fork();
	if (child == 0)
		swap_for_ever(mine, theirs);
	for (uint64_t i = 0; i < rig_times(1000) || (i < 1000000 && !(taken && refused)); i++) {
		int answer = rig_link(&rig, USER_A, "name", UUID ".b8192");

		check(answer == 0 || answer == EACCES);
		*(answer ? &refused : &taken) += 1;
		if (!answer)
			check_int(rig_unlink(&rig, USER_A, UUID ".b8192"), 0);
	}
	kill(child, SIGKILL);
	waitpid(child, NULL, 0);
	check(taken && refused);
	rig_settle(&rig, 0, 0);
	free(mine);
	free(theirs);
	rig_end(&rig);
}

/* ---- What is in place when the answer goes out ---- */

static void UB_12_a_fresh_ring(void)
{
	struct usrbio_key key = {.for_read = true};
	struct ring_client ring;
	const unsigned char *sem;
	int32_t markers[4];

	rig_start(&rig, NULL);
	ring_make(&rig, &ring, me(), 16, &key);
	memcpy(markers, ring.shared.memory, sizeof(markers));
	for (int i = 0; i < 4; i++)
		check_int(markers[i], 0);
	sem = (unsigned char *)ring.shared.memory + 1648;
	for (int i = 0; i < 32; i++)
		check_int(sem[i], i == 8 ? 0x80 : 0);
	ring_close(&rig, &ring);
	rig_end(&rig);
}

static void UB_11_the_object_may_lose_its_name_at_once(void)
{
	struct usrbio_key key = {.for_read = true};
	struct ring_client ring;
	struct shared iov;

	rig_start(&rig, NULL);
	files_add(&rig, 7, 8192);
	files_open(&rig, 7, me(), O_RDONLY);
	iov_make(&rig, &iov, me(), 8192, 0);
	check_int(unlinkat(rig.shm_dir, iov.object, 0), 0);
	ring_make(&rig, &ring, me(), 4, &key);
	check_int(unlinkat(rig.shm_dir, ring.shared.object, 0), 0);
	check_int(ring_result(&ring, &(struct ask){.iov = &iov, .file = 7, .length = 8192}), 8192);
	check_int(pattern_check(iov.memory, 7, 0, 8192), 8192);
	ring_close(&rig, &ring);
	shared_close(&rig, &iov);
	rig_end(&rig);
}

/* ---- Limits ---- */

static const char *numbered(unsigned number, const char *tail)
{
	static char name[64];

	snprintf(name, sizeof(name), "00000000-0000-4000-8000-%012x%s", number, tail);
	return name;
}

static void fill_up(uid_t uid, const char *tail, unsigned most)
{
	char *object = rig_object(&rig, uid, 4336);

	for (unsigned i = 0; i < most; i++)
		check_int(rig_link(&rig, uid, object, numbered(i, tail)), 0);
	check_int(rig_link(&rig, uid, object, numbered(most, tail)), EMFILE);
	check_int(rig_list(&rig, uid), most);
	for (unsigned i = 0; i < most; i += 2)
		check_int(rig_unlink(&rig, uid, numbered(i, tail)), 0);
	free(object);
}

static void RG_22_rings_of_one_user(void)
{
	char *other;

	rig_start(&rig, NULL);
	fill_up(me(), ".r0.t0", 4096);
	rig_settle(&rig, 0, 2048);
	other = rig_object(&rig, me() == USER_A ? USER_B : me(), 4336);
	check_int(rig_link(&rig, me() == USER_A ? USER_B : me(), other, UUID ".r0.t0"), 0);
	free(other);
	rig_end(&rig);
}

static void RG_22_iovs_of_one_user(void)
{
	rig_start(&rig, NULL);
	fill_up(me(), "", 16384);
	rig_settle(&rig, 8192, 0);
	rig_end(&rig);
}

static void RG_22_bytes_of_one_user(void)
{
	struct shared iov;
	char *more;

	rig_start(&rig, &(struct virt_opts){.bytes_per_uid = 3 * MIB});
	iov_make(&rig, &iov, me(), 2 * MIB, 0);
	more = rig_object(&rig, me(), 2 * MIB);
	check_int(rig_link(&rig, me(), more, UUID), ENOSPC);
	check_int(ftruncate(iov.fd, 0), 0); /* RG_15: shrinking gives nothing back */
	check_int(rig_link(&rig, me(), more, UUID), ENOSPC);
	check_int(rig_unlink(&rig, me(), iov.name), 0);
	rig_settle(&rig, 0, 0);
	check_int(rig_link(&rig, me(), more, UUID), 0);
	shared_close(&rig, &iov);
	free(more);
	rig_end(&rig);
}

static void RG_36_low_on_descriptors_and_memory(void)
{
	struct rlimit low = {.rlim_cur = 0}, before;
	char *object;

	rig_start(&rig, NULL);
	object = rig_object(&rig, me(), 64 * MIB);
	check_int(getrlimit(RLIMIT_NOFILE, &before), 0);
	low.rlim_max = before.rlim_max;
	check_int(setrlimit(RLIMIT_NOFILE, &low), 0);
	check_int(rig_link(&rig, me(), object, UUID), EMFILE);
	check_int(setrlimit(RLIMIT_NOFILE, &before), 0);
	rig_settle(&rig, 0, 0);
	check_int(rig_link(&rig, me(), object, UUID), 0);
	check_int(rig_unlink(&rig, me(), UUID), 0);
	rig_settle(&rig, 0, 0);
	free(object);
	rig_end(&rig);
}

/* ---- Semaphores of dead daemons ---- */

static unsigned bells(void)
{
	char command[128];
	FILE *out;
	unsigned count;

	snprintf(command, sizeof(command), "ls %s | grep -c '^sem.hf3fs-submit-ios'", rig.shm);
	out = popen(command, "r");
	check(out && fscanf(out, "%u", &count) == 1);
	pclose(out);
	return count;
}

static void stale_submit_semaphores_of_ours_go(void)
{
	struct rig other;
	pid_t child;
	int foreign;

	RIG_NOT_UNDER_TSAN();
	rig_start(&rig, NULL);
	check_int(bells(), 3);
	foreign = openat(rig.shm_dir, "sem.hf3fs-submit-ios." UUID, O_CREAT | O_RDWR, 0666);
	check(foreign >= 0);
	check_int(fchmod(foreign, 0666), 0);
	child = fork();
	if (child == 0) {
		struct weir_error err = WEIR_ERROR_INIT;
		struct virt_opts opts = {.shm = rig.shm};

		if (weir_ctx_create(NULL, &opts.ctx, &err))
			_exit(1);
		opts.files = files_create(opts.ctx);
		_exit(rings_create(&opts, &other.rings, &err) ? 1
							      : 0); /* dies with its semaphores */
	}
	check_int(waitpid(child, &foreign, 0), child);
	check_int(foreign, 0);
	check_int(bells(), 7);
	child = fork();
	if (child == 0) {
		struct weir_error err = WEIR_ERROR_INIT;
		struct virt_opts opts = {.shm = rig.shm};

		if (weir_ctx_create(NULL, &opts.ctx, &err))
			_exit(1);
		opts.files = files_create(opts.ctx);
		if (rings_create(&opts, &other.rings, &err))
			_exit(1);
		rings_destroy(other.rings, NEVER);
		_exit(0);
	}
	check_int(waitpid(child, &foreign, 0), child);
	check_int(foreign, 0);
	check_int(bells(), 4); /* ours, and the one that is not of our making */
	check_int(unlinkat(rig.shm_dir, "sem.hf3fs-submit-ios." UUID, 0), 0);
	rig_end(&rig);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(UB_06_UB_08_RG_19_names),
		TEST(UB_08_RG_19_a_long_name),
		TEST(UB_07_RG_17_sizes_that_are_no_ring),
		TEST(RG_17_RG_18_a_tebibyte_of_nothing),
		TEST(UB_09_upper_case_hex),
		TEST(one_id_is_registered_once),
		TEST(UB_10_RG_20_targets),
		TEST(UB_10_RG_20_objects_of_others),
		TEST(RG_21_a_target_that_is_swapped),
		TEST(UB_12_a_fresh_ring),
		TEST(UB_11_the_object_may_lose_its_name_at_once),
		TEST(RG_22_rings_of_one_user),
		TEST(RG_22_iovs_of_one_user),
		TEST(RG_22_bytes_of_one_user),
		TEST(RG_36_low_on_descriptors_and_memory),
		TEST(stale_submit_semaphores_of_ours_go),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
