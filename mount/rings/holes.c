/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reads of a ring that forbids holes: what the file system says of the range that was read.
 */
#include <errno.h>
#include <unistd.h>

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
