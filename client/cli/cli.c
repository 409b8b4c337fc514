/* client/cli/cli.c - what the commands share; see cli.h. */
#include "client/cli/cli.h"

#include <assert.h>
#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"

enum { CLI_FILE_MAX = 256 * 1024 * 1024, CLI_JSON_MAX = 64 * 1024 * 1024 };

/* ---- saying no ---- */

int cli_usage(const cli *cli, const char *fmt, ...)
{
    const char *name = cli->command != NULL ? cli->command->name : "";
    va_list args;

    fprintf(stderr, "waymark%s%s: ", *name ? " " : "", name);
    va_start(args, fmt);
    vfprintf(stderr, fmt, args);
    va_end(args);
    fprintf(stderr, "\nTry: waymark%s%s --help\n", *name ? " " : "", name);
    return CLI_USAGE;
}

static void cli_json_text(wm_buf *buf, const char *name, const char *text)
{
    wm_buf_printf(buf, ",\"%s\":", name);
    wm_json_write_string(buf, text, strlen(text));
}

static void cli_refused_json(const waymark_status *status)
{
    wm_buf buf;

    wm_buf_init(&buf, 1024 * 1024);
    wm_buf_printf(&buf, "{\"error\":{\"code\":\"%s\"", waymark_code_name(status->code));
    cli_json_text(&buf, "reason", status->reason);
    cli_json_text(&buf, "message", status->message);
    wm_buf_text(&buf, ",\"violations\":[");
    for (size_t i = 0; i < status->n_violations; i++) {
        wm_buf_printf(&buf, "%s{\"field\":", i > 0 ? "," : "");
        wm_json_write_string(&buf, status->violations[i].field,
                             strlen(status->violations[i].field));
        cli_json_text(&buf, "description", status->violations[i].description);
        wm_buf_char(&buf, '}');
    }
    wm_buf_text(&buf, "]}}\n");
    fputs(buf.data, stderr);
    wm_buf_free(&buf);
}

int cli_refused(const cli *cli, const waymark_status *status)
{
    if (cli->json) {
        cli_refused_json(status);
        return CLI_REFUSED;
    }
    fprintf(stderr, "waymark: %s%s%s: %s\n", waymark_code_name(status->code),
            *status->reason ? " " : "", status->reason, status->message);
    for (size_t i = 0; i < status->n_violations; i++) {
        const waymark_violation *violation = &status->violations[i];

        /* The message of a single violation says all of it already. */
        if (strstr(status->message, violation->field) == NULL ||
            strstr(status->message, violation->description) == NULL)
            fprintf(stderr, "  %s: %s\n", violation->field, violation->description);
    }
    if (status->code == WAYMARK_UNAVAILABLE && !*status->reason)
        fprintf(stderr, "Is the server running, and is --address right?\n");
    return CLI_REFUSED;
}

int cli_refused_reply(const cli *cli, waymark_reply *reply)
{
    int code = cli_refused(cli, waymark_reply_status(reply));

    waymark_reply_free(reply);
    return code;
}

char *cli_page_token(cli *cli, const char *token, waymark_reply *reply)
{
    char *kept = wm_arena_strdup(&cli->arena, token);

    waymark_reply_free(reply);
    return kept;
}

int cli_failed(const cli *cli, const char *what, const wm_err *err)
{
    (void)cli;
    fprintf(stderr, "waymark: %s%s%s%s%s\n", what != NULL ? what : "", what != NULL ? ": " : "",
            err->field, *err->field ? ": " : "", err->message);
    return CLI_USAGE;
}

/* ---- the client ---- */

static waymark_credentials *cli_credentials(const cli *cli)
{
    if (cli->token != NULL)
        return waymark_credentials_token(cli->token);
    if (cli->token_file != NULL)
        return waymark_credentials_file(cli->token_file);
    return NULL;
}

