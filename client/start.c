/* client/start.c - how every call begins, goes on after waiting, is repeated, and ends.
 *
 * The order is that of include/waymark/interceptor.h: deadline, interceptors, token, attempts.
 * client_call_resume() finds where a call was by what it has done: interceptors that have not
 * started come first, then the token, then an attempt.
 */
#include <assert.h>
#include <grpc/compression.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/random.h"
#include "client/internal.h"

enum {
    METADATA_OWN = 2, /* room behind the caller's pieces: the token, the attempt's number */
    METADATA_ROOM = 6
};

void client_batch(grpc_call *call, const grpc_op *ops, size_t n, client_event *event)
{
    grpc_call_error error;

    CLIENT_SENT(event);
    error = grpc_call_start_batch(call, ops, n, event, NULL);
    assert(error == GRPC_CALL_OK && "a batch is well formed and alone of its kind");
    (void)error;
}

/* ---- refusals ---- */

void client_call_refuse(client_call *call, waymark_code code, const char *reason,
                        int64_t retry_delay_ms, const char *message)
{
    call->refused_code = code;
    call->refused_delay_ms = retry_delay_ms;
    if (reason != call->refused_reason)
        snprintf(call->refused_reason, sizeof(call->refused_reason), "%s", reason);
    if (message != call->refused_message)
        snprintf(call->refused_message, sizeof(call->refused_message), "%s", message);
    client_post(call->client, call->thread, &call->refused_event);
}

static void refused_event(client_event *event, bool ok)
{
    client_call *call = wm_container_of(event, client_call, refused_event);

    (void)ok;
    call->refused(call);
}

void client_call_refusal(client_call *call, waymark_status *status)
{
    client_status_make(&call->arena, call->refused_code, call->refused_reason,
                       call->refused_message, status);
    status->retry_delay_ms = call->refused_delay_ms;
}

static void refuse_cancelled(client_call *call)
{
    client_call_refuse(call, WAYMARK_CANCELLED, "", -1, "cancelled");
}

/* ---- metadata ---- */

static void grow_metadata(client_call *call)
{
    size_t room = call->metadata_room > 0 ? call->metadata_room * 2 : METADATA_ROOM;
    grpc_metadata *metadata = WM_NEW_ARRAY(&call->arena, grpc_metadata, room);

    memset(metadata, 0, room * sizeof(metadata[0]));
    if (call->n_metadata > 0)
        memcpy(metadata, call->metadata, call->n_metadata * sizeof(metadata[0]));
    call->metadata = metadata;
    call->metadata_room = room;
}

bool client_call_add_metadata(client_call *call, const char *key, const char *value, size_t size)
{
    grpc_metadata *to;

    if (call->n_metadata == CLIENT_METADATA_MAX)
        return false;
    if (call->n_metadata + METADATA_OWN >= call->metadata_room)
        grow_metadata(call);
    to = &call->metadata[call->n_metadata++];
    to->key = grpc_slice_from_copied_string(key);
    to->value = grpc_slice_from_copied_buffer(value, size);
    return grpc_header_key_is_legal(to->key) &&
           (grpc_is_binary_header(to->key) || grpc_header_nonbin_value_is_legal(to->value));
}

grpc_metadata *client_call_metadata(client_call *call, size_t *n)
{
    static const char *const before[] = {"0", "1", "2", "3", "4", "5", "6", "7"};

    *n = call->n_metadata;
    if (call->credentials == NULL && call->attempts <= 1)
        return call->metadata;
    if (call->metadata == NULL)
        grow_metadata(call);
    if (call->credentials != NULL) {
        call->metadata[*n].key = grpc_slice_from_static_string("authorization");
        call->metadata[(*n)++].value = call->token;
    }
    if (call->attempts > 1) {
        call->metadata[*n].key = grpc_slice_from_static_string("grpc-previous-rpc-attempts");
        call->metadata[(*n)++].value =
            grpc_slice_from_static_string(before[(call->attempts - 1) % WM_ARRAY_LEN(before)]);
    }
    return call->metadata;
}

static void drop_metadata(client_call *call)
{
    for (size_t i = 0; i < call->n_metadata; i++) {
        grpc_slice_unref(call->metadata[i].key);
        grpc_slice_unref(call->metadata[i].value);
    }
    grpc_slice_unref(call->token);
}

/* ---- options ---- */

void client_call_set_timeout(client_call *call, int64_t timeout_ms)
{
    call->deadline_us = timeout_ms < 0 || timeout_ms > CLIENT_TIMEOUT_MAX_MS
                            ? INT64_MAX
                            : wm_monotonic_us() + timeout_ms * 1000;
}

static gpr_timespec deadline_of(const client_call *call)
{
    if (call->deadline_us == INT64_MAX)
        return gpr_inf_future(GPR_CLOCK_MONOTONIC);
    return gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC),
                        gpr_time_from_micros(call->deadline_us - wm_monotonic_us(), GPR_TIMESPAN));
}

