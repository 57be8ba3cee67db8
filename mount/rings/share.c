/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The table of what is registered (see share.h).
 *
 * Numbers are serial from SHARE_INO on and never come back.  Ids are hashed with a seed of our own, for
 * they are chosen by clients.
 */
#include "mount/rings/share.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

#include "base/size.h"

void shares_init(struct table *table, const struct sys *sys, uint64_t bytes_per_uid)
{
	table->sys = sys;
	table->bytes_per_uid = bytes_per_uid;
	lock_init(&table->lock);
	list_init(&table->shares);
	list_init(&table->accounts);
	list_init(&table->processes);
	for (size_t i = 0; i < SHARE_BUCKETS; i++) {
		list_init(&table->ids[i]);
		list_init(&table->inos[i]);
	}
	if (sys->random(&table->seed, sizeof(table->seed)))
		table->seed = (uint64_t)sys->now_ns();
	table->seed |= 1;
}

void shares_fini(struct table *table)
{
	struct list *link;

	while ((link = list_pop(&table->accounts)))
		free(list_entry(link, struct account, link));
	lock_fini(&table->lock);
}

static struct list *id_bucket(struct table *table, const uint8_t id[16])
{
	uint64_t a, b;

	memcpy(&a, id, 8);
	memcpy(&b, id + 8, 8);
	a = (a ^ table->seed) * UINT64_C(0x9e3779b97f4a7c15);
	b = (b ^ a ^ a >> 29) * (table->seed * 2 + 1);
	return &table->ids[(b >> 32) % SHARE_BUCKETS];
}

static struct list *ino_bucket(struct table *table, uint64_t ino)
{
	return &table->inos[ino % SHARE_BUCKETS];
}

/* ---- One share ---- */

struct share *share_new(struct table *table, const char *name, const char *shm, const char *object)
{
	size_t name_bytes = strlen(name) + 1, shm_len = strlen(shm);
	size_t object_bytes = strlen(object) + 1;
	struct share *share = calloc(1, sizeof(*share) + name_bytes + shm_len + 1 + object_bytes);

	if (!share)
		return NULL;
	atomic_init(&share->refs, 1);
	share->table = table;
	list_init(&share->by_order);
	list_init(&share->by_account);
	list_init(&share->by_id);
	list_init(&share->by_ino);
	list_init(&share->by_process);
	list_init(&share->doomed);
	share->name = share->text;
	memcpy(share->name, name, name_bytes);
	share->target = share->text + name_bytes;
	memcpy(share->target, shm, shm_len);
	share->target[shm_len] = '/';
	memcpy(share->target + shm_len + 1, object, object_bytes);
	return share;
}

struct share *share_ref(struct share *share)
{
	atomic_fetch_add_explicit(&share->refs, 1, memory_order_relaxed);
	return share;
}

void share_unref(struct share *share)
{
	if (share && atomic_fetch_sub_explicit(&share->refs, 1, memory_order_acq_rel) == 1)
		share->table->last_ref(share->table->last_ref_arg, share);
}

void share_destroy(struct share *share)
{
	struct table *table = share->table;

	if (share->memory)
		table->sys->munmap(share->memory, share->bytes);
	lock_take(&table->lock);
	if (share->account) {
		--*(share->key.ring ? &share->account->rings : &share->account->iovs);
		share->account->bytes -= share->bytes;
		atomic_fetch_sub(&table->bytes, share->bytes);
	}
	lock_drop(&table->lock);
	free(share->ring);
	free(share);
}

/* ---- Accounts ---- */

/* With the lock held; NULL: no memory.  Accounts stay: there are no more than users. */
static struct account *account_of(struct table *table, uid_t uid)
{
	struct account *account;

	list_for_each(at, &table->accounts) {
		account = list_entry(at, struct account, link);
		if (account->uid == uid)
			return account;
	}
	account = calloc(1, sizeof(*account));
	if (!account)
		return NULL;
	account->uid = uid;
	list_init(&account->shares);
	list_push(&table->accounts, &account->link);
	return account;
}

int share_reserve(struct share *share, uid_t uid, bool ring)
{
	struct table *table = share->table;
	struct account *account;
	uint32_t *count, most = ring ? SHARE_RINGS_MAX : SHARE_IOVS_MAX;
	int ret = 0;

	lock_take(&table->lock);
	account = account_of(table, uid);
	count = !account ? NULL : ring ? &account->rings : &account->iovs;
	if (!count) {
		ret = ENOMEM;
	} else if (*count >= most) {
		ret = EMFILE;
	} else {
		++*count;
		share->account = account;
	}
	lock_drop(&table->lock);
	return ret;
}

int share_charge(struct share *share, uint64_t bytes)
{
	struct table *table = share->table;
	int ret = 0;

	lock_take(&table->lock);
	if (size_inside(share->account->bytes, bytes, table->bytes_per_uid)) {
		share->account->bytes += bytes;
		share->bytes = bytes;
		atomic_fetch_add(&table->bytes, bytes);
	} else {
		ret = ENOSPC;
	}
	lock_drop(&table->lock);
	return ret;
}

/* ---- Names ---- */

static struct share *by_id(struct table *table, const uint8_t id[16])
{
	list_for_each(at, id_bucket(table, id)) {
		struct share *share = list_entry(at, struct share, by_id);

		if (memcmp(share->key.id, id, 16) == 0)
			return share;
	}
	return NULL;
}

int share_enter(struct share *share)
{
	struct table *table = share->table;
	int ret = 0;

	lock_take(&table->lock);
	if (by_id(table, share->key.id)) {
		ret = EEXIST;
	} else {
		share_ref(share);
		share->ino = SHARE_INO + table->serial++;
		list_push(&table->shares, &share->by_order);
		list_push(&share->account->shares, &share->by_account);
		list_push(id_bucket(table, share->key.id), &share->by_id);
		list_push(ino_bucket(table, share->ino), &share->by_ino);
		++*(share->key.ring ? &table->rings : &table->iovs);
	}
	lock_drop(&table->lock);
	return ret;
}

bool share_leave(struct share *share)
{
	struct table *table = share->table;

	if (atomic_exchange(&share->gone, true))
		return false;
	list_remove(&share->by_order);
	list_remove(&share->by_account);
	list_remove(&share->by_id);
	list_remove(&share->by_ino);
	list_remove(&share->by_process);
	share->process = NULL;
	--*(share->key.ring ? &table->rings : &table->iovs);
	return true;
}

struct share *table_by_name(struct table *table, const char *name, uid_t uid)
{
	struct usrbio_key asked;
	struct share *share;

	if (!usrbio_uuid_parse(name, asked.id))
		return NULL;
	share = by_id(table, asked.id);
	if (!share || strcmp(share->name, name) == 0)
		return share;
	return share->uid == uid && usrbio_key_is_alias(name, &share->key) ? share : NULL;
}

struct share *table_by_ino(struct table *table, uint64_t ino)
{
	list_for_each(at, ino_bucket(table, ino)) {
		struct share *share = list_entry(at, struct share, by_ino);

		if (share->ino == ino)
			return share;
	}
	return NULL;
}

struct share *table_iov(struct table *table, const uint8_t id[16])
{
	struct share *share;

	lock_take(&table->lock);
	share = by_id(table, id);
	share = share && !share->ring ? share_ref(share) : NULL;
	lock_drop(&table->lock);
	return share;
}
