/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The stub's rings: the table of names, the three submit semaphores, and one thread that takes requests,
 * does them with pread and pwrite, and publishes what the faults leave of the truth.
 */
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <time.h>
#include <unistd.h>

#include "stub.h"

static int64_t now_ns(void)
{
	struct timespec now;
	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * 1000000000LL + now.tv_nsec;
}

/* The value of a fault that hits the next completion, and counts it. */
static bool strikes(enum fault_kind kind, int64_t *value)
{
	struct fault *fault = &stub.faults[kind];
	if (!fault->set || (fault->after > 0 && fault->after--))
		return false;
	*value = fault->value;
	if (fault->count > 0 && !--fault->count)
		fault->set = false;
	return true;
}

/* The table of names */

static void object_put(struct object *object)
{
	if (--object->uses)
		return;
	munmap(object->memory, object->bytes);
	free(object->busy);
	free(object);
}

struct object *object_find(const char *key)
{
	for (struct object *o = stub.objects; o; o = o->next)
		if (!strcmp(o->key, key))
			return o;
	return NULL;
}

void object_remove(struct object *object)
{
	struct object **link = &stub.objects;
	while (*link != object)
		link = &(*link)->next;
	*link = object->next;
	object->dead = true;
	object_put(object);
}

void objects_forget(void)
{
	while (stub.objects)
		object_remove(stub.objects);
}

static int object_map(struct object *object)
{
	struct stat st;
	const char *name = object->target + strlen(WIRE_PREFIX);
	if (strncmp(object->target, WIRE_PREFIX, strlen(WIRE_PREFIX)) != 0 || !*name ||
	    strchr(name, '/'))
		return EACCES;
	int fd = shm_open(name, O_RDWR, 0);
	if (fd < 0)
		return errno == ENOENT ? EINVAL : EACCES;
	fstat(fd, &st);
	object->bytes = (uint64_t)st.st_size;
	if (st.st_mode & 077)
		stub_complain("%s: mode %o, others may open it", object->target, st.st_mode & 0777);
	object->memory = object->bytes ? mmap(NULL, object->bytes, PROT_READ | PROT_WRITE,
					      MAP_SHARED, fd, 0)
				       : MAP_FAILED;
	close(fd);
	return object->memory == MAP_FAILED ? EINVAL : 0;
}

static int make_ring(struct object *ring)
{
	for (unsigned offset = 0; offset < 16; offset += 4)
		if (*wire_marker(ring->memory, offset))
			stub_complain("%s: marker %u of a new ring is not 0", ring->key, offset);
	ring->busy = calloc((size_t)ring->entries + 1, 1);
	return !ring->busy || sem_init(wire_sem(ring->memory, ring->entries), 1, 0) ? ENOMEM : 0;
}

int object_add(const char *key, const char *target, uid_t uid, gid_t gid)
{
	struct object *object = calloc(1, sizeof(*object));
	if (!object || strlen(key) >= sizeof(object->key) ||
	    strlen(target) >= sizeof(object->target)) {
		free(object);
		return ENAMETOOLONG;
	}
	strcpy(object->key, key);
	strcpy(object->target, target);
	object->uid = uid;
	object->gid = gid;
	object->uses = 1;
	int error = object_map(object);
	if (error) {
		free(object);
		return error;
	}
	error = key_parse(key, object->bytes, object);
	if (!error && object->ring)
		error = make_ring(object);
	for (struct object *o = stub.objects; o && !error; o = o->next)
		error = memcmp(o->id, object->id, 16) ? 0 : EEXIST;
	if (error) {
		object_put(object);
		return error;
	}
	object->next = stub.objects;
	stub.objects = object;
	stub.counts.keys_made++;
	return 0;
}

/* Submit semaphores */

int doorbells_make(void)
{
	for (int i = 0; i < 3; i++) {
		char path[128];
		snprintf(stub.sem_name[i], sizeof(stub.sem_name[i]),
			 "/hf3fs-submit-ios.stub-%d-%d-%llx", (int)getpid(), i,
			 (unsigned long long)now_ns());
		stub.sems[i] = sem_open(stub.sem_name[i], O_CREAT | O_EXCL, 0666, 0);
		if (stub.sems[i] == SEM_FAILED)
			return -1;
		snprintf(path, sizeof(path), WIRE_PREFIX "sem.%s", stub.sem_name[i] + 1);
		chmod(path, 0666);
	}
	return 0;
}

