/* SPDX-License-Identifier: Apache-2.0 */
#define FUSE_USE_VERSION 312
#include "mount/workers.h"

#include <errno.h>
#include <fuse_lowlevel.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/eventfd.h>
#include <unistd.h>

#include "base/error.h"
#include "base/sys.h"
#include "base/thread.h"
#include "mount/interrupt.h"

static void free_buffer(void *buffer)
{
	free(((struct fuse_buf *)buffer)->mem);
}

/* Only while it waits for a request a thread may be cancelled: nothing is held there. */
static int receive(struct fuse_session *session, struct fuse_buf *buffer)
{
	int before, got;

	pthread_setcancelstate(PTHREAD_CANCEL_ENABLE, &before);
	got = fuse_session_receive_buf(session, buffer);
	pthread_setcancelstate(before, NULL);
	return got;
}

static void serve(struct workers *workers, struct fuse_buf *buffer)
{
	struct fuse_session *session = workers->session;

	while (!fuse_session_exited(session)) {
		int got = receive(session, buffer);

		if (got == -EINTR || got == -EAGAIN)
			continue;
		if (got <= 0)
			break;
		fuse_session_process_buf(session, buffer);
	}
}

static void *run(void *arg)
{
	struct workers *workers = arg;
	struct fuse_buf buffer = {0};
	uint64_t one = 1;

	pthread_setcancelstate(PTHREAD_CANCEL_DISABLE, NULL);
	interrupts_allow();
	pthread_cleanup_push(free_buffer, &buffer);
	serve(workers, &buffer);
	(void)!write(workers->ended_fd, &one, sizeof(one));
	pthread_cleanup_pop(1);
	return NULL;
}

int workers_start(struct workers *workers, struct fuse_session *session, unsigned count,
		  struct weir_error *err)
{
	*workers = (struct workers){.session = session};
	workers->ended_fd = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
	if (workers->ended_fd < 0)
		return error_sys(err, errno, NULL, "an event descriptor");
	workers->threads = calloc(count, sizeof(*workers->threads));
	if (!workers->threads)
		return error_nomem(err, NULL, "threads that answer the kernel");
	for (; workers->count < count; workers->count++) {
		int ret = thread_start(sys_real(), &workers->threads[workers->count], "weir-fuse",
				       run, workers, err);

		if (ret)
			return ret;
	}
	return 0;
}

void workers_stop(struct workers *workers)
{
	if (workers->session)
		fuse_session_exit(workers->session);
	for (unsigned n = 0; n < workers->count; n++)
		pthread_cancel(workers->threads[n]);
	for (unsigned n = 0; n < workers->count; n++)
		thread_join(workers->threads[n]);
	free(workers->threads);
	if (workers->ended_fd >= 0)
		close(workers->ended_fd);
}
