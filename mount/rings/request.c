/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Is a request allowed, and what does it ask for?
 *
 * All of it is judged on the copy that was taken at the claim; nothing here looks at the client's memory.
 * The order of the checks is the protocol's: read-only, file, iov, range, block.
 */
#include <errno.h>

#include "base/size.h"
#include "mount/rings/server.h"

/* Does it reach over the end of a block of the iov? */
static bool crosses(const struct share *iov, const struct usrbio_args *args)
{
	uint64_t block = iov->key.block_bytes;

	return block && args->length &&
	       args->iov_offset / block != (args->iov_offset + args->length - 1) / block;
}

static bool in_file(const struct usrbio_args *args)
{
	return size_inside(args->file_offset, args->length, INT64_MAX);
}

/* 0 or an errno; on 0 use and grip are those of the request. */
static int judge(struct server *server, struct ring *ring, const struct usrbio_claim *claim,
		 struct request *out)
{
	const struct usrbio_args *args = &claim->args;
	int ret;

	if (server->read_only && !ring->for_read)
		return EROFS;
	if (claim->error)
		return -claim->error;
	/* Looked for first, since its name may go while the file is asked for; judged second. */
	out->use = use_find(server, ring, args->iov);
	ret = grip_find(server, ring, args->file, &out->grip);
	if (ret)
		return ret;
	if (!out->use || !size_inside(args->iov_offset, args->length, out->use->share->bytes) ||
	    crosses(out->use->share, args) || !in_file(args))
		return EINVAL;
	return 0;
}

bool claim_judge(struct server *server, struct ring *ring, const struct usrbio_claim *claim,
		 struct request *out, int64_t *result)
{
	const struct usrbio_args *args = &claim->args;
	int ret = judge(server, ring, claim, out);

	if (ret || args->length == 0) {
		*result = -ret;
		return true;
	}
	out->ring = ring;
	out->index = claim->index;
	out->userdata = claim->userdata;
	out->io = (struct weir_feed_io){
		.object = out->grip->object,
		.memory = (char *)out->use->share->memory + args->iov_offset,
		.offset = args->file_offset,
		.length = args->length,
		.flags = ring->for_read ? 0 : WEIR_FEED_WRITE,
		.region = out->use->region,
	};
	return false;
}
