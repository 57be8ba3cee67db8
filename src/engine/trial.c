/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/trial.h"

static void restart(struct trial *trial, const void *owner)
{
	*trial = (struct trial){.owner = owner};
}

static bool is_stale(const struct trial *trial, const void *owner, int64_t now_ns)
{
	if (trial->flying)
		return false;
	if (trial->stage == TRIAL_DECIDED)
		return now_ns - trial->decided_ns >= TRIAL_KEEP_NS;
	return trial->owner != owner || trial->spoiled;
}

int trial_choose(struct trial *trial, const void *owner, uint64_t bytes, int64_t now_ns,
		 uint8_t *mark)
{
	*mark = TRIAL_NONE;
	if (is_stale(trial, owner, now_ns))
		restart(trial, owner);
	if (trial->stage == TRIAL_DECIDED)
		return trial->way;
	if (trial->owner != owner)
		return 0; /* somebody else's trial is under way */
	if ((trial->stage == TRIAL_WARMS && trial->sent >= TRIAL_WARM) ||
	    (trial->stage == TRIAL_COUNTS && trial->sent >= TRIAL_BYTES)) {
		trial->stage++;
		trial->sent = 0;
	}
	*mark = TRIAL_OWNED;
	if (trial->stage == TRIAL_COUNTS) {
		*mark = trial->way ? TRIAL_COUNTED_SECOND : TRIAL_COUNTED;
		trial->legs[trial->way].flying++;
	}
	trial->sent += bytes;
	trial->flying++;
	return trial->way;
}

double trial_rate(const struct trial *trial, int way)
{
	const struct trial_leg *leg = &trial->legs[way];

	return (double)leg->bytes * 1e9 / (double)max_of(leg->last_ns - leg->first_ns, INT64_C(1));
}

static void decide(struct trial *trial, int way, int64_t now_ns)
{
	trial->stage = TRIAL_DECIDED;
	trial->way = (uint8_t)way;
	trial->decided_ns = now_ns;
}

static void count_ended(struct trial_leg *leg, uint64_t bytes, int64_t now_ns)
{
	leg->flying--;
	if (leg->any)
		leg->bytes += bytes;
	else
		leg->first_ns = now_ns;
	leg->any = true;
	leg->last_ns = now_ns;
}

bool trial_ended(struct trial *trial, uint8_t mark, uint64_t bytes, bool well, int64_t now_ns)
{
	struct trial_leg *leg = &trial->legs[mark == TRIAL_COUNTED_SECOND];

	if (mark == TRIAL_NONE)
		return false;
	trial->flying--;
	trial->spoiled |= !well;
	if (mark != TRIAL_OWNED)
		count_ended(leg, bytes, now_ns);
	if (trial->spoiled || trial->stage != TRIAL_RESTS || trial->legs[trial->way].flying)
		return false;
	if (trial->way == 0) {
		trial->way = 1;
		trial->stage = TRIAL_WARMS;
		trial->sent = 0;
		return false;
	}
	decide(trial, trial_rate(trial, 1) > trial_rate(trial, 0) * TRIAL_MARGIN, now_ns);
	return true;
}
