/* SPDX-License-Identifier: Apache-2.0 */
/*
 * What to ask for after a request that brought less than it was asked for: the one rule of all lanes.
 */
#ifndef ENGINE_REST_H
#define ENGINE_REST_H

#include "base/size.h"
#include "source/source.h"

/*
 * Turns a request that ended with 0 < result < length into one for the rest.  A direct one goes on at a
 * block border, so what is behind the last whole block is moved once more; without a whole block it
 * goes on through the page cache.
 */
static inline void request_rest(struct request *request)
{
	uint64_t step = (uint64_t)request->result;

	if (request->way == WAY_DIRECT)
		step = round_down(step, request->object->offset_align);
	if (step == 0) {
		request->way = WAY_BUFFERED;
		step = (uint64_t)request->result;
	}
	request->offset += step;
	request->memory = (char *)request->memory + step;
	request->length -= (uint32_t)step;
}

#endif
