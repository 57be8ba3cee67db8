/* SPDX-License-Identifier: Apache-2.0 */
#include "source/fault.h"

#include <assert.h>
#include <errno.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/error.h"
#include "base/thread.h"
#include "source/front.h"

#define MILLION UINT32_C(1000000)

/* What stands behind the bytes of a short read: nobody may believe it. */
#define RUBBISH 0xDB

struct fault_state {
	struct fault_rule rule;
	uint32_t fitting, hits;
};

struct fault {
	struct front front;
	struct {
		struct lock lock;
		struct cond never; /* what sleepers wait on */
		struct fault_state states[FAULT_RULES_MAX];
		size_t count;
		uint64_t random;
	} shared; /* touch these only with shared.lock held */
};

/* A call, as rules see it. */
struct call {
	uint32_t kind; /* one of enum fault_calls */
	const char *uri;
	uint64_t offset, length;
};

/* What the rules have made of it. */
struct verdict {
	int code, os_errno;     /* 0: no error */
	uint32_t short_bytes;   /* 0: all */
	uint32_t corrupt_bytes; /* 0: none */
	int64_t delay_ns;
	bool refused, stuck;
};

static struct fault *fault(struct source *source)
{
	return container_of(front(source), struct fault, front);
}

/* splitmix64 */
static uint64_t draw_locked(struct fault *fault)
{
	uint64_t x = fault->shared.random += 0x9E3779B97F4A7C15u;

	x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9u;
	x = (x ^ (x >> 27)) * 0x94D049BB133111EBu;
	return x ^ (x >> 31);
}

/* ---- Rules ---- */

static bool touches(const struct fault_rule *rule, const struct call *call)
{
	if (rule->length == 0)
		return true;
	return call->offset < rule->offset ? rule->offset - call->offset < call->length
					   : call->offset - rule->offset < rule->length;
}

static bool fits(const struct fault_rule *rule, const struct call *call)
{
	return (rule->calls & call->kind) && touches(rule, call) &&
	       (!rule->name || strstr(call->uri, rule->name));
}

/* Does the rule take effect on this call, which fits it? */
static bool strikes_locked(struct fault *fault, struct fault_state *state)
{
	const struct fault_rule *rule = &state->rule;

	if (state->fitting++ < rule->skip)
		return false;
	if (rule->times > 0 && state->hits == rule->times)
		return false;
	if (rule->per_million > 0 && draw_locked(fault) % MILLION >= rule->per_million)
		return false;
	state->hits++;
	return true;
}

static void apply(const struct fault_rule *rule, struct verdict *verdict)
{
	switch (rule->action) {
	case FAULT_ERROR:
		verdict->code = rule->code;
		verdict->os_errno = rule->os_errno;
		break;
	case FAULT_SHORT:
		verdict->short_bytes = max_of(rule->bytes, UINT32_C(1));
		break;
	case FAULT_CORRUPT:
		verdict->corrupt_bytes = max_of(rule->bytes, UINT32_C(1));
		break;
	case FAULT_REFUSE:
		verdict->refused = true;
		break;
	case FAULT_STUCK:
		verdict->stuck = true;
		verdict->delay_ns = rule->delay_ns;
		break;
	default:
		verdict->delay_ns = max_of(verdict->delay_ns, rule->delay_ns);
		break;
	}
}

static struct verdict judge(struct fault *fault, const struct call *call)
{
	struct verdict verdict = {0};

	lock_take(&fault->shared.lock);
	for (size_t i = 0; i < fault->shared.count; i++) {
		struct fault_state *state = &fault->shared.states[i];

		if (fits(&state->rule, call) && strikes_locked(fault, state))
			apply(&state->rule, &verdict);
	}
	lock_drop(&fault->shared.lock);
	return verdict;
}

