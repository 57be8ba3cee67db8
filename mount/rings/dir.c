/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open directories of 3fs-virt.
 *
 * Offsets in iovs: below USRBIO_BELLS the submit links, then BASE plus the number of the registration
 * before, so that a listing goes on where it was whatever comes and goes meanwhile.
 *
 * A client keeps iovs open without reading it, and by closing it tells a daemon that cannot see its
 * process that it has ended.  Only where we cannot see it, this counts: when the last such directory of
 * a user is closed, registrations of unseen processes of that user go.  One that was read is a
 * listing and counts for nothing.
 */
#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>

#include "mount/rings/caller.h"
#include "mount/rings/rings.h"
#include "mount/rings/tree.h"

#define BASE UINT64_C(16)

struct virt_dir {
	struct list quiet; /* rings.quiet_dirs: iovs, opened by an unseen process, not read */
	uint64_t ino;
	uid_t uid;
};

int virt_opendir(struct rings *rings, const struct virt_caller *caller, uint64_t ino,
		 struct virt_dir **out)
{
	struct virt_entry entry;
	struct virt_dir *dir;
	int ret = virt_getattr(rings, caller, ino, &entry);

	if (ret)
		return ret;
	if (!S_ISDIR(entry.mode))
		return ENOTDIR;
	dir = calloc(1, sizeof(*dir));
	if (!dir)
		return ENOMEM;
	dir->ino = ino;
	dir->uid = caller->uid;
	list_init(&dir->quiet);
	if (ino == VIRT_IOVS_INO && process_of(rings->sys, caller->pid) == 0) {
		lock_take(&rings->table.lock);
		list_push(&rings->quiet_dirs, &dir->quiet);
		lock_drop(&rings->table.lock);
	}
	*out = dir;
	return 0;
}

static struct account *account_known(struct table *table, uid_t uid)
{
	list_for_each(at, &table->accounts) {
		struct account *account = list_entry(at, struct account, link);

		if (account->uid == uid)
			return account;
	}
	return NULL;
}

/* With the lock held: the first of the user's whose number is at least that. */
static struct share *share_from(struct table *table, uid_t uid, uint64_t serial)
{
	struct account *account = account_known(table, uid);
	struct share *before = serial ? table_by_ino(table, SHARE_INO + serial - 1) : NULL;
	struct list *at;

	if (!account)
		return NULL;
	at = before && before->account == account ? &before->by_account : &account->shares;
	for (at = at->next; at != &account->shares; at = at->next) {
		struct share *share = list_entry(at, struct share, by_account);

		if (share->ino - SHARE_INO >= serial)
			return share;
	}
	return NULL;
}

static int read_share(struct rings *rings, uid_t uid, uint64_t serial, struct virt_dirent *out)
{
	struct share *share;

	lock_take(&rings->table.lock);
	share = share_from(&rings->table, uid, serial);
	if (share) {
		memcpy(out->name, share->name, strlen(share->name) + 1);
		share_describe(share, &out->entry);
		out->next = BASE + share->ino - SHARE_INO + 1;
	}
	lock_drop(&rings->table.lock);
	return share ? 0 : ENOENT;
}

static int read_iovs(struct rings *rings, const struct virt_caller *caller, uint64_t offset,
		     struct virt_dirent *out)
{
	const char *name;

	if (offset >= USRBIO_BELLS)
		return read_share(rings, caller->uid, offset > BASE ? offset - BASE : 0, out);
	name = usrbio_bell_link((enum usrbio_bell)offset);
	memcpy(out->name, name, strlen(name) + 1);
	out->next = offset + 1;
	return virt_lookup(rings, caller, VIRT_IOVS_INO, name, &out->entry);
}

int virt_readdir(struct rings *rings, const struct virt_caller *caller, struct virt_dir *dir,
		 uint64_t offset, struct virt_dirent *out)
{
	lock_take(&rings->table.lock);
	list_remove(&dir->quiet);
	lock_drop(&rings->table.lock);
	if (dir->ino == VIRT_INO)
		return virt_child(rings, offset, out);
	return dir->ino == VIRT_IOVS_INO ? read_iovs(rings, caller, offset, out) : ENOENT;
}

/* With the lock held: does another directory speak for unseen processes of that user? */
static bool spoken_for(struct rings *rings, uid_t uid)
{
	list_for_each(at, &rings->quiet_dirs)
		if (list_entry(at, struct virt_dir, quiet)->uid == uid)
			return true;
	return false;
}

/* With the lock held: names of the user's unseen processes, with the references that they had. */
static void take_unseen(struct rings *rings, uid_t uid, struct list *taken)
{
	struct account *account = account_known(&rings->table, uid);

	if (!account)
		return;
	list_for_each_safe(at, &account->shares) {
		struct share *share = list_entry(at, struct share, by_account);

		if (!share->process && share_leave(share))
			list_push(taken, &share->by_order);
	}
}

void virt_releasedir(struct rings *rings, struct virt_dir *dir)
{
	struct list taken;
	bool last = false;

	list_init(&taken);
	lock_take(&rings->table.lock);
	if (!list_empty(&dir->quiet)) {
		list_remove(&dir->quiet);
		last = !spoken_for(rings, dir->uid);
	}
	if (last)
		take_unseen(rings, dir->uid, &taken);
	lock_drop(&rings->table.lock);
	janitor_see_off(&rings->janitor, &taken, true);
	free(dir);
}
