/* SPDX-License-Identifier: Apache-2.0 */
/*
 * weir/context.h - what everything else hangs on
 *
 * A context owns the lanes that move bytes, the pool of memory that is kept between loads, and the one
 * budget.  Making one starts no thread and opens nothing: lanes start with the first transfer.
 *
 * A context belongs to the process that made it.  In a forked child every call on it, or on what was
 * made from it, returns WEIR_CLOSED, and destroying it frees memory only.
 *
 * Any thread may call anything here.  weir_ctx_destroy() is the last call; models, objects and
 * transfers are closed before it.  Buffers may outlive it.
 */
#ifndef WEIR_CONTEXT_H
#define WEIR_CONTEXT_H

#include <stddef.h>
#include <stdint.h>

#include "weir/error.h"
#include "weir/export.h"
#include "weir/log.h"

#ifdef __cplusplus
extern "C" {
#endif

struct weir_ctx;

/* May storage write to devices by itself, past the host's memory, with cuFile (GPUDirect Storage)? */
enum weir_cufile {
	WEIR_CUFILE_AUTO = 0, /* where it can and was measured to be faster; or the environment's
			       * WEIR_CUFILE: auto, off or on */
	WEIR_CUFILE_OFF = 1,
	WEIR_CUFILE_ON = 2, /* wherever its library takes a file, faster or not: for measuring */
};

/* Zero means the default, everywhere; set size, or use WEIR_CTX_OPTS(). */
struct weir_ctx_opts {
	size_t size;
	uint64_t budget_bytes;  /* staging, delivered and not yet returned, plans, indexes; 0: the
				 * environment's WEIR_BUDGET, else staging is held to 16 MiB and
				 * destinations to what the machine has */
	uint64_t pool_bytes;    /* memory kept for the next load; 0: all that was in use at once */
	int64_t pool_idle_ns;   /* kept memory unused that long is given back; 0: 60 s */
	uint32_t lanes;         /* threads that move bytes, for each kind of source; 0: chosen */
	uint32_t depth;         /* requests in flight on a lane; 0: starts at 32 and adapts */
	uint64_t request_bytes; /* size of one request; 0: starts at 512 KiB and adapts */
	uint32_t trace_events;  /* room for that many trace events; 0: no trace */
	weir_log_fn *log;       /* NULL: nobody listens */
	void *log_arg;
	int log_level; /* enum weir_log_level; 0: warnings */
	int cufile;    /* enum weir_cufile */

	/*
	 * Kept memory that stays pinned and known to the kernel from its second use on, so that a
	 * direct read into it costs a quarter less of the processor's time; 0: none, UINT64_MAX:
	 * all.  It wants io_uring and, of the system, CAP_IPC_LOCK or a limit of locked memory
	 * (RLIMIT_MEMLOCK) of that size; where the kernel refuses, reads go on without
	 * (pins_refused of the counters).  The price: pinned pages neither move nor swap, and fork()
	 * copies them at once, half a second a GiB.  Memory of the caller's is never pinned.
	 */
	uint64_t pin_bytes;
};

/* For C; a C++ caller fills the struct. */
#define WEIR_CTX_OPTS(...)                                                                         \
	(&(struct weir_ctx_opts){.size = sizeof(struct weir_ctx_opts), __VA_ARGS__})

/*
 * opts may be NULL.  Reads WEIR_BUDGET, WEIR_CUFILE and WEIR_DEBUG from the environment, here and
 * nowhere else; a value that makes no sense is WEIR_ARG, with the variable's name.
 */
WEIR_API int weir_ctx_create(const struct weir_ctx_opts *opts, struct weir_ctx **out,
			     struct weir_error *err);

/* NULL is fine.  Waits a second at most for what is stuck: threads in a dead file server are then left
 * behind. */
WEIR_API void weir_ctx_destroy(struct weir_ctx *ctx);

/*
 * weir_ctx_close() - for the end of a program whose models and objects others still hold
 *
 * Ends the threads, and what is registered outside the process: rings and memory on a mount of 3FS.
 * Transfers have been finished or abandoned, and no other call on the context or on what was made from
 * it is under way.  From then on each of them returns WEIR_CLOSED, and destroying or closing frees
 * memory only: files that models and objects hold stay open until the process ends.  Waits as
 * weir_ctx_destroy() does, which follows it where the rest can be freed, too.  NULL is fine.
 */
WEIR_API void weir_ctx_close(struct weir_ctx *ctx);

/* Gives back the memory that is kept for the next load; returns how many bytes that was. */
WEIR_API uint64_t weir_ctx_trim(struct weir_ctx *ctx);

/* What has happened since the context was made, or in one transfer (weir/transfer.h). */
struct weir_counters {
	uint64_t requests;        /* sent to a source */
	uint64_t bytes_requested; /* asked of a source */
	uint64_t bytes_delivered; /* to destinations */
	uint64_t bytes_copied;    /* by the processor, from staging or from the page cache */
	uint64_t bytes_direct;    /* that the device wrote in place */
	uint64_t bytes_cached;    /* that came from the page cache */
	uint64_t bytes_over;      /* read beyond what was asked: whole blocks, skipped gaps */
	uint64_t retries;         /* requests sent again */
	uint64_t short_reads;     /* completions that brought less than asked */
	uint64_t extents;         /* settled */
	uint64_t extents_failed;  /* of them with an error */
	uint64_t system_calls;    /* that moved bytes or waited for them */
	uint64_t stall_ns_source; /* lanes waited for the source */
	uint64_t stall_ns_memory; /* lanes waited for memory to be made */
	uint64_t stall_ns_budget; /* lanes waited for a buffer to come back */
	uint64_t memory_bytes;    /* held now, pool included */
	uint64_t memory_peak_bytes;
	uint64_t stuck;        /* system calls that do not return */
	uint64_t bytes_device; /* copied by devices, from or to staging */
	uint64_t
		pinned_bytes; /* of memory, now: for copies to devices, and what is kept (pin_bytes) */
	uint64_t requests_pinned; /* of requests: into pinned memory that is kept */
	uint64_t pins_refused;    /* by the kernel, of memory that is kept */
	uint64_t bytes_cufile;    /* that storage wrote to devices by itself */
	uint64_t
		cufile_redone; /* reads of that kind that failed, and were made by way of the host */
	uint64_t reserved[8];
};

WEIR_API void weir_ctx_counters(struct weir_ctx *ctx, struct weir_counters *out);

/* What was chosen for reading: for people, and for `weir load`. */
struct weir_choice {
	char kind[16]; /* "io_uring", "threads", "memory" */
	int direct;    /* past the page cache */
	uint32_t lanes, depth;
	uint64_t request_bytes;
	const char
		*library; /* who drives rings of 3FS: "native", or the path of the vendor's library,
				for as long as the context lives; NULL: no rings */
	uint64_t reserved[3];
};

/* Of the source that serves this URI; what it would choose, where nothing was read yet. */
WEIR_API int weir_ctx_choice(struct weir_ctx *ctx, const char *uri, struct weir_choice *out,
			     struct weir_error *err);

/* Writes what was traced, oldest first, as JSON in Chrome's trace-event format. */
WEIR_API int weir_ctx_trace_write(struct weir_ctx *ctx, const char *path, struct weir_error *err);

/*
 * A flag that ends a blocking call from another thread.  One may serve many calls; once it was fired
 * they all return WEIR_CANCELLED.
 */
struct weir_cancel;

WEIR_API int weir_cancel_create(struct weir_ctx *ctx, struct weir_cancel **out,
				struct weir_error *err);
/* Any thread; also from a signal handler. */
WEIR_API void weir_cancel_fire(struct weir_cancel *cancel);
/* After the last call that uses it returned; NULL is fine. */
WEIR_API void weir_cancel_destroy(struct weir_cancel *cancel);

#ifdef __cplusplus
}
#endif
#endif
