/* server/auth/token.c - keys, signatures and the fetching of keys; see token.h.
 *
 * liboauth2 fetches, its JOSE layer (cjose) verifies. liboauth2's own oauth2_token_verify()
 * is not used, for it caches verdicts by the token alone: a token that one key verified
 * would then pass for every other key, also after the issuer has withdrawn the first
 * (seen with 1.4.5.4).
 *
 * Order of locks: an issuer's lock is taken alone, never while fetching or verifying.
 */
#include "server/auth/token.h"

#include <cjose/cjose.h>
#include <oauth2/http.h>
#include <oauth2/mem.h>
#include <oauth2/oauth2.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>

#include "base/clock.h"
#include "base/log.h"
#include "server/auth/claims.h"
#include "server/auth/jose.h"

enum {
    ARENA_MAX = 1024 * 1024, /* what reading one token may take */
    KEYS_ARENA_MAX = 4 * 1024 * 1024,
    FETCH_TEXT_MAX = 512 * 1024 /* of a discovery document or a key set */
};

/* ---- a set of public keys ---- */

typedef struct token_key {
    jose_jwk jwk; /* its texts live in the set's arena */
    cjose_jwk_t *imported;
} token_key;

struct token_keys {
    unsigned refs; /* by __atomic */
    size_t n;
    token_key keys[TOKEN_KEYS_MAX];
    wm_arena arena;
};

void token_keys_free(token_keys *keys)
{
    if (!keys || __atomic_sub_fetch(&keys->refs, 1, __ATOMIC_ACQ_REL) > 0)
        return;
    for (size_t i = 0; i < keys->n; i++)
        cjose_jwk_release(keys->keys[i].imported);
    wm_arena_free(&keys->arena);
    free(keys);
}

/* Could a token mean either of two keys? */
static bool keys_are_ambiguous(const jose_jwk *a, const jose_jwk *b)
{
    if (strcmp(a->kid, b->kid) != 0 || a->kid[0] == '\0' || a->is_rsa != b->is_rsa)
        return false;
    if (!a->is_rsa)
        return a->curve == b->curve;
    return !a->alg || !b->alg || a->alg->family == b->alg->family;
}

static wm_code keys_add(token_keys *keys, const wm_json *json, wm_err *err)
{
    token_key *key = &keys->keys[keys->n];
    cjose_err why;
    wm_code code = jose_jwk_read(&keys->arena, json, &key->jwk, err);

    if (code != WM_OK)
        return code;
    /* The import checks that the point is on its curve. */
    key->imported = cjose_jwk_import(key->jwk.text, strlen(key->jwk.text), &why);
    if (!key->imported)
        return wm_fail(err, WM_INVALID, "FIELD_INVALID", "the key cannot be used: %s", why.message);
    keys->n++;
    for (size_t i = 0; i + 1 < keys->n; i++)
        if (keys_are_ambiguous(&keys->keys[i].jwk, &key->jwk))
            return wm_fail(err, WM_EXISTS, "FIELD_INVALID", "two keys have the same kid");
    return WM_OK;
}

/* A secret among public keys was published by mistake: whoever made the set cannot be trusted
 * with the rest of it either. */
static bool is_shared_secret(const wm_json *json)
{
    const wm_json *kty = json->kind == WM_JSON_OBJECT ? wm_json_find(json, "kty") : NULL;

    return kty && kty->kind == WM_JSON_STRING && strcmp(kty->text, "oct") == 0;
}

static wm_code keys_read(token_keys *keys, const char *text, size_t len, wm_err *err)
{
    wm_json *json;
    wm_code code = wm_json_parse(&keys->arena, text, len, &json, err);

    if (code != WM_OK)
        return code;
    const wm_json *list = wm_json_find(json, "keys");
    if (!list)
        return keys_add(keys, json, err);
    if (list->kind != WM_JSON_ARRAY || list->len > TOKEN_KEYS_MAX)
        return wm_fail(err, WM_INVALID, "FIELD_INVALID", "keys is not a list of at most %d keys",
                       TOKEN_KEYS_MAX);
    for (const wm_json *item = list->first; item; item = item->next) {
        if (is_shared_secret(item))
            return wm_fail(err, WM_INVALID, "FIELD_INVALID", "the key set holds a shared secret");
        if (keys_add(keys, item, err) == WM_EXISTS)
            return WM_INVALID;
    }
    if (keys->n == 0)
        return wm_fail(err, WM_INVALID, "FIELD_INVALID", "none of %zu keys can verify signatures",
                       list->len);
    return WM_OK;
}

