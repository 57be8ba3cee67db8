/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree of 3fs-virt: names, attributes, whose is what.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/compiler.h"
#include "client.h"
#include "io/usrbio/layout.h"
#include "lib/check.h"

#define UUID "9f7faec0-69d1-4d54-9296-764b69addbde"

static struct rig rig;

static uid_t me(void)
{
	return geteuid() ? geteuid() : USER_A;
}

static void directories_are_there_and_take_nothing(void)
{
	static const char *const names[] = {"rm-rf", "iovs", "get-conf", "set-conf"};
	struct virt_caller caller = rig_caller(me());
	struct virt_entry root, entry, again;
	struct virt_dirent dirent;
	struct virt_dir *dir;

	rig_start(&rig, NULL);
	check_int(virt_lookup(rig.rings, &caller, ROOT_INO, VIRT_NAME, &root), 0);
	check(S_ISDIR(root.mode) && root.ino == VIRT_INO && virt_owns(root.ino));
	check_int(virt_lookup(rig.rings, &caller, ROOT_INO, "3fs-virtual", &entry), ENOENT);
	check_int(virt_opendir(rig.rings, &caller, VIRT_INO, &dir), 0);
	for (size_t i = 0; i < array_size(names); i++) {
		check_int(virt_lookup(rig.rings, &caller, VIRT_INO, names[i], &entry), 0);
		check(S_ISDIR(entry.mode));
		check_int(virt_getattr(rig.rings, &caller, entry.ino, &again), 0);
		check(again.ino == entry.ino && again.mode == entry.mode);
		check_int(virt_readdir(rig.rings, &caller, dir, i, &dirent), 0);
		check_str(dirent.name, names[i]);
		if (entry.ino != VIRT_IOVS_INO)
			check_int(virt_symlink(rig.rings, &caller, "/dev/shm/x", entry.ino, UUID,
					       &again),
				  EPERM);
		check_int(virt_unlink(rig.rings, &caller, entry.ino, UUID),
			  entry.ino == VIRT_IOVS_INO ? ENOENT : EPERM);
	}
	check_int(virt_readdir(rig.rings, &caller, dir, 4, &dirent), ENOENT);
	virt_releasedir(rig.rings, dir);
	check_int(virt_symlink(rig.rings, &caller, "/dev/shm/x", VIRT_INO, UUID, &again), EPERM);
	check_int(virt_getattr(rig.rings, &caller, UINT64_C(0xf123456789000000), &again), ENOENT);
	rig_end(&rig);
}

static void UB_14_submit_links(void)
{
	static const char *const names[] = {"submit-ios.ph", "submit-ios", "submit-ios.pl"};
	struct virt_caller caller = rig_caller(me());
	char *object;
	char target[VIRT_TARGET_MAX];
	struct virt_entry entry;

	rig_start(&rig, NULL);
	object = rig_object(&rig, me(), 4096);
	for (unsigned i = 0; i < 3; i++) {
		struct stat stat;

		check_int(rig_lookup(&rig, me(), names[i], &entry), 0);
		check_int(entry.mode, S_IFLNK | 0666);
		check_int(entry.uid, 0);
		check(entry.ino == UINT64_C(0xffffffff7fffffff) - i);
		check_int(virt_readlink(rig.rings, &caller, entry.ino, target, sizeof(target)), 0);
		check(strncmp(target, "/dev/shm/sem.hf3fs-submit-ios.", 30) == 0);
		check_int(fstatat(rig.shm_dir, target + 9, &stat, AT_SYMLINK_NOFOLLOW), 0);
		check_int(stat.st_mode & 0777, 0666); /* openable by any uid */
		check_int(rig_unlink(&rig, me(), names[i]), EPERM);
		check_int(rig_link(&rig, me(), object, names[i]), EEXIST);
	}
	free(object);
	rig_end(&rig);
}

static void a_listing_is_the_callers_own(void)
{
	struct shared iovs[20];

	rig_start(&rig, NULL);
	for (int i = 0; i < 20; i++)
		iov_make(&rig, &iovs[i], me(), 4096, 0);
	check_int(rig_list(&rig, me()), 20);
	check_int(rig_list(&rig, me() + 1), 0);
	for (int i = 0; i < 20; i += 3)
		check_int(rig_unlink(&rig, me(), iovs[i].name), 0);
	check_int(rig_list(&rig, me()), 13);
	for (int i = 0; i < 20; i++)
		shared_close(&rig, &iovs[i]);
	rig_end(&rig);
}

