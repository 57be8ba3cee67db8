/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/wire.h"

#include <linux/fuse.h>
#include <string.h>
#include <unistd.h>

#include "base/sys.h"
#include "mount/front.h"

static _Thread_local int32_t next_backing = WIRE_NO_BACKING;

void wire_back_next(int32_t backing_id)
{
	next_backing = backing_id;
}

static void touch(struct wire *wire)
{
	atomic_store_explicit(&wire->active_ns, sys_real()->now_ns(), memory_order_relaxed);
}

/* FORGET, its plural and INTERRUPT have no answer. */
static bool wants_answer(const void *request, size_t bytes)
{
	struct fuse_in_header header;

	if (bytes < sizeof(header))
		return false;
	memcpy(&header, request, sizeof(header));
	return header.opcode != FUSE_FORGET && header.opcode != FUSE_BATCH_FORGET &&
	       header.opcode != FUSE_INTERRUPT;
}

/* Called with the thread cancellable, as the one place where it may wait for long: see session.c. */
static ssize_t take(int fd, void *buffer, size_t bytes, void *user)
{
	struct wire *wire = &((struct front *)user)->wire;
	ssize_t got = read(fd, buffer, bytes);

	if (got <= 0)
		return got;
	touch(wire);
	if (wants_answer(buffer, (size_t)got))
		atomic_fetch_add_explicit(&wire->asked, 1, memory_order_relaxed);
	if (!atomic_load(&wire->ready))
		fuse_init_note(&wire->init, buffer, (size_t)got);
	return got;
}

static ssize_t write_init(struct wire *wire, int fd, const struct iovec *iov)
{
	unsigned char reply[sizeof(struct fuse_init_out)];
	struct iovec out[2] = {iov[0], {reply, sizeof(reply)}};
	ssize_t sent;

	memcpy(reply, iov[1].iov_base, sizeof(reply));
	fuse_init_answer(&wire->init, reply, sizeof(reply));
	sent = writev(fd, out, 2);
	atomic_store(&wire->ready, sent > 0);
	return sent;
}

static ssize_t write_open(int fd, const struct iovec *iov)
{
	unsigned char reply[FUSE_INIT_OPEN_MAX];
	struct iovec out[2] = {iov[0], {reply, iov[1].iov_len}};

	if (!fuse_init_back_open(&iov[1], next_backing, reply))
		return writev(fd, iov, 2);
	return writev(fd, out, 2);
}

static ssize_t give(int fd, struct iovec *iov, int count, void *user)
{
	struct wire *wire = &((struct front *)user)->wire;
	struct fuse_out_header header;

	memcpy(&header, iov[0].iov_base, sizeof(header));
	if (header.unique) { /* else it is a notification */
		touch(wire);
		atomic_fetch_add_explicit(&wire->answered, 1, memory_order_relaxed);
	}
	if (count == 2 && header.unique && !header.error) {
		if (!atomic_load(&wire->ready) && wire->init.asked &&
		    header.unique == wire->init.unique &&
		    iov[1].iov_len == sizeof(struct fuse_init_out))
			return write_init(wire, fd, iov);
		if (next_backing != WIRE_NO_BACKING)
			return write_open(fd, iov);
	}
	return writev(fd, iov, count);
}

int wire_attach(struct wire *wire, struct fuse_session *session)
{
	static const struct fuse_custom_io io = {.read = take, .writev = give};

	wire->fd = fuse_session_fd(session);
	return fuse_session_custom_io(session, &io, wire->fd);
}
