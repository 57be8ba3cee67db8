/* SPDX-License-Identifier: Apache-2.0 */
#include "signals.h"

#include <signal.h>
#include <stdatomic.h>
#include <stddef.h>
#include <unistd.h>

static atomic_int caught;
/* Published with release, read by the handler with acquire: it sees a whole token. */
static struct weir_cancel *_Atomic token;

static void on_signal(int number)
{
	int none = 0;
	struct weir_cancel *cancel;

	if (!atomic_compare_exchange_strong(&caught, &none, number))
		_exit(128 + number);
	cancel = atomic_load_explicit(&token, memory_order_acquire);
	if (cancel)
		weir_cancel_fire(cancel);
}

void signals_init(void)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};
	struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};

	for (size_t n = 0; n < sizeof(numbers) / sizeof(numbers[0]); n++) {
		struct sigaction old;

		/* What nohup and background shells have switched off stays off. */
		if (sigaction(numbers[n], NULL, &old) == 0 && old.sa_handler != SIG_IGN)
			sigaction(numbers[n], &action, NULL);
	}
}

void signals_break_in(void)
{
	static const int numbers[] = {SIGINT, SIGTERM, SIGHUP};

	for (size_t n = 0; n < sizeof(numbers) / sizeof(numbers[0]); n++) {
		struct sigaction action;

		if (sigaction(numbers[n], NULL, &action) || action.sa_handler != on_signal)
			continue;
		action.sa_flags &= ~SA_RESTART;
		sigaction(numbers[n], &action, NULL);
	}
}

int signals_caught(void)
{
	return atomic_load_explicit(&caught, memory_order_relaxed);
}

void signals_cancel(struct weir_cancel *cancel)
{
	atomic_store_explicit(&token, cancel, memory_order_release);
	/* It may have come before the token was there. */
	if (cancel && signals_caught())
		weir_cancel_fire(cancel);
}
