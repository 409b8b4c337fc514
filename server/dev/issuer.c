/* server/dev/issuer.c - the development issuer's HTTP side, on libmicrohttpd; see issuer.h.
 *
 * Must not listen anywhere but on loopback, and must not answer a browser's cross-site
 * request: whoever can reach it can be anybody.
 */
#include "server/dev/issuer.h"

#include <arpa/inet.h>
#include <errno.h>
#include <microhttpd.h>
#include <netinet/in.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/json.h"
#include "base/log.h"
#include "base/random.h"
#include "server/dev/issuer_form.h"
#include "server/dev/issuer_key.h"

enum {
    BODY_MAX = 64 * 1024,
    TEXT_MAX = 256 * 1024,
    CONNECTIONS_MAX = 64,
    CONNECTION_TIMEOUT_S = 10,
    SUBJECT_MAX = 255,
    GROUPS_MAX = 100,
    URL_SIZE = 64
};

struct dev_issuer {
    struct MHD_Daemon *daemon;
    issuer_key *key;
    char url[URL_SIZE];
    char *audience;
    pthread_mutex_t grant_lock; /* held while granting, so that set_grant(NULL) waits for it */
    dev_issuer_grant_fn grant;
    void *grant_ctx;
};

/* One HTTP request: its body as it comes in. */
typedef struct exchange {
    wm_buf body;
} exchange;

/* ---- answers ---- */

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status, wm_buf *text)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(text->size, text->data, MHD_RESPMEM_MUST_COPY);

    MHD_add_response_header(response, "Content-Type", "application/json");
    MHD_add_response_header(response, "Cache-Control", "no-store");
    enum MHD_Result result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    wm_buf_free(text);
    return result;
}

static enum MHD_Result answer_error(struct MHD_Connection *connection, unsigned status,
                                    const char *error, const char *description)
{
    wm_buf text;

    wm_buf_init(&text, TEXT_MAX);
    wm_buf_printf(&text, "{\"error\":\"%s\",\"error_description\":", error);
    wm_json_write_string(&text, description, strlen(description));
    wm_buf_text(&text, "}\n");
    return answer(connection, status, &text);
}

static enum MHD_Result answer_discovery(const dev_issuer *issuer, struct MHD_Connection *connection)
{
    wm_buf text;

    wm_buf_init(&text, TEXT_MAX);
    wm_buf_printf(
        &text,
        "{\"issuer\":\"%s\",\"jwks_uri\":\"%s/jwks\",\"token_endpoint\":\"%s/token\","
        "\"response_types_supported\":[\"token\"],\"subject_types_supported\":[\"public\"],"
        "\"id_token_signing_alg_values_supported\":[\"ES256\"],"
        "\"grant_types_supported\":[\"client_credentials\"],"
        "\"token_endpoint_auth_methods_supported\":[\"client_secret_basic\"],"
        "\"waymark_development\":true}\n",
        issuer->url, issuer->url, issuer->url);
    return answer(connection, MHD_HTTP_OK, &text);
}

static enum MHD_Result answer_jwks(const dev_issuer *issuer, struct MHD_Connection *connection)
{
    wm_buf text;

    wm_buf_init(&text, TEXT_MAX);
    issuer_key_write_jwks(issuer->key, &text);
    return answer(connection, MHD_HTTP_OK, &text);
}

/* ---- tokens ---- */

static void add_member(wm_buf *buf, const char *name, const char *text)
{
    wm_buf_printf(buf, ",\"%s\":", name);
    wm_json_write_string(buf, text, strlen(text));
}

wm_code dev_issuer_token(dev_issuer *issuer, const dev_token_request *request, wm_buf *token,
                         wm_err *err)
{
    int64_t now_s = wm_now_us() / 1000000;
    char jti[WM_UUID_TEXT_SIZE];
    wm_uuid id = wm_uuid_new();
    wm_buf claims;

    wm_uuid_format(&id, jti);
    wm_buf_init(&claims, TEXT_MAX);
    wm_buf_printf(&claims, "{\"iss\":\"%s\",\"iat\":%lld,\"exp\":%lld", issuer->url,
                  (long long)now_s, (long long)(now_s + request->expires_in_s));
    add_member(&claims, "jti", jti);
    add_member(&claims, "sub", request->subject);
    add_member(&claims, "client_id", "waymark-dev");
    add_member(&claims, "aud", request->audience ? request->audience : issuer->audience);
    if (request->name)
        add_member(&claims, "name", request->name);
    for (size_t i = 0; i < request->n_groups; i++) {
        wm_buf_text(&claims, i == 0 ? ",\"groups\":[" : ",");
        wm_json_write_string(&claims, request->groups[i], strlen(request->groups[i]));
    }
    if (request->n_groups > 0)
        wm_buf_char(&claims, ']');
    wm_buf_char(&claims, '}');
    wm_code code = claims.failed
                       ? wm_fail(err, WM_INVALID, "FIELD_TOO_LONG", "the claims are too long")
                       : issuer_key_sign(issuer->key, &claims, token, err);
    wm_buf_free(&claims);
    return code;
}

