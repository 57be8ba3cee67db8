/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/told.h"

#include "mount/life/report.h"
#include "mount/rings/virt.h"
#include "mount/site.h"

static bool add_in_flight(void *arg, const struct virt_ring_status *ring)
{
	uint64_t *in_flight = arg;

	*in_flight += ring->dead ? 0 : ring->in_flight;
	return true;
}

static void tell_pace(void *arg, enum pulse_kind kind, uint64_t *under_way, uint64_t *done)
{
	struct mount *mount = arg;

	if (kind == PULSE_REQUESTS) {
		struct mount_progress progress;

		mount_progress(mount, &progress);
		*under_way = progress.asked - progress.answered;
		*done = progress.answered;
	} else {
		struct virt_totals totals;

		virt_totals(mount_rings(mount), &totals);
		virt_each_ring(mount_rings(mount), add_in_flight, under_way);
		*done = totals.requests;
	}
}

static void tell_iov(struct report *to, const struct virt_iov_status *iov)
{
	report_word(to, iov->key);
	report_number(to, iov->uid);
	report_number(to, (uint64_t)iov->pid);
	report_number(to, iov->bytes);
}

static bool report_iov(void *to, const struct virt_iov_status *iov)
{
	report_begin(to, "iov");
	tell_iov(to, iov);
	report_number(to, iov->block_bytes);
	report_line(to);
	return true;
}

static bool report_ring(void *to, const struct virt_ring_status *ring)
{
	report_begin(to, "ring");
	tell_iov(to, &ring->iov);
	report_word(to, ring->for_read ? "read" : "write");
	report_signed(to, ring->priority);
	report_signed(to, ring->depth);
	report_number(to, ring->entries);
	report_number(to, ring->timeout_ms);
	report_number(to, ring->in_flight);
	report_number(to, ring->requests);
	report_number(to, ring->bytes);
	report_number(to, ring->errors);
	report_word(to, ring->dead ? "dead" : "alive");
	report_line(to);
	return true;
}

static void report_counters(struct mount *mount, struct report *to)
{
	struct mount_progress progress;
	struct virt_totals totals;

	mount_progress(mount, &progress);
	virt_totals(mount_rings(mount), &totals);
	report_count(to, "open_files", progress.open);
	report_counter(to, "requests", progress.asked);
	report_counter(to, "requests_answered", progress.answered);
	report_counter(to, "passthrough", progress.passthrough);
	report_counter(to, "passthrough_files", progress.backed);
	report_counter(to, "ring_requests", totals.requests);
	report_counter(to, "ring_bytes", totals.bytes);
	report_counter(to, "ring_errors", totals.errors);
	report_counter(to, "ring_batches", totals.batches);
	report_counter(to, "ring_scans", totals.scans);
	report_counter(to, "ring_posts", totals.posts);
	report_counter(to, "dead_rings", totals.dead_rings);
	report_counter(to, "refused_registrations", totals.refused);
	report_counter(to, "registered_bytes", totals.registered_bytes);
}

/* The kernel's own read-only flag, which we never set, stops every registration. */
static void tell_report(void *arg, struct report *to)
{
	struct mount *mount = arg;
	const char *path = mount_path(mount);
	struct site site;
	bool blocked = path && site_find(path, &site) && site.read_only;

	report_text(to, "registration", blocked ? "impossible" : "possible");
	report_counters(mount, to);
	virt_each_ring(mount_rings(mount), report_ring, to);
	virt_each_iov(mount_rings(mount), report_iov, to);
}

struct life_session told_session(struct mount *mount)
{
	return (struct life_session){
		.fuse_fd = mount_fuse_fd(mount),
		.report = tell_report,
		.pace = tell_pace,
		.arg = mount,
	};
}
