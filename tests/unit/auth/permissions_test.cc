// Every method that is served has a row, and the roles mean what the documentation says.
#include "server/auth/permissions.h"

#include <gtest/gtest.h>

#include <cstring>
#include <string>

#include "waymark/auth/v1/auth_service.methods.h"
#include "waymark/geo/v1/fence_service.methods.h"
#include "waymark/geo/v1/track_service.methods.h"
#include "waymark/workflow/v1/chart_service.methods.h"
#include "waymark/workflow/v1/task_service.methods.h"
#include "waymark/workflow/v1/workflow_service.methods.h"

namespace {

const wm_service *const SERVICES[] = {
    &waymark_auth_v1_auth_service,     &waymark_geo_v1_fence_service,
    &waymark_geo_v1_track_service,     &waymark_workflow_v1_chart_service,
    &waymark_workflow_v1_task_service, &waymark_workflow_v1_workflow_service,
};

TEST(Permissions, EveryMethodHasARow)
{
    for (const wm_service *service : SERVICES)
        for (size_t i = 0; i < service->n_methods; i++)
            EXPECT_NE(nullptr, permission_find(service->methods[i].path))
                << service->methods[i].path;
}

TEST(Permissions, EveryRowHasAMethod)
{
    size_t n;
    const permission_row *rows = permission_rows(&n);
    for (size_t r = 0; r < n; r++) {
        bool found = strncmp(rows[r].path, "/grpc.", 6) == 0;
        for (const wm_service *service : SERVICES)
            for (size_t i = 0; i < service->n_methods; i++)
                found = found || strcmp(service->methods[i].path, rows[r].path) == 0;
        EXPECT_TRUE(found) << rows[r].path;
    }
}

TEST(Permissions, TablesAreSorted)
{
    size_t n;
    const permission_row *rows = permission_rows(&n);
    for (size_t i = 1; i < n; i++)
        EXPECT_LT(strcmp(rows[i - 1].path, rows[i].path), 0) << rows[i].path;
    const permission *permissions = permission_list(&n);
    for (size_t i = 1; i < n; i++)
        EXPECT_LT(strcmp(permissions[i - 1].name, permissions[i].name), 0) << permissions[i].name;
}

TEST(Permissions, UnknownMethodsHaveNone)
{
    EXPECT_EQ(nullptr, permission_find("/waymark.geo.v1.TrackService/NoSuchMethod"));
    EXPECT_EQ(nullptr, permission_find(""));
    EXPECT_EQ(nullptr, permission_find("/grpc.health.v1.Health/"));
}

unsigned roles_of(const char *path)
{
    const permission_row *row = permission_find(path);
    return row && row->rule == PERMISSION_OF_ROLE ? row->permission->roles : 0;
}

TEST(Permissions, RolesMeanWhatTheySay)
{
    const unsigned all = AUTH_VIEWER | AUTH_OPERATOR | AUTH_WORKER | AUTH_ADMIN;
    EXPECT_EQ(all, roles_of("/waymark.geo.v1.TrackService/SearchNearby"));
    EXPECT_EQ(all, roles_of("/waymark.geo.v1.TrackService/WatchPositions"));
    EXPECT_EQ(unsigned(AUTH_OPERATOR | AUTH_ADMIN),
              roles_of("/waymark.geo.v1.TrackService/ReportPositions"));
    EXPECT_EQ(unsigned(AUTH_OPERATOR | AUTH_ADMIN),
              roles_of("/waymark.workflow.v1.WorkflowService/SendEvent"));
    EXPECT_EQ(unsigned(AUTH_WORKER | AUTH_ADMIN),
              roles_of("/waymark.workflow.v1.TaskService/WorkTasks"));
    EXPECT_EQ(unsigned(AUTH_ADMIN), roles_of("/waymark.auth.v1.AuthService/Grant"));
}

TEST(Permissions, DescribesRoles)
{
    char text[64];
    auth_roles_describe(AUTH_ADMIN, text, sizeof(text));
    EXPECT_STREQ("admin", text);
    auth_roles_describe(AUTH_OPERATOR | AUTH_ADMIN, text, sizeof(text));
    EXPECT_STREQ("operator or admin", text);
    auth_roles_describe(AUTH_VIEWER | AUTH_OPERATOR | AUTH_ADMIN, text, sizeof(text));
    EXPECT_STREQ("viewer, operator or admin", text);
}

} // namespace
