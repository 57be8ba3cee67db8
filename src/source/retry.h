/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A source that tries again: in front of any other, for what is worth another try.
 *
 *	class          again?  why
 *	THROTTLED      yes     the server asked for less: the longer waits
 *	PEER_GONE      yes     daemons and connections come back
 *	PROTO          yes     a garbled answer: the next one is another
 *	TIMEOUT        yes     of one try; the request's own deadline still holds
 *	IO             some    by errno: what is of a moment (EAGAIN, EINTR, ECONNRESET, ETIMEDOUT ...);
 *	                       EIO is not: a disk that cannot read a sector has tried for seconds
 *	               NOMEM, NOSPACE, NOTFOUND, DENIED, AUTH, TLS, CHANGED ... never: waiting
 *	                       does not help
 *
 * The n-th wait is a random part of a time that doubles with n, so that many who failed together do
 * not come back together.  At most RETRY_TRIES in all, none that would begin past the request's
 * deadline, and only while tries again are few: one for ten successes, with some in hand at the start.
 * When a store is down, everybody's patience would be its end.
 *
 * The next try has the same memory and begins after the last one ended: no two requests own the same
 * bytes.  Calls on names are handed on once.  A second try beside the first (hedging) is not made.
 */
#ifndef SOURCE_RETRY_H
#define SOURCE_RETRY_H

#include "base/compiler.h"
#include "source/source.h"

#define RETRY_TRIES 5

/* In hand at the start, and so often at most without a success. */
#define RETRY_FLOOR 10

/* Takes the next source over when it succeeds. */
must_use int source_retry_create(struct source *next, struct source **out, struct weir_error *err);

#endif
