/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir cp: copies objects.
 *
 * The tree is walked first, with an explicit list and no recursion, then some threads take copies from the
 * list.  Each file is written under a temporary name and gets its own when it is whole.  Within one file
 * system blocks are shared where that works.
 */
#include <errno.h>
#include <inttypes.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "copies.h"
#include "out.h"
#include "progress.h"
#include "report.h"
#include "session.h"
#include "signals.h"
#include "values.h"
#include "verbs.h"

#define JOBS_MAX 64u

struct cp_options {
	struct common common;
	bool recursive, resume, checksum;
	uint64_t jobs;
};

static const struct option options[] = {
	{.name = "recursive",
	 .letter = 'r',
	 .kind = OPTION_FLAG,
	 .help = "copy directories and what is in them",
	 .at = offsetof(struct cp_options, recursive)},
	{.name = "resume",
	 .kind = OPTION_FLAG,
	 .help = "skip files that an earlier copy has finished: same size, not older; with --checksum "
		 "same content",
	 .at = offsetof(struct cp_options, resume)},
	{.name = "checksum",
	 .kind = OPTION_FLAG,
	 .help = "read back what was written and compare checksums",
	 .at = offsetof(struct cp_options, checksum)},
	{.name = "jobs",
	 .kind = OPTION_COUNT,
	 .positive = true,
	 .value = "N",
	 .initial = "4",
	 .help = "files that are copied at the same time",
	 .at = offsetof(struct cp_options, jobs)},
	{0},
};

static const struct option_set sets[] = {
	{common_options, offsetof(struct cp_options, common)},
	{options, 0},
	{0},
};

struct cp {
	const struct cp_options *mine;
	struct session session;
	struct copies copies;
	_Atomic uint64_t done_bytes;

	struct {
		pthread_mutex_t lock;
		size_t next;                        /* of copies.list */
		const struct copy *again[JOBS_MAX]; /* those that had too few descriptors */
		unsigned again_count, working;      /* threads */
		bool alone;                         /* the last of them tries without the others */
		uint64_t files, bytes, skipped;
		int code; /* of the first failure; it stops the rest */
		struct weir_error err;
	} shared; /* touch these only with shared.lock held */
};

static const struct copy *take(struct cp *cp)
{
	const struct copy *copy = NULL;

	pthread_mutex_lock(&cp->shared.lock);
	if (!cp->shared.code && !signals_caught()) {
		if (cp->shared.again_count)
			copy = cp->shared.again[--cp->shared.again_count];
		else if (cp->shared.next < cp->copies.count)
			copy = &cp->copies.list[cp->shared.next++];
	}
	if (!copy)
		cp->shared.working--;
	pthread_mutex_unlock(&cp->shared.lock);
	return copy;
}

/*
 * There are too few descriptors for so many copies at once: this one is left to the others, and its
 * thread is over.  The last thread tries once more, by itself.  False: that has not helped.
 */
static bool put_back(struct cp *cp, const struct copy *copy, bool *over)
{
	bool again;

	pthread_mutex_lock(&cp->shared.lock);
	*over = cp->shared.working > 1;
	again = *over || !cp->shared.alone;
	if (again)
		cp->shared.again[cp->shared.again_count++] = copy;
	if (*over)
		cp->shared.working--;
	else
		cp->shared.alone = true;
	pthread_mutex_unlock(&cp->shared.lock);
	return again;
}

static void settle(struct cp *cp, const struct copy *copy, int ret, bool skipped,
		   const struct weir_error *err)
{
	pthread_mutex_lock(&cp->shared.lock);
	if (ret && !cp->shared.code) {
		cp->shared.code = ret;
		cp->shared.err = *err;
	}
	if (!ret && skipped)
		cp->shared.skipped++;
	if (!ret && !skipped) {
		cp->shared.files++;
		cp->shared.bytes += copy->size_bytes;
	}
	pthread_mutex_unlock(&cp->shared.lock);
}

static void *work(void *arg)
{
	struct cp *cp = arg;
	struct copy_how how = {
		.ctx = cp->session.ctx,
		.cancel = cp->session.cancel,
		.resume = cp->mine->resume,
		.checksum = cp->mine->checksum,
		.done_bytes = &cp->done_bytes,
	};
	const struct copy *copy;
	bool over = false;

	while (!over && (copy = take(cp))) {
		struct weir_error err = WEIR_ERROR_INIT;
		bool skipped = false;
		int ret = copy_file(copy, &how, &skipped, &err);

		if (ret && err.os_errno == EMFILE && put_back(cp, copy, &over))
			continue;
		settle(cp, copy, ret, skipped, &err);
	}
	return NULL;
}

static bool start(struct cp *cp, pthread_t *thread)
{
	bool started;

	pthread_mutex_lock(&cp->shared.lock);
	started = pthread_create(thread, NULL, work, cp) == 0;
	cp->shared.working += started;
	pthread_mutex_unlock(&cp->shared.lock);
	return started;
}

