/* client.c - asks the greeter. */
#include <stdio.h>
#include <waymark/client.h>

#include "hello.client.h"

/* Says how a call ended, and which fields of the request were wrong. */
static int failed(const waymark_status *status)
{
    printf("%s %s: %s\n", waymark_code_name(status->code), status->reason, status->message);
    for (size_t i = 0; i < status->n_violations; i++)
        printf("  %s: %s\n", status->violations[i].field, status->violations[i].description);
    return 1;
}

static int say_hello(waymark_client *client, const char *name)
{
    Hello__V1__SayHelloRequest request = HELLO__V1__SAY_HELLO_REQUEST__INIT;
    const Hello__V1__SayHelloResponse *response;
    waymark_reply *reply;
    int status = 0;

    request.name = (char *)name;
    request._times_case = HELLO__V1__SAY_HELLO_REQUEST___TIMES_TIMES;
    request.times = 2;
    response = hello_v1_greeter_say_hello_sync(client, &request, NULL, &reply);
    if (response != NULL)
        printf("%s\n", response->text);
    else
        status = failed(waymark_reply_status(reply));
    waymark_reply_free(reply); /* and the response with it */
    return status;
}

static int count_down(waymark_client *client)
{
    Hello__V1__CountDownRequest request = HELLO__V1__COUNT_DOWN_REQUEST__INIT;
    const Hello__V1__CountDownResponse *response;
    const waymark_status *end;
    waymark_stream *stream;
    int status = 0;

    request.start = 3;
    stream = hello_v1_greeter_count_down_open(client, &request, NULL, NULL, NULL);
    while ((response = hello_v1_greeter_count_down_read_sync(stream)) != NULL)
        printf("%d\n", response->number);
    end = waymark_stream_status(stream);
    if (end->code != WAYMARK_OK)
        status = failed(end);
    waymark_stream_free(stream);
    return status;
}

int main(int argc, char **argv)
{
    waymark_client_options options = {.address = "127.0.0.1:50051"};
    waymark_problem problem;
    waymark_client *client = waymark_client_new(&options, &problem);
    int status;

    if (client == NULL) {
        fprintf(stderr, "%s\n", problem.message);
        return 1;
    }
    status = say_hello(client, argc > 1 ? argv[1] : "");
    if (status == 0)
        status = count_down(client);
    waymark_client_free(client);
    return status;
}