wm_code token_keys_new(const char *json, size_t len, token_keys **made, wm_err *err)
{
    token_keys *keys = calloc(1, sizeof(*keys));
    if (!keys)
        abort();

    keys->refs = 1;
    wm_arena_init(&keys->arena, KEYS_ARENA_MAX);
    wm_code code = keys_read(keys, json, len, err);
    if (code != WM_OK) {
        token_keys_free(keys);
        keys = NULL;
    }
    *made = keys;
    return code;
}

/* The one key that a token means: by its kid, else the only one that fits. */
static const token_key *keys_find(const token_keys *keys, const jose_jws *jws)
{
    const token_key *found = NULL;

    for (size_t i = 0; i < keys->n; i++) {
        const token_key *key = &keys->keys[i];
        if (!jose_jwk_fits(&key->jwk, jws->alg))
            continue;
        if (jws->kid && key->jwk.kid[0] != '\0' && strcmp(jws->kid, key->jwk.kid) != 0)
            continue;
        if (found)
            return NULL;
        found = key;
    }
    return found;
}

static wm_code bad_signature(wm_err *err)
{
    return wm_fail(err, WM_UNAUTHENTICATED, "TOKEN_SIGNATURE",
                   "the token's signature does not fit");
}

static wm_code signature_check(const token_key *key, const char *text, size_t len,
                               const jose_jws *jws, wm_err *err)
{
    size_t size = key->jwk.is_rsa ? key->jwk.size : jws->alg->signature_size;
    cjose_err why;

    /* The library pads what is shorter and may cut what is longer. */
    if (jws->signature_size != size)
        return bad_signature(err);
    cjose_jws_t *read = cjose_jws_import(text, len, &why);
    if (!read)
        return bad_signature(err);
    bool good = cjose_jws_verify(read, key->imported, &why);
    cjose_jws_release(read);
    return good ? WM_OK : bad_signature(err);
}

static wm_code unknown_key(wm_err *err)
{
    return wm_fail(err, WM_UNAUTHENTICATED, "TOKEN_KEY_UNKNOWN",
                   "the issuer has no key that the token names");
}

wm_code token_keys_verify(const token_keys *keys, wm_arena *arena, const char *text, size_t len,
                          const uint8_t **payload, size_t *payload_size, wm_err *err)
{
    jose_jws jws;
    wm_code code = jose_jws_read(arena, text, len, &jws, err);

    if (code != WM_OK)
        return code;
    const token_key *key = keys_find(keys, &jws);
    if (!key)
        return unknown_key(err);
    *payload = jws.payload;
    *payload_size = jws.payload_size;
    return signature_check(key, text, len, &jws, err);
}

/* ---- issuers ---- */

typedef struct issuer {
    auth_issuer config; /* texts in the verifier's arena */
    pthread_mutex_t lock;
    token_keys *keys;   /* one reference; NULL before the first fetch */
    int64_t fetched_us; /* monotonic, as all below; when `keys` came */
    int64_t failed_us;  /* the last fetch failed then; 0: it did not */
    int64_t unknown_us; /* the last fetch for an unknown key; 0: never */
    bool fetching;
    token_waiter *waiters;
    oauth2_log_t *log; /* used by the one who is fetching */
    oauth2_log_sink_t *sink;
    char problem[160]; /* liboauth2's last error text during a fetch */
} issuer;

struct token_verifier {
    wm_arena arena;
    auth_issuer *configs; /* in the order of `issuers` */
    issuer *issuers;
    size_t n_issuers;
    const char **admins;
    size_t n_admins;
};

/* liboauth2 also logs what it works on; only errors are taken, and only while fetching,
 * when it has no token in its hands. */
static void keep_problem(oauth2_log_sink_t *sink, const char *file, unsigned long line,
                         const char *function, oauth2_log_level_t level, const char *msg)
{
    issuer *issuer = oauth2_log_sink_ctx_get(sink);

    (void)file, (void)line, (void)function;
    if (level == OAUTH2_LOG_ERROR)
        snprintf(issuer->problem, sizeof(issuer->problem), "%s", msg);
}

static pthread_once_t library_once = PTHREAD_ONCE_INIT;

static void library_setup(void)
{
    /* Kept for the life of the process: it sets up what all logs and calls share.  Volatile, or
     * the compiler drops the pointer that nothing reads, and the leak checker misses it. */
    static oauth2_log_t *volatile log;
    log = oauth2_init(OAUTH2_LOG_ERROR, NULL);
    if (!log)
        abort();
}