waymark_client *cli_client(cli *cli)
{
    waymark_client_options options;
    waymark_credentials *credentials = cli_credentials(cli);
    waymark_problem problem;

    if (cli->client != NULL)
        return cli->client;
    waymark_client_options_from_env(&options);
    if (credentials != NULL) {
        waymark_credentials_free(options.credentials);
        options.credentials = credentials;
    }
    if (cli->address != NULL)
        options.address = cli->address;
    if (cli->tls_ca != NULL) {
        options.tls = true;
        options.ca_file = cli->tls_ca;
    }
    if (cli->timeout_s > 0)
        options.timeout_ms = (int64_t)ceil(cli->timeout_s * 1000);
    options.message_size_max = CLI_JSON_MAX;
    cli->client = waymark_client_new(&options, &problem);
    waymark_credentials_free(options.credentials);
    if (cli->client == NULL)
        fprintf(stderr, "waymark: %s\n", problem.message);
    return cli->client;
}

/* ---- input ---- */

char *cli_read_file(cli *cli, const char *path, size_t *size)
{
    bool is_stdin = strcmp(path, "-") == 0;
    FILE *file = is_stdin ? stdin : fopen(path, "rb");
    wm_buf buf;
    char chunk[64 * 1024], *text = NULL;
    size_t got;

    if (file == NULL) {
        cli_usage(cli, "cannot open %s: %s", path, strerror(errno));
        return NULL;
    }
    wm_buf_init(&buf, CLI_FILE_MAX);
    while ((got = fread(chunk, 1, sizeof(chunk), file)) > 0)
        wm_buf_add(&buf, chunk, got);
    if (ferror(file))
        cli_usage(cli, "cannot read %s: %s", path, strerror(errno));
    else if (buf.failed)
        cli_usage(cli, "%s is bigger than 256 MiB", path);
    else
        text = wm_arena_strndup(&cli->arena, buf.data, buf.size);
    *size = buf.size;
    wm_buf_free(&buf);
    if (!is_stdin)
        fclose(file);
    return text;
}

ProtobufCMessage *cli_read_message(cli *cli, const char *what, const char *text, size_t len,
                                   const ProtobufCMessageDescriptor *descriptor)
{
    ProtobufCMessage *message;
    wm_json *json;
    wm_err err;

    if (wm_json_parse(&cli->arena, text, len, &json, &err) == WM_OK &&
        wm_json_to_message(&cli->arena, json, descriptor, &message, &err) == WM_OK)
        return message;
    cli_failed(cli, what, &err);
    return NULL;
}

Google__Protobuf__Struct *cli_read_struct(cli *cli, const char *option, const char *value)
{
    const char *text = value, *what = option;
    size_t len = strlen(value);

    if (value[0] == '@') {
        what = value + 1;
        text = cli_read_file(cli, what, &len);
        if (text == NULL)
            return NULL;
    }
    return (Google__Protobuf__Struct *)(void *)cli_read_message(
        cli, what, text, len, &google__protobuf__struct__descriptor);
}

Google__Protobuf__Timestamp *cli_read_time(cli *cli, const char *option, const char *text)
{
    Google__Protobuf__Timestamp *time = WM_NEW(&cli->arena, Google__Protobuf__Timestamp);

    google__protobuf__timestamp__init(time);
    if (wm_time_parse_ns(text, strlen(text), &time->seconds, &time->nanos))
        return time;
    cli_usage(cli, "%s takes a time like 2026-01-02T03:04:05Z, not \"%s\"", option, text);
    return NULL;
}

Google__Protobuf__Duration *cli_duration(cli *cli, double seconds)
{
    Google__Protobuf__Duration *duration = WM_NEW(&cli->arena, Google__Protobuf__Duration);

    google__protobuf__duration__init(duration);
    duration->seconds = (int64_t)seconds;
    duration->nanos = (int32_t)((seconds - floor(seconds)) * 1e9);
    return duration;
}

/* ---- output ---- */

static_assert((int)CLI_TIME_SIZE == (int)WM_TIME_TEXT_SIZE, "one size for texts of times");

void cli_time_text(const Google__Protobuf__Timestamp *time, char text[CLI_TIME_SIZE])
{
    text[0] = '\0';
    if (time != NULL)
        wm_time_format(time->seconds * 1000000 + time->nanos / 1000, text);
}

