/* server/auth/grants.h - what a caller may do in a namespace, remembered for a second.
 *
 * An answer is used for at most GRANTS_AGE_MS, and read again ahead of that, so that a busy
 * caller never waits. A change of grants on this server or, by the event hub, on another
 * throws away what it concerns at once, and what was in use is read again at once: open
 * streams then see it at their next check. Equal questions wait for one query.
 *
 *   ask ── known? ── yes ──> answer          (older than GRANTS_REFRESH_MS: also a query)
 *             └──── no ───> wait ── query on the asker's lane ──> ready()
 *
 * Threads: any; ready() runs on the loop of the lane that asked first.
 * Memory:  bounded: GRANTS_MAX answers; the oldest go first.
 */
#ifndef WAYMARK_SERVER_AUTH_GRANTS_H
#define WAYMARK_SERVER_AUTH_GRANTS_H

#include "server/auth/principal.h"
#include "server/auth/store.h"

#ifdef __cplusplus
extern "C" {
#endif

enum {
    GRANTS_AGE_MS = 1000,
    GRANTS_REFRESH_MS = 500,
    GRANTS_STREAM_REFRESH_MS = 300, /* streams ask every 400 ms and do not wait */
    GRANTS_STREAM_KEEP_MS = 60000,  /* how long a stream lives on without PostgreSQL */
    GRANTS_MAX = 16384,
    NAMESPACE_NAME_MAX = 63
};

typedef struct grants grants;

typedef struct grants_view {
    int32_t namespace_id; /* 0: there is no such namespace */
    unsigned roles;       /* bits of auth_role */
} grants_view;

/* Embedded by who waits. `err` is there when the code is not WM_OK. */
typedef struct grants_waiter grants_waiter;
struct grants_waiter {
    grants_waiter *next;
    void (*ready)(grants_waiter *waiter, wm_code code, const grants_view *view, const wm_err *err);
};

grants *grants_new(void);
/* Waits for its queries to end. Not on a loop. */
void grants_free(grants *grants);

/* True: `view` is there. False: the waiter will be called, from elsewhere.
 * `namespace_name` has at most NAMESPACE_NAME_MAX bytes. */
WM_MUST_USE bool grants_ask(grants *grants, lane *lane, principal *who, const char *namespace_name,
                            grants_view *view, grants_waiter *waiter);

typedef enum grants_state { GRANTS_KNOWN, GRANTS_NOT_NOW, GRANTS_TOO_OLD } grants_state;

/* For open streams, which must not wait: what is known, however old it may be within
 * GRANTS_STREAM_KEEP_MS. NOT_NOW: it is being read. */
grants_state grants_watch(grants *grants, lane *lane, principal *who, const char *namespace_name,
                          grants_view *view);

/* Grants of a member were changed, "" meaning anybody's; what is known of them is void. */
void grants_changed(grants *grants, lane *lane, const char *member);

#ifdef __cplusplus
}
#endif
#endif
