/* server/auth/auth.c - puts the parts of auth/ together; see auth.h.
 *
 * Must not hold any rule of its own but those about the configuration.
 */
#include <stdlib.h>
#include <string.h>

#include "server/auth/internal.h"

/* ---- the configuration ---- */

static bool is_loopback_url(const char *url)
{
    static const char *const HOSTS[] = {"http://127.0.0.1", "http://localhost", "http://[::1]"};

    for (size_t i = 0; i < WM_ARRAY_LEN(HOSTS); i++) {
        size_t len = strlen(HOSTS[i]);
        if (strncmp(url, HOSTS[i], len) == 0 && strchr(":/", url[len])) /* also at the end */
            return true;
    }
    return false;
}

static wm_code bad_issuer(wm_err *err, const auth_issuer *issuer, const char *what)
{
    return wm_fail(err, WM_INVALID, "FIELD_INVALID", "issuer %.200s: %s",
                   issuer->issuer ? issuer->issuer : "", what);
}

static wm_code issuer_check(const auth_config *config, const auth_issuer *issuer, wm_err *err)
{
    const char *urls[] = {issuer->issuer, issuer->discovery_url};

    if (!issuer->issuer || issuer->issuer[0] == '\0' || strchr(issuer->issuer, '#'))
        return bad_issuer(err, issuer, "is empty or has a fragment");
    if (!issuer->audience || issuer->audience[0] == '\0')
        return bad_issuer(err, issuer, "an audience is required");
    if (issuer->development && !config->dev_mode)
        return bad_issuer(err, issuer, "a development issuer is refused outside dev mode");
    for (size_t i = 0; i < WM_ARRAY_LEN(urls); i++)
        if (urls[i] && strncmp(urls[i], "https://", 8) != 0 && !is_loopback_url(urls[i]))
            return bad_issuer(err, issuer, "it must be https, or http on loopback");
    return WM_OK;
}

static wm_code config_check(const auth_config *config, wm_err *err)
{
    for (size_t i = 0; i < config->n_issuers; i++) {
        wm_code code = issuer_check(config, &config->issuers[i], err);
        if (code != WM_OK)
            return code;
        for (size_t j = 0; j < i; j++)
            if (strcmp(config->issuers[i].issuer, config->issuers[j].issuer) == 0)
                return bad_issuer(err, &config->issuers[i], "is configured twice");
    }
    for (size_t i = 0; i < config->n_admins; i++)
        if (!strchr(config->admins[i], '#'))
            return wm_fail(err, WM_INVALID, "FIELD_INVALID", "admin %.200s is not ISSUER#SUBJECT",
                           config->admins[i]);
    return WM_OK;
}

/* ---- the first keys ---- */

/* Only what speaks plain HTTP on this machine can be a development issuer: it is asked before
 * anything else starts. One that does not answer is refused when it does (token.c). */
static wm_code refuse_development(const auth_config *config, token_verifier *verifier, wm_err *err)
{
    for (size_t i = 0; i < config->n_issuers; i++)
        if (!config->issuers[i].development && is_loopback_url(config->issuers[i].issuer) &&
            token_prefetch(verifier, i, err) == WM_UNAUTHENTICATED)
            return err->code = WM_INVALID;
    return WM_OK;
}

typedef struct prefetch {
    lane_job job;
    lane_msg msg;
    auth *auth;
    size_t issuer;
} prefetch;

static void prefetch_run(lane_job *job)
{
    prefetch *prefetch = wm_container_of(job, struct prefetch, job);

    wm_err err;

    token_prefetch(prefetch->auth->verifier, prefetch->issuer, &err); /* logged there */
}

static void prefetch_done(lane_job *job)
{
    prefetch *prefetch = wm_container_of(job, struct prefetch, job);
    auth *auth = prefetch->auth;

    free(prefetch);
    pthread_mutex_lock(&auth->lock);
    if (--auth->prefetches == 0)
        pthread_cond_broadcast(&auth->none_left);
    pthread_mutex_unlock(&auth->lock);
}

