/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The one thread that opens 3fs-virt/iovs and changes names in it.
 *
 * A call is a small object on a list.  Its caller waits for it with a limit, since the daemon may be
 * stopped; one that nobody waits for any more is carried out when the daemon goes on, undone if it
 * made something, and freed by the thread.
 */
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/text.h"
#include "io/usrbio/session_state.h"

struct call {
	struct list link;
	int (*run)(struct usrbio_session *session, struct call *call); /* 0 or an errno */
	void (*undo)(struct usrbio_session *session, struct call *call);
	char name[USRBIO_KEY_MAX];
	char text[USRBIO_MOUNT_MAX]; /* a link's target: to write, or as read */
	int result;
	bool done, abandoned; /* under the session's lock */
};

/* ---- The thread ---- */

/* The text of a link, ended; longer than that is refused. */
static int read_link(struct usrbio_session *session, struct call *call)
{
	ssize_t len = session->sys->readlinkat(session->iovs, call->name, call->text,
					       sizeof(call->text));

	if (len < 0)
		return errno;
	if (len >= (ssize_t)sizeof(call->text))
		return EPROTO;
	call->text[len] = '\0';
	return 0;
}

static int make_link(struct usrbio_session *session, struct call *call)
{
	return session->sys->symlinkat(call->text, session->iovs, call->name) ? errno : 0;
}

static int remove_link(struct usrbio_session *session, struct call *call)
{
	return session->sys->unlinkat(session->iovs, call->name, 0) ? errno : 0;
}

static void undo_link(struct usrbio_session *session, struct call *call)
{
	session->sys->unlinkat(session->iovs, call->name, 0);
}

/* iovs is set last: who sees it sees where submit-ios pointed, too. */
static int open_iovs(struct usrbio_session *session, struct call *call)
{
	const struct sys *sys = session->sys;
	char path[USRBIO_MOUNT_MAX + 32];
	ssize_t len;
	int fd, ret = 0;

	(void)call;
	snprintf(path, sizeof(path), "%s/" USRBIO_VIRT "/" USRBIO_IOVS, session->mount);
	fd = sys->openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (fd < 0)
		return errno;
	len = sys->readlinkat(fd, usrbio_bell_link(USRBIO_BELL_NORMAL), session->bell_seen,
			      sizeof(session->bell_seen));
	if (len < 0)
		ret = errno;
	else if (len >= (ssize_t)sizeof(session->bell_seen))
		ret = EPROTO;
	if (ret) {
		sys->close(fd);
		return ret;
	}
	session->bell_seen[len] = '\0';
	session->iovs = fd;
	return 0;
}

static void settle(struct usrbio_session *session, struct call *call, int result)
{
	bool abandoned;

	lock_take(&session->lock);
	call->result = result;
	call->done = true;
	abandoned = call->abandoned;
	cond_wake_all(&session->changed);
	lock_drop(&session->lock);
	if (!abandoned)
		return;
	if (!result && call->undo)
		call->undo(session, call);
	free(call);
}

/* The next call; NULL: there is none left and the session ends. */
static struct call *next_call(struct usrbio_session *session)
{
	struct list *link;

	lock_take(&session->lock);
	while (list_empty(&session->calls) && !session->ending)
		cond_wait(&session->changed, &session->lock, NEVER);
	link = list_pop(&session->calls);
	lock_drop(&session->lock);
	return link ? list_entry(link, struct call, link) : NULL;
}

static void *run(void *arg)
{
	struct usrbio_session *session = arg;
	struct call *call;

	while ((call = next_call(session)))
		settle(session, call, call->run(session, call));
	if (session->iovs >= 0)
		session->sys->close(session->iovs);
	session_thread_ends(session);
	return NULL;
}

/* ---- Its callers ---- */

/* Until it is done or nobody waits for it any more; takes the call back in the first case. */
static bool await(struct usrbio_session *session, struct call *call, int64_t limit_ns)
{
	int64_t deadline = deadline_after(session->sys, limit_ns);
	bool done;

	lock_take(&session->lock);
	list_push(&session->calls, &call->link);
	cond_wake_all(&session->changed);
	while (!call->done && session->sys->now_ns() < deadline)
		cond_wait(&session->changed, &session->lock, deadline);
	done = call->done;
	call->abandoned = !done;
	lock_drop(&session->lock);
	return done;
}

