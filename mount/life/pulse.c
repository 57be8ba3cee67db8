/* SPDX-License-Identifier: Apache-2.0 */
#include "mount/life/pulse.h"

int64_t pulse_look(struct pulse *pulse, enum pulse_kind kind, uint64_t under_way, uint64_t done,
		   int64_t now_ns)
{
	int64_t *since_ns = &pulse->kinds[kind].since_ns;

	if (!under_way || done != pulse->kinds[kind].done || !*since_ns) {
		pulse->kinds[kind].done = done;
		*since_ns = now_ns;
	}
	return now_ns - *since_ns;
}
