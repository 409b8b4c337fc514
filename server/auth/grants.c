/* server/auth/grants.c - the memory of who may do what; see grants.h.
 *
 * An entry is an answer for (principal and groups, namespace). Entries live in shards, each
 * with a lock that is held for look-ups only, never while asking PostgreSQL.
 *
 *   UNKNOWN ──> LOADING ──> KNOWN ──(older than it may be)──> LOADING, still answering
 *      ^           │
 *      └─ failed ──┘        a change while LOADING: the answer is thrown away, LOADING again
 *
 * Must not decide: it says which roles there are, interceptor.c what they allow.
 */
#include "server/auth/grants.h"

#include <assert.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "base/clock.h"

enum { SHARDS = 16, SHARD_MAX = GRANTS_MAX / SHARDS, LOAD_ARENA_MAX = 1024 * 1024 };

/* Compared as bytes: the name is padded with zeros. */
typedef struct entry_key {
    uint8_t digest[PRINCIPAL_DIGEST_SIZE];
    char namespace_name[NAMESPACE_NAME_MAX + 1];
} entry_key;

typedef struct entry {
    entry_key key;
    principal *who;
    grants_view view;
    int64_t loaded_us; /* monotonic, when the query began; 0: unknown */
    bool is_void;      /* a change has made the view wrong */
    bool loading;
    unsigned changes; /* counts voidings; a query that began before the last is void */
    grants_waiter *waiters;
    UT_hash_handle hh;
} entry;

typedef struct shard {
    pthread_mutex_t lock;
    entry *entries; /* uthash keeps them in the order of insertion */
} shard;

struct grants {
    shard shards[SHARDS];
    pthread_mutex_t lock; /* of `loads` */
    pthread_cond_t none_left;
    size_t loads;
};

/* A query for one entry, from the asking thread to the lane's loop and back. */
typedef struct load {
    lane_msg msg;
    grants *owner;
    lane *lane;
    entry_key key;
    principal *who;
    unsigned changes;
    int64_t begun_us;
    wm_arena arena;
    store_query query;
} load;

grants *grants_new(void)
{
    grants *grants = calloc(1, sizeof(*grants));
    if (!grants)
        abort();

    for (size_t i = 0; i < SHARDS; i++)
        pthread_mutex_init(&grants->shards[i].lock, NULL);
    pthread_mutex_init(&grants->lock, NULL);
    pthread_cond_init(&grants->none_left, NULL);
    return grants;
}

void grants_free(grants *grants)
{
    if (!grants)
        return;
    pthread_mutex_lock(&grants->lock);
    while (grants->loads > 0)
        pthread_cond_wait(&grants->none_left, &grants->lock);
    pthread_mutex_unlock(&grants->lock);
    for (size_t i = 0; i < SHARDS; i++) {
        entry *entry, *next;
        HASH_ITER (hh, grants->shards[i].entries, entry, next) {
            HASH_DEL(grants->shards[i].entries, entry);
            principal_release(entry->who);
            free(entry);
        }
        pthread_mutex_destroy(&grants->shards[i].lock);
    }
    pthread_cond_destroy(&grants->none_left);
    pthread_mutex_destroy(&grants->lock);
    free(grants);
}

static void load_begin(load *load);

static void load_on_loop(lane_msg *msg)
{
    load_begin(wm_container_of(msg, load, msg));
}

static shard *shard_of(grants *grants, const entry_key *key)
{
    return &grants->shards[key->digest[0] % SHARDS];
}

/* ---- entries; the shard is locked ---- */

/* Sends a query on its way unless one is. */
static void entry_load(grants *grants, lane *lane, entry *entry)
{
    if (entry->loading)
        return;
    load *load = malloc(sizeof(*load));
    if (!load)
        abort();
    entry->loading = true;
    load->msg.run = load_on_loop;
    load->owner = grants;
    load->lane = lane;
    load->key = entry->key;
    load->who = principal_retain(entry->who);
    load->changes = entry->changes;
    pthread_mutex_lock(&grants->lock);
    grants->loads++;
    pthread_mutex_unlock(&grants->lock);
    lane_post(lane, &load->msg);
}

/* The oldest that nobody waits for. Those being loaded come back to their entry. */
static void shard_make_room(shard *shard)
{
    entry *entry, *next;

    if (HASH_COUNT(shard->entries) < SHARD_MAX)
        return;
    HASH_ITER (hh, shard->entries, entry, next) {
        if (entry->loading)
            continue;
        HASH_DEL(shard->entries, entry);
        principal_release(entry->who);
        free(entry);
        return;
    }
}

static entry *entry_of(shard *shard, const entry_key *key, principal *who)
{
    entry *entry;

    HASH_FIND(hh, shard->entries, key, sizeof(*key), entry);
    if (entry)
        return entry;
    shard_make_room(shard);
    entry = calloc(1, sizeof(*entry));
    if (!entry)
        abort();
    entry->key = *key;
    entry->who = principal_retain(who);
    HASH_ADD(hh, shard->entries, key, sizeof(entry->key), entry);
    return entry;
}

static bool entry_is_younger(const entry *entry, int64_t now_us, int64_t age_ms)
{
    return entry->loaded_us != 0 && !entry->is_void && now_us - entry->loaded_us < age_ms * 1000;
}

static void key_of(entry_key *key, const principal *who, const char *namespace_name)
{
    memset(key, 0, sizeof(*key));
    memcpy(key->digest, who->digest, sizeof(key->digest));
    strncpy(key->namespace_name, namespace_name, NAMESPACE_NAME_MAX);
}

