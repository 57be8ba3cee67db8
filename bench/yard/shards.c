/* SPDX-License-Identifier: Apache-2.0 */
/*
 * shards - open, read the head, close, for each of many files
 *
 *	shards [-b HEAD] [-n TIMES] FILE...
 *
 * The least that a program must do to learn what many shards hold.  All files are gone through TIMES
 * times inside the window, HEAD bytes of each.
 */
#include "yard.h"

#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

static int read_head(const char *path, void *to, size_t head, struct yard_window *window)
{
	int fd = open(path, O_RDONLY | O_CLOEXEC);

	if (fd < 0)
		return yard_fail("%s", path);
	ssize_t got = pread(fd, to, head, 0);
	close(fd);
	if (got < 0)
		return yard_fail("%s: pread", path);
	window->bytes += (uint64_t)got;
	window->requests++;
	return 0;
}

int main(int argc, char **argv)
{
	struct yard_window window = {0};
	size_t head = 4096;
	int option, times = 1;

	while ((option = getopt(argc, argv, "b:n:")) != -1) {
		if (option == 'b')
			head = yard_size(optarg);
		else if (option == 'n')
			times = atoi(optarg);
		else
			return 2;
	}
	void *to = malloc(head);
	if (!to)
		return 1;
	yard_begin(&window);
	for (int i = 0; i < times; i++)
		for (int file = optind; file < argc; file++)
			if (read_head(argv[file], to, head, &window) < 0) {
				free(to);
				return 1;
			}
	yard_end(&window);
	yard_print(stdout, &window);
	free(to);
	return 0;
}
