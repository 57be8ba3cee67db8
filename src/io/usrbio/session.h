/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A process's dealings with one mount: registering and removing names, ringing its bells, noticing its
 * death.  One session for each mount and process, counted, shared by all who use that mount.
 *
 * Two helper threads stand behind it.  The registrar makes every call that changes 3fs-virt/iovs, so
 * that a vendor's daemon, which cleans up by thread, sees one registrant.  The prober looks at the
 * mount once a second while somebody waits; where the daemon is stopped it hangs, which tells that
 * too, and nobody waits for it then.  No other thread touches the mount through here.
 *
 * After fork() a session is the parent's: the child's calls answer CLOSED (-EPERM on the data path).
 */
#ifndef IO_USRBIO_SESSION_H
#define IO_USRBIO_SESSION_H

#include <stdbool.h>
#include <stdint.h>

#include "base/compiler.h"
#include "base/sys.h"
#include "io/usrbio/layout.h"
#include "weir/error.h"

struct usrbio_session;

enum usrbio_health {
	USRBIO_ALIVE,
	USRBIO_STOPPED, /* there, but silent for 1.5 s */
	USRBIO_GONE,    /* dead, unmounted, or another one in its place: for ever */
};

/*
 * The session of that mount, made where there is none yet or the one there was is gone.  path: as
 * usrbio_mount_find() gave it, at most 255 bytes.
 */
must_use int usrbio_session_get(const struct sys *sys, const char *mount,
				struct usrbio_session **out, struct weir_error *err);
void usrbio_session_ref(struct usrbio_session *session);
void usrbio_session_put(struct usrbio_session *session);

const char *usrbio_session_mount(const struct usrbio_session *session);
const struct sys *usrbio_session_sys(const struct usrbio_session *session);

/* A descriptor of /dev/shm; the session's. */
int usrbio_session_shm_dir(const struct usrbio_session *session);

/*
 * Makes the link iovs/<key> to a target, or removes it; by the registrar, for at most a minute (TIMEOUT).
 * err->os_errno is what the daemon answered.
 */
must_use int usrbio_session_link(struct usrbio_session *session, const char *key,
				 const char *target, struct weir_error *err);
int usrbio_session_unlink(struct usrbio_session *session, const char *key, struct weir_error *err);

/* What the link iovs/<key> points to. */
must_use int usrbio_session_target(struct usrbio_session *session, const char *key, char *out,
				   size_t size, struct weir_error *err);

/* The submit semaphore of a priority, opened at its first use; lives as long as the session. */
must_use int usrbio_session_bell(struct usrbio_session *session, enum usrbio_bell which,
				 struct usrbio_sem **out, struct weir_error *err);

/*
 * Somebody begins, or ceases, to wait for this mount: while the count is above 0 it is probed.  The
 * first of these starts the prober.  False: there is no thread to be had for it now; nobody was counted,
 * and who waits asks again.
 */
must_use bool usrbio_session_watch(struct usrbio_session *session);
void usrbio_session_unwatch(struct usrbio_session *session);

/* One look at what the prober last found: no system call. */
must_use enum usrbio_health usrbio_session_health(const struct usrbio_session *session);

/* Is this the process that made it?  No system call. */
must_use bool usrbio_session_mine(const struct usrbio_session *session);

#endif
