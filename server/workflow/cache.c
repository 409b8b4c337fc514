/* server/workflow/cache.c - see cache.h. One hash table of (namespace, chart, version);
 * version 0 is an alias of the newest known. When it is full everything goes: charts in use
 * live on by their references, and the few that matter are back after one read each. */
#include "server/workflow/cache.h"

#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <uthash.h>

#include "base/codec.h"

enum { KEY_SIZE = CHART_NAME_MAX + 48 };

typedef struct cached {
    workflow_chart *chart;
    UT_hash_handle hh;
    char key[];
} cached;

struct workflow_cache {
    pthread_mutex_t mutex;
    cached *table;
};

workflow_cache *workflow_cache_new(void)
{
    workflow_cache *cache = (workflow_cache *)calloc(1, sizeof *cache);

    if (!cache)
        abort();
    pthread_mutex_init(&cache->mutex, NULL);
    return cache;
}

static void remove_entry(workflow_cache *cache, cached *entry)
{
    HASH_DEL(cache->table, entry);
    workflow_chart_unref(entry->chart);
    free(entry);
}

static void remove_all(workflow_cache *cache)
{
    cached *entry, *next;

    HASH_ITER (hh, cache->table, entry, next)
        remove_entry(cache, entry);
}

void workflow_cache_free(workflow_cache *cache)
{
    remove_all(cache);
    pthread_mutex_destroy(&cache->mutex);
    free(cache);
}

static size_t make_key(char key[KEY_SIZE], int32_t namespace_id, const char *chart_id,
                       int64_t version)
{
    return (size_t)snprintf(key, KEY_SIZE, "%d/%s/%lld", namespace_id, chart_id,
                            (long long)version);
}

workflow_chart *workflow_cache_find(workflow_cache *cache, int32_t namespace_id,
                                    const char *chart_id, int64_t version)
{
    char key[KEY_SIZE];
    size_t len = make_key(key, namespace_id, chart_id, version);
    workflow_chart *chart = NULL;
    cached *entry;

    pthread_mutex_lock(&cache->mutex);
    HASH_FIND(hh, cache->table, key, len, entry);
    if (entry)
        chart = workflow_chart_ref(entry->chart);
    pthread_mutex_unlock(&cache->mutex);
    return chart;
}

/* Under the mutex. */
static void put(workflow_cache *cache, int32_t namespace_id, int64_t version, workflow_chart *chart)
{
    char key[KEY_SIZE];
    size_t len = make_key(key, namespace_id, chart->chart_id, version);
    cached *entry;

    HASH_FIND(hh, cache->table, key, len, entry);
    if (entry) {
        /* "Newest" only moves forward: two reads may end in the other order. */
        if (entry->chart->version < chart->version) {
            workflow_chart_unref(entry->chart);
            entry->chart = workflow_chart_ref(chart);
        }
        return;
    }
    entry = (cached *)calloc(1, sizeof *entry + len + 1);
    if (!entry)
        abort();
    memcpy(entry->key, key, len + 1);
    entry->chart = workflow_chart_ref(chart);
    HASH_ADD_KEYPTR(hh, cache->table, entry->key, len, entry);
}

wm_code workflow_cache_add(workflow_cache *cache, int32_t namespace_id, int64_t version,
                           bool newest, const void *definition, size_t size, workflow_chart **chart,
                           wm_err *err)
{
    chart_diagnostics *found = (chart_diagnostics *)malloc(sizeof *found);
    ProtobufCMessage *message;
    wm_arena arena;
    wm_code code;

    if (!found)
        abort();
    wm_arena_init(&arena, 0);
    code = wm_codec_unpack(&arena, &waymark__workflow__v1__chart__descriptor, definition, size,
                           &message, err);
    if (code == WM_OK)
        code = workflow_chart_compile((const Waymark__Workflow__V1__Chart *)message, chart, found);
    if (code == WM_OK) {
        (*chart)->version = version;
        pthread_mutex_lock(&cache->mutex);
        if (HASH_COUNT(cache->table) >= CACHE_CHARTS_MAX)
            remove_all(cache);
        put(cache, namespace_id, version, *chart);
        if (newest)
            put(cache, namespace_id, 0, *chart);
        pthread_mutex_unlock(&cache->mutex);
    } else {
        code = wm_fail(err, WM_DATA_LOSS, "INTERNAL", "a stored chart cannot be read");
    }
    wm_arena_free(&arena);
    free(found);
    return code;
}

void workflow_cache_forget_newest(workflow_cache *cache, int32_t namespace_id, const char *chart_id)
{
    char key[KEY_SIZE];
    size_t len = make_key(key, namespace_id, chart_id, 0);
    cached *entry;

    pthread_mutex_lock(&cache->mutex);
    HASH_FIND(hh, cache->table, key, len, entry);
    if (entry)
        remove_entry(cache, entry);
    pthread_mutex_unlock(&cache->mutex);
}