void doorbells_remove(void)
{
	for (int i = 0; i < 3; i++)
		sem_unlink(stub.sem_name[i]);
}

/* Taking requests */

static struct batch *claim(struct object *ring, unsigned count)
{
	struct batch *batch = calloc(1, sizeof(*batch) + count * sizeof(batch->requests[0]));
	if (!batch)
		abort();
	int32_t places = ring->entries + 1;
	for (unsigned i = 0; i < count; i++) {
		struct wire_sqe sqe = *wire_sqe_at(ring->memory, ring->entries, ring->claimed);
		struct request *request = &batch->requests[i];
		ring->claimed = (ring->claimed + 1) % places;
		if (sqe.index < 0 || sqe.index >= ring->entries) {
			stub_complain("%s: slot %d in a submission", ring->key, sqe.index);
			sqe.index = 0;
		}
		if (ring->busy[sqe.index])
			stub_complain("%s: slot %d submitted while in flight", ring->key,
				      sqe.index);
		ring->busy[sqe.index] = 1;
		request->index = sqe.index;
		request->userdata = sqe.userdata;
		request->args = *wire_args_at(ring->memory, sqe.index);
		stub.counts.claims++;
	}
	batch->ring = ring;
	batch->count = count;
	batch->end = ring->claimed;
	ring->uses++;
	return batch;
}

static int64_t due(void)
{
	int64_t delay_ms = stub.jitter_ms ? rand() % (stub.jitter_ms + 1) : 0, more;
	if (strikes(FAULT_DELAY, &more))
		delay_ms += more;
	return delay_ms ? now_ns() + delay_ms * 1000000 : 0;
}

/* Takes what is queued, as one batch or as many batches of one. */
static bool take(struct object *ring)
{
	int32_t places = ring->entries + 1;
	int32_t head = atomic_load(wire_marker(ring->memory, WIRE_SQE_HEAD));
	if (head < 0 || head >= places) {
		stub_complain("%s: sqeHead %d", ring->key, head);
		ring->dead = true;
		return false;
	}
	unsigned queued = (unsigned)((head - ring->claimed + places) % places);
	struct batch **last = &ring->batches;
	while (*last)
		last = &(*last)->next;
	for (unsigned left = queued; left;) {
		unsigned count = stub.batching ? left : 1;
		*last = claim(ring, count);
		(*last)->due_ns = due();
		last = &(*last)->next;
		left -= count;
	}
	if (queued && !stub.batching) {
		ring->tail = ring->claimed;
		atomic_store(wire_marker(ring->memory, WIRE_SQE_TAIL), ring->tail);
	}
	return queued > 0;
}

/* Doing and publishing them */

static int64_t carry_out(struct object *ring, const struct wire_args *args)
{
	struct object *iov = stub.objects;
	while (iov && (iov->ring || memcmp(iov->id, args->iov, 16) != 0))
		iov = iov->next;
	int fd = file_by_ino(args->ino);
	if (fd < 0)
		return -EBADF;
	if (!iov || args->iov_offset > iov->bytes || args->length > iov->bytes - args->iov_offset)
		return -EINVAL;
	int64_t limit;
	uint64_t length = args->length;
	if (strikes(FAULT_SHORT, &limit) && length > (uint64_t)limit)
		length = (uint64_t)limit;
	char *to = (char *)iov->memory + args->iov_offset;
	ssize_t done = ring->for_read ? pread(fd, to, length, (off_t)args->file_offset)
				      : pwrite(fd, to, length, (off_t)args->file_offset);
	return done < 0 ? -errno : done;
}

