/* SPDX-License-Identifier: Apache-2.0 */
/*
 * The options that verbs share.
 */
#include "command.h"

const struct option common_options[] = {
	{.name = "json",
	 .kind = OPTION_FLAG,
	 .help = "write JSON, also on failure, and nothing else",
	 .at = offsetof(struct common, json)},
	{.name = "progress",
	 .kind = OPTION_CHOICE,
	 .value = "HOW",
	 .choices = "auto|bar|plain",
	 .bare = "bar",
	 .initial = "auto: a bar on a terminal",
	 .help = "show progress as a bar, or plain: a line a second",
	 .at = offsetof(struct common, progress)},
	{.name = "quiet",
	 .kind = OPTION_FLAG,
	 .help = "show no progress",
	 .at = offsetof(struct common, quiet)},
	{.name = "help",
	 .kind = OPTION_FLAG,
	 .help = "print this help",
	 .at = offsetof(struct common, help)},
	{0},
};

const struct option model_options[] = {
	{.name = "lenient",
	 .kind = OPTION_FLAG,
	 .help = "accept what the reference library accepts, beyond the strict rules",
	 .at = offsetof(struct model_options, lenient)},
	{.name = "beneath",
	 .kind = OPTION_FLAG,
	 .help = "refuse links that leave the model's directory",
	 .at = offsetof(struct model_options, beneath)},
	{0},
};