const char *cli_time(cli *cli, const Google__Protobuf__Timestamp *time)
{
    char text[CLI_TIME_SIZE];

    cli_time_text(time, text);
    return wm_arena_strdup(&cli->arena, text);
}

const char *cli_join(cli *cli, char *const *texts, size_t n, const char *separator)
{
    const char *text;
    wm_buf buf;

    wm_buf_init(&buf, CLI_JSON_MAX);
    for (size_t i = 0; i < n; i++) {
        wm_buf_text(&buf, i > 0 ? separator : "");
        wm_buf_text(&buf, texts[i]);
    }
    text = wm_arena_strndup(&cli->arena, buf.data, buf.size);
    wm_buf_free(&buf);
    return text;
}

void cli_print_message(const cli *cli, const ProtobufCMessage *message)
{
    wm_buf buf;

    (void)cli;
    wm_buf_init(&buf, CLI_JSON_MAX);
    wm_json_from_message(&buf, message);
    wm_buf_char(&buf, '\n');
    fwrite(buf.data, 1, buf.size, stdout);
    wm_buf_free(&buf);
}

const char *cli_message_text(cli *cli, const ProtobufCMessage *message)
{
    const char *text;
    wm_buf buf;

    wm_buf_init(&buf, CLI_JSON_MAX);
    wm_json_from_message(&buf, message);
    text = wm_arena_strndup(&cli->arena, buf.data, buf.size);
    wm_buf_free(&buf);
    return text;
}

static void pretty_value(const wm_json *json, int indent);

static void pretty_text(const char *text, size_t len)
{
    wm_buf buf;

    wm_buf_init(&buf, CLI_JSON_MAX);
    wm_json_write_string(&buf, text, len);
    fwrite(buf.data, 1, buf.size, stdout);
    wm_buf_free(&buf);
}

static bool pretty_is_nested(const wm_json *json)
{
    return json->kind == WM_JSON_OBJECT || json->kind == WM_JSON_ARRAY;
}

/* Lists of plain values stay on one line: coordinates would fill the screen otherwise. */
static bool pretty_is_flat(const wm_json *json)
{
    for (const wm_json *child = json->first; child != NULL; child = child->next) {
        if (json->kind == WM_JSON_OBJECT || pretty_is_nested(child))
            return false;
    }
    return true;
}

static void pretty_children(const wm_json *json, int indent)
{
    bool object = json->kind == WM_JSON_OBJECT, flat = pretty_is_flat(json);

    putchar(object ? '{' : '[');
    for (const wm_json *child = json->first; child != NULL; child = child->next) {
        if (!flat)
            printf("\n%*s", indent + 2, "");
        if (object) {
            pretty_text(child->name, strlen(child->name));
            fputs(": ", stdout);
        }
        pretty_value(child, indent + 2);
        if (child->next != NULL)
            fputs(flat ? ", " : ",", stdout);
    }
    if (!flat)
        printf("\n%*s", indent, "");
    putchar(object ? '}' : ']');
}

static void pretty_value(const wm_json *json, int indent)
{
    switch (json->kind) {
    case WM_JSON_NULL:
        fputs("null", stdout);
        return;
    case WM_JSON_BOOL:
        fputs(json->boolean ? "true" : "false", stdout);
        return;
    case WM_JSON_NUMBER:
        fputs(json->text, stdout);
        return;
    case WM_JSON_STRING:
        pretty_text(json->text, json->text_len);
        return;
    case WM_JSON_ARRAY:
    case WM_JSON_OBJECT:
        pretty_children(json, indent);
        return;
    }
}

void cli_print_pretty(cli *cli, const ProtobufCMessage *message)
{
    const char *text = cli_message_text(cli, message);
    wm_json *json;
    wm_err err;

    if (wm_json_parse(&cli->arena, text, strlen(text), &json, &err) != WM_OK) {
        puts(text); /* deeper than this reader goes */
        return;
    }
    pretty_value(json, 0);
    putchar('\n');
}
