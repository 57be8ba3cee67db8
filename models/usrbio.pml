/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The ring protocol of src/io/usrbio/, small enough to be tried in every order of steps.
 *
 * A client is two processes, one that prepares and one that reaps, with a private table of slots between
 * them (client.c); a server is one process over all rings (server.c, and whoever drives it).  Each access
 * to a shared word is a step of its own.  Nobody's wait has a time limit here, so a wake-up that is
 * lost leaves the model stuck, which is an error; in the program it would cost a slice.
 *
 *	CLIENTS, ENTRIES, REQUESTS   how many rings, entries each, requests each
 *	                             (with two rings the server completes at once what it claimed, and
 *	                             a client reaps when it has prepared all: at most ENTRIES)
 *	CRASH_SERVER, CRASH_CLIENT   that side stops at any step (of the clients: the first)
 *	HOSTILE_CLIENT               ring 0 belongs to somebody who writes WRITES values into any of his
 *	                             words, and into the doorbell
 *	HOSTILE_SERVER               the server is somebody who does so, and then is gone
 *	NO_MARKS                     the server never says that it is awake (a foreign one, or its client is)
 *	WANTS                        the client sleeps for one completion or for all, and says so
 *	MUTANT                       a protocol that is wrong: models/check wants each of them caught
 *
 * What must hold: each request is completed once, and none is left; a slot is not used again while the server
 * still works for it; private indices stay in range whatever the other side wrote; everybody comes to
 * an end.  The order of memory is not modelled: an index is published with release and read with
 * acquire, records after it, and the thread sanitizer watches the tests of both ends.
 */
#ifndef CLIENTS
#define CLIENTS 1
#endif
#ifndef ENTRIES
#define ENTRIES 2
#endif
#ifndef REQUESTS
#define REQUESTS 4
#endif
#ifndef WRITES
#define WRITES 3
#endif
#ifndef MUTANT
#define MUTANT 0
#endif

#define SLEEP_WITHOUT_LOOKING 1 /* the client drains its semaphore after it looked */
#define FREE_BEFORE_TAIL      2 /* the client frees a slot before it moved cq_tail */
#define DRAIN_AFTER_LOOKING   3 /* the server drains its bell after it looked at the rings */
#define READ_BACK             4 /* the server trusts its own words as they stand in shared memory */
#define POST_BEFORE_PUBLISH   5 /* the server posts before it moved cq_head */
#define TRUST_INDEX           6 /* the client believes any index that a completion names */
#define NEVER_ASK_PEER        7 /* the client's wait does not look whether the server is there */
#define REST_AFTER_LOOKING    8 /* the server takes its mark back after it looked at the ring again */
#define MARK_BEFORE_PUBLISH   9 /* the client reads the mark before it moved sq_head */
#define SLEEP_MARKED          10 /* the server sleeps and leaves its mark */
#define LAST_UNPOSTED         11 /* the server leaves out a post though nothing more is to come */

#define PLACES       (ENTRIES + 1)
#define NEXT(i)      ((i) + 1 == PLACES -> 0 : (i) + 1)
#define DISTANCE(f, t) ((t) >= (f) -> (t) - (f) : (t) - (f) + PLACES)
#define INSIDE(i)    ((i) >= 0 && (i) < PLACES)
#define POST(sem)    sem = (sem < 3 -> sem + 1 : sem) /* a full one stays as it is */

/* Nobody reads it before it is written again: fewer states, and the same behaviour. */
#define FORGET(word) word = 0

/* What both sides see. */
typedef shared_t {
	short sq_head, sq_tail, cq_head, cq_tail;
	short sqe[PLACES], sqe_data[PLACES];
	short cqe[PLACES], cqe_data[PLACES];
	byte sem;
#ifdef WANTS
	byte wanted; /* for how many completions the client sleeps: as the next, in struct usrbio_mark */
#endif
	bool awake
};
shared_t ring[CLIENTS];
byte bell;

/* A client's own. */
typedef private_t {
	bool busy[ENTRIES];
	byte data[ENTRIES]; /* which request the slot is for */
	byte prepared, reaped;
	bool dead;          /* the ring: the server broke the protocol, or is gone */
	bool ended          /* nothing is prepared any more */
};
private_t client[CLIENTS];

