/* server.c - the greeter: a gRPC server in C. */
#include <stdio.h>
#include <string.h>

#include "hello.server.h"

enum { TIMES_MAX = 10, PAUSE_MS = 10 };

static void say_hello(waymark_server_call *call, const Hello__V1__SayHelloRequest *request)
{
    Hello__V1__SayHelloResponse response = HELLO__V1__SAY_HELLO_RESPONSE__INIT;
    int times = 1;
    size_t size;

    if (request->name[0] == '\0') {
        waymark_server_fail_field(call, "name", "NAME_MISSING", "say who you are");
        return;
    }
    if (request->_times_case == HELLO__V1__SAY_HELLO_REQUEST___TIMES_TIMES)
        times = request->times;
    if (times < 0 || times > TIMES_MAX) {
        waymark_server_fail_field(call, "times", "TIMES_OUT_OF_RANGE", "at most %d", TIMES_MAX);
        return;
    }
    size = (size_t)times * (strlen(request->name) + sizeof("Hello, ! ")) + 1;
    response.text = waymark_server_alloc(call, size); /* zeroed; goes with the call */
    for (int i = 0; i < times; i++)
        sprintf(response.text + strlen(response.text), "%sHello, %s!", i > 0 ? " " : "",
                request->name);
    hello_v1_greeter_say_hello_reply(call, &response);
}

/* One number now and the next one a little later; the loop is free for others in between. */
static void count_on(waymark_server_call *call, void *ctx)
{
    int *next = waymark_server_data(call);
    Hello__V1__CountDownResponse response = HELLO__V1__COUNT_DOWN_RESPONSE__INIT;

    response.number = *next;
    if (*next >= 0 && !waymark_server_is_cancelled(call)) {
        if (hello_v1_greeter_count_down_send(call, &response)) /* else the last is still leaving */
            --*next;
        waymark_server_after(call, PAUSE_MS, count_on, ctx);
    } else {
        waymark_server_finish(call);
    }
}

static void count_down(waymark_server_call *call, const Hello__V1__CountDownRequest *request)
{
    int *next = waymark_server_alloc(call, sizeof(*next));

    *next = request->start;
    waymark_server_set_data(call, next);
    count_on(call, NULL);
}

static void started(waymark_server *server, void *ctx)
{
    (void)ctx;
    printf("serving on port %d\n", waymark_server_port(server, 0));
    fflush(stdout);
}

int main(int argc, char **argv)
{
    static const hello_v1_greeter_handlers handlers = {
        .say_hello = {.request = say_hello},
        .count_down = {.request = count_down},
    };
    waymark_handler storage[HELLO_V1_GREETER_HANDLERS_N];
    waymark_service service = hello_v1_greeter_bind(&handlers, storage, NULL);
    waymark_listener listener = {.address = argc > 1 ? argv[1] : "127.0.0.1:50051"};
    waymark_server_options options = {
        .listeners = &listener,
        .n_listeners = 1,
        .services = &service,
        .n_services = 1,
        .started = started,
    };

    return waymark_server_run(&options);
}