/* Why it failed, for a person. */
static int explain(const struct usrbio_session *session, int os_errno, const char *what,
		   const char *name, struct weir_error *err)
{
	struct quoted quoted;

	quote(&quoted, (struct bytes){name, strlen(name)});
	if (os_errno == EINVAL && strcmp(what, "registering") == 0)
		return error_sys(err, os_errno, session->mount,
				 "%s: registering '%s' (a daemon that sees another /dev/shm "
				 "answers so)",
				 session->mount, quoted.text);
	return error_sys(err, os_errno, session->mount, "%s: %s '%s'", session->mount, what,
			 quoted.text);
}

/*
 * A call that made a name is kept for the one that removes it: removing needs no memory.
 */
static struct call *take_call(struct usrbio_session *session, bool removes)
{
	struct list *link = NULL;

	if (removes) {
		lock_take(&session->lock);
		link = list_pop(&session->spare_calls);
		lock_drop(&session->lock);
	}
	return link ? list_entry(link, struct call, link) : malloc(sizeof(struct call));
}

static void keep_call(struct usrbio_session *session, struct call *call)
{
	lock_take(&session->lock);
	list_push(&session->spare_calls, &call->link);
	lock_drop(&session->lock);
}

void registrar_free_spare(struct usrbio_session *session)
{
	struct list *link;

	while ((link = list_pop(&session->spare_calls)))
		free(list_entry(link, struct call, link));
}

/* Carries out a call; text goes in and, where out is given, out. */
static int carry_out(struct usrbio_session *session, struct call model, const char *what,
		     int64_t limit_ns, char *out, size_t size, struct weir_error *err)
{
	struct call *call = take_call(session, model.run == remove_link);
	int ret;

	if (!call)
		return error_nomem(err, session->mount, what);
	*call = model;
	if (!await(session, call, limit_ns))
		return explain(session, ETIMEDOUT, what, model.name, err);
	ret = call->result;
	if (!ret && out)
		snprintf(out, size, "%s", call->text);
	if (!ret && model.run == make_link)
		keep_call(session, call);
	else
		free(call);
	return ret ? explain(session, ret, what, model.name, err) : 0;
}

/* A call for one name; ENAMETOOLONG where that, or the text, has no room. */
static int fill(struct call *call, const char *name, const char *text)
{
	size_t name_len = strlen(name), text_len = strlen(text);

	if (name_len >= sizeof(call->name) || text_len >= sizeof(call->text))
		return ENAMETOOLONG;
	memcpy(call->name, name, name_len + 1);
	memcpy(call->text, text, text_len + 1);
	return 0;
}

static int refuse_child(const struct usrbio_session *session, struct weir_error *err)
{
	if (usrbio_session_mine(session))
		return 0;
	return error_set(err, WEIR_CLOSED, session->mount, "%s: used in a forked child",
			 session->mount);
}

int usrbio_session_link(struct usrbio_session *session, const char *key, const char *target,
			struct weir_error *err)
{
	struct call call = {.run = make_link, .undo = undo_link};
	int ret = refuse_child(session, err);

	if (ret)
		return ret;
	ret = fill(&call, key, target);
	if (ret)
		return explain(session, ret, "registering", key, err);
	return carry_out(session, call, "registering", REGISTRAR_LINK_NS, NULL, 0, err);
}

int usrbio_session_unlink(struct usrbio_session *session, const char *key, struct weir_error *err)
{
	struct call call = {.run = remove_link};
	int ret = refuse_child(session, err);

	if (ret)
		return ret;
	ret = fill(&call, key, "");
	if (ret)
		return explain(session, ret, "removing", key, err);
	return carry_out(session, call, "removing", REGISTRAR_UNLINK_NS, NULL, 0, err);
}

int registrar_read(struct usrbio_session *session, const char *name, char *out, size_t size,
		   struct weir_error *err)
{
	struct call call = {.run = read_link};
	int ret = fill(&call, name, "");

	if (ret)
		return explain(session, ret, "reading the link", name, err);
	return carry_out(session, call, "reading the link", REGISTRAR_LINK_NS, out, size, err);
}

int usrbio_session_target(struct usrbio_session *session, const char *key, char *out, size_t size,
			  struct weir_error *err)
{
	int ret = refuse_child(session, err);

	return ret ? ret : registrar_read(session, key, out, size, err);
}

int registrar_start(struct usrbio_session *session, struct weir_error *err)
{
	struct call call = {.run = open_iovs, .name = USRBIO_VIRT "/" USRBIO_IOVS};
	pthread_t thread;
	int ret;

	session->threads++;
	ret = thread_start(session->sys, &thread, "weir-registrar", run, session, err);
	if (ret) {
		session->threads--;
		return ret;
	}
	thread_detach(thread);
	return carry_out(session, call, "opening", REGISTRAR_LINK_NS, NULL, 0, err);
}
