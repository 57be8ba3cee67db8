/* SPDX-License-Identifier: Apache-2.0 */
/* Decides by memory that nobody wrote: valgrind must say so. */
#include <stdio.h>
#include <stdlib.h>

/* Volatile, so that the compiler does not see what valgrind has to. */
static unsigned char *volatile place;

int main(void)
{
	place = malloc(16);
	if (place && place[5] > 100)
		puts("large");
	free(place);
	return 0;
}
