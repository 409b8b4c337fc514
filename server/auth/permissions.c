/* server/auth/permissions.c - the table of methods and permissions; see permissions.h.
 *
 * Must stay the only place that says who may call what. Both tables are sorted (a unit test
 * checks it): they are searched by halving.
 */
#include "server/auth/permissions.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define READERS (AUTH_VIEWER | AUTH_OPERATOR | AUTH_WORKER | AUTH_ADMIN)
#define WRITERS (AUTH_OPERATOR | AUTH_ADMIN)
#define WORKERS (AUTH_WORKER | AUTH_ADMIN)

enum {
    AUTH_MANAGE,
    CHART_WRITE,
    FENCE_WRITE,
    GEO_READ,
    GEO_WRITE,
    TASK_WORK,
    WORKFLOW_READ,
    WORKFLOW_WRITE,
};

static const permission PERMISSIONS[] = {
    [AUTH_MANAGE] = {"auth.manage", AUTH_ADMIN},    /* grants */
    [CHART_WRITE] = {"chart.write", WRITERS},       /* put charts */
    [FENCE_WRITE] = {"fence.write", WRITERS},       /* create, change, delete fences */
    [GEO_READ] = {"geo.read", READERS},             /* positions, tracks, fences, crossings */
    [GEO_WRITE] = {"geo.write", WRITERS},           /* report positions */
    [TASK_WORK] = {"task.work", WORKERS},           /* take, complete, fail tasks */
    [WORKFLOW_READ] = {"workflow.read", READERS},   /* charts, instances, histories */
    [WORKFLOW_WRITE] = {"workflow.write", WRITERS}, /* start instances, send events */
};

/* MAKES: as NEEDS, and a configured admin's call also makes the namespace. */
#define NEEDS(path, permission)                                   \
    {                                                             \
        path, PERMISSION_OF_ROLE, &PERMISSIONS[permission], false \
    }
#define MAKES(path, permission)                                  \
    {                                                            \
        path, PERMISSION_OF_ROLE, &PERMISSIONS[permission], true \
    }
#define OPEN(path)                             \
    {                                          \
        path, PERMISSION_NO_TOKEN, NULL, false \
    }

static const permission_row ROWS[] = {
    OPEN("/grpc.health.v1.Health/Check"),
    OPEN("/grpc.health.v1.Health/Watch"),
    OPEN("/grpc.reflection.v1.ServerReflection/ServerReflectionInfo"),
    OPEN("/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo"),
    MAKES("/waymark.auth.v1.AuthService/Grant", AUTH_MANAGE),
    NEEDS("/waymark.auth.v1.AuthService/ListGrants", AUTH_MANAGE),
    NEEDS("/waymark.auth.v1.AuthService/Revoke", AUTH_MANAGE),
    {"/waymark.auth.v1.AuthService/WhoAmI", PERMISSION_ANY_TOKEN, NULL, false},
    MAKES("/waymark.geo.v1.FenceService/CreateFence", FENCE_WRITE),
    NEEDS("/waymark.geo.v1.FenceService/DeleteFence", FENCE_WRITE),
    NEEDS("/waymark.geo.v1.FenceService/GetFence", GEO_READ),
    NEEDS("/waymark.geo.v1.FenceService/ListFenceEvents", GEO_READ),
    NEEDS("/waymark.geo.v1.FenceService/ListFences", GEO_READ),
    MAKES("/waymark.geo.v1.FenceService/UpdateFence", FENCE_WRITE),
    NEEDS("/waymark.geo.v1.FenceService/WatchFenceEvents", GEO_READ),
    NEEDS("/waymark.geo.v1.TrackService/GetEntity", GEO_READ),
    NEEDS("/waymark.geo.v1.TrackService/GetTrack", GEO_READ),
    MAKES("/waymark.geo.v1.TrackService/ReportPositions", GEO_WRITE),
    NEEDS("/waymark.geo.v1.TrackService/SearchNearby", GEO_READ),
    NEEDS("/waymark.geo.v1.TrackService/SearchWithin", GEO_READ),
    MAKES("/waymark.geo.v1.TrackService/StreamPositions", GEO_WRITE),
    NEEDS("/waymark.geo.v1.TrackService/WatchPositions", GEO_READ),
    NEEDS("/waymark.workflow.v1.ChartService/GetChart", WORKFLOW_READ),
    NEEDS("/waymark.workflow.v1.ChartService/ListCharts", WORKFLOW_READ),
    MAKES("/waymark.workflow.v1.ChartService/PutChart", CHART_WRITE),
    NEEDS("/waymark.workflow.v1.ChartService/ValidateChart", WORKFLOW_READ),
    NEEDS("/waymark.workflow.v1.TaskService/CompleteTask", TASK_WORK),
    NEEDS("/waymark.workflow.v1.TaskService/FailTask", TASK_WORK),
    NEEDS("/waymark.workflow.v1.TaskService/HeartbeatTask", TASK_WORK),
    MAKES("/waymark.workflow.v1.TaskService/PollTask", TASK_WORK),
    MAKES("/waymark.workflow.v1.TaskService/WorkTasks", TASK_WORK),
    NEEDS("/waymark.workflow.v1.WorkflowService/GetInstance", WORKFLOW_READ),
    NEEDS("/waymark.workflow.v1.WorkflowService/ListHistory", WORKFLOW_READ),
    MAKES("/waymark.workflow.v1.WorkflowService/SendEvent", WORKFLOW_WRITE),
    MAKES("/waymark.workflow.v1.WorkflowService/StartInstance", WORKFLOW_WRITE),
    NEEDS("/waymark.workflow.v1.WorkflowService/WaitInstance", WORKFLOW_READ),
    NEEDS("/waymark.workflow.v1.WorkflowService/WatchInstance", WORKFLOW_READ),
};

static int compare_path(const void *path, const void *row)
{
    return strcmp(path, ((const permission_row *)row)->path);
}

const permission_row *permission_find(const char *path)
{
    return bsearch(path, ROWS, WM_ARRAY_LEN(ROWS), sizeof(ROWS[0]), compare_path);
}

const permission *permission_list(size_t *n)
{
    *n = WM_ARRAY_LEN(PERMISSIONS);
    return PERMISSIONS;
}

const permission_row *permission_rows(size_t *n)
{
    *n = WM_ARRAY_LEN(ROWS);
    return ROWS;
}

const char *auth_role_name(unsigned index)
{
    static const char *const NAMES[AUTH_ROLES_N] = {"viewer", "operator", "worker", "admin"};

    return NAMES[index];
}

void auth_roles_describe(unsigned roles, char *text, size_t size)
{
    size_t used = 0;

    text[0] = '\0';
    for (unsigned i = 0; i < AUTH_ROLES_N; i++) {
        if (!(roles & 1u << i))
            continue;
        roles &= ~(1u << i);
        int n = snprintf(text + used, size - used, "%s%s",
                         used == 0 ? ""
                         : roles   ? ", "
                                   : " or ",
                         auth_role_name(i));
        used += n > 0 && (size_t)n < size - used ? (size_t)n : 0;
    }
}
