/* SPDX-License-Identifier: Apache-2.0 */
#include "engine/request.h"

#include <stdlib.h>
#include <string.h>

#include "base/error.h"
#include "engine/context.h"

/* Under the helpers' lock: the queue's is below it. */
static void complete(struct helper_call *call, int status)
{
	struct weir_request *request = call->waiter;

	request->status = status;
	if (!call->returned)
		request->call = NULL;
	request->completion.done.status = status;
	queue_post(request->queue, &request->completion);
}

int request_start(struct weir_ctx *ctx, struct helper_call *call, const char *what,
		  int64_t timeout_ns, struct weir_cancel *cancel, struct weir_queue *queue,
		  uint64_t tag, struct weir_request **out, struct weir_error *err)
{
	struct weir_request *request = calloc(1, sizeof(*request));
	int ret;

	if (request)
		request->what = strdup(what);
	if (!request || !request->what) {
		free(request);
		call->free(call);
		return error_nomem(err, what, "a request");
	}
	request->ctx = ctx;
	request->queue = queue;
	request->call = call;
	request->status = WEIR_CANCELLED; /* until it completes */
	request->completion.done = (struct weir_done){.tag = tag};
	call->complete = complete;
	call->waiter = request;
	*out = request; /* before it can complete */
	ret = helper_start(ctx->helpers, call, timeout_ns, cancel, err);
	if (ret < 0) {
		*out = NULL;
		free(request->what);
		free(request);
	}
	return ret;
}

int request_finish(struct weir_request *request, void (*taken)(struct helper_call *call, void *arg),
		   void *arg, struct weir_error *err)
{
	int ret;

	helper_leave(request->ctx->helpers, &request->call);
	queue_withdraw(request->queue, &request->completion); /* where nobody took it */
	ret = request->status;
	if (ret == WEIR_TIMEOUT || ret == WEIR_CANCELLED)
		error_set(err, ret, request->what, "%s: %s", request->what,
			  ret == WEIR_TIMEOUT ? "no answer in time" : "cancelled");
	else if (ret < 0 && err)
		*err = request->call->err;
	else if (ret == 0 && taken)
		taken(request->call, arg);
	if (request->call)
		request->call->free(request->call);
	free(request->what);
	free(request);
	return ret;
}