static void issuer_setup(wm_arena *arena, issuer *issuer, const auth_issuer *config)
{
    auth_issuer *copy = &issuer->config;
    size_t len = strlen(config->issuer);

    copy->issuer = wm_arena_strdup(arena, config->issuer);
    copy->audience = wm_arena_strdup(arena, config->audience);
    copy->ca_file = config->ca_file ? wm_arena_strdup(arena, config->ca_file) : NULL;
    copy->development = config->development;
    while (len > 0 && config->issuer[len - 1] == '/')
        len--;
    copy->discovery_url = config->discovery_url
                              ? wm_arena_strdup(arena, config->discovery_url)
                              : wm_arena_printf(arena, "%.*s/.well-known/openid-configuration",
                                                (int)len, config->issuer);
    pthread_mutex_init(&issuer->lock, NULL);
    issuer->sink = oauth2_log_sink_create(OAUTH2_LOG_ERROR, keep_problem, issuer);
    issuer->log = oauth2_log_init(OAUTH2_LOG_ERROR, issuer->sink);
    if (!issuer->sink || !issuer->log)
        abort();
}

token_verifier *token_verifier_new(const auth_config *config)
{
    token_verifier *verifier = calloc(1, sizeof(*verifier));
    if (!verifier)
        abort();

    pthread_once(&library_once, library_setup);
    wm_arena_init(&verifier->arena, 0);
    verifier->n_issuers = config->n_issuers;
    verifier->issuers = calloc(config->n_issuers + 1, sizeof(*verifier->issuers));
    verifier->configs = WM_NEW_ARRAY(&verifier->arena, auth_issuer, config->n_issuers);
    if (!verifier->issuers)
        abort();
    for (size_t i = 0; i < config->n_issuers; i++) {
        issuer_setup(&verifier->arena, &verifier->issuers[i], &config->issuers[i]);
        verifier->configs[i] = verifier->issuers[i].config;
    }
    verifier->n_admins = config->n_admins;
    verifier->admins = WM_NEW_ARRAY(&verifier->arena, const char *, config->n_admins);
    for (size_t i = 0; i < config->n_admins; i++)
        verifier->admins[i] = wm_arena_strdup(&verifier->arena, config->admins[i]);
    return verifier;
}

void token_verifier_free(token_verifier *verifier)
{
    if (!verifier)
        return;
    for (size_t i = 0; i < verifier->n_issuers; i++) {
        issuer *issuer = &verifier->issuers[i];
        token_keys_free(issuer->keys);
        oauth2_log_free(issuer->log);
        pthread_mutex_destroy(&issuer->lock);
    }
    free(verifier->issuers);
    wm_arena_free(&verifier->arena);
    free(verifier);
}

/* ---- fetching ---- */

static wm_code unreachable(const issuer *issuer, wm_err *err, const char *what)
{
    wm_code code = wm_fail(err, WM_UNAVAILABLE, "TOKEN_ISSUER_UNREACHABLE",
                           "the keys of the token's issuer %.128s could not be fetched: %s",
                           issuer->config.issuer, what);
    if (err)
        err->retry_after_ms = TOKEN_RETRY_S * 1000;
    return code;
}

/* GETs a JSON object into the arena. */
static wm_code fetch_json(issuer *issuer, wm_arena *arena, const char *url, char **text,
                          wm_json **json, wm_err *err)
{
    oauth2_http_call_ctx_t *call = oauth2_http_call_ctx_init(issuer->log);
    oauth2_http_status_code_t status = 0;
    char *response = NULL;
    wm_code code = WM_OK;

    issuer->problem[0] = '\0';
    oauth2_http_call_ctx_ssl_verify_set(issuer->log, call, true);
    oauth2_http_call_ctx_timeout_set(issuer->log, call, TOKEN_FETCH_TIMEOUT_S);
    /* What is on this machine is not behind its proxy; an empty one means none at all. */
    if (strncmp(url, "http://", 7) == 0)
        oauth2_http_call_ctx_outgoing_proxy_set(issuer->log, call, "");
    if (issuer->config.ca_file)
        oauth2_http_call_ctx_ca_info_set(issuer->log, call, issuer->config.ca_file);
    bool done = oauth2_http_get(issuer->log, url, NULL, call, &response, &status);
    oauth2_http_call_ctx_free(issuer->log, call);

    if (!done || !response)
        code = unreachable(issuer, err, issuer->problem[0] ? issuer->problem : "no answer");
    else if (status != 200)
        code = unreachable(issuer, err, "the answer is not 200 OK");
    else if (strlen(response) > FETCH_TEXT_MAX ||
             wm_json_parse(arena, response, strlen(response), json, NULL) != WM_OK ||
             (*json)->kind != WM_JSON_OBJECT)
        code = unreachable(issuer, err, "the answer is not a JSON object");
    else if (text)
        *text = wm_arena_strdup(arena, response);
    if (response)
        oauth2_mem_free(response);
    return code;
}

