/* SPDX-License-Identifier: Apache-2.0 */
/* Two threads count in one place without a lock: ThreadSanitizer must say so. */
#include <pthread.h>
#include <stdio.h>

static int counter;

static void *count(void *arg)
{
	for (int i = 0; i < 1000; i++)
		counter++;
	return arg;
}

int main(void)
{
	pthread_t one, two;

	if (pthread_create(&one, NULL, count, NULL) || pthread_create(&two, NULL, count, NULL))
		return 0;
	pthread_join(one, NULL);
	pthread_join(two, NULL);
	printf("%d\n", counter);
	return 0;
}
