/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Open files by path, and the calls that use them.
 *
 * A path is looked at before each use: where it has come to mean another file, or another version of
 * the file, the table's entry goes and the path is opened again, unless its header was handed out
 * before; then bytes of another version would be read with the wrong header, and that is an error.
 * A path that is gone still means the file that it was.
 *
 * The look is a helper thread's, for it may hang with a server.  Where the kernel knows by itself
 * that the path leads there still a read begins without it, and is made again behind one if the
 * file turns out to be another.
 */
#include <errno.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/mman.h>
#include <time.h>
#include <unistd.h>

#include "reader.h"

#define NS_PER_SEC INT64_C(1000000000)

static int64_t now_ns(void)
{
	struct timespec now;

	clock_gettime(CLOCK_MONOTONIC, &now);
	return now.tv_sec * NS_PER_SEC + now.tv_nsec;
}

int reader_fail(struct reader_call *call, int code, int os_errno, const char *path, const char *why)
{
	struct weir_error *err = call->err;

	*err = (struct weir_error)WEIR_ERROR_INIT;
	err->code = code;
	err->os_errno = os_errno;
	snprintf(err->object, sizeof(err->object), "%s", path);
	snprintf(err->message, sizeof(err->message), "%.400s: %s", path, why);
	return code;
}

/* ---- The reader ---- */

void reader_init(struct reader *reader, struct weir_ctx *ctx, uint64_t window_bytes)
{
	reader->ctx = ctx;
	reader->pid = getpid();
	reader->window_bytes = window_bytes;
	reader->timeout_ns = WEIR_FOREVER;
	pthread_mutex_init(&reader->lock, NULL);
}

void reader_fini(struct reader *reader)
{
	reader_close(reader);
	if (reader->window)
		munmap(reader->window, (size_t)reader->window_bytes);
	reader->window = NULL;
	if (reader->pid == getpid())
		pthread_mutex_destroy(&reader->lock);
}