/* What POST /token asks for. Texts live in the arena. */
typedef struct token_order {
    dev_token_request token;
    const char *roles; /* separated by spaces; NULL: none */
    const char *namespace_name;
} token_order;

static wm_code bad_member(wm_err *err, const char *name, const char *what)
{
    return wm_fail_field(err, name, "FIELD_INVALID", "%s %s", name, what);
}

static wm_code read_text(const wm_json *member, const char **text, wm_err *err)
{
    if (member->kind != WM_JSON_STRING || member->text_len == 0)
        return bad_member(err, member->name, "is not a text");
    *text = member->text;
    return WM_OK;
}

static wm_code read_groups(wm_arena *arena, const wm_json *member, dev_token_request *token,
                           wm_err *err)
{
    if (member->kind != WM_JSON_ARRAY || member->len > GROUPS_MAX)
        return bad_member(err, "groups", "is not a list of at most 100 texts");
    const char **groups = WM_NEW_ARRAY(arena, const char *, member->len);
    token->groups = groups;
    for (const wm_json *item = member->first; item; item = item->next) {
        if (item->kind != WM_JSON_STRING || item->text_len == 0)
            return bad_member(err, "groups", "holds something that is not a text");
        groups[token->n_groups++] = item->text;
    }
    return WM_OK;
}

static wm_code read_member(wm_arena *arena, const wm_json *member, token_order *order, wm_err *err)
{
    const char *name = member->name;

    if (strcmp(name, "sub") == 0)
        return read_text(member, &order->token.subject, err);
    if (strcmp(name, "name") == 0)
        return read_text(member, &order->token.name, err);
    if (strcmp(name, "aud") == 0)
        return read_text(member, &order->token.audience, err);
    if (strcmp(name, "role") == 0)
        return read_text(member, &order->roles, err);
    if (strcmp(name, "namespace") == 0)
        return read_text(member, &order->namespace_name, err);
    if (strcmp(name, "groups") == 0)
        return read_groups(arena, member, &order->token, err);
    if (strcmp(name, "expires_in") != 0)
        return bad_member(err, name, "is not a known member");
    if (member->kind != WM_JSON_NUMBER || !(member->number >= 1) ||
        member->number > DEV_ISSUER_EXPIRES_MAX_S)
        return bad_member(err, name, "is not a number of seconds from 1 to 31536000");
    order->token.expires_in_s = (int64_t)member->number;
    return WM_OK;
}

static wm_code read_order(wm_arena *arena, const wm_buf *body, token_order *order, wm_err *err)
{
    wm_json *json;

    *order = (token_order){.token.expires_in_s = DEV_ISSUER_EXPIRES_DEFAULT_S,
                           .namespace_name = "default"};
    wm_code code = wm_json_parse(arena, body->data ? body->data : "", body->size, &json, err);
    if (code == WM_OK && json->kind != WM_JSON_OBJECT)
        code = wm_fail(err, WM_INVALID, "FIELD_INVALID", "the body is not a JSON object");
    for (const wm_json *member = code == WM_OK ? json->first : NULL; member && code == WM_OK;
         member = member->next)
        code = read_member(arena, member, order, err);
    if (code == WM_OK && (!order->token.subject || strlen(order->token.subject) > SUBJECT_MAX))
        code = bad_member(err, "sub", "is missing, or longer than 255 bytes");
    return code;
}

static unsigned role_of(const char *name, size_t len)
{
    static const char *const NAMES[] = {"viewer", "operator", "worker", "admin"};

    for (size_t i = 0; i < WM_ARRAY_LEN(NAMES); i++) {
        if (strlen(NAMES[i]) == len && memcmp(name, NAMES[i], len) == 0)
            return 1u << i;
    }
    return 0;
}

/* All are known before the first is granted. */
static wm_code read_roles(const char *text, unsigned *roles, wm_err *err)
{
    *roles = 0;
    for (const char *at = text; *at;) {
        size_t len = strcspn(at, " ");
        unsigned role = role_of(at, len);

        if (len > 0 && role == 0)
            return bad_member(err, "role", "is not viewer, operator, worker or admin");
        *roles |= role;
        at += len + (at[len] == ' ');
    }
    return WM_OK;
}