/* Who is there. */
bool server_gone;
bool client_gone[CLIENTS];
byte clients_left = CLIENTS;

/* Watched, and read by nobody: what was completed, and which slots the server works for. */
typedef watched_t {
	byte completed[REQUESTS];
	bool owned[ENTRIES]
};
watched_t watched[CLIENTS];

/* ---- The client ---- */

inline find_free(r, slot)
{
	d_step {
		slot = 0;
		do
		:: slot < ENTRIES && client[r].busy[slot] -> slot++
		:: else -> break
		od
	}
}

#define CANNOT(r) (client[r].dead || server_gone)

/* usrbio_client_prepare(), until all are made.  Full is waited for, as a caller does. */
proctype preparer(byte r)
{
	short slot, head = 0, tail;
	bool told; /* the server is awake */

	{
		do
		:: atomic {
			CANNOT(r) || client[r].prepared == REQUESTS ||
				client[r].prepared - client[r].reaped < ENTRIES ->
			find_free(r, slot);
			if
			:: CANNOT(r) || client[r].prepared == REQUESTS -> break
			:: else
			fi
		   };
		   atomic {
			tail = ring[r].sq_tail;
			if
			:: !INSIDE(tail) -> client[r].dead = true; break
			:: else -> skip
			fi;
			/* Full, or the slot that counts as free is not quite: later. */
			(NEXT(head) != tail && slot < ENTRIES) || ring[r].sq_tail != tail || CANNOT(r) ||
				slot == ENTRIES;
		   };
		   if
		   :: NEXT(head) == tail || slot == ENTRIES -> skip
		   :: else ->
			d_step {
#ifndef HOSTILE_SERVER
				assert(!watched[r].owned[slot] || server_gone);
#endif
				client[r].data[slot] = client[r].prepared;
				client[r].prepared++
			};
			d_step {
				client[r].busy[slot] = true;
				watched[r].owned[slot] = true
			};
#if MUTANT == MARK_BEFORE_PUBLISH
			told = ring[r].awake;
#endif
			d_step {
				ring[r].sqe[head] = slot;
				ring[r].sqe_data[head] = client[r].data[slot];
				head = NEXT(head);
				ring[r].sq_head = head
			};
			/* usrbio_ring_submit() */
#if MUTANT != MARK_BEFORE_PUBLISH
			told = ring[r].awake;
#endif
			if
			:: atomic { !told -> POST(bell) }
			:: atomic { told -> told = false }
			fi
		   fi
		od;
		client[r].ended = true
	} unless {
		client_gone[r]
	}
}

inline find_busy(r, slot)
{
	d_step {
		slot = 0;
		do
		:: slot < ENTRIES && !client[r].busy[slot] -> slot++
		:: else -> break
		od
	}
}

/* One completion that was judged to be right, or the request given back. */
inline complete_request(r, slot)
{
	d_step {
		assert(slot >= 0 && slot < ENTRIES);
		assert(client[r].busy[slot]);
		assert(watched[r].completed[client[r].data[slot]] == 0);
		watched[r].completed[client[r].data[slot]]++
	}
}

inline free_slot(r, slot)
{
	d_step {
		client[r].busy[slot] = false;
		client[r].data[slot] = 0;
		client[r].reaped++
	}
}

