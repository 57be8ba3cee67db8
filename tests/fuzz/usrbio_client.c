/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzing the client's end of a ring: the input is a server, byte by byte.
 *
 * The first byte is the number of entries; then come orders of five bytes.  The server writes words
 * anywhere, or a completion that may even be right; the client prepares, reaps, gives up.  Beyond memory
 * errors, these must hold:
 *
 *	each request comes back at most once, and at the end exactly once
 *	with a result that is not above what was asked, and its own user data
 */
#include "io/usrbio/client.h"

#include <errno.h>

#include "usrbio_words.h"

#define ENTRIES_MAX  80
#define REQUESTS_MAX 4096

enum order {
	WRITE_MARKER,
	WRITE_WORD,
	ANSWER,
	PREPARE,
	REAP,
	ABANDON,
	ORDERS,
};

struct run {
	struct usrbio_client client;
	unsigned char *memory;
	uint64_t bytes;
	unsigned char back[REQUESTS_MAX]; /* came back, by user data */
	uint64_t made, returned;
};

static uint64_t length_of(uint64_t userdata)
{
	return userdata % 7 * 1000 + 1;
}

/* A completion as an honest server writes it, but for what the bits say. */
static void answer(struct run *run, unsigned bits, uint32_t value)
{
	const struct usrbio_view *view = &run->client.view;
	int32_t head = run->client.cq_tail, next;
	uint32_t slot = (value & 0xff) % run->client.entries;
	struct usrbio_cqe cqe = {.index = (int32_t)slot,
				 .userdata = run->client.slots[slot].userdata};

	cqe.result = (int64_t)(value >> 8) % 9000 - 100;
	if (bits & 1)
		cqe.result = (int64_t)value << (bits & 31);
	if (bits & 2)
		cqe.userdata ^= value & 1;
	if (bits & 4) /* behind another that was not collected */
		head = usrbio_next(head, view->places);
	next = usrbio_next(head, view->places);
	view->cqe[head] = cqe;
	memcpy(run->memory + 8, &next, 4);
	next = (int32_t)(run->client.sq_head);
	memcpy(run->memory + 4, &next, 4);
}

static void prepare(struct run *run)
{
	struct usrbio_args args = {.userdata = run->made, .length = length_of(run->made)};
	int ret;

	if (run->made == REQUESTS_MAX)
		return;
	ret = usrbio_client_prepare(&run->client, &args, args.length + 500);
	require(ret < (int)run->client.entries);
	require(ret >= 0 || ret == -EAGAIN || ret == run->client.dead);
	run->made += ret >= 0;
}

static void collect(struct run *run,
		    int (*how)(struct usrbio_client *, struct usrbio_cqe *, unsigned), unsigned max)
{
	struct usrbio_cqe cqe[ENTRIES_MAX];
	int count = how(&run->client, cqe, max % (ENTRIES_MAX + 1));

	require(count <= ENTRIES_MAX && (count >= 0 || count == run->client.dead));
	for (int i = 0; i < count; i++) {
		require(cqe[i].userdata < run->made && !run->back[cqe[i].userdata]++);
		require(cqe[i].result <= (int64_t)length_of(cqe[i].userdata));
		require(cqe[i].index >= 0 && (uint32_t)cqe[i].index < run->client.entries);
		run->returned++;
	}
	require(usrbio_client_flying(&run->client) == run->made - run->returned);
}

static void obey(struct run *run, const uint8_t *order)
{
	uint32_t value;

	memcpy(&value, order + 1, sizeof(value));
	switch (order[0] % ORDERS) {
	case WRITE_MARKER:
		write_marker(run->memory, &run->client.view, order[0] / ORDERS, value);
		break;
	case WRITE_WORD:
		write_word(run->memory, run->bytes, order[0] / ORDERS, value);
		break;
	case ANSWER:
		answer(run, order[0] / ORDERS, value);
		break;
	case PREPARE:
		prepare(run);
		break;
	case REAP:
		collect(run, usrbio_client_reap, order[1]);
		break;
	default:
		if (order[1] == 0xff)
			collect(run, usrbio_client_abandon, order[2]);
		else
			prepare(run);
		break;
	}
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run *run = calloc(1, sizeof(*run));
	uint32_t entries = size ? data[0] % ENTRIES_MAX + 1 : 1;

	require(run);
	run->bytes = usrbio_ring_bytes(entries);
	run->memory = calloc(1, run->bytes);
	require(run->memory && usrbio_client_init(&run->client, run->memory, entries) == 0);
	for (size_t at = 1; at + ORDER_BYTES <= size; at += ORDER_BYTES)
		obey(run, data + at);
	while (run->returned < run->made) /* nothing is ever kept back */
		collect(run, usrbio_client_abandon, ENTRIES_MAX);
	usrbio_client_fini(&run->client);
	free(run->memory);
	free(run);
	return 0;
}