static void ask_for_compression(client_call *call, waymark_compression compression)
{
    const char *algorithm = compression == WAYMARK_COMPRESSION_GZIP ? "gzip" : "deflate";

    if (compression != WAYMARK_COMPRESSION_NONE &&
        !client_call_add_metadata(call, GRPC_COMPRESSION_REQUEST_ALGORITHM_MD_KEY, algorithm,
                                  strlen(algorithm)))
        call->bad_metadata = true;
}

static unsigned attempts_of(const client_call *call, const waymark_call_options *options)
{
    unsigned attempts_max =
        options->attempts_max != 0 ? options->attempts_max : call->client->retry.attempts_max;

    if (!retry_method_allows(call->method))
        return 1;
    return attempts_max < RETRY_ATTEMPTS_MAX ? attempts_max : RETRY_ATTEMPTS_MAX;
}

static void take_options(client_call *call, const waymark_call_options *options)
{
    bool wait = (call->client->wait_for_ready && !options->fail_fast) || options->wait_for_ready;

    call->flags = GRPC_INITIAL_METADATA_WAIT_FOR_READY_EXPLICITLY_SET |
                  (wait ? GRPC_INITIAL_METADATA_WAIT_FOR_READY : 0);
    call->want_metadata = options->want_metadata;
    call->compression = options->compression;
    call->attempts_max = attempts_of(call, options);
    if (options->credentials != NULL) {
        call->credentials = credentials_ref(options->credentials);
        call->own_credentials = true;
    }
    for (size_t i = 0; i < options->n_metadata && !call->bad_metadata; i++)
        call->bad_metadata = !client_call_add_metadata(
            call, options->metadata[i].key, options->metadata[i].value, options->metadata[i].size);
    ask_for_compression(call, options->compression);
}

/* ---- going on ---- */

/* Starts an attempt, with a grpc call of its own. */
static void attempt(client_call *call)
{
    waymark_client *client = call->client;
    grpc_call *made = grpc_channel_create_registered_call(
        client->channel->channel, NULL, GRPC_PROPAGATE_DEFAULTS,
        client->threads[call->thread].queue, call->registered, deadline_of(call), NULL);
    grpc_call *left = made;

    pthread_mutex_lock(&client->lock);
    if (!call->cancelled) {
        left = call->call;
        call->call = made;
    }
    pthread_mutex_unlock(&client->lock);
    if (left != NULL)
        grpc_call_unref(left);
    if (left == made) {
        refuse_cancelled(call);
        return;
    }
    call->attempts++;
    call->begin(call); /* a cancel from now on finds the grpc call */
}

void client_call_token(client_call *call, grpc_slice token, const token_failure *failure)
{
    if (failure != NULL) {
        client_call_refuse(call, failure->code, failure->reason, failure->retry_delay_ms,
                           failure->message);
        return;
    }
    call->token = token;
    attempt(call);
}

static void get_token(client_call *call)
{
    grpc_slice token;
    token_failure failure;

    if (!call->client->channel->may_send_token) {
        client_call_refuse(call, WAYMARK_INVALID_ARGUMENT, "TOKEN_NEEDS_TLS", -1,
                           "without TLS tokens go to this machine only");
        return;
    }
    grpc_slice_unref(call->token);
    call->token = grpc_empty_slice();
    switch (credentials_get(call->credentials, call, &token, &failure)) {
    case TOKEN_READY:
        client_call_token(call, token, NULL);
        break;
    case TOKEN_REFUSED:
        client_call_token(call, grpc_empty_slice(), &failure);
        break;
    case TOKEN_AWAITED:
        break; /* client_call_token() comes, and may have come already */
    case TOKEN_CANCELLED:
        refuse_cancelled(call);
        break;
    }
}

void client_call_resume(client_call *call)
{
    call->frame = NULL; /* of a hook that suspended it, on a stack that may be gone */
    while (call->stage < call->client->n_interceptors)
        if (!client_chain_step(call))
            return;
    if (call->bad_metadata)
        client_call_refuse(call, WAYMARK_INVALID_ARGUMENT, "METADATA_INVALID", -1,
                           "too much metadata, or a key or value that HTTP does not allow");
    else if (call->compression != WAYMARK_COMPRESSION_NONE && !call->client->channel->compression)
        client_call_refuse(call, WAYMARK_INVALID_ARGUMENT, "COMPRESSION_OFF", -1,
                           "the client's options do not turn compression on");
    else if (call->credentials != NULL)
        get_token(call);
    else
        attempt(call);
}

/* ---- beginning ---- */

/* Links the call and registers its method; true when the client is closing. */
static bool link_call(client_call *call)
{
    waymark_client *client = call->client;
    bool closing;

    pthread_mutex_lock(&client->lock);
    closing = client->closing;
    call->registered = client_method_register(client, call->method);
    call->prev = NULL;
    call->next = client->open;
    if (call->next != NULL)
        call->next->prev = call;
    client->open = call;
    pthread_mutex_unlock(&client->lock);
    return closing;
}

