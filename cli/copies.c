/* SPDX-License-Identifier: Apache-2.0 */
#include "copies.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "pump.h"
#include "report.h"
#include "session.h"

#define DIRECTORIES_MAX 1000000u

/* Directories that are still to be walked: a queue that only grows. */
struct walk {
	struct copies *copies;
	const struct copies_how *how;
	struct copy *queue; /* owned */
	size_t next, count;
};

static int nomem(struct weir_error *err)
{
	return report_set(err, WEIR_NOMEM, NULL, "a list of files: out of memory");
}

/* Appends; takes both names.  Grows by doubling: full where the count is a power of two. */
static int append(struct copy **list, size_t *count, struct copy copy, struct weir_error *err)
{
	if ((*count & (*count - 1)) == 0) {
		size_t room = *count ? *count * 2 : 1;
		struct copy *bigger = reallocarray(*list, room, sizeof(*bigger));

		if (!bigger) {
			free(copy.from);
			free(copy.to);
			return nomem(err);
		}
		*list = bigger;
	}
	if (!copy.from || !copy.to) {
		free(copy.from);
		free(copy.to);
		return nomem(err);
	}
	(*list)[(*count)++] = copy;
	return 0;
}

static int add_file(struct walk *walk, char *from, char *to, const struct weir_stat *stat,
		    struct weir_error *err)
{
	struct copy copy = {from, to, stat->size_bytes, stat->modified_ns};

	walk->copies->bytes += stat->size_bytes;
	return append(&walk->copies->list, &walk->copies->count, copy, err);
}

static int add_directory(struct walk *walk, char *from, char *to, struct weir_error *err)
{
	if (walk->count >= DIRECTORIES_MAX) {
		report_set(err, WEIR_LIMIT, from, "%s: more than %u directories", from,
			   DIRECTORIES_MAX);
		free(from);
		free(to);
		return WEIR_LIMIT;
	}
	return append(&walk->queue, &walk->count, (struct copy){.from = from, .to = to}, err);
}

static int add(struct walk *walk, char *from, char *to, const struct weir_stat *stat,
	       struct weir_error *err)
{
	const char *why;

	if (stat->kind == WEIR_KIND_FILE)
		return add_file(walk, from, to, stat, err);
	if (stat->kind != WEIR_KIND_DIRECTORY)
		why = "is neither a file nor a directory";
	else if (!walk->how->recursive)
		why = "is a directory; -r copies those";
	else if (session_loops(from))
		why = "is a link to a directory that it lies in";
	else
		return add_directory(walk, from, to, err);
	report_set(err, WEIR_ARG, from, "%s: %s", from, why);
	free(from);
	free(to);
	return WEIR_ARG;
}

static struct weir_object_opts object_opts(const struct copies_how *how)
{
	return (struct weir_object_opts){.size = sizeof(struct weir_object_opts),
					 .cancel = how->cancel};
}

static bool is_directory(const struct copies_how *how, const char *uri)
{
	struct weir_object_opts opts = object_opts(how);
	struct weir_error err = WEIR_ERROR_INIT;
	struct weir_stat stat = {0};

	return weir_stat(how->ctx, uri, &opts, &stat, &err) == 0 &&
	       stat.kind == WEIR_KIND_DIRECTORY;
}

static int walk_directory(struct walk *walk, const char *from, const char *to,
			  struct weir_error *err)
{
	struct weir_object_opts opts = object_opts(walk->how);
	struct weir_listing *listing = NULL;
	struct weir_entry entry;
	int ret = 0, more = 0;

	if (!is_directory(walk->how, to)) {
		ret = weir_mkdir(walk->how->ctx, to, err);
		if (!ret)
			ret = session_restrict(to, session_mode(from), err);
	}
	if (!ret)
		ret = weir_list_open(walk->how->ctx, from, &opts, &listing, err);
	while (!ret && (more = weir_list_next(listing, &entry, err)) > 0) {
		char *entry_from = session_join(from, entry.name),
		     *entry_to = session_join(to, entry.name);
		struct weir_stat stat = entry.stat;

		/* What a listing calls other may be a link. */
		if (entry_from && stat.kind == WEIR_KIND_OTHER)
			ret = weir_stat(walk->how->ctx, entry_from, &opts, &stat, err);
		if (ret || !entry_from || !entry_to) {
			free(entry_from);
			free(entry_to);
			ret = ret ? ret : nomem(err);
		} else {
			ret = add(walk, entry_from, entry_to, &stat, err);
		}
	}
	weir_list_close(listing);
	return ret ? ret : more;
}

