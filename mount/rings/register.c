/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Registration: a link is made in iovs/, and its name says what the memory is that its target names.
 *
 * The object is opened once, by the rights of who asks and following no link; type, owner and size are
 * those of the descriptor.  When the answer goes out all is in place: the client may remove the object's
 * name, and queue requests, at once.
 */
#include <errno.h>
#include <string.h>

#include "base/log.h"
#include "base/text.h"
#include "io/usrbio/shm.h"
#include "mount/rings/caller.h"
#include "mount/rings/rings.h"
#include "mount/rings/tree.h"

/* The object by the caller's rights: 0 or an errno; mapped. */
static int open_object(struct rings *rings, const struct virt_caller *caller, const char *target,
		       struct usrbio_shm *out)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct caller_rights before;
	int ret;

	caller_assume(&before, caller->uid, caller->gid);
	ret = usrbio_shm_open(rings->sys, rings->shm_dir, target, caller->uid, out, &err);
	caller_restore(&before);
	if (!ret)
		return 0;
	log_warn(rings->log, "rings: user %u: %s", (unsigned)caller->uid, err.message);
	return err.os_errno > 0 ? err.os_errno : EACCES;
}

/* Does the memory fit what the name says of it? */
static int check_size(const struct usrbio_key *key, uint64_t bytes)
{
	uint64_t block = key->block_bytes;
	uint32_t entries;

	if (block > bytes)
		return EINVAL;
	if (block && (bytes - 1) / block + 1 > SHARE_BLOCKS_MAX)
		return ENOSPC;
	if (!key->ring)
		return 0;
	entries = usrbio_ring_entries(bytes);
	if (entries == 0 || key->depth > (int64_t)entries)
		return EINVAL;
	return entries > SHARE_ENTRIES_MAX ? ENOSPC : 0;
}

/* The share takes the memory; from here on it is the share's to unmap. */
static int take_memory(struct rings *rings, struct share *share, const struct usrbio_key *key,
		       const struct virt_caller *caller, struct usrbio_shm *shm)
{
	int ret = share_reserve(share, caller->uid, key->ring);

	if (ret == 0)
		ret = share_charge(share, shm->bytes);
	if (ret) {
		usrbio_shm_unmap(rings->sys, shm);
		return ret;
	}
	share->memory = shm->memory;
	share->dev = shm->dev;
	share->object = shm->ino;
	share->uid = caller->uid;
	share->gid = caller->gid;
	clock_gettime(CLOCK_REALTIME, &share->time);
	return key->ring ? ring_create(share, rings->sys, rings->opts.strict) : 0;
}

/* Its name, its process, its server. */
static int enter(struct rings *rings, struct share *share, const struct virt_caller *caller)
{
	int ret = share_enter(share);

	if (ret)
		return ret;
	ret = janitor_adopt(&rings->janitor, share, caller->pid);
	if (ret) {
		lock_take(&rings->table.lock);
		if (share_leave(share))
			share_unref(share);
		lock_drop(&rings->table.lock);
		return ret;
	}
	if (share->ring)
		server_add(&rings->servers[usrbio_bell_of(share->key.priority)], share->ring,
			   share);
	return 0;
}

static int registered(struct rings *rings, const struct virt_caller *caller, const char *target,
		      const char *name, const struct usrbio_key *key, struct virt_entry *out)
{
	struct usrbio_shm shm;
	struct share *share;
	int ret = open_object(rings, caller, target, &shm);

	if (ret)
		return ret;
	ret = check_size(key, shm.bytes);
	share = ret ? NULL : share_new(&rings->table, name, USRBIO_SHM, shm.name);
	if (!share) {
		usrbio_shm_unmap(rings->sys, &shm);
		return ret ? ret : ENOMEM;
	}
	share->key = *key;
	ret = take_memory(rings, share, key, caller, &shm);
	if (ret == 0)
		ret = enter(rings, share, caller);
	if (ret == 0)
		share_describe(share, out);
	share_unref(share);
	return ret;
}

int virt_symlink(struct rings *rings, const struct virt_caller *caller, const char *target,
		 uint64_t parent, const char *name, struct virt_entry *out)
{
	struct usrbio_key key;
	struct quoted quoted;
	int ret;

	if (parent != VIRT_IOVS_INO)
		return EPERM;
	if (strlen(name) > VIRT_NAME_MAX)
		return ENAMETOOLONG;
	if (virt_bell_of(name) >= 0)
		return EEXIST;
	ret = -usrbio_key_parse(name, &key);
	if (ret == 0)
		ret = registered(rings, caller, target, name, &key, out);
	if (ret) {
		atomic_fetch_add(&rings->table.refused, 1);
		log_info(rings->log, "rings: user %u: '%s' is not registered: %s",
			 (unsigned)caller->uid, quote(&quoted, (struct bytes){name, strlen(name)}),
			 strerrordesc_np(ret));
	}
	return ret;
}

/* With the lock held: the share whose name that is, or an errno. */
static int find_own(struct rings *rings, const struct virt_caller *caller, const char *name,
		    struct share **out)
{
	struct share *share = table_by_name(&rings->table, name, caller->uid);

	if (!share)
		return ENOENT;
	*out = share;
	return share->uid == caller->uid ? 0 : EPERM;
}

int virt_unlink(struct rings *rings, const struct virt_caller *caller, uint64_t parent,
		const char *name)
{
	struct share *share;
	struct list left;
	int ret;

	if (parent != VIRT_IOVS_INO || virt_bell_of(name) >= 0)
		return EPERM;
	list_init(&left);
	lock_take(&rings->table.lock);
	ret = find_own(rings, caller, name, &share);
	if (ret == 0 && share_leave(share))
		list_push(&left, &share->by_order);
	lock_drop(&rings->table.lock);
	if (list_empty(&left))
		return ret ? ret : ENOENT;
	rings_look(rings);
	if (strcmp(share->name, name) != 0) { /* the kernel knows of the alias only */
		janitor_see_off(&rings->janitor, &left, false);
	} else {
		list_remove(&share->by_order);
		share_unref(share);
	}
	return 0;
}
