/* server/gate/tls.c - see tls.h.
 *
 * Must not log or keep anything of a key. Files are looked at (stat) with each handshake, and read
 * again when one has another modification time.
 */
#include "server/gate/tls.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>

#include <openssl/err.h>
#include <openssl/x509v3.h>

#include "base/file.h"
#include "base/log.h"

enum { TLS_CERT, TLS_KEY, TLS_CLIENT_CA, TLS_FILES, TLS_READ_SIZE = 32 * 1024 };

struct gate_tls {
    uv_mutex_t mutex;
    char *files[TLS_FILES]; /* the client CA's may be NULL */
    struct timespec read_at[TLS_FILES];
    SSL_CTX *context;
};

/* ---- the socket, for OpenSSL ---- */

static int io_read(BIO *bio, char *bytes, int size)
{
    gate_tls_io *io = BIO_get_data(bio);
    ssize_t n = -1;

    BIO_clear_retry_flags(bio);
    if ((size_t)size > io->left)
        size = (int)io->left;
    if (!io->is_drained) {
        n = recv(io->fd, bytes, (size_t)size, MSG_DONTWAIT);
        io->left -= n > 0 ? (size_t)n : 0;
        io->has_read = io->has_read || n > 0;
        io->is_drained = n < size || io->left == 0;
        io->is_eof = n == 0;
        if (n < 0 && errno != EAGAIN && errno != EINTR)
            return -1;
    }
    if (n < 0)
        BIO_set_retry_read(bio);
    return (int)n;
}

static int io_write(BIO *bio, const char *bytes, int size)
{
    gate_out *out = ((gate_tls_io *)BIO_get_data(bio))->out;
    size_t n = (size_t)size;

    BIO_clear_retry_flags(bio);
    if (n > out->room - out->size)
        n = out->room - out->size;
    if (n == 0) {
        BIO_set_retry_write(bio);
        return -1;
    }
    memcpy(out->bytes + out->size, bytes, n);
    out->size += n;
    return (int)n;
}

static long io_ctrl(BIO *bio, int command, long number, void *pointer)
{
    (void)bio;
    (void)number;
    (void)pointer;
    return command == BIO_CTRL_FLUSH ? 1 : 0;
}

void gate_tls_turn(gate_tls_io *io, size_t size, unsigned n_messages)
{
    io->is_drained = size == 0;
    io->left = size;
    io->has_read = false;
    io->n_messages = 0;
    io->n_messages_most = n_messages;
}

/* An alert is one too: we answer what is not allowed with a warning. */
static void message_count(int is_written, int version, int type, const void *bytes, size_t size,
                          SSL *ssl, void *arg)
{
    gate_tls_io *io = arg;

    (void)version;
    (void)bytes;
    (void)size;
    if (type != SSL3_RT_ALERT && (type != SSL3_RT_HANDSHAKE || is_written))
        return;
    /* SSL_read() would go on with all that the library has read ahead. */
    if (++io->n_messages > io->n_messages_most)
        SSL_set_shutdown(ssl, SSL_get_shutdown(ssl) | SSL_RECEIVED_SHUTDOWN);
}

static uv_once_t method_once = UV_ONCE_INIT;
static BIO_METHOD *method; /* stays for the life of the process */

static void method_init(void)
{
    method = BIO_meth_new(BIO_get_new_index() | BIO_TYPE_SOURCE_SINK, "gate");
    if (method == NULL)
        abort();
    BIO_meth_set_read(method, io_read);
    BIO_meth_set_write(method, io_write);
    BIO_meth_set_ctrl(method, io_ctrl);
}

/* ---- contexts ---- */

static int alpn_select(SSL *ssl, const unsigned char **chosen, unsigned char *chosen_size,
                       const unsigned char *offered, unsigned int offered_size, void *arg)
{
    static const unsigned char ours[] = "\x02h2";

    (void)ssl;
    (void)arg;
    if (SSL_select_next_proto((unsigned char **)chosen, chosen_size, ours, sizeof(ours) - 1,
                              offered, offered_size) != OPENSSL_NPN_NEGOTIATED)
        return SSL_TLSEXT_ERR_ALERT_FATAL;
    return SSL_TLSEXT_ERR_OK;
}

