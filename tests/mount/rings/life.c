/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Clients that end: their names, their memory and their objects go.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/compiler.h"
#include "lib/check.h"
#include "setting.h"

#define THREADS 3

static struct setting at;

/* A process that does nothing until it is killed; the numbers of its threads. */
struct process {
	pid_t pid;
	pid_t threads[THREADS];
};

static void *tell_number(void *arg)
{
	pid_t number = (pid_t)syscall(SYS_gettid);

	if (write(*(int *)arg, &number, sizeof(number)) != sizeof(number))
		_exit(1);
	for (;;)
		pause();
}

static void process_make(struct process *process)
{
	int ends[2];

	check_int(pipe(ends), 0);
	process->pid = fork();
	if (process->pid == 0) {
		pthread_t thread;

		close(ends[0]);
		for (int i = 0; i < THREADS; i++)
			pthread_create(&thread, NULL, tell_number, &ends[1]);
		for (;;)
			pause();
	}
	close(ends[1]);
	for (int i = 0; i < THREADS; i++)
		check_int(read(ends[0], &process->threads[i], sizeof(pid_t)), sizeof(pid_t));
	close(ends[0]);
}

static void process_kill(struct process *process)
{
	check_int(kill(process->pid, SIGKILL), 0);
	check_int(waitpid(process->pid, NULL, 0), process->pid);
}

/* Registered as that thread's: "0", "1", ... tells them apart. */
static void link_as(const char *object, unsigned number, pid_t thread)
{
	struct virt_caller caller = {.uid = at.iov.uid, .gid = at.iov.uid, .pid = thread};
	struct virt_entry entry;
	char name[64];

	snprintf(name, sizeof(name), "00000000-0000-4000-8000-%012x%s", number,
		 number % 2 ? ".r0.t0" : "");
	check_int(virt_symlink(at.rig.rings, &caller, rig_target(object), VIRT_IOVS_INO, name,
			       &entry),
		  0);
}

static bool there(const char *object)
{
	struct stat stat;

	return fstatat(at.rig.shm_dir, object, &stat, AT_SYMLINK_NOFOLLOW) == 0;
}

static void UB_44_UB_47_RG_23_a_killed_process_leaves_nothing(void)
{
	char *objects[2 * THREADS];
	struct process process;
	int64_t from;

	process_make(&process);
	setting_make(&at, NULL, 4);
	for (unsigned i = 0; i < 2 * THREADS; i++) {
		objects[i] = rig_object(&at.rig, at.iov.uid, 4336);
		link_as(objects[i], i, process.threads[i % THREADS]);
	}
	check_int(rig_list(&at.rig, at.iov.uid), 3 + 2 * THREADS);
	from = sys_real()->now_ns();
	process_kill(&process);
	rig_settle(&at.rig, 1, 2); /* and what we registered ourselves stays */
	check(sys_real()->now_ns() - from < NS_PER_SEC);
	check_int(atomic_load(&at.rig.names_gone), 2 * THREADS);
	for (unsigned i = 0; i < 2 * THREADS; i++) {
		for (int ms = 0; there(objects[i]) && ms < 1000; ms++)
			rig_rest(1000);
		check(!there(objects[i]));
		free(objects[i]);
	}
	setting_end(&at);
}

/* The name was given to another object since, or is not of that kind: it stays. */
static void RG_23_objects_that_are_not_the_dead_ones_stay(void)
{
	struct process process;
	char *replaced, *plain;

	process_make(&process);
	setting_make(&at, NULL, 4);
	replaced = rig_object(&at.rig, at.iov.uid, 4336);
	plain = rig_object(&at.rig, at.iov.uid, 4336);
	check_int(renameat(at.rig.shm_dir, plain, at.rig.shm_dir, "psm_1234"), 0);
	link_as(replaced, 0, process.threads[0]);
	link_as("psm_1234", 2, process.threads[0]);
	check_int(unlinkat(at.rig.shm_dir, replaced, 0), 0);
	close(openat(at.rig.shm_dir, replaced, O_CREAT | O_RDWR, 0600));
	process_kill(&process);
	rig_settle(&at.rig, 1, 2);
	rig_rest(20000);
	check(there(replaced) && there("psm_1234"));
	free(replaced);
	free(plain);
	setting_end(&at);
}

