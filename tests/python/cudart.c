/* SPDX-License-Identifier: Apache-2.0 */
/*
 * A look-alike of the CUDA runtime for programs that want one where there is no GPU: all memory is
 * the host's.  Tests build it as libcudart.so.
 */
#include <stddef.h>
#include <string.h>

struct attributes {
	int type; /* 0: ordinary memory of the host */
	int device;
	void *device_pointer, *host_pointer;
};

unsigned streams_made; /* for a test to see that it was asked */

int cudaMemcpy(void *to, const void *from, size_t bytes, int kind)
{
	(void)kind;
	memcpy(to, from, bytes);
	return 0;
}

/* At once, whatever the stream. */
int cudaMemcpyAsync(void *to, const void *from, size_t bytes, int kind, void *stream)
{
	(void)stream;
	return cudaMemcpy(to, from, bytes, kind);
}

int cudaStreamCreateWithFlags(void **stream, unsigned flags)
{
	static char any;

	(void)flags;
	*stream = &any;
	streams_made++;
	return 0;
}

int cudaStreamSynchronize(void *stream)
{
	return stream ? 0 : 1;
}

int cudaStreamDestroy(void *stream)
{
	return stream ? 0 : 1;
}

const char *cudaGetErrorString(int error)
{
	return error ? "an error of the look-alike" : "no error";
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