/* usrbio_ring_wait(), until all that was prepared has come back. */
proctype reaper(byte r)
{
	short head, tail = 0, slot, data;
	bool right, last; /* last: the server is gone, and this is what it left */

	{
#if CLIENTS > 1 && !defined(HOSTILE_CLIENT)
		client[r].ended;
#endif
		do
		:: atomic { client[r].dead -> goto abandon }
		:: atomic { !client[r].dead && client[r].ended && client[r].reaped == client[r].prepared ->
			    goto done }
		:: else ->
look:			atomic {
				head = ring[r].cq_head;
				right = INSIDE(head);
				if
				:: right -> right = DISTANCE(tail, head) <=
						    client[r].prepared - client[r].reaped
				:: else
				fi;
				if
				:: !right -> client[r].dead = true; goto abandon
				:: right && head == tail && last -> client[r].dead = true; goto abandon
				:: right && head == tail && !last -> goto nothing
				:: else
				fi;
				assert(INSIDE(tail));
				slot = ring[r].cqe[tail];
				data = ring[r].cqe_data[tail];
				FORGET(ring[r].cqe[tail]);
				FORGET(ring[r].cqe_data[tail]);
				right = slot >= 0 && slot < ENTRIES;
				if
				:: right -> right = client[r].busy[slot] && client[r].data[slot] == data
				:: else
				fi;
#if MUTANT == TRUST_INDEX
				right = true;
#endif
				if
				:: !right -> client[r].dead = true; goto abandon
				:: else
				fi
			};
			complete_request(r, slot);
			tail = NEXT(tail);
#if MUTANT == FREE_BEFORE_TAIL
			free_slot(r, slot);
			ring[r].cq_tail = tail;
#else
			ring[r].cq_tail = tail;
			free_slot(r, slot);
#endif
			d_step { slot = 0; data = 0; head = 0 };
			goto again;
nothing:		/* Say for how many, drain, look once more, sleep. */
#ifdef WANTS
			if
			:: ring[r].wanted = 1
			:: ring[r].wanted = ENTRIES
			fi;
#endif
			ring[r].sem = 0;
#if MUTANT != SLEEP_WITHOUT_LOOKING
			if
			:: ring[r].cq_head != tail -> goto look
			:: else
			fi;
#endif
			if
			:: atomic { ring[r].sem > 0 -> ring[r].sem-- }
			:: client[r].ended && client[r].reaped == client[r].prepared
			:: client[r].dead
#if MUTANT != NEVER_ASK_PEER
			:: atomic { server_gone -> last = true; goto look }
#endif
			fi;
again:			skip
		od;
abandon:	/* Each that is in flight is given back, until no more can be made. */
		do
		:: atomic {
			client[r].reaped < client[r].prepared ->
			find_busy(r, slot);
			if
			:: slot < ENTRIES -> complete_request(r, slot)
			:: else -> slot = 0; goto counted /* not quite: its slot follows */
			fi
		   };
		   free_slot(r, slot);
counted:	   skip
		:: atomic { client[r].ended && client[r].reaped == client[r].prepared -> break }
		od;
done:		atomic {
			slot = 0;
			do
			:: slot < client[r].prepared ->
				assert(watched[r].completed[slot] == 1);
				slot++
			:: else -> break
			od;
			assert(client[r].dead || server_gone || client[r].prepared == REQUESTS);
			clients_left--
		}
	} unless {
		client_gone[r]
	}
}

/* ---- The server ---- */

/* The server's own, of a ring. */
typedef served_t {
	short sq_tail, cq_head, cq_tail;
	short seen; /* sq_head, as last looked at */
	bool dead;
	byte jobs;
	short job[PLACES], data[PLACES] /* claimed and not completed */
};
served_t served[CLIENTS];

/* The markers' verdict: how many may be taken. */
inline judge(r)
{
	assert(INSIDE(served[r].sq_tail) && INSIDE(served[r].cq_head) && INSIDE(served[r].cq_tail));
	room = 0;
	if
	:: !INSIDE(head) || !INSIDE(tail) -> served[r].dead = true
	:: else ->
		queued = DISTANCE(served[r].sq_tail, head);
		if
		:: queued + served[r].jobs > ENTRIES ||
		   DISTANCE(served[r].cq_tail, tail) >
			   DISTANCE(served[r].cq_tail, served[r].cq_head) ->
			served[r].dead = true
		:: else ->
			served[r].cq_tail = tail;
			room = ENTRIES - served[r].jobs - DISTANCE(tail, served[r].cq_head);
			room = (queued < room -> queued : room)
		fi
	fi;
#if !defined(HOSTILE_CLIENT) && !defined(CRASH_CLIENT)
	assert(!served[r].dead)
#endif
}

