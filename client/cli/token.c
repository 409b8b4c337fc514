/* client/cli/token.c - `waymark token`: an access token from the development issuer.
 *
 * The development issuer is part of `waymarkd dev` (server/dev/issuer.h) and gives any token to
 * anybody on this machine. A real issuer is asked with its own tools.
 */
#include <curl/curl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "client/cli/args.h"
#include "client/cli/cli.h"

#define TOKEN_ISSUER_DEFAULT "http://127.0.0.1:8654"

enum { TOKEN_ANSWER_MAX = 64 * 1024, TOKEN_TIMEOUT_S = 20, TOKEN_PATH_SIZE = 4096 };

typedef struct token_options {
    const char *subject, *role, *name, *audience, *issuer, *state;
    double expires_s;
    args_list groups;
} token_options;

/* ---- where the issuer is ---- */

/* The issuer that `dir`/dev.env names, or NULL. */
static const char *token_issuer_of_state(cli *cli, const char *dir)
{
    static const char key[] = "WAYMARK_ISSUER=";
    char path[TOKEN_PATH_SIZE], line[1024];
    const char *found = NULL;
    FILE *file;

    snprintf(path, sizeof(path), "%s/dev.env", dir);
    file = fopen(path, "r");
    if (file == NULL)
        return NULL;
    while (found == NULL && fgets(line, sizeof(line), file) != NULL) {
        line[strcspn(line, "\r\n")] = '\0';
        if (strncmp(line, key, sizeof(key) - 1) == 0)
            found = wm_arena_strdup(&cli->arena, line + sizeof(key) - 1);
    }
    fclose(file);
    return found;
}

/* .waymark in this directory or one above: the state of ./dev. */
static const char *token_issuer_near(cli *cli)
{
    char dir[TOKEN_PATH_SIZE - 16], state[TOKEN_PATH_SIZE];

    if (getcwd(dir, sizeof(dir)) == NULL)
        return NULL;
    for (;;) {
        const char *issuer;
        char *slash;

        snprintf(state, sizeof(state), "%s/.waymark", dir);
        issuer = token_issuer_of_state(cli, state);
        slash = strrchr(dir, '/');
        if (issuer != NULL || slash == NULL)
            return issuer;
        *slash = '\0';
    }
}

static const char *token_issuer(cli *cli, const token_options *options)
{
    const char *issuer = options->issuer;

    if (issuer != NULL)
        return issuer;
    if (options->state != NULL)
        return token_issuer_of_state(cli, options->state);
    issuer = getenv("WAYMARK_ISSUER");
    if (issuer != NULL && *issuer != '\0')
        return issuer;
    if (getenv("WAYMARK_STATE") != NULL)
        issuer = token_issuer_of_state(cli, getenv("WAYMARK_STATE"));
    if (issuer == NULL || *issuer == '\0')
        issuer = token_issuer_near(cli);
    return issuer != NULL ? issuer : TOKEN_ISSUER_DEFAULT;
}

/* ---- asking it ---- */

static void token_member(wm_buf *body, const char *name, const char *value)
{
    if (value == NULL)
        return;
    wm_buf_text(body, body->size > 1 ? "," : "");
    wm_json_write_string(body, name, strlen(name));
    wm_buf_char(body, ':');
    wm_json_write_string(body, value, strlen(value));
}

static void token_body(wm_buf *body, const cli *cli, const token_options *options)
{
    wm_buf_char(body, '{');
    token_member(body, "sub", options->subject);
    token_member(body, "role", options->role);
    token_member(body, "name", options->name);
    token_member(body, "aud", options->audience);
    if (*cli->namespace_name != '\0')
        token_member(body, "namespace", cli->namespace_name);
    if (options->expires_s > 0)
        wm_buf_printf(body, ",\"expires_in\":%.0f", options->expires_s);
    for (size_t i = 0; i < options->groups.n; i++) {
        wm_buf_text(body, i == 0 ? ",\"groups\":[" : ",");
        wm_json_write_string(body, options->groups.items[i], strlen(options->groups.items[i]));
    }
    wm_buf_text(body, options->groups.n > 0 ? "]}" : "}");
}

static size_t token_received(char *bytes, size_t size, size_t n, void *buf)
{
    wm_buf_add(buf, bytes, size * n);
    return size * n;
}

