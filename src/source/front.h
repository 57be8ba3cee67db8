/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What every source that stands in front of another needs: names are handed on, objects are wrapped,
 * and requests go through slots.
 *
 *	outer request ---> slot: inner request ---> the next lane
 *	                    |  ^
 *	                    v  | its time has come
 *	                   waiting
 *
 * A slot holds a request of its own for the next lane, over the same memory; it hands one on at a
 * time, so no two requests ever own that memory.  Two hooks make a source of it: begin() as a request
 * comes in, back() as it comes back.
 */
#ifndef SOURCE_FRONT_H
#define SOURCE_FRONT_H

#include "source/source.h"

struct front;
struct front_lane;

struct front_slot {
	struct request inner;  /* the next lane's, while passed_on */
	struct request *outer; /* whose memory it is */
	struct list link;      /* free, or waiting by due time */
	int64_t due_ns;        /* a waiting one: when it goes on */
	bool passed_on;
	bool ended;     /* a waiting one: it goes back instead, with the inner result */
	bool cancelled; /* asked for */
	bool stuck;     /* a waiting one: not called back by cancel() */
	uint64_t note[2];
};

struct front_hooks {
	/*
	 * Before a request is handed on.  May set due_ns to a later time, or `ended` and the inner
	 * result.  A negative code refuses it.  May be NULL.
	 */
	int (*begin)(struct front *front, struct front_slot *slot);

	/* It came back.  True: hand it back; false: again, at due_ns. */
	bool (*back)(struct front *front, struct front_slot *slot);
};

/* Embedded first by the sources themselves. */
struct front {
	struct source source;
	struct source_ops ops; /* with the features of the next: nothing is lost on the way */
	struct source *next;   /* owned */
	const struct front_hooks *hooks;
};

static inline struct front *front(struct source *source)
{
	return container_of(source, struct front, source);
}

/* What ops leave out is handed on to the next source: they name what is done otherwise. */
void front_init(struct front *front, const struct source_ops *ops, const struct front_hooks *hooks,
		struct source *next);
void front_fini(struct front *front); /* destroys the next */

/* ---- Handing on, for those that do something else besides ---- */

int front_open(struct source *source, const char *path, const char *uri,
	       const struct source_how *how, struct source_object **out, struct weir_error *err);
int front_stat(struct source *source, const char *path, const char *uri,
	       const struct source_how *how, struct weir_stat *out, struct weir_error *err);
int front_describe(struct source_object *object, struct weir_stat *out, struct weir_error *err);
int64_t front_read(struct source_object *object, void *to, uint64_t offset, uint64_t length,
		   struct weir_error *err);
int front_list(struct source *source, const char *path, const char *uri, struct source_listing *out,
	       struct weir_error *err);
int front_create(struct source *source, const char *path, const char *uri, uint64_t size_bytes,
		 const struct source_how *how, struct source_object **out, struct weir_error *err);
int front_commit(struct source_object *object, int durability, struct weir_error *err);
int front_check(struct source_object *object, struct weir_error *err);

/* ---- Between front.c and front_lane.c ---- */

#define FRONT_HAND_ON(ops, what) ((ops)->what = (ops)->what ? (ops)->what : front_##what)
#define FRONT_HAND_ON_IF(ops, next, what)                                                          \
	((next)->what ? FRONT_HAND_ON(ops, what) : ((ops)->what = NULL))

/* The object that one of ours stands in front of. */
struct source_object *front_next_object(struct source_object *object);

void front_hand_on_lanes(struct source_ops *ops, const struct source_ops *next);

#endif
