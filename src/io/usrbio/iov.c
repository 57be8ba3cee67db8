/* SPDX-License-Identifier: Apache-2.0 */
#include "io/usrbio/iov.h"

#include <errno.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

#include "base/error.h"
#include "io/usrbio/layout.h"

static int refuse_sizes(const struct usrbio_session *session, uint64_t bytes, uint64_t block_bytes,
			struct weir_error *err)
{
	const char *mount = usrbio_session_mount(session);

	if (bytes && block_bytes <= bytes)
		return 0;
	return error_sys(err, EINVAL, mount, "%s: a buffer of %ju bytes in blocks of %ju", mount,
			 (uintmax_t)bytes, (uintmax_t)block_bytes);
}

static void unlink_name(struct usrbio_iov *iov)
{
	if (iov->named)
		usrbio_shm_unlink(usrbio_session_sys(iov->session),
				  usrbio_session_shm_dir(iov->session), iov->shm.name);
	iov->named = false;
}

/* Makes the link to the object's name. */
static int link_iov(struct usrbio_iov *iov, struct weir_error *err)
{
	char key[USRBIO_KEY_MAX], target[sizeof(USRBIO_SHM) + USRBIO_SHM_NAME_MAX];
	int ret;

	if (usrbio_uuid_random(usrbio_session_sys(iov->session), iov->key.id))
		return error_sys(err, EIO, usrbio_session_mount(iov->session), "a random id");
	usrbio_key_format(&iov->key, key);
	snprintf(target, sizeof(target), USRBIO_SHM "/%s", iov->shm.name);
	ret = usrbio_session_link(iov->session, key, target, err);
	iov->linked = ret == 0;
	return ret;
}

int usrbio_iov_create(struct usrbio_session *session, const struct usrbio_iov_opts *opts,
		      struct usrbio_iov *out, struct weir_error *err)
{
	struct usrbio_iov iov = {.key.block_bytes = opts->block_bytes, .created = true};
	int ret = refuse_sizes(session, opts->bytes, opts->block_bytes, err);

	if (ret)
		return ret;
	ret = usrbio_shm_create(usrbio_session_sys(session), usrbio_session_shm_dir(session),
				opts->bytes, opts->mode ? opts->mode : 0600, opts->node, &iov.shm,
				err);
	if (ret)
		return ret;
	usrbio_session_ref(session);
	iov.session = session;
	iov.named = true;
	ret = link_iov(&iov, err);
	if (ret) {
		usrbio_iov_destroy(&iov);
		return ret;
	}
	if (!opts->keep_name)
		unlink_name(&iov);
	*out = iov;
	return 0;
}

int usrbio_iov_register(struct usrbio_session *session, const struct usrbio_shm *shm,
			uint64_t block_bytes, struct usrbio_iov *out, struct weir_error *err)
{
	struct usrbio_iov iov = {.session = session, .shm = *shm, .key.block_bytes = block_bytes};
	int ret = refuse_sizes(session, shm->bytes, block_bytes, err);

	if (!ret)
		ret = link_iov(&iov, err);
	if (ret)
		return ret;
	usrbio_session_ref(session);
	*out = iov;
	return 0;
}

int usrbio_iov_attach(struct usrbio_session *session, const uint8_t id[16], uint64_t bytes,
		      uint64_t block_bytes, struct usrbio_iov *out, struct weir_error *err)
{
	struct usrbio_iov iov = {.key.block_bytes = block_bytes};
	char key[USRBIO_KEY_MAX], target[USRBIO_MOUNT_MAX];
	int ret = refuse_sizes(session, bytes, block_bytes, err);

	if (ret)
		return ret;
	memcpy(iov.key.id, id, 16);
	usrbio_key_format(&iov.key, key);
	ret = usrbio_session_target(session, key, target, sizeof(target), err);
	if (!ret)
		ret = usrbio_shm_open(usrbio_session_sys(session), usrbio_session_shm_dir(session),
				      target, geteuid(), &iov.shm, err);
	if (ret)
		return ret;
	if (iov.shm.bytes < bytes) {
		usrbio_shm_unmap(usrbio_session_sys(session), &iov.shm);
		return error_sys(err, EINVAL, target, "%s: has %ju bytes, not %ju", target,
				 (uintmax_t)iov.shm.bytes, (uintmax_t)bytes);
	}
	usrbio_session_ref(session);
	iov.session = session;
	*out = iov;
	return 0;
}

void usrbio_iov_unlink(struct usrbio_iov *iov)
{
	if (iov->session && usrbio_session_mine(iov->session))
		unlink_name(iov);
}

/* A forked child only unmaps: names and registration are its parent's. */
void usrbio_iov_destroy(struct usrbio_iov *iov)
{
	struct usrbio_session *session = iov->session;
	char key[USRBIO_KEY_MAX];

	if (!session)
		return;
	if (usrbio_session_mine(session)) {
		usrbio_key_format(&iov->key, key);
		if (iov->linked && usrbio_session_health(session) != USRBIO_GONE)
			usrbio_session_unlink(session, key, NULL);
		unlink_name(iov);
	}
	if (iov->created || !iov->linked)
		usrbio_shm_unmap(usrbio_session_sys(session), &iov->shm);
	usrbio_session_put(session);
	*iov = (struct usrbio_iov){0};
}
