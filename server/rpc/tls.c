/* server/rpc/tls.c - credentials of TLS listeners, from files that may change.
 *
 * The core asks for the certificate at each handshake; files are read again when one
 * of them has another modification time, so that a renewed certificate needs no
 * restart. A pair that cannot be read leaves the one before in place.
 */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/file.h"
#include "base/grpc_security.h"
#include "base/log.h"
#include "server/rpc/internal.h"

enum { TLS_FILE_SIZE_MAX = 1024 * 1024, TLS_FILES = 3 };

struct rpc_tls {
    uv_mutex_t mutex;       /* handshakes run on all queue threads */
    rpc_tls *next;          /* all of a server */
    char *files[TLS_FILES]; /* certificate, key, client CA or NULL */
    struct timespec read_at[TLS_FILES];
};

static char *file_read(const char *path, wm_err *err)
{
    FILE *file = fopen(path, "rb");
    char *text = NULL;
    size_t size;

    if (file == NULL) {
        wm_fail(err, WM_INVALID, "INTERNAL", "cannot read %s: %s", path, strerror(errno));
        return NULL;
    }
    text = malloc(TLS_FILE_SIZE_MAX + 1);
    if (text == NULL)
        abort();
    size = fread(text, 1, TLS_FILE_SIZE_MAX + 1, file);
    if (ferror(file) || size > TLS_FILE_SIZE_MAX) {
        wm_fail(err, WM_INVALID, "INTERNAL", "cannot read %s, or it is too big", path);
        free(text);
        text = NULL;
    } else {
        text[size] = '\0';
    }
    fclose(file);
    return text;
}

static grpc_ssl_server_certificate_config *tls_read(const rpc_tls *tls, wm_err *err)
{
    grpc_ssl_server_certificate_config *config = NULL;
    char *texts[TLS_FILES] = {NULL, NULL, NULL};
    grpc_ssl_pem_key_cert_pair pair;
    bool is_read = true;

    for (size_t i = 0; i < TLS_FILES && is_read; i++) {
        if (tls->files[i] != NULL)
            is_read = (texts[i] = file_read(tls->files[i], err)) != NULL;
    }
    if (is_read) {
        pair.cert_chain = texts[0];
        pair.private_key = texts[1];
        /* The core (1.51) asserts that there are roots even where no client certificate is asked
         * for; there it looks at them no further, and ours will do. */
        config = grpc_ssl_server_certificate_config_create(texts[2] != NULL ? texts[2] : texts[0],
                                                           &pair, 1);
    }
    for (size_t i = 0; i < TLS_FILES; i++)
        free(texts[i]);
    return config;
}

static grpc_ssl_certificate_config_reload_status
tls_fetch(void *user_data, grpc_ssl_server_certificate_config **config)
{
    rpc_tls *tls = user_data;
    wm_err err = {0};
    bool is_changed;

    uv_mutex_lock(&tls->mutex);
    is_changed = wm_files_changed(tls->files, tls->read_at, TLS_FILES);
    uv_mutex_unlock(&tls->mutex);
    if (!is_changed)
        return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED;
    *config = tls_read(tls, &err);
    if (*config != NULL)
        return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW;
    wm_log(WM_LOG_ERROR, "the new TLS certificate was not taken", wm_log_s("error", err.message));
    return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_FAIL;
}

wm_code rpc_tls_new(rpc_server *server, const rpc_listener *listener,
                    grpc_server_credentials **made, wm_err *err)
{
    const char *files[TLS_FILES] = {listener->cert_file, listener->key_file,
                                    listener->client_ca_file};
    grpc_ssl_server_certificate_config *config;
    rpc_tls *tls;

    if (listener->key_file == NULL)
        return wm_fail(err, WM_INVALID, "FIELD_REQUIRED",
                       "listener %s has a certificate but no key", listener->address);
    tls = calloc(1, sizeof(*tls));
    if (tls == NULL || uv_mutex_init(&tls->mutex) != 0)
        abort();
    tls->next = server->tls;
    server->tls = tls;
    for (size_t i = 0; i < TLS_FILES; i++) {
        if (files[i] != NULL && (tls->files[i] = strdup(files[i])) == NULL)
            abort();
    }
    /* Read once here for an error that names the file; the core asks for itself. */
    config = tls_read(tls, err);
    if (config == NULL)
        return WM_INVALID;
    grpc_ssl_server_certificate_config_destroy(config);
    *made = grpc_ssl_server_credentials_create_with_options(
        grpc_ssl_server_credentials_create_options_using_config_fetcher(
            tls->files[2] != NULL ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                                  : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
            tls_fetch, tls));
    return WM_OK;
}

void rpc_tls_free_all(rpc_server *server)
{
    while (server->tls != NULL) {
        rpc_tls *tls = server->tls;
        server->tls = tls->next;
        for (size_t i = 0; i < TLS_FILES; i++)
            free(tls->files[i]);
        uv_mutex_destroy(&tls->mutex);
        free(tls);
    }
}