static wm_code grant_roles(dev_issuer *issuer, wm_arena *arena, const token_order *order,
                           wm_err *err)
{
    const char *principal = wm_arena_printf(arena, "%s#%s", issuer->url, order->token.subject);
    unsigned roles;
    wm_code code = read_roles(order->roles, &roles, err);

    if (code != WM_OK)
        return code;
    pthread_mutex_lock(&issuer->grant_lock);
    if (!issuer->grant)
        code = wm_fail(err, WM_UNAVAILABLE, "SHUTTING_DOWN", "the server is not serving now");
    for (unsigned role = AUTH_VIEWER; role <= AUTH_ADMIN && code == WM_OK; role <<= 1) {
        if (roles & role)
            code = issuer->grant(issuer->grant_ctx, order->namespace_name, principal,
                                 (auth_role)role, err);
    }
    pthread_mutex_unlock(&issuer->grant_lock);
    return code;
}

static enum MHD_Result answer_failure(struct MHD_Connection *connection, const wm_err *err)
{
    if (err->code == WM_INVALID)
        return answer_error(connection, MHD_HTTP_BAD_REQUEST, "invalid_request", err->message);
    if (err->code == WM_UNAVAILABLE)
        return answer_error(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "temporarily_unavailable",
                            err->message);
    return answer_error(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "server_error", err->message);
}

/* Signs what was ordered, after the grant of its roles. */
static enum MHD_Result answer_order(dev_issuer *issuer, struct MHD_Connection *connection,
                                    wm_arena *arena, const token_order *order)
{
    wm_code code = WM_OK;
    wm_err err = {0};
    wm_buf token, text;

    wm_buf_init(&token, TEXT_MAX);
    if (order->roles)
        code = grant_roles(issuer, arena, order, &err);
    if (code == WM_OK)
        code = dev_issuer_token(issuer, &order->token, &token, &err);

    enum MHD_Result result;
    if (code == WM_OK) {
        wm_buf_init(&text, TEXT_MAX);
        wm_buf_printf(&text,
                      "{\"access_token\":\"%s\",\"token_type\":\"Bearer\",\"expires_in\":%lld",
                      token.data, (long long)order->token.expires_in_s);
        add_member(&text, "principal",
                   wm_arena_printf(arena, "%s#%s", issuer->url, order->token.subject));
        wm_buf_text(&text, "}\n");
        result = answer(connection, MHD_HTTP_OK, &text);
    } else {
        result = answer_failure(connection, &err);
    }
    wm_buf_free(&token);
    return result;
}

static enum MHD_Result answer_json_order(dev_issuer *issuer, struct MHD_Connection *connection,
                                         wm_arena *arena, const wm_buf *body)
{
    token_order order;
    wm_err err = {0};

    if (read_order(arena, body, &order, &err) != WM_OK)
        return answer_failure(connection, &err);
    return answer_order(issuer, connection, arena, &order);
}

/* ---- client_credentials ---- */

/* The client's id out of HTTP Basic; NULL: there is none that could be a subject. The secret may
 * be anything: this issuer gives any token to anybody. But credentials must be there, since a page
 * of another site can post a form, and cannot send this header with it. */
static const char *client_id(struct MHD_Connection *connection, wm_arena *arena)
{
    char *password = NULL;
    char *name = MHD_basic_auth_get_username_password(connection, &password);
    const char *id = NULL;
    wm_err err = {0};

    if (name && issuer_form_decode(arena, name, strlen(name), &id, &err) != WM_OK)
        id = NULL;
    if (id && (*id == '\0' || strlen(id) > SUBJECT_MAX))
        id = NULL;
    MHD_free(name);
    MHD_free(password);
    return id;
}

/* RFC 6749, 4.4: the client is the subject, the scope names the roles. */
static enum MHD_Result answer_form_order(dev_issuer *issuer, struct MHD_Connection *connection,
                                         wm_arena *arena, const wm_buf *body)
{
    token_order order = {.token.expires_in_s = DEV_ISSUER_EXPIRES_DEFAULT_S,
                         .namespace_name = "default"};
    const char *grant_type;
    wm_err err = {0};

    if (issuer_form_find(arena, body, "grant_type", &grant_type, &err) != WM_OK ||
        issuer_form_find(arena, body, "scope", &order.roles, &err) != WM_OK ||
        issuer_form_find(arena, body, "audience", &order.token.audience, &err) != WM_OK)
        return answer_failure(connection, &err);
    if (!grant_type || strcmp(grant_type, "client_credentials") != 0)
        return answer_error(connection, MHD_HTTP_BAD_REQUEST, "unsupported_grant_type",
                            "grant_type must be client_credentials");
    order.token.subject = client_id(connection, arena);
    if (!order.token.subject)
        return answer_error(connection, MHD_HTTP_UNAUTHORIZED, "invalid_client",
                            "Authorization must be Basic, with a client id of 1 to 255 bytes");
    return answer_order(issuer, connection, arena, &order);
}

