/* tests/integration/sdk/service.c - the echo service on <waymark/server.h>.
 *
 * Echo answers at once, or after a time by a timer (an even number), by work that blocks (odd), or
 * by a thread of its own that posts (negative). The streams are as those of
 * tests/integration/client.
 */
#include "tests/integration/sdk/service.h"

#include <pthread.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "testing.server.h"

typedef Waymark__Testing__V1__EchoRequest echo_request;
typedef Waymark__Testing__V1__EchoResponse echo_response;

static atomic_uint seen, cancelled, ended, finished;

/* ---- Echo ---- */

static void echo_answer(waymark_server_call *call, void *ctx)
{
    const echo_request *request = ctx;
    echo_response response = WAYMARK__TESTING__V1__ECHO_RESPONSE__INIT;

    response.payload = request->payload;
    response.number = request->number;
    response.text = request->text;
    waymark_testing_v1_echo_service_echo_reply(call, &response);
}

static void sleep_ms(long ms)
{
    struct timespec time = {ms / 1000, ms % 1000 * 1000000};

    nanosleep(&time, NULL);
}

static void echo_block(void *ctx)
{
    const echo_request *request = ctx;

    sleep_ms(request->delay_ms);
}

/* The call ends only when the thread is done with it, and so it may be used here. */
typedef struct poster {
    waymark_server_call *call;
    const echo_request *request;
} poster;

static void *poster_main(void *ctx)
{
    poster *poster = ctx;

    sleep_ms(poster->request->delay_ms);
    waymark_server_post(poster->call, echo_answer, (void *)poster->request);
    free(poster);
    return NULL;
}

static void echo_by_thread(waymark_server_call *call, const echo_request *request)
{
    poster *poster = malloc(sizeof(*poster));
    pthread_t thread;

    poster->call = call;
    poster->request = request;
    if (pthread_create(&thread, NULL, poster_main, poster) != 0)
        abort();
    pthread_detach(thread);
}

/* As much of the call's memory as the client wishes. */
static void echo_take(waymark_server_call *call, const char *wish)
{
    size_t n = strtoul(wish, NULL, 10);
    char *bytes = waymark_server_alloc(call, n);

    if (bytes[0] != 0 || bytes[n - 1] != 0)
        abort();
}

static void echo(waymark_server_call *call, const echo_request *request)
{
    size_t size;
    const char *wish = waymark_server_metadata(call, "to-take", &size);
    const char *sent = waymark_server_metadata(call, "to-return-bin", &size);

    atomic_fetch_add(&seen, 1);
    if (wish != NULL)
        echo_take(call, wish);
    if (sent != NULL) {
        waymark_server_add_initial_metadata(call, "first-bin", sent, size);
        waymark_server_add_trailing_metadata(call, "last-bin", sent, size);
    }
    if (request->delay_ms <= 0)
        echo_answer(call, (void *)request);
    else if (request->number < 0)
        echo_by_thread(call, request);
    else if (request->number % 2 != 0)
        waymark_server_work(call, echo_block, echo_answer, (void *)request);
    else
        waymark_server_after(call, (uint64_t)request->delay_ms, echo_answer, (void *)request);
}

/* Each way of waiting answers in its own time. */
static void echo_cancelled(waymark_server_call *call)
{
    if (!waymark_server_is_cancelled(call))
        abort();
    atomic_fetch_add(&cancelled, 1);
}

static void call_ended(waymark_server_call *call)
{
    (void)call;
    atomic_fetch_add(&ended, 1);
}

static void nothing(waymark_server_call *call, const Google__Protobuf__Empty *request)
{
    waymark_testing_v1_echo_service_nothing_reply(call, request);
}

/* ---- streams ---- */

static void stream_cancelled(waymark_server_call *call)
{
    atomic_fetch_add(&cancelled, 1);
    waymark_server_give_up(call);
}

typedef struct repeat_state {
    int64_t sent, count;
} repeat_state;

static void repeat_more(waymark_server_call *call)
{
    repeat_state *state = waymark_server_data(call);
    Waymark__Testing__V1__RepeatResponse message = WAYMARK__TESTING__V1__REPEAT_RESPONSE__INIT;

    while (state->count == 0 || state->sent < state->count) {
        message.number = state->sent + 1;
        if (!waymark_testing_v1_echo_service_repeat_send(call, &message))
            return;
        state->sent++;
    }
    waymark_server_finish(call);
}

static void repeat(waymark_server_call *call, const Waymark__Testing__V1__RepeatRequest *request)
{
    repeat_state *state = waymark_server_alloc(call, sizeof(*state));

    state->count = request->count;
    waymark_server_set_data(call, state);
    repeat_more(call);
}