static void publish(struct object *ring, const struct wire_cqe *cqe)
{
	int32_t places = ring->entries + 1, next = (ring->head + 1) % places;
	int32_t tail = atomic_load(wire_marker(ring->memory, WIRE_CQE_TAIL));
	if (next == tail)
		stub_complain("%s: the completion queue is full", ring->key);
	*wire_cqe_at(ring->memory, ring->entries, ring->head) = *cqe;
	ring->head = next;
	atomic_store(wire_marker(ring->memory, WIRE_CQE_HEAD), next);
	stub.counts.completions++;
}

/* One completion, with what the faults make of it.  Says whether a post is due. */
static bool answer(struct object *ring, const struct request *request)
{
	int64_t value;
	if (strikes(FAULT_DIE, &value))
		_exit(0);
	if (strikes(FAULT_STOP, &value))
		raise(SIGSTOP);
	struct wire_cqe cqe = {.index = request->index,
			       .reserved = 0x5a5a5a5a,
			       .result = carry_out(ring, &request->args),
			       .userdata = request->userdata};
	ring->busy[request->index] = 0;
	if (strikes(FAULT_LOSE, &value))
		return false;
	if (strikes(FAULT_RESULT, &value))
		cqe.result = value;
	if (strikes(FAULT_ADD, &value))
		cqe.result += value;
	if (strikes(FAULT_USERDATA, &value))
		cqe.userdata += (uint64_t)value;
	if (strikes(FAULT_INDEX, &value))
		cqe.index = (int32_t)value;
	publish(ring, &cqe);
	if (strikes(FAULT_TWICE, &value))
		publish(ring, &cqe);
	if (strikes(FAULT_HEAD, &value))
		atomic_store(wire_marker(ring->memory, WIRE_CQE_HEAD), (int32_t)value);
	if (strikes(FAULT_TAIL, &value))
		atomic_store(wire_marker(ring->memory, WIRE_SQE_TAIL), (int32_t)value);
	return !strikes(FAULT_NOPOST, &value);
}

/* Lets sqeTail pass each finished batch before which none is unfinished, as the vendor's daemon does. */
static void settle(struct object *ring, int64_t now)
{
	while (ring->batches && ring->batches->published && ring->batches->settled_ns <= now) {
		struct batch *done = ring->batches;
		ring->batches = done->next;
		if (stub.batching) {
			ring->tail = done->end;
			atomic_store(wire_marker(ring->memory, WIRE_SQE_TAIL), ring->tail);
		}
		free(done);
		object_put(ring);
	}
}

static bool finish_due(struct object *ring, int64_t now)
{
	bool any = false;
	ring->uses++;
	for (struct batch *b = ring->batches; b; b = b->next) {
		bool post = false;
		if (b->published || b->due_ns > now)
			continue;
		for (unsigned i = 0; i < b->count; i++)
			post |= answer(ring, &b->requests[i]);
		b->published = any = true;
		b->settled_ns = now + stub.late_ms * 1000000;
		if (post)
			sem_post(wire_sem(ring->memory, ring->entries));
	}
	settle(ring, now);
	object_put(ring);
	return any;
}

static bool scan(void)
{
	bool any = false;
	for (struct object *o = stub.objects, *next; o; o = next) {
		next = o->next;
		if (!o->ring || stub.held)
			continue;
		any |= !o->dead && take(o);
		any |= finish_due(o, now_ns());
	}
	return any;
}

static void *serve(void *unused)
{
	for (;;) {
		stub_lock();
		for (int i = 0; i < 3; i++)
			while (!sem_trywait(stub.sems[i]))
				stub.counts.posts_seen++;
		bool any = scan();
		sem_t *normal = stub.sems[1];
		stub_unlock();
		struct timespec until;
		clock_gettime(CLOCK_REALTIME, &until);
		until.tv_nsec += 500000;
		until.tv_sec += until.tv_nsec / 1000000000;
		until.tv_nsec %= 1000000000;
		if (!any && !sem_timedwait(normal, &until)) {
			stub_lock();
			stub.counts.posts_seen++;
			stub_unlock();
		}
	}
	return unused;
}

int ring_start(void)
{
	pthread_t thread;
	return doorbells_make() || pthread_create(&thread, NULL, serve, NULL) ? -1 : 0;
}