static wm_code context_fail(wm_err *err, const char *file, const char *what)
{
    unsigned long code = ERR_peek_last_error();
    const char *why = code != 0 ? ERR_reason_error_string(code) : NULL;

    ERR_clear_error();
    return wm_fail(err, WM_INVALID, "INTERNAL", "%s %s: %s", file, what,
                   why != NULL ? why : "unknown error");
}

static void context_tune(SSL_CTX *context)
{
    static const unsigned char session_context[] = "waymark";

    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_RENEGOTIATION | SSL_OP_NO_COMPRESSION |
                                     SSL_OP_CIPHER_SERVER_PREFERENCE);
    SSL_CTX_set_mode(context, SSL_MODE_RELEASE_BUFFERS | SSL_MODE_ENABLE_PARTIAL_WRITE |
                                  SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER);
    SSL_CTX_set_read_ahead(context, 1);
    SSL_CTX_set_default_read_buffer_len(context, TLS_READ_SIZE);
    /* Sessions are resumed by tickets; nothing is kept for those that never come back. */
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_OFF);
    SSL_CTX_set_session_id_context(context, session_context, sizeof(session_context) - 1);
    SSL_CTX_set_alpn_select_cb(context, alpn_select, NULL);
}

static wm_code context_load(SSL_CTX *context, char *const files[TLS_FILES], wm_err *err)
{
    STACK_OF(X509_NAME) * names;

    /* HTTP/2 wants no other of TLS 1.2 (RFC 9113, 9.2.2). */
    if (SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20") != 1)
        return context_fail(err, "TLS", "has no ciphers");
    if (SSL_CTX_use_certificate_chain_file(context, files[TLS_CERT]) != 1)
        return context_fail(err, files[TLS_CERT], "is no certificate chain");
    if (SSL_CTX_use_PrivateKey_file(context, files[TLS_KEY], SSL_FILETYPE_PEM) != 1 ||
        SSL_CTX_check_private_key(context) != 1)
        return context_fail(err, files[TLS_KEY], "is not the certificate's private key");
    if (files[TLS_CLIENT_CA] == NULL)
        return WM_OK;
    names = SSL_load_client_CA_file(files[TLS_CLIENT_CA]);
    if (names == NULL || SSL_CTX_load_verify_file(context, files[TLS_CLIENT_CA]) != 1) {
        sk_X509_NAME_pop_free(names, X509_NAME_free);
        return context_fail(err, files[TLS_CLIENT_CA], "holds no CA certificates");
    }
    SSL_CTX_set_client_CA_list(context, names);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
    return WM_OK;
}

static SSL_CTX *context_new(char *const files[TLS_FILES], wm_err *err)
{
    SSL_CTX *context = SSL_CTX_new(TLS_server_method());

    if (context == NULL)
        abort();
    context_tune(context);
    if (context_load(context, files, err) == WM_OK)
        return context;
    SSL_CTX_free(context);
    return NULL;
}

/* ---- listeners ---- */

wm_code gate_tls_new(const rpc_listener *listener, gate_tls **made, wm_err *err)
{
    const char *files[TLS_FILES] = {listener->cert_file, listener->key_file,
                                    listener->client_ca_file};
    gate_tls *tls;

    if (listener->key_file == NULL)
        return wm_fail(err, WM_INVALID, "FIELD_REQUIRED",
                       "listener %s has a certificate but no key", listener->address);
    tls = calloc(1, sizeof(*tls));
    if (tls == NULL || uv_mutex_init(&tls->mutex) != 0)
        abort();
    for (size_t i = 0; i < TLS_FILES; i++)
        if (files[i] != NULL && (tls->files[i] = strdup(files[i])) == NULL)
            abort();
    uv_once(&method_once, method_init);
    /* Before they are read: what changes meanwhile is read again. */
    (void)wm_files_changed(tls->files, tls->read_at, TLS_FILES);
    tls->context = context_new(tls->files, err);
    if (tls->context == NULL) {
        gate_tls_free(tls);
        return WM_INVALID;
    }
    *made = tls;
    return WM_OK;
}

void gate_tls_free(gate_tls *tls)
{
    if (tls == NULL)
        return;
    SSL_CTX_free(tls->context);
    for (size_t i = 0; i < TLS_FILES; i++)
        free(tls->files[i]);
    uv_mutex_destroy(&tls->mutex);
    free(tls);
}

/* Locked. */
static void tls_renew(gate_tls *tls)
{
    wm_err err = {0};
    SSL_CTX *context;

    if (!wm_files_changed(tls->files, tls->read_at, TLS_FILES))
        return;
    context = context_new(tls->files, &err);
    if (context == NULL) {
        wm_log(WM_LOG_ERROR, "the new TLS certificate was not taken",
               wm_log_s("error", err.message));
        return;
    }
    SSL_CTX_free(tls->context);
    tls->context = context;
    wm_log(WM_LOG_INFO, "a new TLS certificate was taken", wm_log_s("file", tls->files[TLS_CERT]));
}

SSL *gate_tls_accept(gate_tls *tls, gate_tls_io *io)
{
    BIO *bio = BIO_new(method);
    SSL *ssl;

    uv_mutex_lock(&tls->mutex);
    tls_renew(tls);
    ssl = SSL_new(tls->context);
    uv_mutex_unlock(&tls->mutex);
    if (bio == NULL || ssl == NULL)
        abort();
    BIO_set_data(bio, io);
    BIO_set_init(bio, 1);
    SSL_set_bio(ssl, bio, bio);
    SSL_set_msg_callback(ssl, message_count);
    SSL_set_msg_callback_arg(ssl, io);
    SSL_set_accept_state(ssl);
    return ssl;
}

bool gate_tls_is_in_record(const SSL *ssl)
{
    /* With the header alone nothing is pending, but the body is what it reads. */
    return SSL_has_pending(ssl) || strcmp(SSL_rstate_string(ssl), "RB") == 0;
}

bool gate_tls_is_h2(const SSL *ssl)
{
    const unsigned char *chosen;
    unsigned int size;

    SSL_get0_alpn_selected(ssl, &chosen, &size);
    return size == 2 && memcmp(chosen, "h2", 2) == 0;
}

/* ---- who the client is ---- */

/* NULL when the text holds a NUL, which somebody may read as its end. */
static char *text_of(const ASN1_STRING *string)
{
    unsigned char *utf8 = NULL;
    char *text = NULL;
    int size = ASN1_STRING_to_UTF8(&utf8, string);

    if (size >= 0 && memchr(utf8, 0, (size_t)size) == NULL)
        text = strndup((const char *)utf8, (size_t)size);
    OPENSSL_free(utf8);
    return text;
}

static void names_add(char ***names, size_t *n, char *text)
{
    char **grown = realloc(*names, (*n + 1) * sizeof(*grown));

    if (grown == NULL)
        abort();
    *names = grown;
    grown[(*n)++] = text;
}

static void alternative_add(rpc_identity *identity, const GENERAL_NAME *name)
{
    char *text;

    if (name->type != GEN_DNS && name->type != GEN_URI && name->type != GEN_EMAIL)
        return;
    text = text_of(name->d.ia5);
    if (text == NULL)
        return;
    if (name->type == GEN_DNS)
        names_add(&identity->dns, &identity->n_dns, text);
    else if (name->type == GEN_URI)
        names_add(&identity->uris, &identity->n_uris, text);
    else
        names_add(&identity->emails, &identity->n_emails, text);
}

static char *common_name_of(X509 *certificate)
{
    X509_NAME *subject = X509_get_subject_name(certificate);
    int at = X509_NAME_get_index_by_NID(subject, NID_commonName, -1);
    char *text = NULL;

    if (at >= 0)
        text = text_of(X509_NAME_ENTRY_get_data(X509_NAME_get_entry(subject, at)));
    return text != NULL ? text : strdup("");
}

rpc_identity *gate_tls_identity(const SSL *ssl)
{
    X509 *certificate = SSL_get0_peer_certificate(ssl);
    rpc_identity *identity;
    GENERAL_NAMES *names;

    if (certificate == NULL || SSL_get_verify_result(ssl) != X509_V_OK)
        return NULL;
    identity = calloc(1, sizeof(*identity));
    if (identity == NULL || (identity->common_name = common_name_of(certificate)) == NULL)
        abort();
    names = X509_get_ext_d2i(certificate, NID_subject_alt_name, NULL, NULL);
    for (int i = 0; i < sk_GENERAL_NAME_num(names); i++)
        alternative_add(identity, sk_GENERAL_NAME_value(names, i));
    GENERAL_NAMES_free(names);
    ERR_clear_error();
    return identity;
}
