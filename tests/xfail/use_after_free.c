/* SPDX-License-Identifier: Apache-2.0 */
/* Reads freed memory: AddressSanitizer must end this program. */
#include <stdio.h>
#include <stdlib.h>

/* Volatile, so that the compiler does not see what the sanitizer has to. */
static char *volatile place;

int main(void)
{
	place = calloc(16, 1);
	free(place);
	printf("%d\n", place[3]);
	return 0;
}