static unsigned pick_thread(waymark_client *client)
{
    if (client->n_threads == 1)
        return 0;
    return atomic_fetch_add_explicit(&client->next_thread, 1, memory_order_relaxed) %
           client->n_threads;
}

void client_call_start(client_call *call, waymark_client *client, const wm_method *method,
                       const waymark_call_options *options, int64_t timeout_ms)
{
    static const waymark_call_options none;

    if (options == NULL)
        options = &none;
    call->client = client;
    call->method = method;
    call->thread = pick_thread(client);
    call->started_us = wm_monotonic_us();
    call->credentials = client->credentials;
    call->token = grpc_empty_slice();
    call->refused_event.run = refused_event;
    if (client->n_interceptors > 0)
        call->data = wm_arena_zalloc(&call->arena, client->n_interceptors * sizeof(void *));
    client_call_set_timeout(call, options->timeout_ms != 0 ? options->timeout_ms : timeout_ms);
    take_options(call, options);
    /* A stream's messages are not kept, but a server stream has one only. */
    call->repeatable = !method->client_streaming &&
                       (call->attempts_max > 1 ||
                        (call->credentials != NULL && credentials_renew(call->credentials)));

    if (link_call(call))
        client_call_refuse(call, WAYMARK_CANCELLED, "CLIENT_CLOSING", -1,
                           "the client is being freed");
    else
        client_call_resume(call);
}

/* ---- again ---- */

/* The server refused the token: one more attempt with another one, once. */
static bool renew_token(client_call *call)
{
    /* Two tokens refused: it is not the token. */
    if (call->refreshed || !credentials_refused(call->credentials, &call->token) ||
        !call->repeatable)
        return false;
    call->refreshed = true;
    get_token(call);
    return true;
}

static bool back_off(client_call *call, const waymark_status *status)
{
    waymark_client *client = call->client;
    int64_t now_us = wm_monotonic_us();
    int64_t left_ms =
        call->deadline_us == INT64_MAX ? INT64_MAX : (call->deadline_us - now_us) / 1000;
    int64_t delay_ms = retry_delay_ms(&client->retry, call->attempts_max, call->attempts, status,
                                      left_ms, (uint32_t)wm_random_below(UINT32_MAX));
    client_ticket *ticket;

    if (delay_ms < 0)
        return false;
    ticket = client_park(call, PARKED_FOR_BACKOFF, now_us + delay_ms * 1000, NULL);
    if (ticket == NULL)
        refuse_cancelled(call);
    else
        client_ticket_unref(ticket); /* time holds it, not we */
    return true;
}

bool client_call_again(client_call *call, const waymark_status *status)
{
    waymark_client *client = call->client;

    for (size_t i = call->stage; i-- > 0;) {
        const waymark_interceptor *interceptor = &client->interceptors[i];

        call->viewer = i;
        if (interceptor->attempted != NULL)
            interceptor->attempted(interceptor->ctx, call, status);
    }
    if (status->code == WAYMARK_OK) {
        retry_budget_succeeded(&client->retry_budget);
        return false;
    }
    if (status->code == WAYMARK_UNAUTHENTICATED && call->credentials != NULL)
        return renew_token(call);
    if (!retry_is_worth_it(status) || !retry_budget_failed(&client->retry_budget))
        return false;
    return call->repeatable && back_off(call, status);
}

/* ---- cancelling and ending ---- */

void client_call_cancel_locked(client_call *call)
{
    call->cancelled = true;
    if (call->call != NULL)
        grpc_call_cancel(call->call, NULL);
    if (client_park_break(call))
        refuse_cancelled(call);
}

void client_call_cancel(client_call *call)
{
    waymark_client *client = call->client;

    pthread_mutex_lock(&client->lock);
    client_call_cancel_locked(call);
    pthread_mutex_unlock(&client->lock);
}

bool client_call_end(client_call *call, bool recycle)
{
    waymark_client *client = call->client;
    grpc_call *grpc_call = call->call;
    bool kept = false;

    drop_metadata(call);
    if (call->own_credentials)
        waymark_credentials_free(call->credentials);
    if (recycle)
        wm_arena_reset(&call->arena);

    pthread_mutex_lock(&client->lock);
    if (call->prev != NULL)
        call->prev->next = call->next;
    else
        client->open = call->next;
    if (call->next != NULL)
        call->next->prev = call->prev;
    if (recycle && client->n_free_calls < CLIENT_FREE_CALLS_MAX) {
        call->next = client->free_calls;
        client->free_calls = call;
        client->n_free_calls++;
        kept = true;
    }
    if (client->open == NULL && client->closing)
        pthread_cond_signal(&client->idle);
    pthread_mutex_unlock(&client->lock);

    /* Only now: whoever cancels everything finds linked calls alive. The client stays until
     * this thread has been joined. */
    if (grpc_call != NULL)
        grpc_call_unref(grpc_call);
    return kept;
}
