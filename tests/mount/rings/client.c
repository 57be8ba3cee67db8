/* SPDX-License-Identifier: Apache-2.0 */
#include "client.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "base/clock.h"
#include "lib/check.h"

void shared_make(struct rig *rig, struct shared *shared, uid_t uid, uint64_t bytes)
{
	shared->uid = uid;
	shared->bytes = bytes;
	shared->object = rig_object(rig, uid, bytes);
	shared->fd = openat(rig->shm_dir, shared->object, O_RDWR | O_CLOEXEC);
	check(shared->fd >= 0);
	shared->memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, shared->fd, 0);
	check(shared->memory != MAP_FAILED);
	check_int(usrbio_uuid_random(sys_real(), shared->key.id), 0);
}

static void enter(struct rig *rig, struct shared *shared)
{
	usrbio_key_format(&shared->key, shared->name);
	check_int(rig_link(rig, shared->uid, shared->object, shared->name), 0);
}

void iov_make(struct rig *rig, struct shared *iov, uid_t uid, uint64_t bytes, uint64_t block_bytes)
{
	*iov = (struct shared){0};
	shared_make(rig, iov, uid, bytes);
	iov->key.block_bytes = block_bytes;
	enter(rig, iov);
}

static void open_bell(struct rig *rig, struct ring_client *ring)
{
	struct virt_caller caller = rig_caller(ring->shared.uid);
	const char *link = usrbio_bell_link(usrbio_bell_of(ring->shared.key.priority));
	char target[VIRT_TARGET_MAX];
	struct virt_entry entry;

	check_int(rig_lookup(rig, caller.uid, link, &entry), 0);
	check_int(virt_readlink(rig->rings, &caller, entry.ino, target, sizeof(target)), 0);
	check_int(entry.size, strlen(target));
	check_int(usrbio_bell_open(sys_real(), rig->shm_dir, target, &ring->bell, NULL), 0);
}

void ring_make(struct rig *rig, struct ring_client *ring, uid_t uid, uint32_t entries,
	       const struct usrbio_key *key)
{
	*ring = (struct ring_client){.entries = entries};
	shared_make(rig, &ring->shared, uid, usrbio_ring_bytes(entries));
	memcpy(&ring->shared.key.block_bytes, &key->block_bytes,
	       sizeof(*key) - offsetof(struct usrbio_key, block_bytes));
	ring->shared.key.ring = true;
	check_int(usrbio_client_init(&ring->end, ring->shared.memory, entries), 0);
	enter(rig, &ring->shared);
	open_bell(rig, ring);
}

void shared_close(struct rig *rig, struct shared *shared)
{
	munmap(shared->memory, shared->bytes);
	close(shared->fd);
	unlinkat(rig->shm_dir, shared->object, 0);
	free(shared->object);
}

void ring_close(struct rig *rig, struct ring_client *ring)
{
	usrbio_client_fini(&ring->end);
	usrbio_bell_close(sys_real(), &ring->bell);
	shared_close(rig, &ring->shared);
}

int ring_ask(struct ring_client *ring, const struct ask *ask)
{
	struct usrbio_args args = {.iov_offset = ask->iov_offset,
				   .file = ask->file,
				   .file_offset = ask->offset,
				   .length = ask->length,
				   .userdata = ask->userdata};

	if (ask->iov)
		memcpy(args.iov, ask->iov->key.id, sizeof(args.iov));
	return usrbio_client_prepare(&ring->end, &args, UINT64_MAX);
}

void ring_bell(struct ring_client *ring)
{
	if (usrbio_client_must_tell(&ring->end))
		usrbio_sem_post(sys_real(), ring->bell.sem);
}

int ring_reap(struct ring_client *ring, struct usrbio_cqe *out, int count, int ms)
{
	int64_t end = sys_real()->now_ns() + ms * NS_PER_MS;
	int got = 0;

	for (;;) {
		int n = usrbio_client_reap(&ring->end, out + got, (unsigned)(count - got));

		check(n >= 0);
		got += n;
		if (got == count || sys_real()->now_ns() >= end)
			return got;
		if (usrbio_sem_wait(sys_real(), ring->end.view.done,
				    min_of(end, sys_real()->now_ns() + NS_PER_MS)))
			continue;
	}
}

int64_t ring_result(struct ring_client *ring, const struct ask *ask)
{
	struct usrbio_cqe cqe;
	int slot = ring_ask(ring, ask);

	check(slot >= 0);
	ring_bell(ring);
	if (ring_reap(ring, &cqe, 1, 5000) != 1)
		return RESULT_NONE;
	check_int(cqe.index, slot);
	check(cqe.userdata == ask->userdata);
	return cqe.result;
}
