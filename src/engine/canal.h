/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A canal: bytes of a file reach a device with no harbour between, where cuFile (mem/cufile.h) can do that.
 *
 *	file --read--> slot --copy--> device      the ferry's way (engine/ferry.h), always there
 *	file ------------------------> device     the canal
 *
 * A part takes it if it is whole blocks that go to one stretch of the device's memory, if storage really
 * writes to the device, and if a trial (engine/trial.h) on the transfer's own first bytes showed it to be
 * faster.  Heads and tails, and all else, go by the ferry.  Such a part holds its slot all the same: a read
 * that comes back short, or fails, is made again by the ferry, so that no failure of cuFile is one of the
 * transfer's.
 *
 * cuFile's calls block and cannot be called back: helper threads make them (engine/helper.h), and while one
 * is under way the part crosses, as a copy of the ferry's does, and its extents are lent when their time is
 * up.  Its driver is opened, and files are looked at and registered, on helper threads too; meanwhile parts
 * go by the ferry.
 *
 * Destinations are not registered with cuFile: that is for memory that is read into again and again.
 */
#ifndef ENGINE_CANAL_H
#define ENGINE_CANAL_H

#include <stdbool.h>

#include "engine/sweep.h"
#include "mem/cufile.h"

struct canal;      /* of a context */
struct canal_dock; /* of a lane: where its parts come back; used by its thread alone */
struct canal_file; /* of an object: registered */
struct weir_object;
struct weir_ctx;

/* table NULL: the real library.  Opens nothing yet.  *out NULL where the context does without. */
must_use int canal_create(struct weir_ctx *ctx, const struct cufile_driver *table,
			  struct canal **out, struct weir_error *err);

/* Nothing new is begun; wait: what is under way is given a second to end. */
void canal_halt(struct canal *canal, bool wait);
void canal_destroy(struct canal *canal); /* no call is under way; NULL is fine */

/* canal NULL: a dock that is none, as everywhere below. */
must_use int canal_dock_create(struct canal *canal, struct lane *lane, struct canal_dock **out,
			       struct weir_error *err);
void canal_dock_leave(struct canal_dock *dock); /* its lane is woken no more */
void canal_dock_destroy(struct canal_dock *dock);

/* As many of the lane's reads are under way as may be. */
bool canal_is_full(const struct canal_dock *dock);

/* True: it is read by the canal, and comes back from canal_next(). */
must_use bool canal_begin(struct canal_dock *dock, struct part *part);

/* A part that came back: it has landed, or is to be read again by the ferry (part->again). */
struct part *canal_next(struct canal_dock *dock);

/* The part's books are done, whichever way it went. */
void canal_saw(struct canal_dock *dock, struct part *part, uint64_t bytes, int code);

/* The object is closed; alive: in the process that opened it. */
void canal_file_close(struct weir_object *object, bool alive);

#endif