/* Where a source goes: into a directory that is there, or to the name itself.  NULL: out of memory. */
static char *target_of(const struct walk *walk, const char *from, const char *to, bool into,
		       bool directory)
{
	char *name = into ? session_name(from) : NULL,
	     *target = name ? session_join(to, name) : NULL;

	free(name);
	if (!into)
		return strdup(to);
	if (target && directory && walk->how->resume && !is_directory(walk->how, target)) {
		free(target);
		return strdup(to);
	}
	return target;
}

static int start_at(struct walk *walk, const char *from, const char *to, bool into,
		    struct weir_error *err)
{
	struct weir_object_opts opts = object_opts(walk->how);
	struct weir_stat stat = {0};
	const char *why = NULL;
	bool directory;
	char *target;
	int ret = weir_stat(walk->how->ctx, from, &opts, &stat, err);

	if (ret)
		return ret;
	directory = stat.kind == WEIR_KIND_DIRECTORY;
	target = target_of(walk, from, to, into, directory);
	if (!target)
		return nomem(err);
	if (directory && session_inside(target, from))
		why = "cannot be copied into itself";
	else if (session_same(from, target))
		why = "is the file that it would be copied to";
	if (!why)
		return add(walk, strdup(from), target, &stat, err);
	free(target);
	return report_set(err, WEIR_ARG, from, "%s: %s", from, why);
}

static int compare_targets(const void *a, const void *b)
{
	return strcmp((*(const struct copy *const *)a)->to, (*(const struct copy *const *)b)->to);
}

/* Two files under one name would be one, and which is anybody's guess. */
static int check_targets(const struct copies *copies, struct weir_error *err)
{
	const struct copy **sorted = calloc(copies->count + 1, sizeof(const struct copy *));
	int ret = 0;

	if (!sorted)
		return nomem(err);
	for (size_t n = 0; n < copies->count; n++)
		sorted[n] = &copies->list[n];
	qsort(sorted, copies->count, sizeof(const struct copy *), compare_targets);
	for (size_t n = 1; n < copies->count && !ret; n++) {
		if (strcmp(sorted[n - 1]->to, sorted[n]->to) == 0)
			ret = report_set(err, WEIR_ARG, sorted[n]->to,
					 "%s: %s and %s would both be copied to it", sorted[n]->to,
					 sorted[n - 1]->from, sorted[n]->from);
	}
	free(sorted);
	return ret;
}

int copies_find(struct copies *copies, const struct texts *arguments, const struct copies_how *how,
		struct weir_error *err)
{
	struct walk walk = {.copies = copies, .how = how};
	const char *to = arguments->items[arguments->count - 1];
	bool into = is_directory(how, to);
	int ret = 0;

	if (arguments->count > 2 && !into)
		return report_set(err, WEIR_NOTFOUND, to, "%s: no such directory", to);
	for (size_t n = 0; n + 1 < arguments->count && !ret; n++)
		ret = start_at(&walk, arguments->items[n], to, into, err);
	for (; walk.next < walk.count && !ret; walk.next++)
		ret = walk_directory(&walk, walk.queue[walk.next].from, walk.queue[walk.next].to,
				     err);
	for (size_t n = 0; n < walk.count; n++) {
		free(walk.queue[n].from);
		free(walk.queue[n].to);
	}
	free(walk.queue);
	return ret ? ret : check_targets(copies, err);
}

void copies_fini(struct copies *copies)
{
	for (size_t n = 0; n < copies->count; n++) {
		free(copies->list[n].from);
		free(copies->list[n].to);
	}
	free(copies->list);
	*copies = (struct copies){0};
}

/* ---- One file ---- */

static int update(void *digest, const void *data, size_t len, struct weir_error *err)
{
	(void)err;
	weir_digest_update(digest, data, len);
	return 0;
}

static int digest_object(const struct copy_how *how, const char *uri, uint8_t out[WEIR_DIGEST_MAX],
			 struct weir_error *err)
{
	struct weir_object_opts opts = {.size = sizeof(opts), .cancel = how->cancel};
	struct weir_object *object = NULL;
	struct weir_digest *digest = NULL;
	struct weir_stat stat = {0};
	struct pump pump = {.ctx = how->ctx, .drain = update};
	int ret = weir_object_open(how->ctx, uri, &opts, &object, err);

	if (!ret)
		ret = weir_object_stat(object, &stat, err);
	if (!ret)
		ret = weir_digest_create(WEIR_DIGEST_XXH3_64, &digest, err);
	if (!ret) {
		pump.from = object;
		pump.size = stat.size_bytes;
		pump.arg = digest;
		ret = pump_run(&pump, err);
	}
	if (!ret)
		weir_digest_value(digest, out);
	weir_digest_destroy(digest);
	weir_object_unref(object);
	return ret;
}