/* Keys may come over plain HTTP only from where the issuer itself does. */
static bool url_is_as_safe(const issuer *issuer, const char *url)
{
    return strncmp(url, "https://", 8) == 0 ||
           (strncmp(issuer->config.issuer, "http://", 7) == 0 && strncmp(url, "http://", 7) == 0);
}

/* The development issuer gives anybody any token; it says of itself what it is. */
static bool is_forbidden_development(const issuer *issuer, const wm_json *discovery)
{
    const wm_json *mark = wm_json_find(discovery, "waymark_development");

    return mark && mark->kind == WM_JSON_BOOL && mark->boolean && !issuer->config.development;
}

static wm_code fetch_keys(issuer *issuer, token_keys **keys, wm_err *err)
{
    wm_arena arena;
    wm_json *json;
    char *text = NULL;

    wm_arena_init(&arena, KEYS_ARENA_MAX);
    wm_code code = fetch_json(issuer, &arena, issuer->config.discovery_url, NULL, &json, err);
    if (code == WM_OK) {
        const wm_json *name = wm_json_find(json, "issuer"), *url = wm_json_find(json, "jwks_uri");
        /* OIDC Discovery, 4.3: or one issuer could speak for another. */
        if (!name || name->kind != WM_JSON_STRING || strcmp(name->text, issuer->config.issuer) != 0)
            code = unreachable(issuer, err, "its discovery document is another issuer's");
        else if (is_forbidden_development(issuer, json))
            code = wm_fail(err, WM_UNAUTHENTICATED, "TOKEN_ISSUER",
                           "issuer %.128s: a development issuer is refused outside dev mode",
                           issuer->config.issuer);
        else if (!url || url->kind != WM_JSON_STRING || !url_is_as_safe(issuer, url->text))
            code = unreachable(issuer, err, "its discovery document has no safe jwks_uri");
        else
            code = fetch_json(issuer, &arena, url->text, &text, &json, err);
    }
    if (code == WM_OK) {
        wm_err why;
        if (token_keys_new(text, strlen(text), keys, &why) != WM_OK)
            code = unreachable(issuer, err, why.message);
    }
    wm_arena_free(&arena);
    return code;
}

/* Takes the lock's holder through one fetch: unlocks for it, locks again, resumes the parked. */
static wm_code fetch_locked(issuer *issuer, wm_err *err)
{
    token_keys *keys = NULL;

    issuer->fetching = true;
    pthread_mutex_unlock(&issuer->lock);
    wm_code code = fetch_keys(issuer, &keys, err);
    if (code != WM_OK)
        wm_log(WM_LOG_WARN, "issuer keys not fetched", wm_log_s("issuer", issuer->config.issuer),
               wm_log_s("error", err->message));
    pthread_mutex_lock(&issuer->lock);

    issuer->fetching = false;
    if (code == WM_OK) {
        token_keys_free(issuer->keys);
        issuer->keys = keys;
        issuer->fetched_us = wm_monotonic_us();
        issuer->failed_us = 0;
    } else {
        issuer->failed_us = wm_monotonic_us();
    }
    token_waiter *waiters = issuer->waiters;
    issuer->waiters = NULL;
    while (waiters) {
        token_waiter *waiter = waiters;
        waiters = waiter->next;
        waiter->resume(waiter);
    }
    return code;
}

/* ---- tokens ---- */

static bool is_within(int64_t since_us, int64_t now_us, int64_t seconds)
{
    return since_us != 0 && now_us - since_us < seconds * 1000000;
}

/* Is a fetch wanted before this token is judged? */
static bool wants_fetch(issuer *issuer, const jose_jws *jws, int64_t now_us)
{
    if (is_within(issuer->failed_us, now_us, TOKEN_RETRY_S))
        return false;
    if (!issuer->keys || !is_within(issuer->fetched_us, now_us, TOKEN_KEYS_AGE_S))
        return true;
    if (keys_find(issuer->keys, jws) || is_within(issuer->unknown_us, now_us, TOKEN_UNKNOWN_KEY_S))
        return false;
    issuer->unknown_us = now_us;
    return true;
}