/* Draws progress while the others work; the first thread works itself where no other could start. */
static void run_jobs(struct cp *cp)
{
	pthread_t threads[JOBS_MAX];
	uint64_t jobs = cp->mine->jobs ? cp->mine->jobs : 4, started = 0;
	struct timespec pause = {0, 50000000};

	if (jobs > cp->copies.count)
		jobs = cp->copies.count;
	if (jobs > JOBS_MAX)
		jobs = JOBS_MAX;
	progress_start("cp", cp->copies.bytes);
	while (started < jobs && start(cp, &threads[started]))
		started++;
	if (!started) {
		cp->shared.working = 1;
		work(cp);
	}
	for (uint64_t n = 0; n < started; n++) {
		struct timespec until;

		for (;;) {
			clock_gettime(CLOCK_REALTIME, &until);
			until.tv_nsec += pause.tv_nsec;
			until.tv_sec += until.tv_nsec / 1000000000;
			until.tv_nsec %= 1000000000;
			if (pthread_timedjoin_np(threads[n], NULL, &until) == 0)
				break;
			progress_show(cp->done_bytes);
		}
	}
	progress_finish(cp->done_bytes);
}

static int copy_all(struct cp *cp, const struct texts *arguments, struct weir_error *err)
{
	struct copies_how how = {.recursive = cp->mine->recursive, .resume = cp->mine->resume};
	int ret = session_open(&cp->session, NULL, err);

	how.ctx = cp->session.ctx;
	how.cancel = cp->session.cancel;
	if (!ret)
		ret = copies_find(&cp->copies, arguments, &how, err);
	if (ret)
		return ret;
	run_jobs(cp);
	if (cp->shared.code)
		*err = cp->shared.err;
	else if (signals_caught())
		return report_set(err, WEIR_CANCELLED, NULL, "interrupted");
	return cp->shared.code;
}

static void tell(const struct cp *cp, int ret, int64_t wall_ns, const struct weir_error *err)
{
	char size[VALUE_MAX], time[VALUE_MAX];
	struct json json;

	if (ret)
		report_error(err);
	if (cp->mine->common.json) {
		json_open(&json, stdout);
		json_object(&json, NULL);
		json_uint(&json, "files", cp->shared.files);
		json_uint(&json, "bytes", cp->shared.bytes);
		json_real(&json, "wall_seconds", (double)wall_ns / 1e9);
		json_uint(&json, "skipped", cp->shared.skipped);
		if (ret)
			report_json(&json, err);
		json_end(&json);
		json_close(&json);
	} else if (!ret) {
		out_text("%" PRIu64 " file%s, %s, in %s", cp->shared.files,
			 cp->shared.files == 1 ? "" : "s", value_print_size(size, cp->shared.bytes),
			 value_print_seconds(time, (double)wall_ns / 1e9));
		if (cp->shared.skipped)
			out_text("; %" PRIu64 " skipped", cp->shared.skipped);
		out_text("\n");
	}
}

static int run(const struct command *command)
{
	struct cp cp = {.mine = command->options, .shared.lock = PTHREAD_MUTEX_INITIALIZER};
	struct weir_error err = WEIR_ERROR_INIT;
	int64_t start = value_now_ns();
	int ret = copy_all(&cp, &command->arguments, &err);

	tell(&cp, ret, value_now_ns() - start, &err);
	copies_fini(&cp.copies);
	session_close(&cp.session);
	return report_status(ret);
}

static const struct field fields[] = {
	{"files, bytes", "That were copied."},
	{"wall_seconds", "From the start to the last file."},
	{"skipped", "Files that `--resume` found finished."},
	{NULL, NULL},
};

const struct verb verb_cp = {
	.name = "cp",
	.arguments = "FROM... TO",
	.summary = "copies objects; each appears whole or not at all",
	.story =
		"Like cp(1), on URIs: with one source, TO is a name or a directory that is there; "
		"with several, a directory.\n\n"
		"A file is written under a temporary name and gets its own when it is whole; a link of "
		"that name is replaced, and not what it leads to. Within "
		"one file system blocks are shared (reflink, else copy_file_range) where that works. "
		"Holes of a local file stay holes; between file systems, pieces of 4 MiB that are all "
		"hole. Links are followed, but for those that lead back to a directory above them. A copy has "
		"the rights of its source, less the umask.\n\n"
		"A copy that was interrupted goes on with `--resume`: files that were finished are "
		"skipped, others start over.",
	.sets = sets,
	.options_size = sizeof(struct cp_options),
	.json = fields,
	.arguments_min = 2,
	.examples = {{"weir cp -r model /fast/model", "a directory and all that is in it"},
		     {"weir cp -r --resume --checksum model /fast/model",
		      "again, skipping the files that are there with the same content"}},
	.run = run,
};
