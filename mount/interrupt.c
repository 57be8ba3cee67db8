/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/interrupt.h"

#include <errno.h>
#include <signal.h>

#include "base/clock.h"
#include "base/error.h"

#define SIGNAL   SIGUSR2
#define AGAIN_NS (10 * NS_PER_MS)

/* Its coming is what ends the call. */
static void on_signal(int number)
{
	(void)number;
}

static void *run(void *arg)
{
	struct interrupts *all = arg;

	lock_take(&all->lock);
	while (!all->ending) {
		list_for_each(at, &all->asked)
			pthread_kill(list_entry(at, struct interrupt, link)->thread, SIGNAL);
		cond_wait(&all->cond, &all->lock,
			  list_empty(&all->asked) ? NEVER : deadline_after(sys_real(), AGAIN_NS));
	}
	lock_drop(&all->lock);
	return NULL;
}

int interrupts_start(struct interrupts *all, struct weir_error *err)
{
	struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: calls end */
	int ret;

	if (sigaction(SIGNAL, &action, NULL))
		return error_sys(err, errno, NULL, "the signal of interrupted requests");
	lock_init(&all->lock);
	cond_init(&all->cond);
	list_init(&all->asked);
	all->ending = false;
	ret = thread_start(sys_real(), &all->thread, "weir-interrupt", run, all, err);
	if (ret) {
		cond_fini(&all->cond);
		lock_fini(&all->lock);
		return ret;
	}
	all->started = true;
	return 0;
}

void interrupts_stop(struct interrupts *all)
{
	if (!all->started)
		return;
	lock_take(&all->lock);
	all->ending = true;
	cond_wake(&all->cond);
	lock_drop(&all->lock);
	thread_join(all->thread);
	cond_fini(&all->cond);
	lock_fini(&all->lock);
	all->started = false;
}

void interrupts_allow(void)
{
	sigset_t set;

	sigemptyset(&set);
	sigaddset(&set, SIGNAL);
	pthread_sigmask(SIG_UNBLOCK, &set, NULL);
}

/* By the thread that has read the kernel's word; libfuse holds the request meanwhile. */
static void ask(fuse_req_t req, void *arg)
{
	struct interrupt *interrupt = arg;
	struct interrupts *all = interrupt->all;

	(void)req;
	lock_take(&all->lock);
	if (list_empty(&interrupt->link))
		list_push(&all->asked, &interrupt->link);
	cond_wake(&all->cond);
	lock_drop(&all->lock);
}

void interrupt_begin(struct interrupts *all, struct interrupt *out, fuse_req_t req)
{
	*out = (struct interrupt){.all = all, .req = req, .thread = pthread_self()};
	list_init(&out->link);
	/* Asks at once where the word came before its request was looked at. */
	fuse_req_interrupt_func(req, ask, out);
}

void interrupt_end(struct interrupt *interrupt)
{
	struct interrupts *all = interrupt->all;

	fuse_req_interrupt_func(interrupt->req, NULL, NULL);
	lock_take(&all->lock);
	list_remove(&interrupt->link);
	lock_drop(&all->lock);
}