void *reader_window(struct reader *reader)
{
	void *window;

	pthread_mutex_lock(&reader->lock);
	window = reader->window;
	if (!window) {
		window = mmap(NULL, (size_t)reader->window_bytes, PROT_READ | PROT_WRITE,
			      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
		if (window == MAP_FAILED)
			window = NULL;
		reader->window = window;
	}
	pthread_mutex_unlock(&reader->lock);
	return window;
}

/* ---- Calls ---- */

int reader_call_begin(struct reader_call *call)
{
	struct reader *reader = call->reader;
	int ret = weir_cancel_create(reader->ctx, &call->cancel, call->err);

	if (ret < 0)
		return ret;
	call->wake_fd = -1;
	call->asked_ns = now_ns(); /* by who called, just now */
	pthread_mutex_lock(&reader->lock);
	call->policy = reader->policy;
	call->deadline_ns = reader->timeout_ns == WEIR_FOREVER ? WEIR_FOREVER
							       : now_ns() + reader->timeout_ns;
	call->next = reader->calls;
	reader->calls = call;
	pthread_mutex_unlock(&reader->lock);
	return 0;
}

void reader_call_end(struct reader_call *call)
{
	struct reader *reader = call->reader;

	pthread_mutex_lock(&reader->lock);
	for (struct reader_call **at = &reader->calls; *at; at = &(*at)->next)
		if (*at == call) {
			*at = call->next;
			break;
		}
	pthread_mutex_unlock(&reader->lock);
	if (call->wake_fd >= 0)
		close(call->wake_fd);
	weir_cancel_destroy(call->cancel);
}

void reader_cancel(struct reader *reader)
{
	pthread_mutex_lock(&reader->lock);
	for (struct reader_call *call = reader->calls; call; call = call->next) {
		call->cancelled = true;
		weir_cancel_fire(call->cancel);
		if (call->transfer)
			weir_transfer_cancel(call->transfer);
		if (call->wake_fd >= 0)
			eventfd_write(call->wake_fd, 1);
	}
	pthread_mutex_unlock(&reader->lock);
}

bool reader_interrupted(struct reader_call *call)
{
	int64_t now = now_ns();
	bool cancelled;

	if (now - call->asked_ns < READER_ASK_NS)
		return false;
	call->asked_ns = now;
	pthread_mutex_lock(&call->reader->lock);
	cancelled = call->cancelled;
	pthread_mutex_unlock(&call->reader->lock);
	if (!cancelled && call->interrupted)
		cancelled = call->interrupted(call->interrupted_arg);
	if (cancelled && !call->ending_ns)
		call->ending_ns = now;
	return cancelled;
}

/* Who cancelled it before is heard at once. */
static bool be_told(struct reader_call *call)
{
	pthread_mutex_lock(&call->reader->lock);
	if (call->wake_fd < 0)
		call->wake_fd = eventfd(call->cancelled, EFD_CLOEXEC | EFD_NONBLOCK);
	pthread_mutex_unlock(&call->reader->lock);
	return call->wake_fd >= 0;
}

bool reader_sleep(struct reader_call *call, int fd)
{
	struct pollfd fds[] = {{.fd = fd, .events = POLLIN}, {.events = POLLIN}};

	if (fd < 0 || !be_told(call))
		return false;
	fds[1].fd = call->wake_fd;
	if (poll(fds, 2, READER_LONG_MS) < 0 || fds[1].revents)
		call->asked_ns = 0;
	return true;
}

bool reader_gives_up(const struct reader_call *call)
{
	return call->ending_ns && now_ns() - call->ending_ns >= READER_END_NS;
}

int64_t reader_time_left(const struct reader_call *call)
{
	int64_t left;

	if (call->deadline_ns == WEIR_FOREVER)
		return WEIR_FOREVER;
	left = call->deadline_ns - now_ns();
	return left > 0 ? left : 1;
}

/* ---- Paths ---- */

/* "file://" and the absolute path, in which only '%' means something else than itself. */
static char *file_uri(const char *path)
{
	char *here = path[0] == '/' ? strdup("") : getcwd(NULL, 0);
	size_t room, at = 0;
	char *uri;

	if (!here)
		return NULL;
	room = strlen("file:///") + 3 * (strlen(here) + strlen(path)) + 1;
	uri = malloc(room);
	for (const char *part = "file://"; uri && *part; part++)
		uri[at++] = *part;
	for (int i = 0; uri && i < 2; i++) {
		if (i == 1 && path[0] != '/')
			uri[at++] = '/';
		for (const char *c = i ? path : here; *c; c++) {
			uri[at++] = *c;
			if (*c == '%')
				uri[at++] = '2', uri[at++] = '5';
		}
	}
	if (uri)
		uri[at] = '\0';
	free(here);
	return uri;
}

char *reader_uri(const struct reader_call *call, const char *path)
{
	char *uri;

	if (call->policy == READER_FILES)
		return file_uri(path);
	/* A name may look like a URI, and is none. */
	if (path[0] == '/')
		return strdup(path);
	return asprintf(&uri, "./%s", path) < 0 ? NULL : uri;
}

struct weir_object_opts reader_object_opts(const struct reader_call *call)
{
	return (struct weir_object_opts){
		.size = sizeof(struct weir_object_opts),
		.flags = WEIR_OBJECT_NO_CACHED |
			 (call->policy == READER_RINGS ? WEIR_OBJECT_RINGS : 0),
		.timeout_ns = call->deadline_ns == WEIR_FOREVER ? 0 : reader_time_left(call),
		.cancel = call->cancel,
	};
}

int reader_check_kind(struct reader_call *call, const char *path, const struct weir_stat *stat)
{
	if (stat->kind == WEIR_KIND_FILE)
		return 0;
	return stat->kind == WEIR_KIND_DIRECTORY
		       ? reader_fail(call, WEIR_IO, EISDIR, path, "is a directory")
		       : reader_fail(call, WEIR_IO, EINVAL, path, "is not a regular file");
}

/* ---- The table ---- */

static struct reader_file **bucket_of(struct reader *reader, const char *path)
{
	uint64_t hash = UINT64_C(14695981039346656037);

	for (; *path; path++)
		hash = (hash ^ (unsigned char)*path) * UINT64_C(1099511628211);
	return &reader->files[(hash ^ hash >> 32) % READER_BUCKETS];
}

/* With the lock held: where the file of this path is linked in, or where one would be. */
static struct reader_file **place_of(struct reader *reader, const char *path)
{
	struct reader_file **at = bucket_of(reader, path);

	while (*at && strcmp((*at)->path, path) != 0)
		at = &(*at)->next;
	return at;
}

/* With the lock held; true: it was the last, and is for the caller to free. */
static bool drop(struct reader_file *file)
{
	return file && --file->refs == 0;
}

static void destroy(struct reader_file *file)
{
	weir_object_unref(file->object);
	free(file);
}

void reader_file_put(struct reader *reader, struct reader_file *file)
{
	bool last;

	pthread_mutex_lock(&reader->lock);
	last = drop(file);
	pthread_mutex_unlock(&reader->lock);
	if (last)
		destroy(file);
}

static struct reader_file *look_up(struct reader *reader, const char *path)
{
	struct reader_file *file;

	pthread_mutex_lock(&reader->lock);
	file = *place_of(reader, path);
	if (file)
		file->refs++;
	pthread_mutex_unlock(&reader->lock);
	return file;
}

bool reader_has(struct reader *reader, const char *path)
{
	bool found;

	pthread_mutex_lock(&reader->lock);
	found = *place_of(reader, path);
	pthread_mutex_unlock(&reader->lock);
	return found;
}

/* With the lock held: out of the table; true as drop() has it. */
static bool unlink_at(struct reader *reader, struct reader_file **at)
{
	struct reader_file *file = *at;

	*at = file->next;
	reader->file_count--;
	return drop(file);
}

static void forget(struct reader *reader, const struct reader_file *file)
{
	struct reader_file **at;
	bool last = false;

	pthread_mutex_lock(&reader->lock);
	at = place_of(reader, file->path);
	if (*at == file)
		last = unlink_at(reader, at);
	pthread_mutex_unlock(&reader->lock);
	(void)last; /* never: the caller has a reference */
}

void reader_close(struct reader *reader)
{
	struct reader_file *gone = NULL;
	bool ours = reader->pid == getpid(); /* else the lock may be held for ever, by nobody */

	if (ours)
		pthread_mutex_lock(&reader->lock);
	for (unsigned i = 0; i < READER_BUCKETS; i++)
		while (reader->files[i]) {
			struct reader_file *file = reader->files[i];

			if (unlink_at(reader, &reader->files[i])) {
				file->next = gone;
				gone = file;
			}
		}
	if (ours)
		pthread_mutex_unlock(&reader->lock);
	while (gone) {
		struct reader_file *next = gone->next;

		destroy(gone);
		gone = next;
	}
}

/*
 * Puts it in, in place of what has its path; where that is as good, it stays, and the new one goes.  A
 * reference to the one that is in.
 */
static struct reader_file *insert(struct reader *reader, struct reader_file *file)
{
	struct reader_file *spare = NULL;
	struct reader_file **at, *there;
	bool same;

	pthread_mutex_lock(&reader->lock);
	reader->counters.opens++;
	at = place_of(reader, file->path);
	there = *at;
	same = there && strcmp(there->version, file->version) == 0;
	if (same)
		there->promised = file->promised |= there->promised;
	if (same && (file->shallow || !there->shallow)) {
		spare = file;
		file = there;
	} else {
		if (there && unlink_at(reader, at))
			spare = there;
		file->next = *at;
		*at = file;
		reader->file_count++;
	}
	file->refs++;
	pthread_mutex_unlock(&reader->lock);
	if (spare)
		destroy(spare);
	return file;
}

/* Takes the object over; a reference for the caller. */
static int wrap(struct reader_call *call, const char *path, const struct weir_stat *stat,
		struct weir_object *object, struct reader_file like, struct reader_file **out)
{
	size_t bytes = strlen(path) + 1;
	struct reader_file *file = calloc(1, sizeof(*file) + bytes);

	if (!file) {
		weir_object_unref(object);
		return reader_fail(call, WEIR_NOMEM, ENOMEM, path, "no memory");
	}
	file->refs = 1;
	file->object = object;
	file->promised = like.promised;
	file->shallow = like.shallow;
	memcpy(file->version, stat->version, sizeof(file->version));
	memcpy(file->path, path, bytes);
	*out = insert(call->reader, file);
	return 0;
}

/* ---- Opening ---- */

int reader_file_add(struct reader_call *call, const char *path, const struct weir_stat *stat,
		    struct weir_object *object)
{
	struct reader_file like = {.promised = true, .shallow = stat->direct_align != 0};
	struct reader_file *file;
	int ret = wrap(call, path, stat, object, like, &file);

	if (ret < 0)
		return ret;
	pthread_mutex_lock(&call->reader->lock);
	call->reader->counters.headers++;
	pthread_mutex_unlock(&call->reader->lock);
	reader_file_put(call->reader, file);
	return 0;
}

static int open_new(struct reader_call *call, const char *path, const char *uri,
		    const struct weir_stat *stat, bool promised, struct reader_file **out)
{
	struct weir_object_opts opts = reader_object_opts(call);
	struct reader_file like = {.promised = promised};
	struct weir_object *object = NULL;
	int ret = reader_check_kind(call, path, stat);

	if (ret == 0)
		ret = weir_object_open(call->reader->ctx, uri, &opts, &object, call->err);
	return ret < 0 ? ret : wrap(call, path, stat, object, like, out);
}

/* Of what the path means now: the file that is open, or one that takes its place. */
static int renew(struct reader_call *call, const char *path, const char *uri,
		 const struct weir_stat *stat, struct reader_file **file)
{
	struct reader_file *old = *file;
	bool promised = old && old->promised;
	int ret;

	if (old && strcmp(old->version, stat->version) == 0 && !old->shallow)
		return 0;
	*file = NULL;
	if (old && strcmp(old->version, stat->version) != 0) {
		forget(call->reader, old);
		if (promised)
			ret = reader_fail(call, WEIR_CHANGED, ESTALE, path,
					  "is not the file any more whose header was read");
		else
			ret = open_new(call, path, uri, stat, false, file);
	} else {
		ret = open_new(call, path, uri, stat, promised, file);
	}
	if (old)
		reader_file_put(call->reader, old);
	return ret;
}

struct reader_file *reader_file_here(struct reader_call *call, const char *path)
{
	struct reader_file *file = look_up(call->reader, path);

	if (file && !file->shallow && weir_object_in_place(file->object))
		return file;
	if (file)
		reader_file_put(call->reader, file);
	return NULL;
}

int reader_file_get(struct reader_call *call, const char *path, struct reader_file **out)
{
	struct weir_object_opts opts = reader_object_opts(call);
	struct reader_file *file;
	struct weir_stat stat;
	char *uri;
	int ret;

	if (!*path)
		return reader_fail(call, WEIR_NOTFOUND, ENOENT, path, "an empty path");
	uri = reader_uri(call, path);
	if (!uri)
		return reader_fail(call, WEIR_NOMEM, ENOMEM, path, "no memory");
	file = look_up(call->reader, path);
	ret = weir_stat(call->reader->ctx, uri, &opts, &stat, call->err);
	if (ret == 0)
		ret = renew(call, path, uri, &stat, &file);
	else if (ret == WEIR_NOTFOUND && file)
		ret = 0;
	else if (file)
		reader_file_put(call->reader, file);
	free(uri);
	if (ret == 0)
		*out = file;
	return ret;
}
