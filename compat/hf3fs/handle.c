/* SPDX-License-Identifier: Apache-2.0 */
#include "compat/hf3fs/handle.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "base/thread.h"

static struct lock lock = {PTHREAD_MUTEX_INITIALIZER};
static struct list alive = {&alive, &alive};

struct handle *handle_create(void)
{
	struct handle *handle = calloc(1, sizeof(*handle));

	if (!handle)
		return NULL;
	lock_take(&lock);
	list_push(&alive, &handle->link);
	lock_drop(&lock);
	return handle;
}

/* With the lock held. */
static struct handle *find(const void *value)
{
	list_for_each(link, &alive)
		if (list_entry(link, struct handle, link) == value)
			return list_entry(link, struct handle, link);
	return NULL;
}

struct handle *handle_take(void *value, bool ring)
{
	struct handle *handle;

	lock_take(&lock);
	handle = find(value);
	if (handle && (handle->ring != NULL) != ring)
		handle = NULL;
	if (handle)
		list_remove(&handle->link);
	lock_drop(&lock);
	return handle;
}

void handle_with_iov(void *value, void (*call)(struct usrbio_iov *iov))
{
	struct handle *handle;

	lock_take(&lock);
	handle = find(value);
	if (handle && !handle->ring)
		call(&handle->iov);
	lock_drop(&lock);
}

int handle_session(const char *mount, struct usrbio_session **out)
{
	struct weir_error err = WEIR_ERROR_INIT;
	int ret;

	if (!mount || strlen(mount) >= USRBIO_MOUNT_MAX)
		return -EINVAL;
	ret = usrbio_session_get(sys_real(), mount, out, &err);
	return ret < 0 ? handle_failed("opening the mount", ret, &err) : 0;
}

static int errno_of(int code)
{
	switch (code) {
	case WEIR_ARG:
		return EINVAL;
	case WEIR_NOMEM:
		return ENOMEM;
	case WEIR_NOSPACE:
		return ENOSPC;
	case WEIR_NOTFOUND:
		return ENOENT;
	case WEIR_DENIED:
		return EACCES;
	case WEIR_LIMIT:
		return EMFILE;
	case WEIR_TIMEOUT:
		return ETIMEDOUT;
	case WEIR_CLOSED:
		return EPERM;
	case WEIR_PROTO:
		return EPROTO;
	case WEIR_PEER_GONE:
		return ENOTCONN;
	default:
		return EIO;
	}
}

/* As the vendor's levels are written; FATAL is for what we never do. */
static bool wanted(void)
{
	/* NOLINTNEXTLINE(concurrency-mt-unsafe): the interface says that it is read here */
	const char *level = getenv("HF3FS_USRBIO_LIB_LOG");

	return level && *level && strcmp(level, "FATAL") != 0;
}

int handle_failed(const char *call, int code, const struct weir_error *err)
{
	int saved = err->os_errno ? err->os_errno : errno_of(code);

	if (wanted())
		fprintf(stderr, "libhf3fs_api_shared (weir): %s: %s\n", call, err->message);
	return -saved;
}
