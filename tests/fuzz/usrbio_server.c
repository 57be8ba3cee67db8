/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Fuzzing the server's end of a ring: the input is a client, byte by byte.
 *
 * The first byte is the number of entries, and its highest bit says that the client reads the mark;
 * then come orders of five bytes: what to do, where, and a value.  The client writes words anywhere
 * into the ring; the server claims, completes and posts.  Memory is of exactly the ring's size.
 * Beyond memory errors, these must hold:
 *
 *	what is claimed has an index inside the ring, or an error
 *	never more is claimed than the ring has entries
 *	a ring that is dead stays dead
 *	who rests is not marked as awake; no mark is written for who did not ask
 */
#include "io/usrbio/server.h"

#include <errno.h>

#include "usrbio_words.h"

#define ENTRIES_MAX 16

enum order {
	WRITE_MARKER,
	WRITE_WORD,
	CLAIM,
	COMPLETE,
	POST, /* or what has to do with the mark */
	LOOK,
	ORDERS,
};

struct run {
	struct usrbio_server server;
	unsigned char *memory;
	struct usrbio_claim held[ENTRIES_MAX];
	int count; /* of held */
};

static void claim(struct run *run, unsigned most)
{
	int room = ENTRIES_MAX - run->count;
	unsigned max = most % (ENTRIES_MAX + 1);
	struct usrbio_claim *out = &run->held[run->count];
	int count = usrbio_server_claim(&run->server, out,
					max > (unsigned)room ? (unsigned)room : max);

	require(count <= (int)max && (count >= 0 || count == run->server.dead));
	for (int i = 0; i < count; i++) {
		bool inside = out[i].index >= 0 && out[i].index < run->server.view.places;

		require(out[i].error == (inside ? 0 : -EINVAL));
	}
	run->count += count > 0 ? count : 0;
	require(run->count <= run->server.entries && run->count == run->server.unfinished);
}

static void complete(struct run *run, unsigned which)
{
	struct usrbio_claim done;
	int ret;

	if (!run->count)
		return;
	done = run->held[which % (unsigned)run->count];
	run->held[which % (unsigned)run->count] = run->held[--run->count];
	ret = usrbio_server_complete(&run->server, done.index, done.userdata, which);
	require(ret == run->server.dead && run->count == run->server.unfinished);
}

static void tell(struct run *run, unsigned what)
{
	struct usrbio_server *server = &run->server;

	switch (what % 4) {
	case 0:
		require(!usrbio_server_attends(server) || (server->marks && server->awake));
		break;
	case 1:
		require(!usrbio_server_rests(server) || !server->dead);
		require(!server->awake);
		break;
	case 2:
		require(!usrbio_server_news(server) || !server->dead);
		break;
	default:
		usrbio_server_post(server);
		break;
	}
}

static void obey(struct run *run, const uint8_t *order)
{
	uint32_t value;
	int dead = run->server.dead, ret;

	memcpy(&value, order + 1, sizeof(value));
	switch (order[0] % ORDERS) {
	case WRITE_MARKER:
		write_marker(run->memory, &run->server.view, order[0] / ORDERS, value);
		break;
	case WRITE_WORD:
		write_word(run->memory, run->server.bytes, order[0] / ORDERS, value);
		break;
	case CLAIM:
		claim(run, order[1]);
		break;
	case COMPLETE:
		complete(run, order[1]);
		break;
	case POST:
		tell(run, order[1]);
		break;
	default:
		ret = usrbio_server_available(&run->server);
		require(ret <= run->server.entries && (ret >= 0 || ret == run->server.dead));
		break;
	}
	require(!dead || dead == run->server.dead);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
	struct run run = {.count = 0};
	uint32_t entries = size ? data[0] % ENTRIES_MAX + 1 : 1;
	uint64_t bytes = usrbio_ring_bytes(entries);

	run.memory = calloc(1, bytes);
	require(run.memory);
	if (size && data[0] & 0x80)
		atomic_store(&usrbio_view_of(run.memory, entries).mark->asked, USRBIO_MARK_ASKED);
	require(usrbio_server_init(&run.server, sys_real(), run.memory, bytes) == 0);
	for (size_t at = 1; at + ORDER_BYTES <= size; at += ORDER_BYTES)
		obey(&run, data + at);
	while (run.count)
		complete(&run, 0);
	free(run.memory);
	return 0;
}
