/* client/cli/health.c - `waymark health`: the standard health check of gRPC.
 *
 * The health protocol has no generated client stubs, as the server answers it without any; so the
 * one call is described here by hand.
 */
#include <grpc/health/v1/health.pb-c.h>
#include <stdio.h>

#include "base/method.h"
#include "client/cli/args.h"
#include "client/cli/cli.h"

static const Grpc__Health__V1__HealthCheckResponse *
health_check(waymark_client *client, const Grpc__Health__V1__HealthCheckRequest *request,
             waymark_reply **reply)
{
    static const wm_method check = {
        .path = "/grpc.health.v1.Health/Check",
        .name = "Check",
        .request = &grpc__health__v1__health_check_request__descriptor,
        .response = &grpc__health__v1__health_check_response__descriptor,
    };

    return (const Grpc__Health__V1__HealthCheckResponse *)(const void *)waymark__unary_sync(
        client, &check, &request->base, NULL, reply);
}

static int health_run(cli *cli, int argc, char **argv)
{
    const char *service = "";
    Grpc__Health__V1__HealthCheckRequest request = GRPC__HEALTH__V1__HEALTH_CHECK_REQUEST__INIT;
    const Grpc__Health__V1__HealthCheckResponse *response;
    waymark_reply *reply = NULL;
    int code = args_connect(cli, argc, argv, NULL, 0, &service, 0, 1);

    if (code != ARGS_GO_ON)
        return code;
    request.service = (char *)service;
    response = health_check(cli->client, &request, &reply);
    if (response == NULL) {
        code = cli_refused(cli, waymark_reply_status(reply));
    } else {
        bool serving =
            response->status == GRPC__HEALTH__V1__HEALTH_CHECK_RESPONSE__SERVING_STATUS__SERVING;

        if (cli->json)
            cli_print_message(cli, &response->base);
        else
            puts(serving ? "serving" : "not serving");
        code = serving ? CLI_OK : CLI_REFUSED;
    }
    waymark_reply_free(reply);
    return code;
}

const cli_command cli_health_commands[] = {
    {"health", "[SERVICE]", "Says whether the server serves.", NULL, health_run},
    {0},
};