/* Requests of a process that dies: they end, and then its memory goes. */
static void UB_44_RG_23_killed_with_requests_under_way(void)
{
	for (uint64_t i = 0; i < rig_times(20); i++) {
		struct usrbio_key key = {.for_read = true};
		struct virt_caller caller;
		struct process process;
		struct ring_client ring;
		struct virt_entry entry;

		process_make(&process);
		setting_make(&at, NULL, 4);
		ring_make(&at.rig, &ring, at.iov.uid, 16, &key);
		check_int(rig_unlink(&at.rig, at.iov.uid, ring.shared.name), 0);
		caller = (struct virt_caller){at.iov.uid, at.iov.uid, process.threads[1]};
		check_int(virt_symlink(at.rig.rings, &caller, rig_target(ring.shared.object),
				       VIRT_IOVS_INO, ring.shared.name, &entry),
			  0);
		for (int j = 0; j < 16; j++)
			check(ring_ask(&ring, &(struct ask){.iov = &at.iov,
							    .file = FILE_1,
							    .length = 3 * MIB}) >= 0);
		ring_bell(&ring);
		rig_rest((int64_t)(i % 20) * 100);
		process_kill(&process);
		rig_settle(&at.rig, 1, 2);
		ring_close(&at.rig, &ring);
		setting_end(&at);
	}
}

static void UB_45_a_listing_removes_nothing(void)
{
	setting_make(&at, NULL, 4);
	for (int i = 0; i < 3; i++)
		check_int(rig_list(&at.rig, at.iov.uid), 3);
	rig_settle(&at.rig, 1, 2);
	setting_end(&at);
}

static struct virt_dir *open_unseen(uid_t uid)
{
	struct virt_caller caller = {.uid = uid, .gid = uid};
	struct virt_dir *dir;

	check_int(virt_opendir(at.rig.rings, &caller, VIRT_IOVS_INO, &dir), 0);
	return dir;
}

/* Where the process cannot be seen, the last directory that was kept open speaks for it. */
static void UB_52_processes_that_cannot_be_seen(void)
{
	struct virt_caller caller;
	struct virt_dir *first, *second, *listing;
	struct virt_dirent dirent;
	char *object;

	setting_make(&at, NULL, 4);
	object = rig_object(&at.rig, at.iov.uid, 4336);
	first = open_unseen(at.iov.uid);
	second = open_unseen(at.iov.uid);
	listing = open_unseen(at.iov.uid);
	link_as(object, 0, 0);
	link_as(object, 1, 0);
	virt_releasedir(at.rig.rings, first);
	caller = (struct virt_caller){.uid = at.iov.uid};
	check_int(virt_readdir(at.rig.rings, &caller, listing, 0, &dirent), 0);
	virt_releasedir(at.rig.rings, listing);
	virt_releasedir(at.rig.rings, open_unseen(at.iov.uid + 1));
	rig_settle(&at.rig, 2, 3);
	virt_releasedir(at.rig.rings, second);
	rig_settle(&at.rig, 1, 2);
	free(object);
	setting_end(&at);
}

static void unlink_shared(void *arg)
{
	const struct shared *shared = arg;

	check_int(rig_unlink(&at.rig, at.iov.uid, shared->name), 0);
}

/* The request names it, and has been taken: it is held whatever becomes of its name. */
static void UB_51_an_iov_unlinked_as_its_file_is_asked_for(void)
{
	struct shared iov;
	struct ask ask = {.iov = &iov, .file = FILE_1, .length = 4096};

	setting_make(&at, NULL, 4);
	iov_make(&at.rig, &iov, at.iov.uid, MIB, 0);
	files_as_asked(&at.rig, unlink_shared, &iov);
	check_int(ring_result(&at.reads, &ask), 4096);
	check_int(ring_result(&at.reads, &ask), -EINVAL);
	shared_close(&at.rig, &iov);
	setting_end(&at);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(UB_44_UB_47_RG_23_a_killed_process_leaves_nothing),
		TEST(RG_23_objects_that_are_not_the_dead_ones_stay),
		TEST(UB_44_RG_23_killed_with_requests_under_way),
		TEST(UB_45_a_listing_removes_nothing),
		TEST(UB_52_processes_that_cannot_be_seen),
		TEST(UB_51_an_iov_unlinked_as_its_file_is_asked_for),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