/* ---- questions ---- */

bool grants_ask(grants *grants, lane *lane, principal *who, const char *namespace_name,
                grants_view *view, grants_waiter *waiter)
{
    int64_t now_us = wm_monotonic_us();
    entry_key key;

    key_of(&key, who, namespace_name);
    shard *shard = shard_of(grants, &key);
    pthread_mutex_lock(&shard->lock);
    entry *entry = entry_of(shard, &key, who);
    bool known = entry_is_younger(entry, now_us, GRANTS_AGE_MS);
    if (known) {
        *view = entry->view;
    } else {
        waiter->next = entry->waiters;
        entry->waiters = waiter;
    }
    if (!entry_is_younger(entry, now_us, GRANTS_REFRESH_MS))
        entry_load(grants, lane, entry);
    pthread_mutex_unlock(&shard->lock);
    return known;
}

grants_state grants_watch(grants *grants, lane *lane, principal *who, const char *namespace_name,
                          grants_view *view)
{
    int64_t now_us = wm_monotonic_us();
    grants_state state = GRANTS_NOT_NOW;
    entry_key key;

    key_of(&key, who, namespace_name);
    shard *shard = shard_of(grants, &key);
    pthread_mutex_lock(&shard->lock);
    entry *entry = entry_of(shard, &key, who);
    if (entry_is_younger(entry, now_us, GRANTS_STREAM_KEEP_MS)) {
        state = GRANTS_KNOWN;
        *view = entry->view;
    } else if (entry->loaded_us != 0 &&
               now_us - entry->loaded_us >= GRANTS_STREAM_KEEP_MS * INT64_C(1000)) {
        state = GRANTS_TOO_OLD;
    }
    if (!entry_is_younger(entry, now_us, GRANTS_STREAM_REFRESH_MS))
        entry_load(grants, lane, entry);
    pthread_mutex_unlock(&shard->lock);
    return state;
}

/* "issuer#name" against a principal's id and groups. */
static bool concerns(const auth_principal *who, const char *member)
{
    size_t issuer_len = strlen(who->issuer);

    if (member[0] == '\0' || strcmp(who->id, member) == 0)
        return true;
    if (strncmp(member, who->issuer, issuer_len) != 0 || member[issuer_len] != '#')
        return false;
    for (size_t i = 0; i < who->n_groups; i++)
        if (strcmp(who->groups[i], member + issuer_len + 1) == 0)
            return true;
    return false;
}

void grants_changed(grants *grants, lane *lane, const char *member)
{
    int64_t now_us = wm_monotonic_us();

    for (size_t i = 0; i < SHARDS; i++) {
        shard *shard = &grants->shards[i];
        entry *entry, *next;

        pthread_mutex_lock(&shard->lock);
        HASH_ITER (hh, shard->entries, entry, next) {
            if (!concerns(&entry->who->seen, member))
                continue;
            /* A stream or a busy caller will ask again soon: be ready. */
            bool in_use = entry_is_younger(entry, now_us, GRANTS_AGE_MS);
            entry->is_void = true;
            entry->changes++;
            if (in_use)
                entry_load(grants, lane, entry);
        }
        pthread_mutex_unlock(&shard->lock);
    }
}

/* ---- queries; on the loop of the asking lane ---- */

static void load_free(load *load)
{
    grants *owner = load->owner;

    principal_release(load->who);
    wm_arena_free(&load->arena);
    free(load);
    pthread_mutex_lock(&owner->lock);
    if (--owner->loads == 0)
        pthread_cond_broadcast(&owner->none_left);
    pthread_mutex_unlock(&owner->lock);
}

/* Takes the answer in. The waiters to be called; NULL, with `*again`, when grants were changed
 * while the query ran. */
static grants_waiter *load_settle(load *load, wm_code code, const grants_view *view, bool *again)
{
    shard *shard = shard_of(load->owner, &load->key);
    grants_waiter *waiters = NULL;
    entry *entry;

    pthread_mutex_lock(&shard->lock);
    HASH_FIND(hh, shard->entries, &load->key, sizeof(load->key), entry);
    assert(entry && entry->loading); /* entries being loaded are not given up */
    *again = code == WM_OK && entry->changes != load->changes;
    if (*again) {
        load->changes = entry->changes;
    } else {
        entry->loading = false;
        waiters = entry->waiters;
        entry->waiters = NULL;
        if (code == WM_OK) {
            entry->view = *view;
            entry->loaded_us = load->begun_us;
            entry->is_void = false;
        }
    }
    pthread_mutex_unlock(&shard->lock);
    return waiters;
}

static void load_done(store_query *query, wm_code code)
{
    load *load = wm_container_of(query, struct load, query);
    wm_err err = query->tx.err;
    grants_view view = {0};
    bool again;

    if (code == WM_OK)
        auth_store_read_roles(query, &view.namespace_id, &view.roles);
    grants_waiter *waiters = load_settle(load, code, &view, &again);
    if (again) {
        /* Not from inside the completion, whose query is still being put away. */
        wm_arena_free(&load->arena);
        lane_post(load->lane, &load->msg);
        return;
    }
    while (waiters) {
        grants_waiter *waiter = waiters;
        waiters = waiter->next;
        waiter->ready(waiter, code, &view, &err);
    }
    load_free(load);
}

static void load_begin(load *load)
{
    wm_arena_init(&load->arena, LOAD_ARENA_MAX);
    load->begun_us = wm_monotonic_us();
    auth_store_load_roles(lane_store(load->lane), &load->query, &load->arena,
                          load->key.namespace_name, &load->who->seen, load_done);
}
