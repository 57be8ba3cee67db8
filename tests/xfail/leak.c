/* SPDX-License-Identifier: Apache-2.0 */
/* Forgets memory: LeakSanitizer must say so when the program ends. */
#include <stdlib.h>

/* Volatile, so that the compiler does not see what the sanitizer has to. */
static char *volatile place;

int main(void)
{
	place = malloc(100);
	place = NULL;
	return 0;
}