static void sum_opened(waymark_server_call *call)
{
    waymark_server_set_data(call,
                            waymark_server_alloc(call, sizeof(Waymark__Testing__V1__SumResponse)));
    waymark__testing__v1__sum_response__init(waymark_server_data(call));
    waymark_server_read(call);
}

static void sum_message(waymark_server_call *call, const Waymark__Testing__V1__SumRequest *message)
{
    Waymark__Testing__V1__SumResponse *sum = waymark_server_data(call);

    sum->sum += message->number;
    sum->count++;
    waymark_server_read(call);
}

static void sum_half_closed(waymark_server_call *call)
{
    waymark_testing_v1_echo_service_sum_reply(call, waymark_server_data(call));
}

static void talk_message(waymark_server_call *call,
                         const Waymark__Testing__V1__TalkRequest *message)
{
    Waymark__Testing__V1__TalkResponse answer = WAYMARK__TESTING__V1__TALK_RESPONSE__INIT;

    answer.number = message->number;
    if (!waymark_testing_v1_echo_service_talk_send(call, &answer))
        abort(); /* it reads only when it may write */
    if (waymark_server_is_writable(call))
        waymark_server_read(call);
}

/* ---- Fail ---- */

static void fail(waymark_server_call *call, const Waymark__Testing__V1__FailRequest *request)
{
    waymark_code code = (waymark_code)request->code;

    if (request->field[0] != '\0')
        waymark_server_fail_field(call, request->field, request->reason, "%s is wrong",
                                  request->field);
    else if (request->retry_after_ms > 0)
        waymark_server_fail_for_now(call, code, request->reason, (uint32_t)request->retry_after_ms,
                                    "in %d ms", request->retry_after_ms);
    else
        waymark_server_fail(call, code, request->reason, "left %d",
                            waymark_server_time_left_ms(call) > 0);
}

/* ---- interceptors ---- */

static void refuse(void *ctx, waymark_server_call *call)
{
    size_t size;
    const char *wish = waymark_server_metadata(call, "refuse", &size);

    (void)ctx;
    if (wish != NULL && size == 2 && memcmp(wish, "me", size) == 0)
        waymark_server_fail(call, WAYMARK_PERMISSION_DENIED, "REFUSED", "%s, as it wished",
                            waymark_server_method(call)->name);
    else
        waymark_server_next(call);
}

static void count(void *ctx, waymark_server_call *call, waymark_code code, int64_t duration_us)
{
    (void)call;
    if (code > WAYMARK_UNAUTHENTICATED || duration_us < 0)
        abort();
    atomic_fetch_add((atomic_uint *)ctx, 1);
}

static const waymark_testing_v1_echo_service_handlers handlers = {
    .echo = {.request = echo, .cancelled = echo_cancelled, .ended = call_ended},
    .nothing = {.flags = WAYMARK_INLINE, .request = nothing},
    .repeat = {.request = repeat,
               .writable = repeat_more,
               .cancelled = stream_cancelled,
               .ended = call_ended},
    .sum = {.flags = WAYMARK_MAY_BE_EMPTY,
            .opened = sum_opened,
            .message = sum_message,
            .half_closed = sum_half_closed,
            .cancelled = stream_cancelled},
    .talk = {.opened = waymark_server_read,
             .message = talk_message,
             .half_closed = waymark_server_finish,
             .writable = waymark_server_read,
             .cancelled = stream_cancelled,
             .ended = call_ended},
    .fail = {.request = fail},
};

waymark_server *service_start(const waymark_listener *listeners, size_t n, unsigned threads,
                              waymark_problem *problem)
{
    static waymark_handler storage[WAYMARK_TESTING_V1_ECHO_SERVICE_HANDLERS_N];
    static waymark_service service;
    static const waymark_server_interceptor interceptors[] = {
        {.started = refuse},
        {.ctx = &finished, .finished = count},
    };
    waymark_server_options options = {
        .listeners = listeners,
        .n_listeners = n,
        .services = &service,
        .n_services = 1,
        .interceptors = interceptors,
        .n_interceptors = sizeof(interceptors) / sizeof(interceptors[0]),
        .threads = threads,
        .error_domain = "echo.example",
    };

    service = waymark_testing_v1_echo_service_bind(&handlers, storage, NULL);
    return waymark_server_start(&options, problem);
}

unsigned service_seen(void)
{
    return atomic_load(&seen);
}

unsigned service_cancelled(void)
{
    return atomic_load(&cancelled);
}

unsigned service_ended(void)
{
    return atomic_load(&ended);
}

unsigned service_finished(void)
{
    return atomic_load(&finished);
}
