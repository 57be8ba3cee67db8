/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A look-alike of the CUDA runtime for programs that want one where there is no GPU: all memory is the host's.
 * Tests build it as libcudart.so.
 */
#include <stddef.h>
#include <string.h>

struct attributes {
	int type; /* 0: ordinary memory of the host */
	int device;
	void *device_pointer, *host_pointer;
};

int cudaMemcpy(void *to, const void *from, size_t bytes, int kind)
{
	(void)kind;
	memcpy(to, from, bytes);
	return 0;
}

int cudaHostRegister(void *memory, size_t bytes, unsigned flags)
{
	(void)flags;
	return memory && bytes ? 0 : 1;
}

int cudaHostUnregister(void *memory)
{
	return memory ? 0 : 1;
}

int cudaGetLastError(void)
{
	return 0;
}

int cudaPointerGetAttributes(struct attributes *out, const void *memory)
{
	*out = (struct attributes){.host_pointer = (void *)memory};
	return 0;
}