static CURLcode token_send(const char *url, const wm_buf *body, wm_buf *answer)
{
    struct curl_slist *headers = curl_slist_append(NULL, "Content-Type: application/json");
    CURL *curl = curl_easy_init();
    CURLcode rc = CURLE_FAILED_INIT;

    if (curl != NULL && headers != NULL) {
        curl_easy_setopt(curl, CURLOPT_URL, url);
        curl_easy_setopt(curl, CURLOPT_HTTPHEADER, headers);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDS, body->data);
        curl_easy_setopt(curl, CURLOPT_POSTFIELDSIZE, (long)body->size);
        curl_easy_setopt(curl, CURLOPT_WRITEFUNCTION, token_received);
        curl_easy_setopt(curl, CURLOPT_WRITEDATA, answer);
        curl_easy_setopt(curl, CURLOPT_TIMEOUT, (long)TOKEN_TIMEOUT_S);
        curl_easy_setopt(curl, CURLOPT_NOPROXY, "*"); /* it is on this machine */
        curl_easy_setopt(curl, CURLOPT_NOSIGNAL, 1L);
        rc = curl_easy_perform(curl);
    }
    curl_slist_free_all(headers);
    curl_easy_cleanup(curl);
    return rc;
}

static const char *token_text_of(const wm_json *answer, const char *name)
{
    const wm_json *member = wm_json_find(answer, name);

    return member != NULL && member->kind == WM_JSON_STRING ? member->text : NULL;
}

static int token_print(cli *cli, const char *url, const wm_buf *answer)
{
    const char *token, *why;
    wm_json *json;
    wm_err err;

    if (wm_json_parse(&cli->arena, answer->data, answer->size, &json, &err) != WM_OK) {
        fprintf(stderr, "waymark: %s did not answer as the development issuer does\n", url);
        return CLI_REFUSED;
    }
    token = token_text_of(json, "access_token");
    if (token == NULL) {
        why = token_text_of(json, "error_description");
        fprintf(stderr, "waymark: the issuer said no: %s\n", why != NULL ? why : "no reason given");
        return CLI_REFUSED;
    }
    printf("%.*s\n", cli->json ? (int)answer->size : (int)strlen(token),
           cli->json ? answer->data : token);
    return CLI_OK;
}

static int token_ask(cli *cli, const token_options *options)
{
    const char *issuer = token_issuer(cli, options), *url;
    wm_buf body, answer;
    CURLcode rc;
    int code = CLI_REFUSED;

    if (issuer == NULL)
        return cli_usage(cli, "%s has no dev.env that names an issuer", options->state);
    url = wm_arena_printf(&cli->arena, "%s/token", issuer);
    wm_buf_init(&body, TOKEN_ANSWER_MAX);
    wm_buf_init(&answer, TOKEN_ANSWER_MAX);
    token_body(&body, cli, options);
    rc = token_send(url, &body, &answer);
    while (answer.size > 0 && answer.data[answer.size - 1] == '\n')
        answer.data[--answer.size] = '\0';
    if (rc == CURLE_OK)
        code = token_print(cli, url, &answer);
    else
        fprintf(stderr, "waymark: cannot ask the development issuer at %s: %s\n", issuer,
                curl_easy_strerror(rc));
    wm_buf_free(&body);
    wm_buf_free(&answer);
    return code;
}

static int token_run(cli *cli, int argc, char **argv)
{
    token_options options = {0};
    const args_option known[] = {
        {"--sub", ARGS_TEXT, &options.subject, "NAME", "whose token (required)"},
        {"--role", ARGS_TEXT, &options.role, "ROLE",
         "viewer, operator, worker or admin: also grants it"},
        {"--expires", ARGS_SECONDS, &options.expires_s, "TIME", "how long it is good (else 1h)"},
        {"--group", ARGS_LIST, &options.groups, "NAME", "a group of the token; may be repeated"},
        {"--name", ARGS_TEXT, &options.name, "TEXT", "a name for people"},
        {"--aud", ARGS_TEXT, &options.audience, "TEXT", "another audience than the server's"},
        {"--issuer", ARGS_TEXT, &options.issuer, "URL",
         "the development issuer (WAYMARK_ISSUER; else " TOKEN_ISSUER_DEFAULT ")"},
        {"--state", ARGS_TEXT, &options.state, "DIR", "the state directory of the dev server"},
    };
    int code = args_parse(cli, argc, argv, known, WM_ARRAY_LEN(known), NULL, 0, 0);

    if (code != ARGS_GO_ON)
        return code;
    if (options.subject == NULL)
        return cli_usage(cli, "needs --sub NAME");
    return token_ask(cli, &options);
}

const cli_command cli_token_commands[] = {
    {"token", "--sub NAME [--role ROLE]", "Prints an access token of the development issuer.",
     "Only a server in dev mode has one; it gives any token to anybody on its machine.", token_run},
    {0},
};
