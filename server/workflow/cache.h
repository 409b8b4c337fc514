/* server/workflow/cache.h - compiled charts, shared by all lanes of a process.
 *
 * A version never changes, so it is cached for ever (up to CACHE_CHARTS_MAX); which version
 * is the newest is only a guess here, which the start of an instance checks in its own
 * statement (store.c).
 *
 * Threads: any; locked inside.
 * Memory:  charts handed out carry a reference for the caller.
 */
#ifndef WAYMARK_SERVER_WORKFLOW_CACHE_H
#define WAYMARK_SERVER_WORKFLOW_CACHE_H

#include "server/workflow/chart.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { CACHE_CHARTS_MAX = 5000 };

typedef struct workflow_cache workflow_cache;

workflow_cache *workflow_cache_new(void);
void workflow_cache_free(workflow_cache *cache);

/* NULL: not cached. Version 0: the newest one known. */
workflow_chart *workflow_cache_find(workflow_cache *cache, int32_t namespace_id,
                                    const char *chart_id, int64_t version);
/* Compiles a stored definition and keeps it. WM_DATA_LOSS when it does not compile. `newest`:
 * it is the newest version as of now. */
WM_MUST_USE wm_code workflow_cache_add(workflow_cache *cache, int32_t namespace_id, int64_t version,
                                       bool newest, const void *definition, size_t size,
                                       workflow_chart **chart, wm_err *err);
/* Another version may be the newest by now. */
void workflow_cache_forget_newest(workflow_cache *cache, int32_t namespace_id,
                                  const char *chart_id);

#ifdef __cplusplus
}
#endif
#endif
