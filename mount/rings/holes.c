/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads of a ring that forbids holes: what the file system says of the range that was read.
 *
 * It may be long in saying so, and is asked by an errand; but for a file system that is known to be of this
 * machine, which is asked at once from the second request on.
 */
#include <errno.h>
#include <linux/magic.h>
#include <sys/vfs.h>
#include <unistd.h>

#include "base/compiler.h"
#include "mount/rings/server.h"

/*
 * A hole with data behind it, or with the end of the file inside the request, is -ENODATA; a request
 * that ends in a hole is short.  Where the file system cannot tell, there is no hole.
 */
int64_t hole_result(int fd, uint64_t offset, uint64_t length, int64_t result)
{
	off_t at = (off_t)offset, stop = at + (off_t)result, hole, data;

	if (fd < 0 || result <= 0)
		return result;
	hole = lseek(fd, at, SEEK_HOLE);
	if (hole < 0 || hole >= stop)
		return result;
	data = lseek(fd, hole, SEEK_DATA);
	if (data < 0 ? errno != ENXIO : data < stop)
		return data < 0 ? result : -ENODATA;
	return (uint64_t)result < length ? -ENODATA : hole - at;
}

static bool is_local(int fd)
{
	static const uint32_t kinds[] = {EXT4_SUPER_MAGIC, XFS_SUPER_MAGIC, BTRFS_SUPER_MAGIC,
					 TMPFS_MAGIC, F2FS_SUPER_MAGIC};
	struct statfs fs;

	if (fstatfs(fd, &fs))
		return false;
	for (size_t i = 0; i < array_size(kinds); i++)
		if ((uint32_t)fs.f_type == kinds[i])
			return true;
	return false;
}

/* The errand: the request is the server's again. */
static void look(struct errand *errand)
{
	struct request *request = container_of(errand, struct request, errand);
	struct server *server = request->grip->server;
	struct weir_feed_io *io = &request->io;

	request->found.result = hole_result(request->grip->fd, io->offset, io->length, io->result);
	request->found.local = is_local(request->grip->fd);
	lock_take(&server->lock);
	list_push(&server->looked, &request->waiting);
	atomic_store(&server->came, true);
	if (!server->over)
		weir_feed_wake(server->feed);
	lock_drop(&server->lock);
}

bool holes_ask(struct server *server, struct request *request)
{
	struct grip *grip = request->grip;

	if (!request->ring->for_read || !request->ring->no_holes || grip->local || grip->fd < 0 ||
	    request->io.result <= 0)
		return false;
	request->errand = (struct errand){.uid = grip->uid, .run = look};
	if (errand_post(server->errands, &request->errand))
		return false;
	request->looking = true;
	server->looking++;
	return true;
}

void holes_settle(struct server *server)
{
	struct list looked, *link;

	list_init(&looked);
	lock_take(&server->lock);
	while ((link = list_pop(&server->looked)))
		list_push(&looked, link);
	lock_drop(&server->lock);
	while ((link = list_pop(&looked))) {
		struct request *request = list_entry(link, struct request, waiting);

		request->looking = false;
		server->looking--;
		request->grip->local = request->found.local;
		request_end(server, request, request->found.result);
	}
}