/* ---- requests ---- */

/* "127.0.0.1", "localhost" or "[::1]", with or without a port. A page that a browser got from
 * elsewhere can make it connect to us (also by DNS rebinding), but not change this name. */
static bool host_is_loopback(const char *host)
{
    static const char *const NAMES[] = {"127.0.0.1", "localhost", "[::1]"};

    for (size_t i = 0; i < WM_ARRAY_LEN(NAMES); i++) {
        size_t len = strlen(NAMES[i]);
        if (strncasecmp(host, NAMES[i], len) != 0)
            continue;
        if (host[len] == '\0')
            return true;
        if (host[len] == ':' && strspn(host + len + 1, "0123456789") == strlen(host + len + 1))
            return true;
    }
    return false;
}

static const char *header_of(struct MHD_Connection *connection, const char *name)
{
    return MHD_lookup_connection_value(connection, MHD_HEADER_KIND, name);
}

static bool is_from_here(struct MHD_Connection *connection)
{
    const char *host = header_of(connection, "Host"), *origin = header_of(connection, "Origin");

    if (!host || !host_is_loopback(host))
        return false;
    if (!origin)
        return true;
    return strncmp(origin, "http://", 7) == 0 && host_is_loopback(origin + 7);
}

/* The media type, without its parameters, is this one. */
static bool body_is(struct MHD_Connection *connection, const char *media_type)
{
    const char *type = header_of(connection, "Content-Type");
    size_t len = strlen(media_type);

    return type && strncasecmp(type, media_type, len) == 0 &&
           (type[len] == '\0' || type[len] == ';' || type[len] == ' ');
}

/* A form or a text can be posted across sites without asking. JSON cannot, and a form is taken
 * with credentials only, see client_id(). */
static enum MHD_Result answer_token(dev_issuer *issuer, struct MHD_Connection *connection,
                                    const exchange *exchange)
{
    bool is_json = body_is(connection, "application/json");
    enum MHD_Result result;
    wm_arena arena;

    if (!is_json && !body_is(connection, "application/x-www-form-urlencoded"))
        return answer_error(connection, MHD_HTTP_UNSUPPORTED_MEDIA_TYPE, "invalid_request",
                            "Content-Type must be application/json, or a form's with Basic "
                            "authorization");
    if (exchange->body.failed)
        return answer_error(connection, MHD_HTTP_CONTENT_TOO_LARGE, "invalid_request",
                            "the body is longer than 64 KiB");
    wm_arena_init(&arena, 0);
    if (is_json)
        result = answer_json_order(issuer, connection, &arena, &exchange->body);
    else
        result = answer_form_order(issuer, connection, &arena, &exchange->body);
    wm_arena_free(&arena);
    return result;
}

static enum MHD_Result answer_request(dev_issuer *issuer, struct MHD_Connection *connection,
                                      const char *path, const char *method, exchange *exchange)
{
    bool is_get = strcmp(method, "GET") == 0, is_post = strcmp(method, "POST") == 0;

    if (!is_from_here(connection))
        return answer_error(connection, MHD_HTTP_FORBIDDEN, "access_denied",
                            "only for programs on this machine: Host and Origin must be loopback");
    if (is_get && strcmp(path, "/.well-known/openid-configuration") == 0)
        return answer_discovery(issuer, connection);
    if (is_get && strcmp(path, "/jwks") == 0)
        return answer_jwks(issuer, connection);
    if (!is_post || strcmp(path, "/token") != 0)
        return answer_error(
            connection, MHD_HTTP_NOT_FOUND, "not_found",
            "there are GET /.well-known/openid-configuration, GET /jwks and POST /token");
    return answer_token(issuer, connection, exchange);
}

/* Called once with the headers, then for pieces of the body, then with none. */
static enum MHD_Result on_request(void *ctx, struct MHD_Connection *connection, const char *path,
                                  const char *method, const char *version, const char *upload,
                                  size_t *upload_size, void **state)
{
    exchange *exchange = *state;

    (void)version;
    if (!exchange) {
        exchange = calloc(1, sizeof(*exchange));
        if (!exchange)
            return MHD_NO;
        wm_buf_init(&exchange->body, BODY_MAX);
        *state = exchange;
        return MHD_YES;
    }
    if (*upload_size > 0) {
        wm_buf_add(&exchange->body, upload, *upload_size);
        *upload_size = 0;
        return MHD_YES;
    }
    return answer_request(ctx, connection, path, method, exchange);
}

