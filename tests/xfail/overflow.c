/* SPDX-License-Identifier: Apache-2.0 */
/* Adds one to the largest int: UndefinedBehaviorSanitizer must end this program. */
#include <limits.h>
#include <stdio.h>

int main(void)
{
	volatile int most = INT_MAX;

	printf("%d\n", most + 1);
	return 0;
}
