/* server/workflow/task.h - what task.c and the workers' stream (work.c) share. */
#ifndef WAYMARK_SERVER_WORKFLOW_TASK_H
#define WAYMARK_SERVER_WORKFLOW_TASK_H

#include "server/workflow/handlers.h"

#ifdef __cplusplus
extern "C" {
#endif

enum { TASK_QUEUES_MAX = 16, TASK_MESSAGE_MAX = 4096, TASK_CREDITS_MAX = 10000 };

char *workflow_lease_token(wm_arena *arena, const workflow_task_key *key, int64_t lease);
/* Sets all of the key but the namespace. */
WM_MUST_USE wm_code workflow_lease_parse(wm_arena *arena, const char *token, const char *field,
                                         workflow_task_key *key, int64_t *lease, wm_err *err);
Waymark__Workflow__V1__Task *workflow_task_message(wm_arena *arena, const workflow_task_row *row);
WM_MUST_USE wm_code workflow_check_queues(char *const *queues, size_t n, const char *field,
                                          wm_err *err);
WM_MUST_USE wm_code workflow_ask_complete(workflow_ask *ask, wm_arena *arena, int32_t namespace_id,
                                          const char *token, const Google__Protobuf__Struct *result,
                                          wm_err *err);
WM_MUST_USE wm_code workflow_ask_fail(workflow_ask *ask, wm_arena *arena, int32_t namespace_id,
                                      const char *token, const char *message, bool permanent,
                                      const Google__Protobuf__Duration *retry_delay, wm_err *err);

#ifdef __cplusplus
}
#endif
#endif