static void on_ended(void *ctx, struct MHD_Connection *connection, void **state,
                     enum MHD_RequestTerminationCode code)
{
    exchange *exchange = *state;

    (void)ctx, (void)connection, (void)code;
    if (!exchange)
        return;
    wm_buf_free(&exchange->body);
    free(exchange);
    *state = NULL;
}

/* ---- its life ---- */

static wm_code read_address(const char *listen, struct sockaddr_in *address, wm_err *err)
{
    const char *colon = strrchr(listen, ':');
    char host[32];
    char *end;

    if (!colon || (size_t)(colon - listen) >= sizeof(host))
        return wm_fail(err, WM_INVALID, "FIELD_INVALID", "%s is not HOST:PORT", listen);
    snprintf(host, sizeof(host), "%.*s", (int)(colon - listen), listen);
    unsigned long port = strtoul(colon + 1, &end, 10);
    *address = (struct sockaddr_in){.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    if (colon[1] == '\0' || *end != '\0' || port > 65535)
        return wm_fail(err, WM_INVALID, "FIELD_INVALID", "%s has no port", listen);
    if (strcmp(host, "localhost") == 0)
        snprintf(host, sizeof(host), "127.0.0.1");
    if (inet_pton(AF_INET, host, &address->sin_addr) != 1 ||
        ntohl(address->sin_addr.s_addr) >> 24 != 127)
        return wm_fail(err, WM_INVALID, "FIELD_INVALID",
                       "the development issuer may listen on 127.0.0.1 only, not on %s", host);
    return WM_OK;
}

static wm_code serve(dev_issuer *issuer, const char *listen, wm_err *err)
{
    struct sockaddr_in address;
    char host[INET_ADDRSTRLEN];
    wm_code code = read_address(listen, &address, err);

    if (code != WM_OK)
        return code;
    issuer->daemon = MHD_start_daemon(
        MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_AUTO, 0, NULL, NULL, on_request, issuer,
        MHD_OPTION_SOCK_ADDR, &address, MHD_OPTION_NOTIFY_COMPLETED, on_ended, NULL,
        MHD_OPTION_CONNECTION_LIMIT, (unsigned)CONNECTIONS_MAX, MHD_OPTION_CONNECTION_TIMEOUT,
        (unsigned)CONNECTION_TIMEOUT_S, MHD_OPTION_END);
    if (!issuer->daemon)
        return wm_fail(err, WM_EXISTS, "DEV_ISSUER_ADDRESS",
                       "the development issuer cannot listen on %s: %s", listen, strerror(errno));
    const union MHD_DaemonInfo *info =
        MHD_get_daemon_info(issuer->daemon, MHD_DAEMON_INFO_BIND_PORT);
    inet_ntop(AF_INET, &address.sin_addr, host, sizeof(host));
    snprintf(issuer->url, sizeof(issuer->url), "http://%s:%u", host, info ? info->port : 0u);
    return WM_OK;
}

wm_code dev_issuer_new(const dev_issuer_config *config, dev_issuer **made, wm_err *err)
{
    dev_issuer *issuer = calloc(1, sizeof(*issuer));
    if (!issuer)
        abort();

    pthread_mutex_init(&issuer->grant_lock, NULL);
    issuer->audience = strdup(config->audience);
    if (!issuer->audience)
        abort();
    wm_code code = issuer_key_open(config->key_file, &issuer->key, err);
    if (code == WM_OK)
        code = serve(issuer, config->listen, err);
    if (code != WM_OK) {
        dev_issuer_free(issuer);
        issuer = NULL;
    }
    *made = issuer;
    return code;
}

void dev_issuer_free(dev_issuer *issuer)
{
    if (!issuer)
        return;
    if (issuer->daemon)
        MHD_stop_daemon(issuer->daemon);
    issuer_key_free(issuer->key);
    pthread_mutex_destroy(&issuer->grant_lock);
    free(issuer->audience);
    free(issuer);
}

const char *dev_issuer_url(const dev_issuer *issuer)
{
    return issuer->url;
}

void dev_issuer_set_grant(dev_issuer *issuer, dev_issuer_grant_fn grant, void *ctx)
{
    pthread_mutex_lock(&issuer->grant_lock);
    issuer->grant = grant;
    issuer->grant_ctx = ctx;
    pthread_mutex_unlock(&issuer->grant_lock);
}