inline copy(r)
{
	next = served[r].sq_tail;
	found = found || room > 0;
	do
	:: room > 0 ->
		assert(INSIDE(next) && served[r].jobs < ENTRIES);
		served[r].job[served[r].jobs] = ring[r].sqe[next];
		served[r].data[served[r].jobs] = ring[r].sqe_data[next];
		FORGET(ring[r].sqe[next]);
		FORGET(ring[r].sqe_data[next]);
		served[r].jobs++;
		next = NEXT(next);
		room--
	:: else -> break
	od;
	served[r].sq_tail = next
}

/* ring_attend(): something is under way, so the server will look again. */
inline attend(r)
{
#ifndef NO_MARKS
	if
	:: !served[r].dead && served[r].jobs > 0 && !ring[r].awake -> ring[r].awake = true
	:: else
	fi
#else
	skip
#endif
}

/* server_rests(): takes the marks back; is there something that nobody rang for? */
inline rest()
{
#ifndef NO_MARKS
	do
	:: r < CLIENTS && !found ->
#if MUTANT != REST_AFTER_LOOKING && MUTANT != SLEEP_MARKED
		ring[r].awake = false;
#endif
		d_step {
			found = !served[r].dead && !client_gone[r] && ring[r].sq_head != served[r].seen;
			served[r].seen = ring[r].sq_head
		};
#if MUTANT == REST_AFTER_LOOKING
		ring[r].awake = false;
#endif
		r++
	:: else -> break
	od;
	r = 0
#else
	skip
#endif
}

/* usrbio_server_claim() */
inline claim(r)
{
	head = ring[r].sq_head;
	d_step {
		served[r].seen = head;
		tail = ring[r].cq_tail;
#if MUTANT == READ_BACK
		served[r].sq_tail = ring[r].sq_tail;
		served[r].cq_head = ring[r].cq_head;
#endif
		judge(r);
		copy(r);
		ring[r].sq_tail = served[r].sq_tail
	};
	attend(r)
}

/* usrbio_server_complete() of any one of them; an index that is none is echoed with an error. */
inline complete(r)
{
	atomic {
		select(pick : 0 .. served[r].jobs - 1);
		slot = served[r].job[pick];
		data = served[r].data[pick];
		served[r].jobs--;
		served[r].job[pick] = served[r].job[served[r].jobs];
		served[r].data[pick] = served[r].data[served[r].jobs];
		served[r].job[served[r].jobs] = 0;
		served[r].data[served[r].jobs] = 0;
		pick = 0;
		if
		:: slot >= 0 && slot < ENTRIES -> watched[r].owned[slot] = false
		:: else
		fi;
#if MUTANT == POST_BEFORE_PUBLISH
	}
	POST(ring[r].sem);
	atomic {
#endif
		if
		:: !served[r].dead ->
			assert(INSIDE(served[r].cq_head) &&
			       NEXT(served[r].cq_head) != served[r].cq_tail);
			ring[r].cqe[served[r].cq_head] = slot;
			ring[r].cqe_data[served[r].cq_head] = data;
			served[r].cq_head = NEXT(served[r].cq_head);
			ring[r].cq_head = served[r].cq_head
		:: else
		fi;
		slot = 0;
		data = 0
	}
}

/* usrbio_server_post(): not where the client sleeps for more, and more is to come. */
inline post(r)
{
#ifdef WANTS
	wanted = ring[r].wanted;
	atomic {
		tail = ring[r].cq_tail;
		if
#if MUTANT == LAST_UNPOSTED
		:: INSIDE(tail) && DISTANCE(tail, served[r].cq_head) < wanted -> skip
#else
		:: served[r].jobs > 0 && INSIDE(tail) && DISTANCE(tail, served[r].cq_head) < wanted -> skip
#endif
		:: else -> POST(ring[r].sem)
		fi;
		wanted = 0;
		tail = 0
	}
#else
	POST(ring[r].sem)
#endif
}

/* Completes some of what is there and posts once for them. */
inline complete_some(r)
{
	complete(r);
	do
	:: served[r].jobs > 0 -> complete(r)
#if CLIENTS == 1
	:: break
#else
	:: else -> break
#endif
	od;
#if MUTANT == POST_BEFORE_PUBLISH
	skip
#else
	post(r)
#endif
}