/* Same content: 1; not: 0; or an error. */
static int same_content(const struct copy *copy, const struct copy_how *how, struct weir_error *err)
{
	uint8_t from[WEIR_DIGEST_MAX] = {0}, to[WEIR_DIGEST_MAX] = {0};
	int ret = digest_object(how, copy->from, from, err);

	if (!ret)
		ret = digest_object(how, copy->to, to, err);
	return ret ? ret : memcmp(from, to, sizeof(from)) == 0;
}

/* 1: an earlier copy has finished it. */
static int is_finished(const struct copy *copy, const struct copy_how *how, struct weir_error *err)
{
	struct weir_object_opts opts = {.size = sizeof(opts), .cancel = how->cancel};
	struct weir_error absent = WEIR_ERROR_INIT;
	struct weir_stat stat = {0};

	if (weir_stat(how->ctx, copy->to, &opts, &stat, &absent) != 0 ||
	    stat.kind != WEIR_KIND_FILE || stat.size_bytes != copy->size_bytes)
		return 0;
	if (how->checksum)
		return same_content(copy, how, err);
	return stat.modified_ns >= copy->modified_ns;
}

static bool is_hole(void *arg, uint64_t offset, size_t len)
{
	off_t data = lseek(*(int *)arg, (off_t)offset, SEEK_DATA);

	return data < 0 ? errno == ENXIO : (uint64_t)data >= offset + len;
}

/* Shares blocks where the file system can; else moves the bytes, but for holes.  holes: a descriptor that
 * tells of them, or -1. */
static int copy_content(const struct copy_how *how, struct weir_object *from,
			struct weir_object *to, uint64_t size_bytes, int holes,
			struct weir_error *err)
{
	struct pump pump = {
		.ctx = how->ctx,
		.size = size_bytes,
		.from = from,
		.to = to,
		.done_bytes = how->done_bytes,
		.hole = holes >= 0 ? is_hole : NULL,
		.arg = &holes,
	};
	int ret = weir_object_clone(to, from, how->cancel, err);

	if (ret == WEIR_UNSUPPORTED) {
		*err = (struct weir_error)WEIR_ERROR_INIT;
		return pump_run(&pump, err);
	}
	if (!ret)
		atomic_fetch_add_explicit(how->done_bytes, size_bytes, memory_order_relaxed);
	return ret;
}

static int copy_whole(const struct copy *copy, const struct copy_how *how, struct weir_error *err)
{
	struct weir_object_opts opts = {.size = sizeof(opts), .cancel = how->cancel};
	struct weir_object_opts new = {.size = sizeof(new), .mode = session_mode(copy->from)};
	struct weir_object *from = NULL, *to = NULL;
	int holes = session_open_sparse(copy->from);
	struct weir_stat stat = {0};
	int ret = weir_object_open(how->ctx, copy->from, &opts, &from, err);

	new.flags = holes >= 0 ? WEIR_OBJECT_SPARSE : 0;

	/* As it was opened: it may have grown since the walk.  Making the copy is not to be cancelled:
	 * what it makes is ours to remove, and not some thread's, some time. */
	if (!ret)
		ret = weir_object_stat(from, &stat, err);
	if (!ret)
		ret = weir_object_create(how->ctx, copy->to, stat.size_bytes, &new, &to, err);
	if (!ret)
		ret = copy_content(how, from, to, stat.size_bytes, holes, err);
	if (!ret)
		ret = weir_object_commit(to, WEIR_DURABLE_NO, err);
	weir_object_unref(to);
	weir_object_unref(from);
	if (holes >= 0)
		close(holes);
	return ret;
}

int copy_file(const struct copy *copy, const struct copy_how *how, bool *skipped,
	      struct weir_error *err)
{
	int ret = how->resume ? is_finished(copy, how, err) : 0;

	*skipped = ret > 0;
	if (ret < 0)
		return ret;
	if (ret > 0) {
		atomic_fetch_add_explicit(how->done_bytes, copy->size_bytes, memory_order_relaxed);
		return 0;
	}
	ret = copy_whole(copy, how, err);
	if (ret || !how->checksum)
		return ret;
	ret = same_content(copy, how, err);
	if (ret < 0)
		return ret;
	return ret ? 0
		   : report_set(err, WEIR_INTEGRITY, copy->to,
				"%s: its content differs from that of %s", copy->to, copy->from);
}
