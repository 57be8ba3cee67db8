/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Reading ranges of many files into addresses, as fastsafetensor-3fs-reader has it, without Python.
 *
 *	reader.c          the type weir._native.Reader: arguments, results, exceptions
 *	reader_files.c    which files are open, and whether a path still means the same file
 *	reader_read.c     one range: to an address, or counted and dropped
 *	reader_headers.c  the headers of many files at once
 *
 * Any number of threads may use one reader; nothing that one call needs is shared with another but the
 * table of open files.  A call has a deadline and can be cancelled.
 */
#ifndef READER_H
#define READER_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "weir/weir.h"

/* How a path is opened. */
enum reader_policy {
	READER_RINGS,     /* on a mount of 3FS by rings or not at all; elsewhere as a file */
	READER_FALL_BACK, /* by rings where they can be had */
	READER_FILES,     /* always as a file */
};

#define READER_BUCKETS 256

/* How often a waiting call asks whether it shall end: soon for who types, seldom for who waits. */
#define READER_ASK_NS  INT64_C(100000000)
#define READER_LONG_MS 1000 /* where a signal and reader_cancel() end the wait */

/* What a caller that wants to end waits for what is under way, and then for memory that is lent. */
#define READER_END_NS  INT64_C(20000000)
#define READER_LENT_NS INT64_C(20000000)

/* An open file, under the path that it was asked for by. */
struct reader_file {
	struct reader_file *next;
	unsigned refs; /* the table's, and each call's */
	struct weir_object *object;
	bool promised; /* its header was handed out: what is read later must be of the same version */
	bool shallow; /* opened for its header alone: cannot go past the page cache */
	char version[96];
	char path[];
};

struct reader_counters {
	uint64_t reads, headers, opens;
	uint64_t ring_bytes, file_bytes; /* which way they came */
};

struct reader {
	struct weir_ctx *ctx; /* borrowed */
	pid_t pid;
	uint64_t window_bytes; /* what the caller takes the staging area to be */

	pthread_mutex_t lock;
	/* Under the lock. */
	enum reader_policy policy;
	int64_t timeout_ns; /* of a call; WEIR_FOREVER: as long as something moves */
	struct reader_file *files[READER_BUCKETS];
	uint64_t file_count;
	struct reader_call *calls; /* under way */
	void *window;              /* made when somebody asks for its address */
	struct reader_counters counters;
};

/* One call under way, on its caller's stack. */
struct reader_call {
	struct reader *reader;
	struct reader_call *next;
	enum reader_policy policy;
	int64_t deadline_ns; /* CLOCK_MONOTONIC, or WEIR_FOREVER */
	const char *path;    /* what it is about */
	struct weir_cancel *cancel;
	struct weir_error *err;
	bool (*interrupted)(void *arg); /* asked now and then while waiting: shall it end? */
	void *interrupted_arg;
	int64_t asked_ns;  /* when it was asked last */
	int64_t ending_ns; /* when it answered yes; 0: never yet */

	/* Under the reader's lock. */
	struct weir_transfer *transfer; /* what cancelling has to reach */
	bool cancelled;
	int wake_fd; /* what cancelling makes readable; -1: it does not sleep long */
};

/* ---- reader_files.c ---- */

void reader_init(struct reader *reader, struct weir_ctx *ctx, uint64_t window_bytes);
void reader_fini(struct reader *reader);

/* Forgets every file; calls under way keep theirs until they end. */
void reader_close(struct reader *reader);

int reader_call_begin(struct reader_call *call);
void reader_call_end(struct reader_call *call);

/* Ends every call under way with WEIR_CANCELLED. */
void reader_cancel(struct reader *reader);

/* Shall the call end before its time?  Asks at most every READER_ASK_NS. */
bool reader_interrupted(struct reader_call *call);

/*
 * Waits long, for the descriptor, for a signal that comes to this thread, or to be cancelled.  False: it
 * cannot.
 */
bool reader_sleep(struct reader_call *call, int fd);

/* Was the answer yes, and has what was under way had its time to end? */
bool reader_gives_up(const struct reader_call *call);

/* Fills the call's error with "PATH: WHY"; returns the code. */
int reader_fail(struct reader_call *call, int code, int os_errno, const char *path,
		const char *why);

/* What is left of the call's time, in nanoseconds; WEIR_FOREVER. */
int64_t reader_time_left(const struct reader_call *call);

/* The URI by which the call's policy opens the path; malloc'ed, NULL: no memory. */
char *reader_uri(const struct reader_call *call, const char *path);

/* Options of opening and describing, for what is left of the call's time. */
struct weir_object_opts reader_object_opts(const struct reader_call *call);

/*
 * The file at a path, open and of the version that the path means now; a reference.  WEIR_CHANGED where
 * the file's header was handed out and the path has come to mean something else.
 */
int reader_file_get(struct reader_call *call, const char *path, struct reader_file **out);

/*
 * The same without waiting for anybody: NULL where the kernel does not know by itself that the path
 * means it still.  Where reading it then fails because it changed, reader_file_get() says what the
 * path means.
 */
struct reader_file *reader_file_here(struct reader_call *call, const char *path);
void reader_file_put(struct reader *reader, struct reader_file *file);

/* A file that was opened for its header; takes the object over, also when it fails. */
int reader_file_add(struct reader_call *call, const char *path, const struct weir_stat *stat,
		    struct weir_object *object);

/* What is no file that has bytes is an error with an errno, as open and read have it. */
int reader_check_kind(struct reader_call *call, const char *path, const struct weir_stat *stat);

bool reader_has(struct reader *reader, const char *path);

/* The window's memory: address space only, until somebody touches it; NULL: there is none. */
void *reader_window(struct reader *reader);

/* ---- reader_read.c ---- */

struct reader_range {
	void *address; /* NULL: the bytes are counted and dropped */
	int64_t offset, length;
	int64_t chunk; /* of the window, where bytes are dropped; 0: all of it */
};

/* How many bytes arrived: fewer than asked only where the file ends; or a negative code. */
int64_t reader_read(struct reader_call *call, const char *path, const struct reader_range *range);

/* ---- reader_headers.c ---- */

/* One file's header: `bytes` of JSON, malloc'ed. */
struct reader_header {
	const char *path; /* the caller's */
	char *text;
	uint64_t bytes, file_bytes;
};

/* Reads them all, at most `width` at once; the files stay open.  Fills what it could, also on failure. */
int reader_headers(struct reader_call *call, struct reader_header *headers, uint64_t count,
		   uint64_t width);

#endif