proctype server()
{
	short head, tail, queued, room, next, slot, data;
	byte r, pick, idle;
#ifdef WANTS
	byte wanted;
#endif
	bool found, jobs;

	{
		do
		:: clients_left == 0 -> break
		:: else ->
			/* Drain the bell, look at every ring, sleep where there was nothing. */
#if MUTANT != DRAIN_AFTER_LOOKING
			bell = 0;
#endif
			d_step { found = false; jobs = false; r = 0 };
			do
			:: r < CLIENTS ->
				if
				:: !served[r].dead && !client_gone[r] -> claim(r)
				:: else
				fi;
				if
				:: served[r].jobs > 0 -> complete_some(r)
#if CLIENTS == 1
				:: served[r].jobs > 0 /* or later */
#endif
				:: else
				fi;
				d_step { jobs = jobs || served[r].jobs > 0; r++ }
			:: else -> break
			od;
			skip;
			d_step { head = 0; tail = 0; queued = 0; room = 0; next = 0; slot = 0; data = 0; r = 0 };
			if
			:: !found && !jobs -> rest()
			:: else
			fi;
			if
			:: found || jobs -> idle = 0
			:: else ->
#if MUTANT == DRAIN_AFTER_LOOKING
				bell = 0;
#endif
				if
				:: atomic { bell > 0 -> bell-- }
				:: clients_left == 0
#ifdef HOSTILE_CLIENT
				/* A bell that others can silence: now and then all rings are looked at. */
				:: atomic { timeout && idle < 2 -> idle++ }
#endif
				fi
			fi
		od
	} unless {
		server_gone
	}
}

/* ---- Who stops, and who lies ---- */

#ifdef CRASH_SERVER
proctype server_crash()
{
	server_gone = true
}
#endif

#ifdef CRASH_CLIENT
proctype client_crash()
{
	atomic {
		if
		:: clients_left > 0 && !client[0].ended -> client_gone[0] = true; clients_left--
		:: else
		fi
	}
}
#endif

#ifdef HOSTILE_CLIENT
proctype liar()
{
	byte left = WRITES;
	short value, place;

	do
	:: left > 0 ->
		left--;
		atomic {
			select(value : -1 .. PLACES);
			select(place : 0 .. PLACES - 1);
			if
			:: ring[0].sq_head = value
			:: ring[0].sq_tail = value
			:: ring[0].cq_head = value
			:: ring[0].cq_tail = value
			:: ring[0].sqe[place] = value
			:: bell = 0
			:: bell = 3
			:: ring[0].sem = 3
			:: ring[0].awake = !ring[0].awake
			fi;
			value = 0;
			place = 0
		}
	:: else -> break
	od;
	clients_left--
}
#endif

#ifdef HOSTILE_SERVER
/* What it writes may also be right: it knows what stands in the ring. */
proctype liar()
{
	byte left = WRITES;
	short value, other, place;

	do
	:: left > 0 && clients_left > 0 ->
		left--;
		atomic {
			select(value : -1 .. PLACES);
			select(other : 0 .. REQUESTS - 1);
			select(place : 0 .. PLACES - 1);
			if
			:: ring[0].sq_tail = value
			:: ring[0].sq_head = value
			:: ring[0].cq_tail = value
			:: ring[0].cq_head = value; ring[0].sem = 1
			:: ring[0].cqe[place] = value; ring[0].cqe_data[place] = other
			:: ring[0].sem = value + 1
			:: ring[0].awake = true
			fi;
			value = 0;
			other = 0;
			place = 0
		}
	:: else -> break
	od;
	server_gone = true
}
#endif

init
{
	byte r = 0;

	atomic {
#ifdef HOSTILE_CLIENT
		run liar();
		r = 1;
#endif
		do
		:: r < CLIENTS -> run preparer(r); run reaper(r); r++
		:: else -> break
		od;
#ifdef HOSTILE_SERVER
		run liar()
#else
		run server();
#endif
#ifdef CRASH_SERVER
		run server_crash();
#endif
#ifdef CRASH_CLIENT
		run client_crash();
#endif
		r = 0
	}
}
