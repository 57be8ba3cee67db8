/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir-mount: a directory as a 3FS.  `weir mount` starts it.
 *
 * mount/life/ brings the process up and takes it down, session.c the mount; told.c stands between.
 */
#include <poll.h>
#include <stdio.h>

#include "base/clock.h"
#include "mount/life/life.h"
#include "mount/life/start.h"
#include "mount/options.h"
#include "mount/session.h"
#include "mount/told.h"

static void say(void *arg, int level, const char *line)
{
	(void)arg;
	(void)level;
	fprintf(stderr, "weir-mount: %s\n", line);
}

static void wait_for_end(const struct mount *mount, const struct life *life)
{
	struct pollfd ends[] = {{mount_ended_fd(mount), POLLIN, 0},
				{life_over_fd(life), POLLIN, 0}};

	while (poll(ends, 2, -1) <= 0)
		;
}

/*
 * Signals and `weir umount` end it from outside: the guard unmounts, and the session notices.
 * Where the guard has gone the life ends by itself.
 */
static int serve(const struct options *options, struct life *life)
{
	struct weir_error err = WEIR_ERROR_INIT;
	struct log log = {.fn = say, .level = WEIR_LOG_INFO, .sys = sys_real()};
	struct life_session told;
	struct mount *mount;
	int ret = mount_start(options, &log, &mount, &err);

	if (ret)
		return life_end(life, &err);
	told = told_session(mount);
	ret = life_mounted(life, &told, &err);
	if (!ret)
		wait_for_end(mount, life);
	life_ending(life);
	mount_stop(mount, deadline_after(sys_real(), options->shutdown_ns));
	return life_end(life, ret ? &err : NULL);
}

int main(int argc, char **argv)
{
	struct weir_error err = WEIR_ERROR_INIT;
	enum options_answer answer;
	struct options options;
	struct life *life;

	if (options_parse(&options, argc, argv, &answer, &err)) {
		start_answer(&(struct start){.options = &options, .answer_fd = -1}, &err);
		return 2;
	}
	if (answer == OPTIONS_DONE)
		return 0;
	if (life_begin(&options, &life, &err))
		return 1;
	return serve(&options, life);
}