/* One listing that goes on while names come and go: what stays is told once. */
static void a_listing_survives_changes(void)
{
	struct virt_caller caller = rig_caller(me());
	struct virt_dirent *dirent = malloc(sizeof(*dirent));
	struct shared iovs[8], late;
	struct virt_dir *dir;
	uint64_t offset = 0;
	int seen = 0;

	rig_start(&rig, NULL);
	for (int i = 0; i < 8; i++)
		iov_make(&rig, &iovs[i], me(), 4096, 0);
	check_int(virt_opendir(rig.rings, &caller, VIRT_IOVS_INO, &dir), 0);
	for (int i = 0; virt_readdir(rig.rings, &caller, dir, offset, dirent) == 0; i++) {
		offset = dirent->next;
		seen += i >= 3;
		if (i == 5) { /* the third: it goes itself, and so does the one before */
			check_str(dirent->name, iovs[2].name);
			check_int(rig_unlink(&rig, me(), iovs[2].name), 0);
			check_int(rig_unlink(&rig, me(), iovs[1].name), 0);
			check_int(rig_unlink(&rig, me(), iovs[6].name), 0);
			iov_make(&rig, &late, me(), 4096, 0);
		}
	}
	check_int(seen, 8);
	virt_releasedir(rig.rings, dir);
	for (int i = 0; i < 8; i++)
		shared_close(&rig, &iovs[i]);
	shared_close(&rig, &late);
	free(dirent);
	rig_end(&rig);
}

static void UB_13_RG_31_a_name_is_its_registrants(void)
{
	struct virt_caller other = rig_caller(me() + 1), root = rig_caller(0);
	struct virt_entry entry, copy;
	char target[VIRT_TARGET_MAX];
	struct shared iov;

	rig_start(&rig, NULL);
	iov_make(&rig, &iov, me(), 4096, 0);
	check_int(rig_lookup(&rig, me(), iov.name, &entry), 0);
	check_int(entry.mode, S_IFLNK | 0400);
	check_int(entry.uid, me());
	for (int i = 0; i < 2; i++) {
		struct virt_caller *caller = i ? &root : &other;

		check_int(rig_lookup(&rig, caller->uid, iov.name, &copy), EPERM);
		check_int(virt_getattr(rig.rings, caller, entry.ino, &copy), EPERM);
		check_int(virt_readlink(rig.rings, caller, entry.ino, target, sizeof(target)),
			  EPERM);
		check_int(rig_unlink(&rig, caller->uid, iov.name), EPERM);
		check_int(rig_list(&rig, caller->uid), 0);
	}
	other.uid = me();
	check_int(virt_readlink(rig.rings, &other, entry.ino, target, sizeof(target)), 0);
	check_str(target, rig_target(iov.object));
	check_int(entry.size, strlen(target));
	check_int(rig_unlink(&rig, me(), iov.name), 0);
	check_int(rig_lookup(&rig, me(), iov.name, &copy), ENOENT);
	check_int(virt_getattr(rig.rings, &other, entry.ino, &copy), ENOENT);
	shared_close(&rig, &iov);
	rig_end(&rig);
}

static void UB_05_RG_52_the_vendors_name_at_destroy(void)
{
	static const struct {
		uint64_t flags;
		const char *made, *removed;
	} cases[] = {{2, ".r0.t0.f10", ".r0.t0.f2"}, {3, ".r0.t0.f11", ".r0.t0.f3"}};
	struct virt_entry entry;
	struct ring_client ring;
	char name[128];

	rig_start(&rig, NULL);
	for (size_t i = 0; i < array_size(cases); i++) {
		struct usrbio_key key = {.for_read = true, .flags = cases[i].flags};

		ring_make(&rig, &ring, me(), 4, &key);
		check_has(ring.shared.name, cases[i].made);
		snprintf(name, sizeof(name), "%.36s%s", ring.shared.name, cases[i].removed);
		check_int(rig_lookup(&rig, me() + 1, name, &entry), ENOENT);
		check_int(rig_lookup(&rig, me(), name, &entry), 0);
		check_int(rig_unlink(&rig, me() + 1, name), ENOENT);
		snprintf(name + 36, sizeof(name) - 36, ".r0.t1%s", cases[i].removed + 6);
		check_int(rig_lookup(&rig, me(), name, &entry), ENOENT);
		snprintf(name + 36, sizeof(name) - 36, "%s", cases[i].removed);
		check_int(rig_unlink(&rig, me(), name), 0);
		check_int(rig_list(&rig, me()), 0);
		for (int ms = 0; atomic_load(&rig.names_gone) <= (int)i && ms < 2000; ms++)
			rig_rest(1000);
		check_int(atomic_load(&rig.names_gone),
			  i + 1); /* the kernel may still know the other */
		ring_close(&rig, &ring);
	}
	rig_end(&rig);
}

int main(int argc, char **argv)
{
	static const struct test tests[] = {
		TEST(directories_are_there_and_take_nothing),
		TEST(UB_14_submit_links),
		TEST(a_listing_is_the_callers_own),
		TEST(a_listing_survives_changes),
		TEST(UB_13_RG_31_a_name_is_its_registrants),
		TEST(UB_05_RG_52_the_vendors_name_at_destroy),
	};

	return tests_run(argc, argv, tests, array_size(tests));
}
