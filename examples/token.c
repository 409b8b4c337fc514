/* examples/token.c - keeps an access token fresh that some command prints.
 *
 *     ./token 'waymark token --sub dev-admin' 2 5
 *
 * asks five times, a second apart, who it is to the server, with tokens that are good for two
 * seconds. The command could as well ask an issuer:
 *     curl -s -u "$CLIENT_ID:$SECRET" -d grant_type=client_credentials "$ISSUER/token" | jq -r
 * .access_token
 *
 * Whoever wants a token gets it from the client: the SDK asks for it once, however many calls wait
 * for it, and again before its lifetime is over. fetch() must not block, so a thread runs the
 * command and answers later.
 */
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <waymark/waymark.h>

#include "waymark/auth/v1/auth_service.client.h"

enum { TOKEN_SIZE_MAX = 16 * 1024 };

/* What fetch() knows; it outlives the credentials. */
typedef struct source {
    const char *command;
    int64_t lifetime_ms;
} source;

typedef struct errand {
    const source *source;
    waymark_token_request *request;
} errand;

/* Exactly one answer to a request, on every way. */
static void *run_errand(void *arg)
{
    errand *errand = arg;
    char token[TOKEN_SIZE_MAX];
    FILE *in = popen(errand->source->command, "r");
    size_t size = in != NULL ? fread(token, 1, sizeof(token) - 1, in) : 0;

    token[size] = 0;
    if (in == NULL || pclose(in) != 0) {
        waymark_token_unavailable(errand->request, "the token command failed", 0);
    } else {
        printf("a token for %lld s\n", (long long)errand->source->lifetime_ms / 1000);
        fflush(stdout);
        waymark_token_give(errand->request, token, errand->source->lifetime_ms);
    }
    memset(token, 0, sizeof(token));
    free(errand);
    return NULL;
}

static void fetch(void *ctx, waymark_token_request *request)
{
    errand *errand = malloc(sizeof(*errand));
    pthread_t thread;

    if (errand == NULL) {
        waymark_token_unavailable(request, "no memory", 0);
        return;
    }
    errand->source = ctx;
    errand->request = request;
    if (pthread_create(&thread, NULL, run_errand, errand) != 0) {
        waymark_token_unavailable(request, "no thread", 0);
        free(errand);
        return;
    }
    pthread_detach(thread);
}

static int who_am_i(waymark_client *client)
{
    Waymark__Auth__V1__WhoAmIRequest request = WAYMARK__AUTH__V1__WHO_AM_IREQUEST__INIT;
    const Waymark__Auth__V1__WhoAmIResponse *response;
    const waymark_status *status;
    waymark_reply *reply;
    int failed;

    response = waymark_auth_v1_auth_service_who_am_i_sync(client, &request, NULL, &reply);
    status = waymark_reply_status(reply);
    failed = response == NULL;
    if (failed)
        fprintf(stderr, "%s %s: %s\n", waymark_code_name(status->code), status->reason,
                status->message);
    else
        printf("I am %s\n", response->subject);
    fflush(stdout);
    waymark_reply_free(reply);
    return failed;
}

int main(int argc, char **argv)
{
    waymark_client_options options;
    waymark_problem problem;
    waymark_client *client;
    source source;
    int failed = 0;

    if (argc != 4) {
        fprintf(stderr, "usage: %s COMMAND SECONDS TIMES\n", argv[0]);
        return 2;
    }
    source.command = argv[1];
    source.lifetime_ms = atoll(argv[2]) * 1000;

    waymark_client_options_from_env(&options); /* the address; its token is not what we want */
    waymark_credentials_free(options.credentials);
    options.credentials = waymark_credentials_callback(fetch, &source);
    client = waymark_client_new(&options, &problem);
    waymark_credentials_free(options.credentials);
    if (client == NULL) {
        fprintf(stderr, "%s\n", problem.message);
        return 1;
    }
    for (int i = atoi(argv[3]); i > 0 && !failed; i--) {
        failed = who_am_i(client);
        if (i > 1 && !failed)
            nanosleep(&(struct timespec){.tv_sec = 1}, NULL);
    }
    waymark_client_free(client);
    return failed;
}
