/* server/obs/http.c - see http.h.
 *
 * libmicrohttpd speaks HTTP; the socket is ours, so that an address that is taken can be
 * told by name. Must not do anything that waits for the world but for the metrics' own reading.
 */
#include "server/obs/http.h"

#include <errno.h>
#include <microhttpd.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { HOST_SIZE = 256 };

struct obs_http {
    obs_metrics *metrics;
    bool (*is_ready)(void *ctx);
    void *ctx;
    struct MHD_Daemon *daemon;
    int port;
};

/* ---- answers ---- */

static enum MHD_Result answer(struct MHD_Connection *connection, unsigned status,
                              const char *content_type, const void *bytes, size_t size)
{
    struct MHD_Response *response =
        MHD_create_response_from_buffer(size, (void *)bytes, MHD_RESPMEM_MUST_COPY);
    enum MHD_Result result;

    if (response == NULL)
        return MHD_NO;
    MHD_add_response_header(response, MHD_HTTP_HEADER_CONTENT_TYPE, content_type);
    if (status == MHD_HTTP_METHOD_NOT_ALLOWED)
        MHD_add_response_header(response, MHD_HTTP_HEADER_ALLOW, "GET, HEAD");
    result = MHD_queue_response(connection, status, response);
    MHD_destroy_response(response);
    return result;
}

static enum MHD_Result answer_text(struct MHD_Connection *connection, unsigned status,
                                   const char *text)
{
    return answer(connection, status, "text/plain; charset=utf-8", text, strlen(text));
}

static enum MHD_Result answer_metrics(struct MHD_Connection *connection, obs_http *http)
{
    const char *accept =
        MHD_lookup_connection_value(connection, MHD_HEADER_KIND, MHD_HTTP_HEADER_ACCEPT);
    bool is_open = accept != NULL && strstr(accept, "application/openmetrics-text") != NULL;
    enum MHD_Result result;
    wm_buf page;

    wm_buf_init(&page, OBS_PAGE_SIZE_MAX);
    obs_metrics_write(http->metrics, is_open ? OBS_OPENMETRICS : OBS_PROMETHEUS, &page);
    if (page.failed)
        result = answer_text(connection, MHD_HTTP_INTERNAL_SERVER_ERROR, "the page is too big\n");
    else
        result = answer(connection, MHD_HTTP_OK,
                        is_open ? "application/openmetrics-text; version=1.0.0; charset=utf-8"
                                : "text/plain; version=0.0.4; charset=utf-8",
                        page.data, page.size);
    wm_buf_free(&page);
    return result;
}

static enum MHD_Result on_request(void *cls, struct MHD_Connection *connection, const char *url,
                                  const char *method, const char *version, const char *data,
                                  size_t *data_size, void **state)
{
    static int seen;
    obs_http *http = cls;

    (void)version;
    (void)data;
    /* The first call tells of the headers only; a body, which no question here needs, is dropped.
     */
    if (*state == NULL) {
        *state = &seen;
        return MHD_YES;
    }
    if (*data_size > 0) {
        *data_size = 0;
        return MHD_YES;
    }
    if (strcmp(method, MHD_HTTP_METHOD_GET) != 0 && strcmp(method, MHD_HTTP_METHOD_HEAD) != 0)
        return answer_text(connection, MHD_HTTP_METHOD_NOT_ALLOWED, "GET or HEAD\n");
    if (strcmp(url, "/metrics") == 0)
        return answer_metrics(connection, http);
    if (strcmp(url, "/healthz") == 0)
        return answer_text(connection, MHD_HTTP_OK, "alive\n");
    if (strcmp(url, "/readyz") == 0)
        return http->is_ready(http->ctx)
                   ? answer_text(connection, MHD_HTTP_OK, "serving\n")
                   : answer_text(connection, MHD_HTTP_SERVICE_UNAVAILABLE, "not serving\n");
    return answer_text(connection, MHD_HTTP_NOT_FOUND, "/metrics, /healthz, /readyz\n");
}