/* The keys to judge by, counted; or parked, or why there are none. */
static token_outcome issuer_keys(issuer *issuer, const jose_jws *jws, token_waiter *waiter,
                                 token_keys **keys, wm_code *code, wm_err *err)
{
    token_outcome outcome = TOKEN_DONE;

    *code = WM_OK;
    pthread_mutex_lock(&issuer->lock);
    if (issuer->fetching && !(issuer->keys && keys_find(issuer->keys, jws))) {
        waiter->next = issuer->waiters;
        issuer->waiters = waiter;
        outcome = TOKEN_PARKED;
    } else if (!issuer->fetching && wants_fetch(issuer, jws, wm_monotonic_us())) {
        *code = fetch_locked(issuer, err);
    }
    if (outcome == TOKEN_DONE) {
        bool usable =
            issuer->keys && is_within(issuer->fetched_us, wm_monotonic_us(), TOKEN_KEYS_KEEP_S);
        if (usable) {
            *code = WM_OK;
            *keys = issuer->keys;
            __atomic_add_fetch(&issuer->keys->refs, 1, __ATOMIC_RELAXED);
        } else if (*code == WM_OK) {
            *code = unreachable(issuer, err, "it did not answer a moment ago");
        }
    }
    pthread_mutex_unlock(&issuer->lock);
    return outcome;
}

static bool is_admin(const token_verifier *verifier, const auth_principal *claims)
{
    size_t len = strlen(claims->issuer);

    for (size_t i = 0; i < verifier->n_admins; i++) {
        const char *id = verifier->admins[i];
        if (strncmp(id, claims->issuer, len) == 0 && id[len] == '#' &&
            strcmp(id + len + 1, claims->subject) == 0)
            return true;
    }
    return false;
}

/* RFC 8725, 3.11: a JWT of another kind (a logout token, a DPoP proof) is not an access token. */
static bool is_access_token(const char *typ)
{
    return !typ || strcasecmp(typ, "JWT") == 0 || strcasecmp(typ, "at+jwt") == 0 ||
           strcasecmp(typ, "application/at+jwt") == 0;
}

static wm_code token_read(const token_verifier *verifier, wm_arena *arena, const char *token,
                          size_t len, jose_jws *jws, auth_principal *claims, size_t *issuer,
                          wm_err *err)
{
    wm_code code = jose_jws_read(arena, token, len, jws, err);

    if (code != WM_OK)
        return code;
    if (!is_access_token(jws->typ))
        return wm_fail(err, WM_UNAUTHENTICATED, "TOKEN_MALFORMED",
                       "the token's typ is not that of an access token");
    return claims_read(arena, verifier->configs, verifier->n_issuers, jws->payload,
                       jws->payload_size, wm_now_us(), claims, issuer, err);
}

token_outcome token_verify(token_verifier *verifier, const char *token, size_t len,
                           token_waiter *waiter, wm_code *code, principal **made, wm_err *err)
{
    wm_arena arena;
    jose_jws jws;
    auth_principal claims;
    size_t issuer_index;
    token_keys *keys = NULL;
    token_outcome outcome = TOKEN_DONE;

    wm_arena_init(&arena, ARENA_MAX);
    *code = token_read(verifier, &arena, token, len, &jws, &claims, &issuer_index, err);
    if (*code == WM_OK)
        outcome = issuer_keys(&verifier->issuers[issuer_index], &jws, waiter, &keys, code, err);
    if (outcome == TOKEN_DONE && *code == WM_OK) {
        const token_key *key = keys_find(keys, &jws);
        *code = key ? signature_check(key, token, len, &jws, err) : unknown_key(err);
        if (*code == WM_OK)
            *made = principal_new(&claims, is_admin(verifier, &claims));
    }
    token_keys_free(keys);
    wm_arena_free(&arena);
    return outcome;
}

wm_code token_prefetch(token_verifier *verifier, size_t i, wm_err *err)
{
    issuer *issuer = &verifier->issuers[i];
    wm_code code = WM_OK;

    pthread_mutex_lock(&issuer->lock);
    if (!issuer->fetching && !issuer->keys) {
        code = fetch_locked(issuer, err);
        if (code != WM_OK)
            issuer->failed_us = 0; /* the first caller tries for himself */
    }
    pthread_mutex_unlock(&issuer->lock);
    return code;
}
