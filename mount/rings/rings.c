/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Starting and ending what is behind 3fs-virt.
 */
#include "mount/rings/rings.h"

#include <errno.h>
#include <fcntl.h>
#include <stdlib.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/log.h"
#include "io/usrbio/guard.h"
#include "io/usrbio/shm.h"
#include "io/usrbio/spin.h"

#define ERRANDS_NS NS_PER_SEC /* what is opened or closed at the end gets so long */

void rings_look(void *arg)
{
	struct rings *rings = arg;

	for (size_t i = 0; i < USRBIO_BELLS; i++)
		if (rings->servers[i].started)
			server_look(&rings->servers[i]);
}

static uint64_t machine_bytes(void)
{
	long pages = sysconf(_SC_PHYS_PAGES), page = sysconf(_SC_PAGESIZE);

	return pages > 0 && page > 0 ? (uint64_t)pages * (uint64_t)page : (uint64_t)1 << 40;
}

static int start_servers(struct rings *rings, struct weir_error *err)
{
	for (unsigned i = 0; i < USRBIO_BELLS; i++) {
		struct server *server = &rings->servers[i];
		int ret = bell_create(&rings->bells[i], rings->sys, rings->shm_dir, err);

		if (ret)
			return ret;
		server->sys = rings->sys;
		server->log = rings->log;
		server->files = rings->opts.files;
		server->table = &rings->table;
		server->janitor = &rings->janitor;
		server->errands = rings->errands;
		server->bell = &rings->bells[i];
		server->which = (enum usrbio_bell)i;
		server->read_only = rings->opts.read_only;
		server->each_alone = rings->opts.each_alone;
		server->spin_ns = usrbio_spin_allowed(rings->opts.spin_ns);
		server->open_limit_ns = rings->opts.open_limit_ns;
		ret = server_start(server, rings->opts.ctx, err);
		if (ret)
			return ret;
	}
	return 0;
}

static int open_shm(struct rings *rings, struct weir_error *err)
{
	const char *path = rings->opts.shm ? rings->opts.shm : USRBIO_SHM;

	rings->shm_dir = rings->sys->openat(AT_FDCWD, path, O_RDONLY | O_DIRECTORY | O_CLOEXEC, 0);
	if (rings->shm_dir < 0)
		return error_sys(err, errno, path, "%s: opening the directory of shared memory",
				 path);
	return 0;
}

static int start(struct rings *rings, struct weir_error *err)
{
	struct janitor *janitor = &rings->janitor;
	int ret = usrbio_guard_install();
	unsigned swept;

	if (ret)
		return error_sys(err, -ret, NULL, "rings: catching bus errors");
	rings->errands = errands_create(rings->sys);
	if (!rings->errands)
		return error_nomem(err, NULL, "rings: threads that open files");
	ret = open_shm(rings, err);
	if (ret)
		return ret;
	swept = bell_sweep(rings->sys, rings->shm_dir);
	if (swept)
		log_info(rings->log, "rings: removed %u submit semaphores of dead daemons", swept);
	*janitor = (struct janitor){.table = &rings->table,
				    .sys = rings->sys,
				    .log = rings->log,
				    .shm_dir = rings->shm_dir,
				    .look = rings_look,
				    .look_arg = rings,
				    .name_gone = rings->opts.name_gone,
				    .name_gone_arg = rings->opts.name_gone_arg};
	ret = janitor_start(janitor, err);
	return ret ? ret : start_servers(rings, err);
}

int rings_create(const struct virt_opts *opts, struct rings **out, struct weir_error *err)
{
	struct rings *rings = calloc(1, sizeof(*rings));
	int ret;

	if (!rings)
		return error_nomem(err, NULL, "the server of rings");
	rings->opts = *opts;
	rings->sys = opts->sys ? opts->sys : sys_real();
	rings->log = opts->log ? opts->log : &rings->silent;
	rings->shm_dir = -1;
	list_init(&rings->quiet_dirs);
	clock_gettime(CLOCK_REALTIME, &rings->born);
	shares_init(&rings->table, rings->sys,
		    opts->bytes_per_uid ? opts->bytes_per_uid : machine_bytes());
	ret = start(rings, err);
	if (ret) {
		rings_destroy(rings, 0);
		return ret;
	}
	*out = rings;
	return 0;
}

/* All names at once; their references go. */
static void leave_all(struct rings *rings)
{
	struct list left, *link;

	list_init(&left);
	lock_take(&rings->table.lock);
	list_for_each_safe(at, &rings->table.shares) {
		struct share *share = list_entry(at, struct share, by_order);

		if (share_leave(share))
			list_push(&left, &share->by_order);
	}
	lock_drop(&rings->table.lock);
	while ((link = list_pop(&left)))
		share_unref(list_entry(link, struct share, by_order));
}

bool rings_destroy(struct rings *rings, int64_t deadline_ns)
{
	bool clean = true;

	if (!rings)
		return true;
	leave_all(rings);
	for (unsigned i = 0; i < USRBIO_BELLS; i++)
		clean &= server_stop(&rings->servers[i], deadline_ns);
	clean &= errands_destroy(rings->errands, rings->sys->now_ns() + ERRANDS_NS);
	for (unsigned i = 0; i < USRBIO_BELLS; i++)
		bell_destroy(&rings->bells[i], rings->sys, rings->shm_dir);
	janitor_stop(&rings->janitor);
	if (rings->shm_dir >= 0)
		rings->sys->close(rings->shm_dir);
	if (!clean)
		return false; /* what is stuck may still be written to, and knows its way here */
	for (unsigned i = 0; i < USRBIO_BELLS; i++)
		server_fini(&rings->servers[i]);
	shares_fini(&rings->table);
	free(rings);
	return true;
}