void source_fault_set(struct source *source, const struct fault_rule *rules, size_t count)
{
	struct fault *self = fault(source);

	assert(count <= FAULT_RULES_MAX);
	lock_take(&self->shared.lock);
	for (size_t i = 0; i < count; i++)
		self->shared.states[i] = (struct fault_state){.rule = rules[i]};
	self->shared.count = count;
	lock_drop(&self->shared.lock);
}

uint32_t source_fault_hits(struct source *source, size_t rule)
{
	struct fault *self = fault(source);
	uint32_t hits;

	lock_take(&self->shared.lock);
	hits = rule < self->shared.count ? self->shared.states[rule].hits : 0;
	lock_drop(&self->shared.lock);
	return hits;
}

/* ---- Requests ---- */

/* Fewer bytes are handed on: whole blocks, and one at least. */
static void shorten_write(struct request *inner, uint32_t bytes)
{
	uint32_t align = inner->way == WAY_DIRECT ? inner->object->offset_align : 1;

	bytes = max_of(bytes - bytes % align, align);
	inner->length = min_of(inner->length, bytes);
}

static int begin(struct front *front, struct front_slot *slot)
{
	struct request *inner = &slot->inner;
	const struct call call = {
		.kind = inner->op == REQUEST_READ ? FAULT_READ : FAULT_WRITE,
		.uri = inner->object->uri,
		.offset = inner->offset,
		.length = inner->length,
	};
	struct verdict verdict = judge(container_of(front, struct fault, front), &call);

	if (verdict.refused)
		return WEIR_LIMIT;
	if (verdict.delay_ns > 0)
		slot->due_ns = front->source.env->sys->now_ns() + verdict.delay_ns;
	slot->stuck = verdict.stuck;
	if (verdict.code) {
		slot->ended = true;
		inner->result = verdict.code;
		inner->os_errno = verdict.os_errno;
	}
	if (inner->op == REQUEST_READ) {
		slot->note[0] = verdict.short_bytes;
		slot->note[1] = verdict.corrupt_bytes;
	} else if (verdict.short_bytes > 0) {
		shorten_write(inner, verdict.short_bytes);
	}
	return 0;
}

static void corrupt(struct fault *fault, unsigned char *memory, uint64_t length, uint64_t bytes)
{
	lock_take(&fault->shared.lock);
	for (uint64_t i = 0; i < bytes; i++) {
		uint64_t random = draw_locked(fault);

		/* Never by zero: a hit is seen. */
		memory[(random >> 8) % length] ^= (unsigned char)(1u + random % 255u);
	}
	lock_drop(&fault->shared.lock);
}

static bool back(struct front *front, struct front_slot *slot)
{
	struct request *inner = &slot->inner;
	int64_t most = (int64_t)slot->note[0];

	if (inner->result <= 0)
		return true;
	if (most > 0 && inner->result > most) {
		memset((char *)inner->memory + most, RUBBISH, (size_t)(inner->result - most));
		inner->result = most;
	}
	if (slot->note[1] > 0)
		corrupt(container_of(front, struct fault, front), inner->memory,
			(uint64_t)inner->result, slot->note[1]);
	return true;
}

/* ---- Names ---- */

static void sleep_for(struct fault *fault, int64_t delay_ns)
{
	int64_t until = deadline_after(sys_real(), delay_ns);

	lock_take(&fault->shared.lock);
	while (cond_wait(&fault->shared.never, &fault->shared.lock, until))
		;
	lock_drop(&fault->shared.lock);
}

/* 0, or the error that the verdict asks for. */
static int suffer(struct fault *self, const struct verdict *verdict, const char *uri,
		  struct weir_error *err)
{
	if (verdict->delay_ns > 0)
		sleep_for(self, verdict->delay_ns);
	if (verdict->code == 0)
		return 0;
	error_set(err, verdict->code, uri, "%s: a fault that was ordered", uri);
	if (err)
		err->os_errno = verdict->os_errno;
	return verdict->code;
}

