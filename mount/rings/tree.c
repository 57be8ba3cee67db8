/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The tree of 3fs-virt.
 *
 * Four directories stand in it, of which iovs is the one that clients use; the others are those of the
 * vendor's daemon, empty here, and nothing can be made in them.  In iovs are the links to the three submit
 * semaphores, and what is registered.  A name is its registrant's: anybody else, root included, is
 * refused, and does not see it in a listing.
 */
#include "mount/rings/tree.h"

#include <errno.h>
#include <string.h>
#include <sys/stat.h>

#include "mount/rings/rings.h"

#define TIMEOUT_S 5.0 /* as the vendor's */

struct place {
	const char *name;
	uint64_t ino;
	mode_t mode;
};

static const struct place virt_root = {VIRT_NAME, VIRT_INO, S_IFDIR | 0555};

static const struct place places[] = {
	{"rm-rf", UINT64_C(0xfffffffffffffffd), S_IFDIR | 0777},
	{USRBIO_IOVS, VIRT_IOVS_INO, S_IFDIR | 0777},
	{"get-conf", UINT64_C(0xffffffff00000000), S_IFDIR | 0555},
	{"set-conf", UINT64_C(0xfffffffe80000000), S_IFDIR | 0777},
};

/* ph is the first: 0xffffffff7fffffff, and so on down. */
static uint64_t bell_ino(unsigned bell)
{
	return UINT64_C(0xffffffff7fffffff) - bell;
}

int virt_bell_of(const char *name)
{
	for (unsigned i = 0; i < USRBIO_BELLS; i++)
		if (strcmp(name, usrbio_bell_link((enum usrbio_bell)i)) == 0)
			return (int)i;
	return -1;
}

static int bell_of_ino(uint64_t ino)
{
	uint64_t below = bell_ino(0) - ino;

	return below < USRBIO_BELLS ? (int)below : -1;
}

/* ---- Attributes ---- */

static void describe_place(const struct rings *rings, const struct place *place,
			   struct virt_entry *out)
{
	*out = (struct virt_entry){.ino = place->ino,
				   .mode = place->mode,
				   .nlink = 2,
				   .time = rings->born,
				   .timeout_s = TIMEOUT_S};
}

static void describe_bell(const struct rings *rings, unsigned bell, struct virt_entry *out)
{
	*out = (struct virt_entry){.ino = bell_ino(bell),
				   .mode = S_IFLNK | 0666,
				   .nlink = 1,
				   .size = strlen(USRBIO_SHM "/") +
					   strlen(rings->bells[bell].file.name),
				   .time = rings->born,
				   .timeout_s = TIMEOUT_S};
}

void share_describe(const struct share *share, struct virt_entry *out)
{
	*out = (struct virt_entry){.ino = share->ino,
				   .mode = S_IFLNK | 0400,
				   .nlink = 1,
				   .uid = share->uid,
				   .gid = share->gid,
				   .size = strlen(share->target),
				   .time = share->time,
				   .timeout_s = TIMEOUT_S};
}

static const struct place *place_of_ino(uint64_t ino)
{
	if (ino == virt_root.ino)
		return &virt_root;
	for (size_t i = 0; i < array_size(places); i++)
		if (places[i].ino == ino)
			return &places[i];
	return NULL;
}

/* ---- Names ---- */

static int lookup_place(struct rings *rings, const char *name, struct virt_entry *out)
{
	for (size_t i = 0; i < array_size(places); i++)
		if (strcmp(places[i].name, name) == 0) {
			describe_place(rings, &places[i], out);
			return 0;
		}
	return ENOENT;
}

/* With the table's lock held. */
static int tell(const struct share *share, const struct virt_caller *caller, struct virt_entry *out)
{
	if (!share)
		return ENOENT;
	if (share->uid != caller->uid)
		return EPERM;
	share_describe(share, out);
	return 0;
}

int virt_child(struct rings *rings, uint64_t offset, struct virt_dirent *out)
{
	if (offset >= array_size(places))
		return ENOENT;
	memcpy(out->name, places[offset].name, strlen(places[offset].name) + 1);
	describe_place(rings, &places[offset], &out->entry);
	out->next = offset + 1;
	return 0;
}

int virt_lookup(struct rings *rings, const struct virt_caller *caller, uint64_t parent,
		const char *name, struct virt_entry *out)
{
	int bell, ret;

	if (!virt_owns(parent)) {
		describe_place(rings, &virt_root, out);
		return strcmp(name, VIRT_NAME) == 0 ? 0 : ENOENT;
	}
	if (parent == VIRT_INO)
		return lookup_place(rings, name, out);
	if (parent != VIRT_IOVS_INO)
		return ENOENT;
	bell = virt_bell_of(name);
	if (bell >= 0) {
		describe_bell(rings, (unsigned)bell, out);
		return 0;
	}
	lock_take(&rings->table.lock);
	ret = tell(table_by_name(&rings->table, name, caller->uid), caller, out);
	lock_drop(&rings->table.lock);
	return ret;
}

int virt_getattr(struct rings *rings, const struct virt_caller *caller, uint64_t ino,
		 struct virt_entry *out)
{
	const struct place *place = place_of_ino(ino);
	int bell = bell_of_ino(ino), ret = 0;

	if (place) {
		describe_place(rings, place, out);
	} else if (bell >= 0) {
		describe_bell(rings, (unsigned)bell, out);
	} else {
		lock_take(&rings->table.lock);
		ret = tell(table_by_ino(&rings->table, ino), caller, out);
		lock_drop(&rings->table.lock);
	}
	return ret;
}

static int copy_target(char *out, size_t size, const char *shm, const char *name)
{
	size_t shm_len = strlen(shm), len = strlen(name);

	if (shm_len + len >= size)
		return ENAMETOOLONG;
	memcpy(out, shm, shm_len);
	memcpy(out + shm_len, name, len + 1);
	return 0;
}

int virt_readlink(struct rings *rings, const struct virt_caller *caller, uint64_t ino, char *out,
		  size_t size)
{
	int bell = bell_of_ino(ino), ret;
	struct virt_entry entry;
	struct share *share;

	if (bell >= 0)
		return copy_target(out, size, USRBIO_SHM "/", rings->bells[bell].file.name);
	if (place_of_ino(ino))
		return EINVAL;
	lock_take(&rings->table.lock);
	share = table_by_ino(&rings->table, ino);
	ret = tell(share, caller, &entry);
	if (ret == 0)
		ret = copy_target(out, size, "", share->target);
	lock_drop(&rings->table.lock);
	return ret;
}