/* ---- listening ---- */

/* Splits "HOST:PORT"; the brackets of an IPv6 address are dropped. */
static bool address_split(const char *address, char host[HOST_SIZE], const char **port)
{
    const char *colon = strrchr(address, ':');
    size_t len;

    if (colon == NULL || colon == address || colon[1] == '\0')
        return false;
    len = (size_t)(colon - address);
    if (address[0] == '[' && address[len - 1] == ']') {
        address++;
        len -= 2;
    }
    if (len == 0 || len >= HOST_SIZE)
        return false;
    memcpy(host, address, len);
    host[len] = '\0';
    *port = colon + 1;
    return true;
}

static int socket_listen(const struct addrinfo *found)
{
    const int one = 1;
    int fd = socket(found->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);

    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof(one));
    if (bind(fd, found->ai_addr, found->ai_addrlen) == 0 && listen(fd, SOMAXCONN) == 0)
        return fd;
    close(fd);
    return -1;
}

static wm_code address_listen(const char *address, int *fd, wm_err *err)
{
    const struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE};
    struct addrinfo *found = NULL;
    char host[HOST_SIZE];
    const char *port;
    int rc;

    if (!address_split(address, host, &port))
        return wm_fail(err, WM_INVALID, "OPTION_INVALID", "\"%s\" is not HOST:PORT", address);
    rc = getaddrinfo(host, port, &hints, &found);
    if (rc != 0)
        return wm_fail(err, WM_INVALID, "OPTION_INVALID", "cannot listen on %s: %s", address,
                       gai_strerror(rc));
    *fd = socket_listen(found);
    freeaddrinfo(found);
    if (*fd < 0)
        return wm_fail(err, WM_UNAVAILABLE, "INTERNAL", "cannot listen on %s: %s", address,
                       strerror(errno));
    return WM_OK;
}

static int port_of(int fd)
{
    union {
        struct sockaddr any;
        struct sockaddr_in v4;
        struct sockaddr_in6 v6;
    } name = {0};
    socklen_t size = sizeof(name);

    if (getsockname(fd, &name.any, &size) != 0)
        return 0;
    return ntohs(name.any.sa_family == AF_INET6 ? name.v6.sin6_port : name.v4.sin_port);
}

wm_code obs_http_start(const char *address, obs_metrics *metrics, bool (*is_ready)(void *ctx),
                       void *ctx, obs_http **made, wm_err *err)
{
    obs_http *http;
    int fd = -1;
    wm_code code = address_listen(address, &fd, err);

    if (code != WM_OK)
        return code;
    http = calloc(1, sizeof(*http));
    if (http == NULL)
        abort();
    http->metrics = metrics;
    http->is_ready = is_ready;
    http->ctx = ctx;
    http->port = port_of(fd);
    http->daemon =
        MHD_start_daemon(MHD_USE_INTERNAL_POLLING_THREAD | MHD_USE_POLL, 0, NULL, NULL, on_request,
                         http, MHD_OPTION_LISTEN_SOCKET, fd, MHD_OPTION_CONNECTION_LIMIT,
                         (unsigned)OBS_HTTP_CONNECTIONS_MAX, MHD_OPTION_PER_IP_CONNECTION_LIMIT,
                         (unsigned)OBS_HTTP_CONNECTIONS_ADDRESS, MHD_OPTION_CONNECTION_TIMEOUT,
                         (unsigned)OBS_HTTP_TIMEOUT_S, MHD_OPTION_END);
    if (http->daemon == NULL) {
        close(fd);
        free(http);
        return wm_fail(err, WM_EXHAUSTED, "INTERNAL", "cannot start the HTTP listener on %s",
                       address);
    }
    *made = http;
    return WM_OK;
}

int obs_http_port(const obs_http *http)
{
    return http->port;
}

void obs_http_free(obs_http *http)
{
    if (http == NULL)
        return;
    MHD_stop_daemon(http->daemon);
    free(http);
}