static int on_name(struct source *source, uint32_t kind, const char *uri, struct weir_error *err)
{
	const struct call call = {.kind = kind, .uri = uri};
	struct verdict verdict = judge(fault(source), &call);

	return suffer(fault(source), &verdict, uri, err);
}

static int64_t fault_read(struct source_object *object, void *to, uint64_t offset, uint64_t length,
			  struct weir_error *err)
{
	struct fault *self = fault(object->source);
	const struct call call = {FAULT_READ, object->uri, offset, length};
	struct verdict verdict = judge(self, &call);
	int64_t got = suffer(self, &verdict, object->uri, err);

	if (got < 0)
		return got;
	if (verdict.short_bytes > 0)
		length = min_of(length, (uint64_t)verdict.short_bytes);
	got = front_read(object, to, offset, length, err);
	if (got > 0 && verdict.corrupt_bytes > 0)
		corrupt(self, to, (uint64_t)got, verdict.corrupt_bytes);
	return got;
}

static int fault_open(struct source *source, const char *path, const char *uri,
		      const struct source_how *how, struct source_object **out,
		      struct weir_error *err)
{
	int ret = on_name(source, FAULT_OPEN, uri, err);

	return ret ? ret : front_open(source, path, uri, how, out, err);
}

static int fault_stat(struct source *source, const char *path, const char *uri,
		      const struct source_how *how, struct weir_stat *out, struct weir_error *err)
{
	int ret = on_name(source, FAULT_STAT, uri, err);

	return ret ? ret : front_stat(source, path, uri, how, out, err);
}

static int fault_describe(struct source_object *object, struct weir_stat *out,
			  struct weir_error *err)
{
	int ret = on_name(object->source, FAULT_STAT, object->uri, err);

	return ret ? ret : front_describe(object, out, err);
}

static int fault_list(struct source *source, const char *path, const char *uri,
		      struct source_listing *out, struct weir_error *err)
{
	int ret = on_name(source, FAULT_LIST, uri, err);

	return ret ? ret : front_list(source, path, uri, out, err);
}

static int fault_create(struct source *source, const char *path, const char *uri,
			uint64_t size_bytes, const struct source_how *how,
			struct source_object **out, struct weir_error *err)
{
	int ret = on_name(source, FAULT_CREATE, uri, err);

	return ret ? ret : front_create(source, path, uri, size_bytes, how, out, err);
}

static int fault_commit(struct source_object *object, int durability, struct weir_error *err)
{
	int ret = on_name(object->source, FAULT_COMMIT, object->uri, err);

	return ret ? ret : front_commit(object, durability, err);
}

static int fault_check(struct source_object *object, struct weir_error *err)
{
	int ret = on_name(object->source, FAULT_CHECK, object->uri, err);

	return ret ? ret : front_check(object, err);
}

/* ---- The source ---- */

static void destroy(struct source *source)
{
	struct fault *self = fault(source);

	front_fini(&self->front);
	cond_fini(&self->shared.never);
	lock_fini(&self->shared.lock);
	free(self);
}

static const struct front_hooks hooks = {
	.begin = begin,
	.back = back,
};

static const struct source_ops fault_ops = {
	.scheme = "fault",
	.destroy = destroy,
	.open = fault_open,
	.stat = fault_stat,
	.describe = fault_describe,
	.read = fault_read,
	.list = fault_list,
	.create = fault_create,
	.commit = fault_commit,
	.check = fault_check,
};

int source_fault_create(struct source *next, uint64_t seed, struct source **out,
			struct weir_error *err)
{
	struct fault *self = calloc(1, sizeof(*self));

	if (!self)
		return error_nomem(err, NULL, "the source that misbehaves");
	front_init(&self->front, &fault_ops, &hooks, next);
	self->front.ops.map = NULL; /* no rule would see what is read of a view */
	self->front.ops.duplicate = NULL;
	lock_init(&self->shared.lock);
	cond_init(&self->shared.never);
	self->shared.random = seed;
	*out = &self->front.source;
	return 0;
}
