/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Names and objects of a source in front of another: handed on, wrapped.
 */
#include "source/front.h"

#include <stdlib.h>

#include "base/error.h"

struct front_object {
	struct source_object object;
	struct source_object *next; /* owned; the URI, too, is its */
};

static struct front_object *front_object(struct source_object *object)
{
	return container_of(object, struct front_object, object);
}

/* An object around the next one, which is closed where that fails. */
static int wrap(struct source *source, struct source_object *next, struct source_object **out,
		struct weir_error *err)
{
	struct front_object *object = malloc(sizeof(*object));
	int ret;

	if (!object) {
		ret = error_nomem(err, next->uri, "the object");
		next->source->ops->close(next);
		return ret;
	}
	*object = (struct front_object){.object = *next, .next = next};
	object->object.source = source;
	*out = &object->object;
	return 0;
}

struct source_object *front_next_object(struct source_object *object)
{
	return front_object(object)->next;
}

int front_open(struct source *source, const char *path, const char *uri,
	       const struct source_how *how, struct source_object **out, struct weir_error *err)
{
	struct source *next = front(source)->next;
	struct source_object *object;
	int ret = next->ops->open(next, path, uri, how, &object, err);

	return ret ? ret : wrap(source, object, out, err);
}

static int front_adopt(struct source *source, int fd, const char *uri, const struct source_how *how,
		       struct source_object **out, struct weir_error *err)
{
	struct source *next = front(source)->next;
	struct source_object *object;
	int ret = next->ops->adopt(next, fd, uri, how, &object, err);

	return ret ? ret : wrap(source, object, out, err);
}

static int cannot(const struct source *next, const char *uri, struct weir_error *err)
{
	return error_set(err, WEIR_UNSUPPORTED, uri, "%s: '%s' has no such thing", uri,
			 next->ops->scheme);
}

int front_stat(struct source *source, const char *path, const char *uri,
	       const struct source_how *how, struct weir_stat *out, struct weir_error *err)
{
	struct source *next = front(source)->next;

	return next->ops->stat(next, path, uri, how, out, err);
}

int front_describe(struct source_object *object, struct weir_stat *out, struct weir_error *err)
{
	struct source_object *next = front_next_object(object);

	return next->source->ops->describe(next, out, err);
}

int64_t front_read(struct source_object *object, void *to, uint64_t offset, uint64_t length,
		   struct weir_error *err)
{
	struct source_object *next = front_next_object(object);

	return next->source->ops->read(next, to, offset, length, err);
}

int front_list(struct source *source, const char *path, const char *uri, struct source_listing *out,
	       struct weir_error *err)
{
	struct source *next = front(source)->next;

	if (!(next->ops->features & SOURCE_LISTS))
		return cannot(next, uri, err);
	return next->ops->list(next, path, uri, out, err);
}

int front_create(struct source *source, const char *path, const char *uri, uint64_t size_bytes,
		 const struct source_how *how, struct source_object **out, struct weir_error *err)
{
	struct source *next = front(source)->next;
	struct source_object *object;
	int ret;

	if (!(next->ops->features & SOURCE_WRITES))
		return cannot(next, uri, err);
	ret = next->ops->create(next, path, uri, size_bytes, how, &object, err);
	return ret ? ret : wrap(source, object, out, err);
}

static int front_clone(struct source_object *to, struct source_object *from,
		       const struct source_pace *pace, struct weir_error *err)
{
	struct source_object *next = front_next_object(to);

	if (from->source != to->source)
		return error_set(err, WEIR_UNSUPPORTED, to->uri, "%s: cannot share bytes with %s",
				 to->uri, from->uri);
	return next->source->ops->clone(next, front_next_object(from), pace, err);
}

int front_commit(struct source_object *object, int durability, struct weir_error *err)
{
	struct source_object *next = front_next_object(object);
	int ret = next->source->ops->commit(next, durability, err);

	object->writing = next->writing;
	object->size_bytes = next->size_bytes;
	return ret;
}

static int front_abort(struct source_object *object, struct weir_error *err)
{
	struct source_object *next = front_next_object(object);
	int ret = next->source->ops->abort(next, err);

	object->writing = next->writing;
	return ret;
}

static int front_mkdir(struct source *source, const char *path, const char *uri,
		       struct weir_error *err)
{
	struct source *next = front(source)->next;

	if (!(next->ops->features & SOURCE_WRITES))
		return cannot(next, uri, err);
	return next->ops->mkdir(next, path, uri, err);
}

static void front_close(struct source_object *object)
{
	struct source_object *next = front_next_object(object);

	next->source->ops->close(next);
	free(front_object(object));
}

int front_check(struct source_object *object, struct weir_error *err)
{
	struct source_object *next = front_next_object(object);

	return next->source->ops->check(next, err);
}

static int front_way(struct source_object *object, uint64_t offset, uint64_t length,
		     uint64_t *until)
{
	struct source_object *next = front_next_object(object);

	return next->source->ops->way(next, offset, length, until);
}

static int front_map(struct source_object *object, uint64_t offset, uint64_t length,
		     struct source_view *out)
{
	struct source_object *next = front_next_object(object);

	return next->source->ops->map(next, offset, length, out);
}

static bool front_in_place(struct source_object *object)
{
	struct source_object *next = front_next_object(object);

	return next->source->ops->in_place(next);
}

static int front_duplicate(struct source_object *object)
{
	struct source_object *next = front_next_object(object);

	return next->source->ops->duplicate(next);
}

static bool front_reaches(struct source *source, const void *memory, uint64_t length)
{
	struct source *next = front(source)->next;

	return next->ops->reaches(next, memory, length);
}

static void front_choice(struct source *source, struct weir_choice *out)
{
	struct source *next = front(source)->next;

	next->ops->choice(next, out);
}

/* What the source itself does not do is handed on. */
static void hand_on(struct source_ops *ops, const struct source_ops *next)
{
	FRONT_HAND_ON(ops, open);
	FRONT_HAND_ON(ops, stat);
	FRONT_HAND_ON(ops, describe);
	FRONT_HAND_ON(ops, read);
	FRONT_HAND_ON(ops, list);
	FRONT_HAND_ON(ops, create);
	FRONT_HAND_ON(ops, commit);
	FRONT_HAND_ON(ops, abort);
	FRONT_HAND_ON(ops, mkdir);
	FRONT_HAND_ON(ops, close);
	FRONT_HAND_ON(ops, check);
	FRONT_HAND_ON(ops, way);
	FRONT_HAND_ON(ops, choice);
	FRONT_HAND_ON_IF(ops, next, clone);
	FRONT_HAND_ON_IF(ops, next, map);
	FRONT_HAND_ON_IF(ops, next, duplicate);
	FRONT_HAND_ON_IF(ops, next, in_place);
	FRONT_HAND_ON_IF(ops, next, adopt);
	FRONT_HAND_ON_IF(ops, next, reaches);
}

void front_init(struct front *front, const struct source_ops *ops, const struct front_hooks *hooks,
		struct source *next)
{
	front->ops = *ops;
	front->ops.features = next->ops->features;
	hand_on(&front->ops, next->ops);
	front_hand_on_lanes(&front->ops, next->ops);
	front->source.ops = &front->ops;
	front->source.env = next->env;
	front->next = next;
	front->hooks = hooks;
}

void front_fini(struct front *front)
{
	front->next->ops->destroy(front->next);
}
