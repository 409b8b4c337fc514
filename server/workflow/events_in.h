/* server/workflow/events_in.h - here are the events of this transaction.
 *
 * The one door by which another subject (geo) gives events to instances in its own
 * transaction: the fix, its crossings and the transitions they cause are one commit.
 *
 * Which entities are bound to running instances is in waymark.workflow_binding
 * (namespace_id, entity_id, instance_id), which the caller may join; it passes the
 * events of those only, in the order in which they happened.
 *
 * Locks: the caller holds its entities by now; this takes instances, in id order.
 * Threads: on the transaction's loop.
 * Memory:  the events and what they point to stay as they are until `done`; all is
 *          built in `arena`, which must outlive the transaction.
 * Failure: an event that an instance cannot take (its chart loops) is written into its
 *          history and does not fail the transaction. WM_OK, or why the transaction is
 *          over; then it is rolled back as store_tx_step() says, with tx->err set.
 */
#ifndef WAYMARK_SERVER_WORKFLOW_EVENTS_IN_H
#define WAYMARK_SERVER_WORKFLOW_EVENTS_IN_H

#include "base/json.h"
#include "server/store/store.h"

#ifdef __cplusplus
extern "C" {
#endif

typedef struct workflow workflow;

typedef struct workflow_event_in {
    int32_t namespace_id;
    const char *entity_id; /* all running instances bound to it take the event */
    const char *name;      /* "fence.enter" */
    const char *data;      /* event.data: the text of a JSON object; NULL: {} */
    int64_t time_us;       /* when it happened; kept in the history as event_time */
} workflow_event_in;

/* The transaction is between steps and has nothing added. Runs steps of its own, adds the
 * writes to the next one and calls `done` from the loop, never from inside: the caller then
 * adds what it has and commits. Results of the caller's earlier steps are gone unless kept;
 * tx->ctx is the caller's again in `done`. */
void workflow_events_in(workflow *wf, store_tx *tx, wm_arena *arena,
                        const workflow_event_in *events, size_t n,
                        void (*done)(void *ctx, store_tx *tx, wm_code code), void *ctx);

#ifdef __cplusplus
}
#endif
#endif
