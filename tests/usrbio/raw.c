/* SPDX-License-Identifier: Apache-2.0 */
/*
 * raw.h: objects, links, places in a ring.
 */
#include "raw.h"

#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/random.h>
#include <time.h>
#include <unistd.h>

void die(const char *format, ...)
{
	va_list values;
	va_start(values, format);
	vfprintf(stderr, format, values);
	va_end(values);
	fputc('\n', stderr);
	exit(1);
}

double now_seconds(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return (double)now.tv_sec + (double)now.tv_nsec * 1e-9;
}

uint64_t random_next(uint64_t *state)
{
	*state += 0x9e3779b97f4a7c15u;
	uint64_t x = *state;
	x = (x ^ x >> 30) * 0xbf58476d1ce4e5b9u;
	x = (x ^ x >> 27) * 0x94d049bb133111ebu;
	return x ^ x >> 31;
}

static sem_t *open_doorbell(const char *mount, const char *name)
{
	static const char prefix[] = "/dev/shm/sem.";
	char path[600], target[256];
	snprintf(path, sizeof(path), "%s/3fs-virt/iovs/%s", mount, name);
	ssize_t length = readlink(path, target, sizeof(target) - 1);
	if (length < 0)
		die("%s: %s", path, strerror(errno));
	target[length] = 0;
	if (strncmp(target, prefix, sizeof(prefix) - 1) != 0)
		die("%s points to %s", path, target);
	int fd = open(target, O_RDWR | O_CLOEXEC | O_NOFOLLOW);
	void *memory = fd < 0 ? MAP_FAILED
			      : mmap(NULL, WIRE_SEM_BYTES, PROT_READ | PROT_WRITE, MAP_SHARED, fd,
				     0);
	if (memory == MAP_FAILED)
		die("%s: %s", target, strerror(errno));
	close(fd);
	return memory;
}

void raw_mount_open(struct raw_mount *mount, const char *path)
{
	static const char *const names[3] = {"submit-ios.ph", "submit-ios", "submit-ios.pl"};
	snprintf(mount->path, sizeof(mount->path), "%s", path);
	for (int i = 0; i < 3; i++)
		mount->doorbells[i] = open_doorbell(path, names[i]);
}

static void uuid(uint8_t id[16], char text[40])
{
	if (getrandom(id, 16, 0) != 16)
		die("no randomness");
	for (int i = 0, at = 0; i < 16; i++)
		at += sprintf(text + at, i == 4 || i == 6 || i == 8 || i == 10 ? "-%02x" : "%02x",
			      id[i]);
}

int raw_object_register(struct raw_object *object, const struct raw_mount *mount, uint64_t bytes,
			const char *attributes)
{
	char text[40], name[96], path[800];
	uint8_t other[16];
	uuid(other, text);
	snprintf(name, sizeof(name), WIRE_PREFIX "hf3fs-iov-%s", text);
	object->mount = mount;
	object->bytes = bytes;
	object->fd = open(name, O_RDWR | O_CREAT | O_EXCL | O_CLOEXEC | O_NOFOLLOW, 0600);
	if (object->fd < 0 || ftruncate(object->fd, (off_t)bytes))
		die("%s: %s", name, strerror(errno));
	object->memory = bytes ? mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_SHARED, object->fd,
				      0)
			       : MAP_FAILED;
	uuid(object->id, text);
	snprintf(object->key, sizeof(object->key), "%s%s", text, attributes);
	snprintf(path, sizeof(path), "%s/3fs-virt/iovs/%s", mount->path, object->key);
	int error = symlink(name, path) ? errno : 0;
	unlink(name);
	if (!error && object->memory == MAP_FAILED)
		die("mapping %llu bytes: %s", (unsigned long long)bytes, strerror(errno));
	if (error) {
		if (object->memory != MAP_FAILED)
			munmap(object->memory, bytes);
		close(object->fd);
		object->memory = NULL;
	}
	return error;
}

void raw_object_drop(struct raw_object *object)
{
	char path[800];
	if (!object->memory)
		return;
	snprintf(path, sizeof(path), "%s/3fs-virt/iovs/%s", object->mount->path, object->key);
	unlink(path);
	munmap(object->memory, object->bytes);
	close(object->fd);
	object->memory = NULL;
}

int raw_ring_open(struct raw_ring *ring, const struct raw_mount *mount,
		  const struct raw_ring_options *options)
{
	char attributes[96];
	ring->entries = options->entries;
	ring->priority = options->priority < 0 ? 0 : options->priority > 0 ? 2 : 1;
	ring->head = ring->tail = 0;
	snprintf(attributes, sizeof(attributes), ".%c%d%s.t%d", options->write ? 'w' : 'r',
		 options->depth,
		 ring->priority == 0   ? ".ph"
		 : ring->priority == 2 ? ".pl"
				       : "",
		 options->timeout_ms);
	return raw_object_register(&ring->object, mount, wire_bytes((uint64_t)options->entries),
				   attributes);
}

void raw_ring_push(struct raw_ring *ring, int32_t slot, const struct wire_args *args)
{
	*wire_args_at(ring->object.memory, slot) = *args;
	*wire_sqe_at(ring->object.memory, ring->entries,
		     ring->head) = (struct wire_sqe){.index = slot, .userdata = args->userdata};
	ring->head = (ring->head + 1) % (ring->entries + 1);
	atomic_store(wire_marker(ring->object.memory, WIRE_SQE_HEAD), ring->head);
}

void raw_ring_submit(struct raw_ring *ring)
{
	sem_post(ring->object.mount->doorbells[ring->priority]);
}

bool raw_ring_take(struct raw_ring *ring, struct wire_cqe *cqe)
{
	int32_t head = atomic_load(wire_marker(ring->object.memory, WIRE_CQE_HEAD));
	if (head == ring->tail)
		return false;
	*cqe = *wire_cqe_at(ring->object.memory, ring->entries, ring->tail);
	ring->tail = (ring->tail + 1) % (ring->entries + 1);
	atomic_store(wire_marker(ring->object.memory, WIRE_CQE_TAIL), ring->tail);
	return true;
}

void raw_ring_sleep(struct raw_ring *ring, int64_t ns)
{
	struct timespec until;
	clock_gettime(CLOCK_REALTIME, &until);
	int64_t total = until.tv_nsec + ns;
	until.tv_sec += total / 1000000000;
	until.tv_nsec = total % 1000000000;
	sem_timedwait(wire_sem(ring->object.memory, ring->entries), &until);
}