static void prefetch_begin(lane_msg *msg)
{
    prefetch *prefetch = wm_container_of(msg, struct prefetch, msg);

    lane_work(prefetch->job.lane, &prefetch->job);
}

static void prefetch_all(auth *auth)
{
    auth->prefetches = auth->n_issuers;
    for (size_t i = 0; i < auth->n_issuers; i++) {
        prefetch *prefetch = calloc(1, sizeof(*prefetch));
        if (!prefetch)
            abort();
        prefetch->job =
            (lane_job){.lane = auth->lanes[0], .run = prefetch_run, .done = prefetch_done};
        prefetch->msg.run = prefetch_begin;
        prefetch->auth = auth;
        prefetch->issuer = i;
        lane_post(auth->lanes[0], &prefetch->msg);
    }
}

/* ---- changes made elsewhere ---- */

static void on_record(event_subscriber *subscriber, const event_record *record)
{
    auth *auth = wm_container_of(subscriber, struct auth, subscriber);
    char *member = strndup(record->payload ? record->payload : "", record->payload_size);
    if (!member)
        abort();

    grants_changed(auth->grants, auth->lanes[0], member);
    free(member);
}

static void subscribe(void *ctx)
{
    auth *auth = ctx;

    auth->subscriber = (event_subscriber){.topics = 1u << EVENT_GRANTS, .record = on_record};
    event_hub_subscribe(auth->hub, auth->lanes[0], &auth->subscriber, NULL);
}

static void unsubscribe(void *ctx)
{
    event_hub_unsubscribe(&((auth *)ctx)->subscriber);
}

/* ---- its life ---- */

wm_code auth_new(const auth_config *config, lane **lanes, size_t n_lanes, event_hub *hub,
                 auth **made, wm_err *err)
{
    wm_code code = config_check(config, err);

    *made = NULL;
    if (code != WM_OK)
        return code;
    token_verifier *verifier = token_verifier_new(config);
    code = refuse_development(config, verifier, err);
    if (code != WM_OK) {
        token_verifier_free(verifier);
        return code;
    }
    auth *auth = calloc(1, sizeof(*auth));
    if (!auth)
        abort();
    wm_arena_init(&auth->arena, 0);
    pthread_mutex_init(&auth->lock, NULL);
    pthread_cond_init(&auth->none_left, NULL);
    auth->hub = hub;
    auth->n_lanes = n_lanes;
    auth->lanes = wm_arena_memdup(&auth->arena, lanes, n_lanes * sizeof(*lanes));
    auth->n_issuers = config->n_issuers;
    auth->issuers = WM_NEW_ARRAY(&auth->arena, const char *, config->n_issuers);
    for (size_t i = 0; i < config->n_issuers; i++)
        auth->issuers[i] = wm_arena_strdup(&auth->arena, config->issuers[i].issuer);
    auth->verifier = verifier;
    auth->cache = token_cache_new();
    auth->grants = grants_new();
    interceptor_setup(auth);
    prefetch_all(auth);
    if (hub)
        lane_call(lanes[0], subscribe, auth);
    *made = auth;
    return WM_OK;
}

void auth_free(auth *auth)
{
    if (!auth)
        return;
    if (auth->hub)
        lane_call(auth->lanes[0], unsubscribe, auth);
    pthread_mutex_lock(&auth->lock);
    while (auth->prefetches > 0)
        pthread_cond_wait(&auth->none_left, &auth->lock);
    pthread_mutex_unlock(&auth->lock);
    grants_free(auth->grants);
    token_cache_free(auth->cache);
    token_verifier_free(auth->verifier);
    pthread_cond_destroy(&auth->none_left);
    pthread_mutex_destroy(&auth->lock);
    wm_arena_free(&auth->arena);
    free(auth);
}

rpc_interceptor *auth_interceptor(auth *auth)
{
    return &auth->interceptor;
}

rpc_service auth_service(auth *auth)
{
    return waymark_auth_v1_auth_service_bind(&auth_service_handlers, auth->handlers, auth);
}

const auth_principal *auth_principal_of(const rpc_call *call)
{
    const principal *who = rpc_principal(call);

    return who ? &who->seen : NULL;
}
