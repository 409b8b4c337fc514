/* tests/integration/sdk/both.c - a program that links both libraries and has functions called like
 * some that are inside of them; it serves itself by the greeter of examples/hello.
 *
 * Ends with 0 when its own functions have been left alone and the call has come back.
 */
#include <stdio.h>
#include <string.h>
#include <waymark/client.h>
#include <waymark/server.h>

#include "hello.client.h"
#include "hello.server.h"

/* Names of functions in base, server/lane and server/rpc. */
int wm_fail(void);
int lane_new(void);
int rpc_reply(void);

static int calls;

int wm_fail(void)
{
    return ++calls;
}

int lane_new(void)
{
    return ++calls;
}

int rpc_reply(void)
{
    return ++calls;
}

static void say_hello(waymark_server_call *call, const Hello__V1__SayHelloRequest *request)
{
    Hello__V1__SayHelloResponse response = HELLO__V1__SAY_HELLO_RESPONSE__INIT;

    response.text = request->name;
    hello_v1_greeter_say_hello_reply(call, &response);
}

static int ask(const char *address)
{
    waymark_client_options options = {.address = address};
    waymark_client *client = waymark_client_new(&options, NULL);
    Hello__V1__SayHelloRequest request = HELLO__V1__SAY_HELLO_REQUEST__INIT;
    const Hello__V1__SayHelloResponse *response;
    waymark_reply *reply;
    int same;

    request.name = (char *)"itself";
    response = hello_v1_greeter_say_hello_sync(client, &request, NULL, &reply);
    same = response != NULL && strcmp(response->text, "itself") == 0;
    if (!same)
        printf("%s\n", waymark_reply_status(reply)->message);
    waymark_reply_free(reply);
    waymark_client_free(client);
    return same;
}

int main(int argc, char **argv)
{
    static const hello_v1_greeter_handlers handlers = {.say_hello = {.request = say_hello}};
    waymark_handler storage[HELLO_V1_GREETER_HANDLERS_N];
    waymark_service service = hello_v1_greeter_bind(&handlers, storage, NULL);
    waymark_listener listener = {.address = argc > 1 ? argv[1] : ""};
    waymark_server_options options = {
        .listeners = &listener, .n_listeners = 1, .services = &service, .n_services = 1};
    waymark_problem problem;
    waymark_server *server = waymark_server_start(&options, &problem);
    int same;

    if (server == NULL) {
        printf("%s\n", problem.message);
        return 1;
    }
    same = ask(listener.address);
    waymark_server_stop(server, 1000);
    return same && calls == 0 ? 0 : 1;
}
