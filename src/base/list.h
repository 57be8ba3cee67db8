/* SPDX-License-Identifier: Apache-2.0 */
/*
 * Intrusive doubly linked lists: the link stands inside the thing that is listed, so adding to a list
 * cannot fail and allocates nothing.  A link that is on no list points to itself.
 */
#ifndef BASE_LIST_H
#define BASE_LIST_H

#include <stdbool.h>

#include "base/compiler.h"

struct list {
	struct list *next, *prev;
};

static inline void list_init(struct list *list)
{
	list->next = list;
	list->prev = list;
}

static inline bool list_empty(const struct list *list)
{
	return list->next == list;
}

static inline void list_insert_(struct list *link, struct list *prev, struct list *next)
{
	link->prev = prev;
	link->next = next;
	prev->next = link;
	next->prev = link;
}

static inline void list_push(struct list *list, struct list *link)
{
	list_insert_(link, list->prev, list);
}

static inline void list_push_front(struct list *list, struct list *link)
{
	list_insert_(link, list, list->next);
}

/* Off its list, if it was on one. */
static inline void list_remove(struct list *link)
{
	/* NOLINTNEXTLINE(clang-analyzer-unix.Malloc): it does not see that what was freed was unlinked */
	link->prev->next = link->next;
	link->next->prev = link->prev;
	list_init(link);
}

/* The first link, taken off; NULL when there is none. */
static inline struct list *list_pop(struct list *list)
{
	struct list *link = list->next;

	if (link == list)
		return NULL;
	list_remove(link); /* NOLINT(clang-analyzer-unix.Malloc): as above */
	return link;
}

#define list_entry(link, type, member) container_of(link, type, member)

#define list_for_each(at, head) for (struct list *at = (head)->next; at != (head); at = at->next)

/* The current link may be removed. */
#define list_for_each_safe(at, head)                                                               \
	for (struct list *at = (head)->next, *at##_next = at->next; at != (head);                  \
	     at = at##_next, at##_next = at->next)

#endif
